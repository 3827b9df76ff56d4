#!/usr/bin/env python3
"""Makes captures of attention and RoPE kernels that nobody of this project wrote, on the CPU.

    python3 tools/python/make_captures.py OUT_DIR [--only NAME]...
    python3 tools/python/make_captures.py --list

The kernels: PyTorch's scaled_dot_product_attention (its flash kernel for CPUs, forward and
backward), FlexAttention (compiled, and its uncompiled form, the only one that gives an LSE on a
CPU; neither has gradients there), and RoPE as transformers' Llama code computes it. Each answer is
compared with an f64 computation before it is written. Inputs are numpy's PCG64 normals of the seed
in the table of capture_specs.py; the answers also depend on the CPU, whose vector width torch adapts to.

Needs torch and transformers (requirements-torch.txt) and, for FlexAttention, a C++ compiler.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import AuxRequest, create_block_mask, flex_attention
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

import reference
from capture_file import Capture, write_capture
from capture_specs import SPECS, Spec

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's bits as numpy has them, bf16 included."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


@dataclass(frozen=True)
class Inputs:
    """What a kernel gets: q, k and v as [B, H, S, D] views, rotated; ids of [B, Skv], or none."""

    spec: Spec
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    ids: torch.Tensor | None

    @property
    def scale(self) -> float:
        return float(np.float32(1 / math.sqrt(self.spec.dim)))

    @property
    def offset(self) -> int:
        return reference.offset(self.spec.mask, self.spec.sq, self.spec.skv)

    def mask_mod(self) -> Callable:
        """The mask as FlexAttention wants it: true means attend."""
        mask, off, ids = self.spec.mask, self.offset, self.ids

        def keep(b, h, q_idx, kv_idx):
            at = q_idx + off
            seen = kv_idx <= at if mask.causal else kv_idx >= 0
            if mask.window_keys is not None:
                seen = seen & (at - kv_idx < mask.window_keys)
            if mask.rule == "document":
                seen = seen & (ids[b, at] == ids[b, kv_idx])
            if mask.rule == "anchor":
                seen = seen & ((ids[b, at] == ids[b, kv_idx]) | (ids[b, kv_idx] == 0))
            return seen

        return keep


Result = tuple[torch.Tensor, torch.Tensor | None, dict]  # o [B, H, S, D], lse [B, H, S], lse's JSON

_flash_for_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _public_sdpa(x: Inputs, **mask) -> torch.Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return torch.nn.functional.scaled_dot_product_attention(
            x.q, x.k, x.v, scale=x.scale, enable_gqa=x.spec.hq != x.spec.hkv, **mask
        )


def run_sdpa(x: Inputs) -> Result:
    """SDPA with is_causal. The LSE comes from the operator that the public function calls."""
    assert x.spec.mask in (reference.Mask(), reference.Mask(causal=False))
    causal = x.spec.mask.causal
    o = _public_sdpa(x, is_causal=causal)
    again, lse = _flash_for_cpu(x.q, x.k, x.v, 0.0, causal, attn_mask=None, scale=x.scale)
    assert torch.equal(o, again), "the public function took another kernel"
    return o, lse, {"base": "e", "scaled": True, "empty": "-inf"}


def run_sdpa_masked(x: Inputs) -> Result:
    """SDPA with a boolean attn_mask. A row that sees no key gets LSE 0."""
    index = torch.arange(max(x.spec.sq, x.spec.skv))
    rows, keys = index[: x.spec.sq, None], index[None, : x.spec.skv]
    seen = torch.stack([x.mask_mod()(b, 0, rows, keys) for b in range(x.spec.batch)])[:, None]
    o = _public_sdpa(x, attn_mask=seen)
    added = torch.zeros(seen.shape, dtype=x.q.dtype).masked_fill(~seen, -math.inf)
    again, lse = _flash_for_cpu(x.q, x.k, x.v, 0.0, False, attn_mask=added, scale=x.scale)
    assert torch.equal(o, again), "the public function took another kernel"
    return o, lse, {"base": "e", "scaled": True, "empty": 0.0}


def _flex(x: Inputs, kernel: Callable, **rest):
    blocks = create_block_mask(
        x.mask_mod(), x.spec.batch, None, x.spec.sq, x.spec.skv, device="cpu"
    )
    gqa = x.spec.hq != x.spec.hkv
    return kernel(x.q, x.k, x.v, block_mask=blocks, scale=x.scale, enable_gqa=gqa, **rest)


def run_flex(x: Inputs) -> Result:
    """FlexAttention through torch.compile, which on a CPU gives no LSE."""
    torch._dynamo.reset()
    return _flex(x, torch.compile(flex_attention)), None, {}


def run_flex_eager(x: Inputs) -> Result:
    """FlexAttention uncompiled: dense, P normalized and rounded before it meets V."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        o, extra = _flex(x, flex_attention, return_aux=AuxRequest(lse=True))
    return o, extra.lse, {"base": "e", "scaled": True, "empty": "-inf"}


KERNELS: dict[str, tuple[str, Callable[[Inputs], Result] | None]] = {
    "sdpa": ("scaled_dot_product_attention, flash", run_sdpa),
    "sdpa-masked": ("scaled_dot_product_attention with attn_mask, flash", run_sdpa_masked),
    "flex": ("FlexAttention, compiled", run_flex),
    "flex-eager": ("FlexAttention, uncompiled", run_flex_eager),
    "rope": ("no attention", None),
}


def random_tensors(spec: Spec) -> dict[str, torch.Tensor]:
    """q, k and v, normal, and dO where there is one, in the layout of the file."""
    generator = np.random.Generator(np.random.PCG64(spec.seed))
    tensors = {}
    drawn = [("q", spec.hq, spec.sq), ("k", spec.hkv, spec.skv), ("v", spec.hkv, spec.skv)]
    positive = {"v": spec.positive_values, "do": spec.backward == "positive"}
    for name, heads, length in drawn + [("do", spec.hq, spec.sq)] * bool(spec.backward):
        axes = (length, heads) if spec.layout == "bshd" else (heads, length)
        value = generator.standard_normal((spec.batch, *axes, spec.dim), dtype=np.float32)
        if positive.get(name):
            value = np.abs(value)
        if name == "do" and spec.backward == "ones":
            value = np.ones_like(value)
        tensors[name] = torch.from_numpy(value).to(DTYPES[spec.dtype])
    if spec.sweep:
        # Every row shows the error of the kernel's exp at one argument, in its LSE.
        for name in ("q", "k"):
            tensors[name].zero_()
        x = torch.linspace(0, 4, spec.sq).to(DTYPES[spec.dtype])
        tensors["q"][..., 0] = math.sqrt(spec.dim) * x
        tensors["k"][..., 1:, 0] = -1
    return tensors


def sequence(spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """document_ids and position_ids, each [B, Skv]. With rule anchor, token 0 is the anchor."""
    lengths = spec.documents or (spec.skv,)
    assert sum(lengths) == spec.skv, spec.name
    ids = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    positions = np.arange(spec.skv)
    if spec.reset_positions:
        positions = np.concatenate([np.arange(length) for length in lengths])
    if spec.mask.rule == "anchor":
        ids[0] = 0
    positions = spec.first_position + positions * spec.position_step
    batch = (spec.batch, 1)
    return np.tile(ids.astype(np.int32), batch), np.tile(positions.astype(np.int64), batch)


def llama_rope(spec: Spec) -> LlamaRotaryEmbedding:
    """transformers' rotary embedding for the spec's head size."""
    config = LlamaConfig(
        hidden_size=spec.hq * spec.dim,
        num_attention_heads=spec.hq,
        num_key_value_heads=spec.hkv,
        head_dim=spec.dim,
        max_position_embeddings=131072,
        rope_parameters=dict(spec.rope),
    )
    return LlamaRotaryEmbedding(config)


def add_rope(
    spec: Spec, capture: Capture, x: dict[str, torch.Tensor], positions: np.ndarray
) -> None:
    """Rotates x["q"] and x["k"], [B, H, S, D], and records how."""
    embedding = llama_rope(spec)
    off = reference.offset(spec.mask, spec.sq, spec.skv)
    q_positions = positions[:, off : off + spec.sq]
    assert q_positions.shape[1] == spec.sq, spec.name
    for name, at in (("q", q_positions), ("k", positions)):
        cos, sin = embedding(x[name], torch.from_numpy(at))
        x[name], _ = apply_rotary_pos_emb(x[name], x[name], cos, sin)
        stored = x[name].transpose(1, 2) if spec.layout == "bshd" else x[name]
        capture.tensors[f"{name}_rope"] = to_numpy(stored)
    capture.tensors["inv_freq"] = to_numpy(embedding.inv_freq)
    capture.tensors["position_ids"] = positions
    if spec.sq != spec.skv:
        capture.tensors["q_position_ids"] = q_positions
    capture.metadata["rope"] = {
        **spec.rope,
        "rotary_dim": spec.dim,
        "pairing": "half",
        "recipe": "hf-llama",
    }


def make(spec: Spec) -> Capture:
    """Runs the kernel; the answer is not yet compared with anything."""
    what, kernel = KERNELS[spec.kernel]
    tensors = random_tensors(spec)
    ids, positions = sequence(spec)
    rope_says = f"; RoPE of transformers {transformers.__version__}" if spec.rope else ""
    metadata = {
        "version": 1,
        "kernel": f"PyTorch {torch.__version__}: {what}; CPU "
        f"{torch.backends.cpu.get_cpu_capability()}{rope_says}",
        "layout": spec.layout,
        "mask": {
            "rule": spec.mask.rule,
            "causal": spec.mask.causal,
            "window_keys": spec.mask.window_keys,
            "corner": spec.mask.corner,
        },
        "softmax_scale": float(np.float32(1 / math.sqrt(spec.dim))),
    }
    capture = Capture({name: to_numpy(value) for name, value in tensors.items()}, metadata)
    if spec.mask.rule != "full":
        capture.tensors["document_ids"] = ids
    leaves = {name: tensors[name].requires_grad_(bool(spec.backward)) for name in "qkv"}
    heads_first = {
        name: value.transpose(1, 2) if spec.layout == "bshd" else value
        for name, value in leaves.items()
    }
    if spec.rope is not None:
        add_rope(spec, capture, heads_first, positions)
    if kernel is None:
        return capture
    inputs = Inputs(spec, **heads_first, ids=torch.from_numpy(ids).long())
    with torch.set_grad_enabled(bool(spec.backward)):
        o, lse, lse_says = kernel(inputs)
    if spec.backward:
        do = tensors["do"].transpose(1, 2) if spec.layout == "bshd" else tensors["do"]
        given = torch.autograd.grad(o, tuple(leaves.values()), do)
        for name, gradient in zip(leaves, given, strict=True):
            capture.tensors[f"d{name}"] = to_numpy(gradient)
    capture.tensors["o"] = to_numpy(o.transpose(1, 2) if spec.layout == "bshd" else o)
    if lse is not None:
        capture.tensors["lse"] = to_numpy(lse.float())
        metadata["lse"] = lse_says
    return capture


def _expect(share: float, what: str, notes: list[str]) -> None:
    """`share` is the largest error in units of what is allowed."""
    if not share <= 1:  # NaN as well
        raise AssertionError(f"{what}: {share:.3g} of the error that is allowed")
    notes.append(f"{what} {share:.2f}")


def _share(error: np.ndarray, allowed: np.ndarray) -> float:
    return float(np.max(np.abs(error) / allowed))


def _verify_gradients(
    capture: Capture,
    problem: reference.Problem,
    q: np.ndarray,
    k: np.ndarray,
    answer: reference.Answer,
    unit: float,
    notes: list[str],
) -> None:
    """Compares dq, dk and dv, before RoPE, with the formulas."""
    exactly = reference.Backward()
    of = reference.pairs(problem, q, k, answer.o, answer.lse, exactly)
    want = reference.gradients_of(problem, q, k, of, exactly)
    # Sums of magnitudes: what rounding is measured by.
    magnitudes = reference.Pairs(of.p, np.abs(of.dp), np.abs(of.ds) + of.p * np.abs(of.dp))
    sized = replace(problem, do=np.abs(problem.do))
    size = reference.gradients_of(sized, np.abs(q), np.abs(k), magnitudes, exactly)
    rope = problem.rope
    for name, gradient in want.items():
        got = capture.bshd(name).astype(np.float64)
        allowed = 16 * unit * size[name]
        if rope is not None and name != "dv":
            at = rope.q_positions if name == "dq" else rope.k_positions
            gradient = reference.rotate(gradient, rope, at, back=True)
            half = rope.rotary_dim // 2
            allowed = np.tile(allowed[..., :half] + allowed[..., half : 2 * half], 2)
        _expect(_share(got - gradient, allowed + 1e-6), name, notes)


def verify(capture: Capture) -> str:
    """Compares every answer with f64 attention; AssertionError where one is out of reach.

    Roomy bounds, to notice a kernel misunderstood, not to judge one: that is `bitanchor check`'s.
    """
    problem = reference.read_problem(capture)
    unit = {2: 2.0**-8, 4: 2.0**-24}[problem.dtype.itemsize]
    if problem.dtype == np.float16:
        unit = 2.0**-11
    notes: list[str] = []
    q, k = problem.q, problem.k
    if problem.rope is not None:
        for name, x, want in zip("qk", (q, k), reference.rotated(problem), strict=True):
            got = capture.bshd(f"{name}_rope").astype(np.float64)
            size = np.hypot(x[..., : x.shape[3] // 2], x[..., x.shape[3] // 2 :], dtype=np.float64)
            allowed = 4 * unit * np.concatenate([size, size], axis=3) + 1e-30
            _expect(_share(got - want.astype(np.float64), allowed), f"{name}_rope", notes)
        q, k = capture.bshd("q_rope"), capture.bshd("k_rope")
        want = reference.inverse_frequencies(capture.metadata["rope"], problem.rope.rotary_dim)
        ulps = np.abs(problem.rope.inv_freq - want) / np.spacing(want)
        if ulps.max() > 4:
            raise AssertionError(f"inv_freq: {ulps.max()} ulp from the formula")
        notes.append(f"inv_freq {np.count_nonzero(ulps)}/{ulps.size} differ")
    if "o" not in capture.tensors:
        return ", ".join(notes)
    seen = reference.visible(problem)
    want = reference.attend(q, k, problem.v, seen, problem.scale)
    # Torch's CPU kernels for 16-bit types use an exp that is off by up to 1.07e-4.
    weights = 2.0**-15 if problem.dtype == np.float32 else unit + 2.2e-4
    got = capture.bshd("o").astype(np.float64)
    allowed = unit * np.abs(want.o) + weights * want.o_abs + 1e-6
    _expect(_share(got - want.o, allowed), "o", notes)
    if "lse" in capture.tensors:
        got = capture.tensors["lse"].astype(np.float64)
        empty = np.isneginf(want.lse)
        stated = float(capture.metadata["lse"]["empty"])
        if not np.array_equal(got[empty], np.full(np.count_nonzero(empty), stated)):
            raise AssertionError("lse: rows that see no key are not as stated")
        allowed = 2e-5 if problem.dtype == np.float32 else 2e-4
        _expect(_share(got[~empty] - want.lse[~empty], allowed), "lse", notes)
    if problem.do is not None:
        _verify_gradients(capture, problem, q, k, want, unit, notes)
    return ", ".join(notes)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out_dir", nargs="?", type=Path, metavar="OUT_DIR")
    parser.add_argument(
        "--only",
        action="append",
        choices=[s.name for s in SPECS],
        metavar="NAME",
        help="see --list",
    )
    parser.add_argument("--list", action="store_true", help="name the captures and stop")
    args = parser.parse_args()
    if args.list:
        for spec in SPECS:
            print(spec.name)
        return 0
    if args.out_dir is None:
        parser.error("OUT_DIR is needed")
    args.out_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    for spec in SPECS:
        if args.only and spec.name not in args.only:
            continue
        start = time.monotonic()
        capture = make(spec)
        try:
            notes = verify(capture)
        except AssertionError as error:
            print(f"{spec.name}: not written: {error}", file=sys.stderr)
            return 1
        path = args.out_dir / f"{spec.name}.safetensors"
        write_capture(path, capture)
        print(
            f"{path.name}: {path.stat().st_size} bytes, {time.monotonic() - start:.1f} s; "
            f"share of the sanity bounds: {notes}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
