"""f32 arithmetic as kernels do it: roundings, orders of summation, exponentials.

Every operation rounds to f32 (numpy's float32 does), or, where a matrix unit is meant, is exact in
f64 over a small group and then rounded once. Nothing here is exact on purpose: these are the
freedoms and the faults of real kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

BF16 = np.dtype(ml_dtypes.bfloat16)
F16, F32, F64 = (np.dtype(f"float{bits}") for bits in (16, 32, 64))
FP8 = np.dtype(ml_dtypes.float8_e4m3fn)
Array = np.ndarray

LOG2E = np.log2(np.e)

# --- roundings ---


def rounded(x: Array, dtype: np.dtype) -> Array:
    """Nearest-even to a narrow format, as f32."""
    return x.astype(dtype).astype(F32)


def bf16_toward_zero(x: Array) -> Array:
    return (np.ascontiguousarray(x, F32).view(np.uint32) & np.uint32(0xFFFF0000)).view(F32)


def bf16_away_from_zero(x: Array) -> Array:
    bits = np.ascontiguousarray(x, F32).view(np.uint32)
    return (bits + np.uint32(0xFFFF) & np.uint32(0xFFFF0000)).view(F32)


def bf16_down(x: Array) -> Array:
    return np.where(x < 0, bf16_away_from_zero(x), bf16_toward_zero(x))


def f32_toward_zero(x: Array) -> Array:
    """f64 to f32, for results that are normal numbers."""
    kept = np.uint64(0xFFFFFFFFE0000000)
    return (np.ascontiguousarray(x, F64).view(np.uint64) & kept).view(F64).astype(F32)


def f32_down(x: Array) -> Array:
    """f64 to f32, toward -infinity, for results that are normal numbers."""
    down = f32_toward_zero(x)
    return np.where(down > x, np.nextafter(down, F32.type(-np.inf)), down)


# --- sums over the last axis, in f32 ---


def sum_in_order(x: Array) -> Array:
    return np.add.accumulate(x, axis=-1, dtype=F32)[..., -1]


def sum_pairwise(x: Array) -> Array:
    """Halves added to each other, again and again: depth log2 n."""
    while x.shape[-1] > 1:
        if x.shape[-1] % 2:
            x = np.concatenate([x, np.zeros_like(x[..., :1])], axis=-1)
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half:]
    return x[..., 0]


def sum_interleaved(x: Array, lanes: int = 8) -> Array:
    """Lane i adds elements i, i + lanes, ... in order; then the lanes are added pairwise."""
    pad = -x.shape[-1] % lanes
    x = np.concatenate([x, np.zeros((*x.shape[:-1], pad), F32)], axis=-1)
    by_lane = x.reshape(*x.shape[:-1], -1, lanes).swapaxes(-1, -2)
    return sum_pairwise(sum_in_order(by_lane))


def sum_blocked(x: Array, block: int = 16) -> Array:
    """Each block in order, then the blocks in order."""
    parts = [sum_in_order(x[..., i : i + block]) for i in range(0, x.shape[-1], block)]
    return sum_in_order(np.stack(parts, axis=-1))


# --- products c + a b in f32: a [H, m, n], b [H, n, p], c [H, m, p] or none ---

Product = Callable[[Array, Array, "Array | None"], Array]


def product_blas(a: Array, b: Array, c: Array | None = None) -> Array:
    """Whatever order the BLAS takes; then c is added."""
    product = np.matmul(a, b)
    return product if c is None else c + product


def product_in_order(a: Array, b: Array, c: Array | None = None) -> Array:
    """A fold over n from c: of products that are exact where both factors are bf16."""
    total = np.zeros((*a.shape[:2], b.shape[2]), F32) if c is None else c.copy()
    for j in range(a.shape[2]):
        total += a[:, :, j, None] * b[:, j, None, :]
    return total


def product_in_groups(group: int, rounding: Callable[[Array], Array]) -> Product:
    """A matrix unit: so many products and c are added exactly, and that is rounded once."""

    def product(a: Array, b: Array, c: Array | None = None) -> Array:
        total = np.zeros((*a.shape[:2], b.shape[2]), F32) if c is None else c
        a, b = a.astype(F64), b.astype(F64)
        for j in range(0, a.shape[2], group):
            total = rounding(np.matmul(a[:, :, j : j + group], b[:, j : j + group]) + total)
        return total

    return product


def product_in_lanes(sum_of: Callable[[Array], Array]) -> Product:
    """Dot products by a sum's own order; one row of results at a time keeps memory small."""

    def product(a: Array, b: Array, c: Array | None = None) -> Array:
        total = np.empty((*a.shape[:2], b.shape[2]), F32)
        columns = np.ascontiguousarray(b.swapaxes(1, 2))
        for i in range(b.shape[2]):
            total[:, :, i] = sum_of(a * columns[:, None, i])
        return total if c is None else c + total

    return product


# --- exponentials of f32 ---


def exp_rounded(x: Array) -> Array:
    """Correctly rounded but for rare ties of f64's own error."""
    return np.exp(x.astype(F64)).astype(F32)


def exp2_rounded(x: Array) -> Array:
    return np.exp2(x.astype(F64)).astype(F32)


def exp_library(x: Array) -> Array:
    """numpy's own f32 exp, vectorised, within 3 ulp."""
    return np.exp(x, dtype=F32)


def exp_an_ulp_up(x: Array) -> Array:
    """One ulp above, always (but for exp 0 = 1, which every kernel gets right)."""
    y = exp_rounded(x)
    return np.where((x == 0) | (y == 0), y, np.nextafter(y, F32.type(np.inf)))


# Least-squares fits of 2^f on [-1/2, 1/2] at Chebyshev nodes, highest power first; exact at 0.
def _exp2_coefficients(degree: int) -> Array:
    f = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2
    powers = np.stack([f**n for n in range(1, degree + 1)], axis=1)
    fit = np.linalg.lstsq(powers / np.exp2(f)[:, None], (np.exp2(f) - 1) / np.exp2(f), rcond=None)
    return np.append(fit[0][::-1], 1).astype(F32)


def exp2_polynomial(degree: int) -> Callable[[Array], Array]:
    """2^x by a polynomial in f32, within 2 ulp for degree 6; what is below 2^-126 becomes 0."""
    coefficients = _exp2_coefficients(degree)

    def exp2(x: Array) -> Array:
        x = np.maximum(x, F32.type(-200))
        whole = np.rint(x)
        f = x - whole
        y = np.full_like(f, coefficients[0])
        for coefficient in coefficients[1:]:
            y = y * f + coefficient
        y = np.ldexp(y, whole.astype(np.int32))
        return np.where(y < F32.type(2.0**-126), F32.type(0), y)

    return exp2
