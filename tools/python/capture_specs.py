"""The captures that make_captures.py makes: what each one asks of which kernel."""

from __future__ import annotations

from dataclasses import dataclass

import reference
from rope_types import LINEAR, LLAMA2, LLAMA3


@dataclass(frozen=True)
class Spec:
    """One capture. Sizes in elements; `documents` are lengths that add up to skv."""

    name: str
    kernel: str  # a key of make_captures.KERNELS
    dtype: str  # a key of make_captures.DTYPES
    seed: int
    sq: int
    skv: int
    hq: int
    hkv: int
    dim: int
    batch: int = 1
    layout: str = "bhsd"
    mask: reference.Mask = reference.Mask()
    documents: tuple[int, ...] = ()
    rope: dict | None = None
    reset_positions: bool = False
    first_position: int = 0
    position_step: int = 1
    positive_values: bool = False
    sweep: bool = False  # scores of row i: one 0, all others -x_i, x from 0 to 4
    backward: str = ""  # dO: "normal", "positive" or "ones"; empty: no gradients


def _spec(name: str, kernel: str, dtype: str, seed: int, shape: tuple[int, ...], **rest) -> Spec:
    """`shape` is (Sq, Skv, Hq, Hkv, D)."""
    return Spec(name, kernel, dtype, seed, *shape, **rest)


_FULL = reference.Mask(causal=False)
_ANCHOR = reference.Mask(rule="anchor")
_DOCUMENT = reference.Mask(rule="document")
_BOTTOM_RIGHT = reference.Mask(corner="bottom-right")

SPECS = (
    _spec("torch-sdpa-causal-f32", "sdpa", "f32", 1, (257, 257, 2, 1, 64)),
    _spec("torch-sdpa-gqa-causal-bf16", "sdpa", "bf16", 2, (1000, 1000, 8, 2, 128)),
    _spec("torch-sdpa-causal-f16", "sdpa", "f16", 3, (513, 513, 4, 4, 64)),
    _spec(
        "torch-sdpa-full-positive-bf16",
        "sdpa",
        "bf16",
        4,
        (200, 333, 4, 2, 64),
        batch=2,
        mask=_FULL,
        positive_values=True,
    ),
    _spec(
        "torch-sdpa-cross-causal-f32", "sdpa", "f32", 5, (129, 257, 4, 2, 64), positive_values=True
    ),
    _spec(
        "torch-sdpa-llama-bf16",
        "sdpa",
        "bf16",
        6,
        (512, 512, 4, 2, 128),
        layout="bshd",
        rope=LLAMA2,
    ),
    _spec(
        "torch-sdpa-llama3-bf16",
        "sdpa",
        "bf16",
        7,
        (384, 384, 4, 1, 128),
        layout="bshd",
        rope=LLAMA3,
        first_position=100000,
    ),
    _spec(
        "torch-sdpa-anchor-bf16",
        "sdpa-masked",
        "bf16",
        8,
        (1024, 1024, 4, 2, 64),
        mask=_ANCHOR,
        documents=(200, 312, 256, 256),
        rope=LLAMA2,
        reset_positions=True,
    ),
    _spec(
        "torch-sdpa-empty-rows-f16",
        "sdpa-masked",
        "f16",
        9,
        (300, 200, 2, 2, 64),
        mask=_BOTTOM_RIGHT,
    ),
    _spec(
        "torch-sdpa-exp-sweep-bf16",
        "sdpa",
        "bf16",
        18,
        (512, 64, 1, 1, 64),
        mask=_FULL,
        positive_values=True,
        sweep=True,
    ),
    _spec(
        "torch-sdpa-exp-sweep-f16",
        "sdpa",
        "f16",
        19,
        (512, 16, 1, 1, 64),
        mask=_FULL,
        positive_values=True,
        sweep=True,
    ),
    _spec(
        "torch-flex-anchor-bf16",
        "flex",
        "bf16",
        10,
        (384, 384, 4, 2, 64),
        layout="bshd",
        mask=_ANCHOR,
        documents=(100, 60, 127, 97),
        rope=LLAMA2,
    ),
    _spec(
        "torch-flex-document-f32",
        "flex",
        "f32",
        11,
        (500, 500, 4, 2, 64),
        mask=_DOCUMENT,
        documents=(130, 1, 241, 128),
        rope=LINEAR,
        reset_positions=True,
    ),
    _spec("torch-flex-causal-f16", "flex", "f16", 12, (321, 321, 4, 1, 128), layout="bshd"),
    _spec(
        "torch-flex-window-bf16",
        "flex",
        "bf16",
        13,
        (512, 512, 4, 2, 64),
        mask=reference.Mask(rule="anchor", window_keys=100),
        documents=(256, 256),
    ),
    _spec(
        "torch-flex-decode-bf16",
        "flex",
        "bf16",
        14,
        (1, 1025, 8, 2, 128),
        mask=_BOTTOM_RIGHT,
        rope=LLAMA2,
    ),
    _spec(
        "torch-flex-eager-anchor-bf16",
        "flex-eager",
        "bf16",
        15,
        (384, 384, 4, 2, 64),
        mask=_ANCHOR,
        documents=(100, 60, 127, 97),
    ),
    _spec(
        "torch-flex-eager-empty-rows-f32",
        "flex-eager",
        "f32",
        16,
        (200, 150, 2, 1, 64),
        mask=_BOTTOM_RIGHT,
    ),
    _spec(
        "torch-sdpa-backward-causal-bf16", "sdpa", "bf16", 20, (96, 96, 2, 1, 64), backward="normal"
    ),
    _spec(
        "torch-sdpa-backward-causal-f16", "sdpa", "f16", 21, (400, 400, 4, 2, 64), backward="normal"
    ),
    _spec(
        "torch-sdpa-backward-causal-f32", "sdpa", "f32", 22, (300, 300, 4, 2, 64), backward="normal"
    ),
    # Its kernel adds all heads of a group into one bf16 sum, once every 64 queries here.
    _spec(
        "torch-sdpa-backward-group-bf16",
        "sdpa",
        "bf16",
        23,
        (512, 512, 8, 1, 64),
        backward="positive",
    ),
    _spec(
        "torch-sdpa-backward-ones-bf16", "sdpa", "bf16", 24, (2048, 2048, 1, 1, 64), backward="ones"
    ),
    _spec(
        "torch-sdpa-backward-full-f16",
        "sdpa",
        "f16",
        25,
        (200, 333, 4, 2, 64),
        batch=2,
        mask=_FULL,
        positive_values=True,
        backward="positive",
    ),
    _spec(
        "torch-sdpa-backward-cross-bf16",
        "sdpa",
        "bf16",
        26,
        (129, 257, 4, 2, 64),
        backward="normal",
    ),
    _spec(
        "torch-sdpa-backward-llama-bf16",
        "sdpa",
        "bf16",
        27,
        (384, 384, 4, 1, 128),
        layout="bshd",
        rope=LLAMA3,
        first_position=100000,
        backward="normal",
    ),
    _spec(
        "torch-sdpa-backward-anchor-bf16",
        "sdpa-masked",
        "bf16",
        28,
        (384, 384, 4, 2, 64),
        mask=_ANCHOR,
        documents=(100, 60, 127, 97),
        rope=LLAMA2,
        reset_positions=True,
        backward="normal",
    ),
    _spec(
        "torch-sdpa-backward-anchor-f32",
        "sdpa-masked",
        "f32",
        29,
        (384, 384, 4, 2, 64),
        mask=_ANCHOR,
        documents=(100, 60, 127, 97),
        rope=LLAMA2,
        reset_positions=True,
        backward="normal",
    ),
    _spec(
        "torch-sdpa-backward-window-bf16",
        "sdpa-masked",
        "bf16",
        30,
        (512, 512, 4, 2, 64),
        mask=reference.Mask(rule="anchor", window_keys=100),
        documents=(256, 256),
        backward="positive",
    ),
    _spec(
        "torch-sdpa-backward-empty-rows-f16",
        "sdpa-masked",
        "f16",
        31,
        (300, 200, 2, 2, 64),
        mask=_BOTTOM_RIGHT,
        backward="normal",
    ),
    _spec(
        "transformers-rope-llama3-f32",
        "rope",
        "f32",
        17,
        (256, 256, 2, 1, 128),
        layout="bshd",
        rope=LLAMA3,
        position_step=512,
    ),
)
