"""The definitions of `bitanchor drift` in numpy: RoPE recipes by ml_dtypes' and numpy's own roundings, attention in f64.

Nothing is shared with the C++ but the definitions: those of D and D_logit are arXiv 2411.13476's, the recipes are
written here from how the implementations compute them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

BF16, F16, F32, F64 = (np.dtype(t) for t in (ml_dtypes.bfloat16, np.float16, np.float32, np.float64))
DTYPES = {"bf16": BF16, "f16": F16, "f32": F32}
HALF = ("hf-llama", "hf-llama-legacy", "hf-olmo2", "flash-attn", "unsloth-gemma", "exact")
INTERLEAVED = ("meta-llama",)


@dataclass(frozen=True)
class Case:
    name: str
    L: int = 1
    B: int = 1
    S: int = 96
    Hq: int = 2
    Hkv: int = 1
    D: int = 32
    dtype: np.dtype = BF16
    rule: str = "full"
    ids: tuple[int, ...] = ()  # [S]
    reset: bool = False
    apart: int = 0  # how much later queries stand than keys
    by_batch: int = 0  # how much later each sequence stands than the one before
    theta: float = 10000.0
    shifts: tuple[tuple[int, int], ...] = ((0, 16), (17, 16))
    lengths: tuple[int, ...] = (96,)
    one_in: int = 1
    recipes: tuple[str, ...] = (*HALF, *INTERLEAVED)
    seed: int = field(default=0)


def cases() -> list[Case]:
    anchor = (0, *[1] * 29, *[2] * 30, *[3] * 36)
    return [
        Case("plain"),
        Case("layers, batches, groups", L=2, B=2, Hq=4, Hkv=2, S=70, lengths=(1, 2, 33, 64, 70)),
        Case("far", theta=500000.0, shifts=((0, 131072), (1000000, 999983), (5, 5))),
        Case("f32", dtype=F32),
        Case("f16", dtype=F16, recipes=("hf-llama", "meta-llama", "exact")),
        Case("document", rule="document", ids=anchor[:0] + tuple(1 + j // 20 for j in range(96))),
        Case("anchor", rule="anchor", ids=anchor, B=2, lengths=(30, 96)),
        Case("anchor, positions reset", rule="anchor", ids=anchor, reset=True),
        Case("one token in 3", one_in=3, lengths=(1, 50, 96)),
        Case("queries elsewhere", B=2, apart=1000, lengths=(33, 96)),
        Case("sequences elsewhere", B=3, S=40, lengths=(40,), by_batch=77, apart=3, one_in=2),
        Case("interleaved, one token in 2", L=2, B=2, S=66, Hq=6, Hkv=2, rule="anchor", ids=(0, *[1, 2, 3, 2, 1] * 13),
             one_in=2, apart=5, lengths=(1, 34, 66), recipes=("hf-llama", "meta-llama", "exact")),
        Case("odd sizes", S=131, Hq=3, Hkv=3, D=6, lengths=(65, 131)),
    ]


# ---- RoPE ----


def inverse_frequencies(theta: float, R: int) -> np.ndarray:
    """f32: each step rounded."""
    exponent = np.arange(0, R, 2).astype(F32) / F32.type(R)
    return F32.type(1) / np.power(theta, exponent.astype(F64)).astype(F32)


def tables(recipe: str, theta: float, R: int, positions: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin [S, R/2]."""
    p = positions[:, None]
    if recipe == "exact":
        angle = p.astype(np.longdouble) * np.longdouble(theta) ** (-np.arange(0, R, 2, dtype=np.longdouble) / R)
        return np.cos(angle), np.sin(angle)
    inv = inverse_frequencies(theta, R)
    if recipe == "hf-llama-legacy":
        angle = p.astype(F32).astype(dtype) * inv.astype(dtype)
    elif recipe == "unsloth-gemma":
        angle = p.astype(F32) / np.power(theta, (np.arange(0, R, 2).astype(F32) / F32.type(R)).astype(F64)).astype(F32)
    else:
        angle = p.astype(F32) * inv
    angle = angle.astype(F64)
    cos, sin = np.cos(angle).astype(F32), np.sin(angle).astype(F32)
    if recipe in ("hf-llama", "hf-llama-legacy", "flash-attn"):
        return cos.astype(dtype), sin.astype(dtype)
    return cos, sin


def rotate(x: np.ndarray, recipe: str, theta: float, positions: np.ndarray) -> np.ndarray:
    """x [S, D] in the model's dtype; rotated, widened."""
    D, dtype = x.shape[-1], x.dtype
    cos, sin = tables(recipe, theta, D, positions, dtype)
    interleaved = recipe in INTERLEAVED
    first, second = (slice(0, D, 2), slice(1, D, 2)) if interleaved else (slice(0, D // 2), slice(D // 2, D))
    work = np.longdouble if recipe == "exact" else dtype if recipe in ("hf-llama", "hf-llama-legacy") else F32
    x1, x2, cos, sin = (t.astype(work) for t in (x[:, first], x[:, second], cos, sin))
    y = np.empty(x.shape, work)
    y[:, first] = x1 * cos - x2 * sin
    y[:, second] = x2 * cos + x1 * sin
    return y if recipe == "exact" else y.astype(dtype).astype(F64)


# ---- drift ----


def seen(case: Case, T: int) -> np.ndarray:
    """[T, T]"""
    i, j = np.arange(T)[:, None], np.arange(T)[None, :]
    causal = j <= i
    if case.rule == "full":
        return causal
    ids = np.array(case.ids)[:: case.one_in][:T]
    same = ids[:, None] == ids[None, :]
    return causal & (same | (ids[None, :] == 0) if case.rule == "anchor" else same)


def attention(q: np.ndarray, k: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits, unscaled, and softmax; both 0 where nothing is seen."""
    A = q @ k.T
    scaled = np.where(mask, A / np.sqrt(np.longdouble(q.shape[1])), -np.inf)
    w = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.where(mask, A, 0), w / w.sum(axis=1, keepdims=True)


def positions_of(case: Case) -> np.ndarray:
    if not case.reset:
        return np.arange(case.S)
    ids, positions = list(case.ids), []
    for s in range(case.S):
        starts = s == 0 or (ids[s] != ids[s - 1] and ids[s - 1] != 0)
        positions.append(0 if starts else positions[-1] + 1)
    return np.array(positions)


def drift(case: Case, tensors: dict[str, np.ndarray], recipe: str, shift: tuple[int, int], length: int) -> dict[str, Any]:
    """Every number of a row, and of each key."""
    T = -(-length // case.one_in)
    mask = seen(case, T)
    positions = positions_of(case)[:: case.one_in][:T]
    n = 1 / (T - np.arange(T))
    total = {"D_abs": 0.0, "D_signed": 0.0, "D_output": 0.0}
    keys = {name: np.zeros(T) for name in ("D_abs", "D_signed", "D_logit", "D_attention")}
    for layer in range(case.L):
        for b in range(case.B):
            for h in range(case.Hq):
                q, k, v = (tensors[name][layer, b, :: case.one_in, head][:T] for name, head in
                           (("q", h), ("k", h * case.Hkv // case.Hq), ("v", h * case.Hkv // case.Hq)))  # fmt: skip
                sides = []
                for delta in shift:
                    at = positions + b * case.by_batch + delta
                    rotated = rotate(q, recipe, case.theta, at + case.apart), rotate(k, recipe, case.theta, at)
                    sides.append(attention(*rotated, mask))
                logits, weights = (np.asarray(a - b, F64) for a, b in zip(*sides))
                column, signed = np.abs(weights).sum(axis=0), np.abs(weights.sum(axis=0))
                keys["D_abs"] += n * column / case.B
                keys["D_signed"] += n * signed / case.B
                keys["D_attention"] += column / T / case.B
                keys["D_logit"] += np.abs(logits).sum(axis=0) / T / case.B
                total["D_output"] += np.linalg.norm(weights @ v.astype(F64), axis=1).sum() / T / case.B
    total["D_abs"], total["D_signed"] = keys["D_abs"].sum(), keys["D_signed"].sum()
    return total | {"keys": keys}


def close(got: float, want: float, floor: float) -> bool:
    return math.isfinite(got) and abs(got - want) <= 1e-9 * abs(want) + floor
