"""Problems of documents packed behind an anchor, drawn from a seed.

What needs numpy is imported where it is used: tests name their problems before they know whether
they must be skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capture_file import Capture


@dataclass(frozen=True)
class Packed:
    """A problem of documents behind an anchor, positions starting again in each."""

    dtype: str
    documents: tuple[int, ...]
    hq: int
    hkv: int
    dim: int
    seed: int
    window_keys: int | None = None
    queries: int | None = None  # the last so many tokens ask; otherwise all do
    loudness: float = 1  # of q
    loud_rows: tuple[tuple[int, float], ...] = ()  # queries that are so many times louder
    positive_values: bool = False
    cannot_show: tuple[str, ...] = ()  # mutants that change nothing here


def make_problem(packed: Packed, backward: bool = False, kernel: str = "") -> Capture:
    """The problem, without answers."""
    import numpy as np
    from capture_file import Capture
    from reference import BF16

    dtype = BF16 if packed.dtype == "bf16" else np.dtype(f"float{packed.dtype[1:]}")
    total = sum(packed.documents)
    generator = np.random.Generator(np.random.PCG64(packed.seed))
    tensors = {}
    drawn = [("q", packed.hq), ("k", packed.hkv), ("v", packed.hkv)]
    for name, heads in drawn + [("do", packed.hq)] * backward:
        tokens = packed.queries or total if name in ("q", "do") else total
        value = generator.standard_normal((1, tokens, heads, packed.dim), dtype=np.float32)
        if name == "q":
            value *= packed.loudness
            for row, loudness in packed.loud_rows:
                value[:, row] *= loudness
        if name == "v" and packed.positive_values:
            value = np.abs(value)
        tensors[name] = value.astype(dtype)
    ids = np.repeat(np.arange(1, len(packed.documents) + 1), packed.documents)
    ids[0] = 0
    tensors["document_ids"] = ids.astype(np.int32)[None]
    positions = np.concatenate([np.arange(length) for length in packed.documents])
    tensors["position_ids"] = positions.astype(np.int64)[None]
    metadata = {
        "version": 1,
        "kernel": kernel,
        "layout": "bshd",
        "mask": {
            "rule": "anchor",
            "causal": True,
            "window_keys": packed.window_keys,
            "corner": "top-left" if packed.queries is None else "bottom-right",
        },
        "softmax_scale": packed.dim**-0.5,
        "rope": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "rotary_dim": packed.dim,
            "pairing": "half",
            "recipe": "hf-llama",
        },
        "lse": {"base": "e", "scaled": True, "empty": "-inf"},
    }
    return Capture(tensors, metadata)
