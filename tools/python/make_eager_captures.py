#!/usr/bin/env python3
"""Answers of PyTorch's unfused attention in the model's own dtype, as captures.

They are what lib/exact/eager_attention.h defines, made by somebody else: attention as the
`attention_ref` of flash-attention's tests has it (not upcast, operations reordered), written down
again here, and `flex_attention` not compiled; gradients by autograd and by its own formula. They are yardsticks of
acceptance rules and not right by any contract.

    python3 tools/python/make_eager_captures.py tests/data/eager
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from capture_file import Capture, write_capture
from make_captures import to_numpy
from torch._higher_order_ops.flex_attention import math_attention, sdpa_dense_backward

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
B, SQ, SKV, HQ, HKV, D = 1, 40, 40, 2, 1, 32
WINDOW_KEYS = 24


def visible() -> torch.Tensor:
    """Causal, with a window: [SQ, SKV]."""
    behind = torch.arange(SQ)[:, None] - torch.arange(SKV)[None, :]
    return (behind >= 0) & (behind < WINDOW_KEYS)


def attention_ref(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """[B, S, H, D] in any dtype, every operation rounded to it; k is scaled, not q."""
    k = k.repeat_interleave(HQ // HKV, dim=2)
    v = v.repeat_interleave(HQ // HKV, dim=2)
    scores = torch.einsum("bthd,bshd->bhts", q, k / math.sqrt(D))
    scores = scores.masked_fill(~visible(), float("-inf"))
    weights = torch.softmax(scores, dim=-1).to(v.dtype)
    return torch.einsum("bhts,bshd->bthd", weights, v)


def identity(score: torch.Tensor, *_) -> torch.Tensor:
    """No score modification."""
    return score


class FlexMath(torch.autograd.Function):
    """The two functions that an uncompiled flex_attention is; the public one refuses to
    differentiate on a CPU. [B, S, H, D]."""

    @staticmethod
    def forward(ctx, q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        o, lse, _ = math_attention(q, k, v, identity, block_mask(), D**-0.5, {})
        ctx.save_for_backward(q, k, v, o, lse)
        return o.transpose(1, 2)

    @staticmethod
    def backward(ctx, do):
        def joint(score, b, h, i, j, gradient):
            return [gradient, None, None, None, None]

        q, k, v, o, lse = ctx.saved_tensors
        do = do.transpose(1, 2)
        gradients = sdpa_dense_backward(
            *(q, k, v, o, lse, do, None, identity, joint, block_mask(), D**-0.5, {}, (), ())
        )
        return tuple(x.transpose(1, 2) for x in gradients[:3])


def block_mask() -> tuple:
    """What both take: of a BlockMask, the last one, the function, is all that they look at."""
    return (None, lambda b, h, i, j: (i >= j) & (i - j < WINDOW_KEYS))


def flex_math(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """[B, S, H, D]."""
    return FlexMath.apply(q, k, v)


def make(kernel, name: str, dtype: torch.dtype, seed: int) -> Capture:
    """A problem with the answer of `kernel` and its gradients."""
    generator = np.random.Generator(np.random.PCG64(seed))

    def draw(s: int, heads: int) -> torch.Tensor:
        x = generator.standard_normal((B, s, heads, D), dtype=np.float32)
        return torch.from_numpy(x).to(dtype)

    q, k, v, do = draw(SQ, HQ), draw(SKV, HKV), draw(SKV, HKV), draw(SQ, HQ)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    o = kernel(*leaves)
    gradients = dict(zip(("dq", "dk", "dv"), torch.autograd.grad(o, leaves, do)))
    tensors = {"q": q, "k": k, "v": v, "o": o.detach(), "do": do, **gradients}
    metadata = {
        "version": 1,
        "kernel": f"PyTorch {torch.__version__}: {name}, in {dtype}",
        "layout": "bshd",
        "mask": {"rule": "full", "causal": True, "window_keys": WINDOW_KEYS, "corner": "top-left"},
        "softmax_scale": D**-0.5,
    }
    return Capture({n: to_numpy(x.contiguous()) for n, x in tensors.items()}, metadata)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for seed, (suffix, dtype) in enumerate(DTYPES.items()):
        for stem, kernel, name in (
            ("attention-ref", attention_ref, "attention_ref, reordered"),
            ("flex-math", flex_math, "flex_attention, not compiled"),
        ):
            path = folder / f"{stem}-{suffix}.safetensors"
            write_capture(path, make(kernel, name, dtype, seed))
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
