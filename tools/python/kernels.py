"""Attention kernels in f32 numpy, written from the definition of attention and from how kernels
are built: tiles, running maxima, splits, matrix units. right_kernels.py and wrong_kernels.py have
their lists.

They share nothing with the C++ engines. Inside, tensors are [H, S, D] with H the query heads; q, k
and v hold bf16 numbers as f32. A kernel's answer is `o` [1, Sq, Hq, D] bf16 and `lse` [1, Hq, Sq].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

import f32_math as f32
import reference
from break_capture import Kernel
from f32_math import BF16, F32, F64, LOG2E, Array


@dataclass(frozen=True)
class Softmax:
    """exp(scale (s - m)) of raw scores s and their maximum m."""

    exp: Callable[[Array], Array]
    base2: bool = False  # exp2, log2(e) folded into the scale
    fused: bool = False  # scale * s - scale * m in one rounding
    constant: float = 1  # for wrong kernels: what log2(e) is off by, as a factor

    def weights(self, s: Array, m: Array, scale: np.float32) -> Array:
        factor = F32.type(F64.type(scale) * self.constant * (LOG2E if self.base2 else 1))
        if self.fused:
            t = (s.astype(F64) * factor - (m * factor).astype(F64)).astype(F32)
        else:
            t = s * factor - m * factor
        return self.exp(t)


@dataclass(frozen=True)
class How:
    """The choices that a contract leaves to a kernel. Wrong kernels choose what it does not."""

    tile: int = 64
    descending: bool = False
    splits: int = 1
    scale_first: bool = False  # q is scaled, not the scores
    softmax: Softmax = Softmax(f32.exp2_rounded, base2=True, fused=True)
    scores: f32.Product = f32.product_blas
    values: f32.Product = f32.product_blas
    row_sum: Callable[[Array], Array] = f32.sum_in_order
    weights: Callable[[Array], Array] = lambda p: f32.rounded(p, BF16)  # before they meet V
    summed: Callable[[Array], Array] = lambda p: p  # what the row sum adds
    divide: bool = False  # else by a reciprocal
    rescale_beyond: float = 0  # the maximum may grow by so much (of scaled scores) and stand
    tiles_a_maximum: int = 1  # so many tiles share one running maximum
    store: Callable[[Array], Array] = lambda o: o.astype(BF16)

    # For wrong kernels alone.
    masked: float = -np.inf  # the scaled score of a key that is not visible
    on_scores: Callable[[Array], Array] = lambda s: s
    on_running_output: Callable[[Array], Array] = lambda o: o  # after every tile
    rescale_o: Callable[[int, Array], Array] = lambda tile, factor: factor
    rescale_l: Callable[[int, Array], Array] = lambda tile, factor: factor
    maximum_of_weights: Callable[[int, Array, Array], Array] = lambda tile, old, new: new


@dataclass(frozen=True)
class Inputs:
    """What a kernel has in hand after RoPE: [H, S, D] each; its mask [Sq, Skv]."""

    q: Array
    k: Array
    v: Array
    seen: Array
    scale: np.float32
    key_weight: Array | None
    subtract_max: bool

    def part(self, keys: slice) -> Inputs:
        weight = None if self.key_weight is None else self.key_weight[keys]
        k, v, seen = self.k[:, keys], self.v[:, keys], self.seen[:, keys]
        return replace(self, k=k, v=v, seen=seen, key_weight=weight)


def inputs_of(kernel: Kernel) -> Inputs:
    """The kernel's problem rotated, its key heads spread over the query heads; batch 0."""
    problem = kernel.problem
    q, k = (x[0].astype(F32).transpose(1, 0, 2) for x in reference.rotated(problem))
    v = problem.v[0].astype(F32).transpose(1, 0, 2)
    heads = kernel.heads
    if heads is None:
        heads = reference.key_heads(len(q), len(k))
    weight = kernel.key_weight
    return Inputs(
        q=np.ascontiguousarray(q),
        k=np.ascontiguousarray(k[heads]),
        v=np.ascontiguousarray(v[heads]),
        seen=reference.visible(problem)[0],
        scale=F32.type(problem.scale),
        key_weight=None if weight is None else weight.astype(F32),
        subtract_max=kernel.subtract_max,
    )


def scored(x: Inputs, how: How) -> Array:
    """Raw scores [H, Sq, Skv], what is not visible masked."""
    s = how.on_scores(how.scores(x.q, np.ascontiguousarray(x.k.swapaxes(1, 2)), None))
    masked = F32.type(how.masked / x.scale)
    return np.where(x.seen, s, masked)


def _weights(s: Array, m: Array, x: Inputs, how: How) -> Array:
    safe = np.where(np.isneginf(m) | (not x.subtract_max), F32.type(0), m)
    p = how.softmax.weights(s, safe[..., None], x.scale)
    return p if x.key_weight is None else p * x.key_weight


def _rescale(old: Array, new: Array, x: Inputs, how: How) -> Array:
    """What sums relative to the old maximum are multiplied with: 0 where there was none."""
    if not x.subtract_max:
        return np.ones_like(old)
    safe = np.where(np.isneginf(new), F32.type(0), new)
    return how.softmax.weights(old, safe, x.scale)


def _normalised(o: Array, l: Array, how: How) -> Array:
    l = l[..., None]
    some = l > 0
    l = np.where(some, l, F32.type(1))
    o = o / l if how.divide else o * (F32.type(1) / l)
    return np.where(some | np.isnan(o), o, F32.type(0))


def _lse(m: Array, l: Array, x: Inputs) -> Array:
    m = np.where(x.subtract_max | np.isneginf(m), m, F32.type(0))
    return m * x.scale + np.log(l.astype(F64)).astype(F32)


def _tiles(n: int, how: How) -> Iterator[tuple[int, slice]]:
    """Groups of keys that share a maximum, in the order in which the kernel visits them."""
    keys = how.tile * how.tiles_a_maximum
    starts = list(range(0, n, keys))
    for at, start in enumerate(reversed(starts) if how.descending else starts):
        yield at, slice(start, min(start + keys, n))


def tiled(x: Inputs, how: How) -> tuple[Array, Array]:
    """Online softmax: f32 o [H, Sq, D] and lse [H, Sq]. A tile concerns the rows that see it."""
    heads, sq, dim = x.q.shape
    m = np.full((heads, sq), -np.inf, F32)
    l = np.zeros((heads, sq), F32)
    o = np.zeros((heads, sq, dim), F32)
    for at, keys in _tiles(x.k.shape[1], how):
        part = x.part(keys)
        touched = part.seen.any(axis=1) | np.isfinite(how.masked)
        if not touched.any():
            continue
        first, last = np.flatnonzero(touched)[[0, -1]]
        rows = slice(first, last + 1)
        part = replace(part, q=x.q[:, rows], seen=part.seen[rows])
        s = scored(part, how)
        old = m[:, rows]
        new = np.maximum(old, s.max(axis=2))
        if how.rescale_beyond > 0:
            stands = (new - old) * x.scale <= F32.type(how.rescale_beyond)
            new = np.where(stands, old, new)
        p = _weights(s, how.maximum_of_weights(at, old, new), part, how)
        factor = _rescale(old, new, part, how)
        kept = how.rescale_o(at, factor)[..., None] * o[:, rows]
        for j in range(0, p.shape[2], how.tile):  # one, unless tiles share a maximum
            of = slice(j, j + how.tile)
            kept = how.values(how.weights(p[:, :, of]), part.v[:, of], kept)
        o[:, rows] = how.on_running_output(kept)
        l[:, rows] = how.rescale_l(at, factor) * l[:, rows] + how.row_sum(how.summed(p))
        m[:, rows] = new
    return _normalised(o, l, how), _lse(m, l, x)


def split(x: Inputs, how: How) -> tuple[Array, Array]:
    """Flash decoding: each part of the keys by itself, then joined by their LSE."""
    n = x.k.shape[1]
    size = -(-n // how.splits)
    parts = [tiled(x.part(slice(i, min(i + size, n))), how) for i in range(0, n, size)]
    lses = np.stack([lse for _, lse in parts])
    most = lses.max(axis=0)
    weights = np.exp(lses - np.where(np.isneginf(most), F32.type(0), most))
    total = f32.sum_in_order(np.moveaxis(weights, 0, -1))
    o = np.zeros_like(parts[0][0])
    for (part, _), weight in zip(parts, weights):
        o = o + part * (weight / np.where(total > 0, total, F32.type(1)))[..., None]
    return o, most + np.log(total)


def two_pass(x: Inputs, how: How) -> tuple[Array, Array]:
    """The row's maximum first, then the sums over all its keys."""
    s = scored(x, how)
    m = s.max(axis=2)
    p = _weights(s, m, x, how)
    l = how.row_sum(how.summed(p))
    o = how.values(how.weights(p), x.v, None)
    return _normalised(o, l, how), _lse(m, l, x)


def eager(x: Inputs, how: How) -> tuple[Array, Array]:
    """Unfused: scores, softmax and product each by itself; weights are normalised first."""
    s = scored(x, how)
    m = s.max(axis=2)
    p = _weights(s, m, x, how)
    l = how.row_sum(how.summed(p))
    p = _normalised(p, l, how)
    return how.values(how.weights(p), x.v, None), _lse(m, l, x)


def textbook(x: Inputs, how: How) -> tuple[Array, Array]:
    """Recipes textbook and textbook-bf16p, given products in order: ascending folds over keys."""
    heads, sq, dim = x.q.shape
    s = scored(x, how)
    m = s.max(axis=2)
    p = _weights(s, m, x, how)
    w = how.weights(p)
    l = how.row_sum(how.summed(p))
    o = np.zeros((heads, sq, dim), F32)
    for j in range(x.k.shape[1]):
        rows = np.flatnonzero(x.seen[:, j])
        if np.isfinite(how.masked):
            rows = np.arange(sq)
        if rows.size:
            of = slice(rows[0], rows[-1] + 1)
            o[:, of] += w[:, of, j, None] * x.v[:, None, j]
            o[:, of] = how.on_running_output(o[:, of])
    return _normalised(o, l, how), _lse(m, l, x)


Engine = Callable[[Inputs, How], "tuple[Array, Array]"]


@dataclass(frozen=True)
class Run:
    """A kernel at work on a problem as it understands it."""

    kernel: Kernel
    engine: Engine = tiled
    how: How = field(default_factory=How)
    on_inputs: Callable[[Inputs], Inputs] = lambda x: x
    on_output: Callable[[Array], Array] = lambda o: o  # f32 [H, Sq, D], before it is stored

    def choosing(self, **fields) -> Run:
        return replace(self, how=replace(self.how, **fields))

    def answer(self) -> dict[str, Array]:
        x = self.on_inputs(inputs_of(self.kernel))
        if self.how.scale_first:
            x = replace(x, q=x.q * x.scale, scale=F32.type(1))
        with np.errstate(all="ignore"):
            o, lse = self.engine(x, self.how)
            o = self.how.store(self.on_output(o))
        outputs = {
            "o": np.ascontiguousarray(o.transpose(1, 0, 2)[None]),
            "lse": np.ascontiguousarray(lse.astype(F32)[None]),
        }
        self.kernel.finish(outputs)
        return outputs
