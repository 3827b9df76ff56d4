"""Dense attention, its gradients and RoPE in f64 numpy, by a capture's metadata.

An oracle for the Python tools: slow, plain, and written from the description of the capture file
alone, so that it shares nothing with the C++ engines. Shapes are [B, S, H, D] throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import ml_dtypes
import numpy as np

from capture_file import Capture

RULES = ("full", "document", "anchor")


@dataclass(frozen=True)
class Mask:
    """Which keys a query sees. `causal_shift` is for wrong kernels: the diagonal's displacement."""

    rule: str = "full"
    causal: bool = True
    window_keys: int | None = None
    corner: str = "top-left"
    causal_shift: int = 0


@dataclass(frozen=True)
class Rope:
    """RoPE as recipe hf-llama rounds it. `angle_dtype` is for wrong kernels."""

    inv_freq: np.ndarray  # [R/2] f32
    attention_scaling: float
    rotary_dim: int
    pairing: str
    q_positions: np.ndarray  # [B, Sq]
    k_positions: np.ndarray  # [B, Skv]
    angle_dtype: np.dtype = np.dtype(np.float32)


@dataclass(frozen=True)
class Problem:
    """What a capture asks. q, k and v are in the capture's own dtype, before RoPE."""

    q: np.ndarray  # [B, Sq, Hq, D]
    k: np.ndarray  # [B, Skv, Hkv, D]
    v: np.ndarray  # [B, Skv, Hkv, D]
    mask: Mask
    scale: float
    q_ids: np.ndarray | None  # [B, Sq]
    k_ids: np.ndarray | None  # [B, Skv]
    rope: Rope | None
    do: np.ndarray | None = None  # [B, Sq, Hq, D]: the gradient of the output, where asked backward

    @property
    def dtype(self) -> np.dtype:
        return self.q.dtype


@dataclass(frozen=True)
class Answer:
    """Attention in f64. A row that sees no key: o = 0, lse = -inf."""

    o: np.ndarray  # [B, Sq, Hq, D]
    lse: np.ndarray  # [B, Hq, Sq], natural, of scaled scores
    o_abs: np.ndarray  # [B, Sq, Hq, D], sum over keys of p |v|: the size errors are measured by


def offset(mask: Mask, sq: int, skv: int) -> int:
    """Query i stands at key i + offset."""
    return skv - sq if mask.corner == "bottom-right" else 0


def visible(problem: Problem) -> np.ndarray:
    """[B, Sq, Skv] bool: whether query i sees key j."""
    mask = problem.mask
    batch, sq = problem.q.shape[:2]
    skv = problem.k.shape[1]
    at = (np.arange(sq) + offset(mask, sq, skv))[:, None]
    key = np.arange(skv)[None, :]
    seen = np.ones((sq, skv), dtype=bool)
    if mask.causal:
        seen &= key <= at + mask.causal_shift
    if mask.window_keys is not None:
        seen &= at - key < mask.window_keys
    seen = np.broadcast_to(seen, (batch, sq, skv))
    if mask.rule == "full":
        return seen
    assert problem.q_ids is not None and problem.k_ids is not None
    related = problem.q_ids[:, :, None] == problem.k_ids[:, None, :]
    if mask.rule == "anchor":
        related |= problem.k_ids[:, None, :] == 0
    return seen & related


def inverse_frequencies(config: dict, rotary_dim: int) -> np.ndarray:
    """[R/2] f32, each operation rounded to f32 in the order transformers evaluates it."""
    f32 = np.float32
    exponent = np.arange(0, rotary_dim, 2).astype(f32) / f32(rotary_dim)
    theta = f32(config["rope_theta"])
    base = f32(1) / np.power(np.float64(theta), exponent.astype(np.float64)).astype(f32)
    rope_type = config.get("rope_type", "default")
    if rope_type == "default":
        return base
    factor = f32(config["factor"])
    if rope_type == "linear":
        return base / factor
    if rope_type != "llama3":
        raise ValueError(f"rope.rope_type: got {rope_type!r}, want default, linear or llama3")
    low, high = config["low_freq_factor"], config["high_freq_factor"]
    old_len = config["original_max_position_embeddings"]
    wavelen = f32(1) / base * f32(2 * math.pi)
    smooth = (f32(1) / wavelen * f32(old_len) - f32(low)) / f32(high - low)
    smoothed = (f32(1) - smooth) * base / factor + smooth * base
    scaled = np.where(wavelen > f32(old_len / low), base / factor, base)
    medium = (wavelen >= f32(old_len / high)) & (wavelen <= f32(old_len / low))
    return np.where(medium, smoothed, scaled).astype(f32)


def rope_tables(rope: Rope, positions: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """cos and sin, each [B, S, R/2] in `dtype`: of f32 angles, rounded to f32 and then to dtype."""
    angle = positions[..., None].astype(np.float32) * rope.inv_freq
    angle = angle.astype(rope.angle_dtype).astype(np.float64)
    scaling = np.float32(rope.attention_scaling)
    cos = np.cos(angle).astype(np.float32) * scaling
    sin = np.sin(angle).astype(np.float32) * scaling
    return cos.astype(dtype), sin.astype(dtype)


def pairs_of(rope: Rope) -> tuple[slice, slice]:
    """The two halves of the pairs that RoPE turns, along the head dimension."""
    r = rope.rotary_dim
    if rope.pairing == "half":
        return slice(0, r // 2), slice(r // 2, r)
    return slice(0, r, 2), slice(1, r, 2)


def rotate(x: np.ndarray, rope: Rope, positions: np.ndarray, back: bool = False) -> np.ndarray:
    """x [B, S, H, D] rotated, or turned back, every operation rounded in x's dtype."""
    cos, sin = (table[:, :, None, :] for table in rope_tables(rope, positions, x.dtype))
    if back:
        sin = -sin
    first, second = pairs_of(rope)
    x1, x2 = x[..., first], x[..., second]
    y = x.copy()
    y[..., first] = x1 * cos - x2 * sin
    y[..., second] = x2 * cos + x1 * sin
    return y


def rotated(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """q and k as attention reads them."""
    if problem.rope is None:
        return problem.q, problem.k
    q = rotate(problem.q, problem.rope, problem.rope.q_positions)
    k = rotate(problem.k, problem.rope, problem.rope.k_positions)
    return q, k


def key_heads(hq: int, hkv: int) -> np.ndarray:
    """[Hq]: the key head of each query head."""
    return np.arange(hq) // (hq // hkv)


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    seen: np.ndarray,
    scale: float,
    weight_dtype: np.dtype | None = None,
    heads: np.ndarray | None = None,
    key_weight: np.ndarray | None = None,
    subtract_max: bool = True,
) -> Answer:
    """Attention over the seen keys, in f64.

    q [B, Sq, Hq, D], k and v [B, Skv, Hkv, D], seen [B, Sq, Skv]. `weight_dtype` rounds the
    weights that multiply V, as flash kernels with 16-bit inputs do; the row sum stays unrounded.
    For wrong kernels: `heads` [Hq] maps query heads to key heads, `key_weight` [Skv] counts a key
    so many times, and without `subtract_max` the weights are f32 exponentials of the bare scores.
    """
    batch, sq, hq, dim = q.shape
    if heads is None:
        heads = key_heads(hq, k.shape[2])
    o = np.zeros((batch, sq, hq, dim))
    o_abs = np.zeros((batch, sq, hq, dim))
    lse = np.full((batch, hq, sq), -np.inf)
    for b in range(batch):
        for h in range(hq):
            keys = k[b, :, heads[h]].astype(np.float64)
            values = v[b, :, heads[h]].astype(np.float64)
            score = q[b, :, h].astype(np.float64) @ keys.T * scale
            score[~seen[b]] = -np.inf
            m = score.max(axis=1, keepdims=True)
            m[np.isneginf(m) | (not subtract_max)] = 0
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                p = np.exp(score - m)
                if not subtract_max:
                    p = p.astype(np.float32).astype(np.float64)
                if key_weight is not None:
                    p = p * key_weight
                total = p.sum(axis=1, keepdims=True)
                w = p if weight_dtype is None else p.astype(weight_dtype).astype(np.float64)
                row = (total > 0)[:, 0]
                o[b, row, h] = (w[row] @ values) / total[row]
                o_abs[b, row, h] = (w[row] @ np.abs(values)) / total[row]
                lse[b, h] = (m + np.log(total))[:, 0]
    return Answer(o, lse, o_abs)


def weight_dtype(dtype: np.dtype) -> np.dtype | None:
    """The format flash kernels round P to: the inputs', where those have 16 bits."""
    return None if dtype == np.float32 else dtype


def by_head(x: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """[B, S, Hkv, D] as [B, Hq, S, D] in f64, each query head with its key head."""
    return np.asarray(x, dtype=np.float64)[:, :, heads].transpose(0, 2, 1, 3)


def by_key_head(x: np.ndarray, heads: np.ndarray, hkv: int) -> np.ndarray:
    """[B, Hq, S, D] as [B, S, Hkv, D], summed over the query heads of each key head."""
    batch, _, tokens, dim = x.shape
    y = np.zeros((batch, tokens, hkv, dim))
    for h, key_head in enumerate(heads):
        y[:, :, key_head] += x[:, h]
    return y


@dataclass(frozen=True)
class Pairs:
    """P, dP and dS of every query and key, seen or not: [B, Hq, Sq, Skv] in f64."""

    p: np.ndarray
    dp: np.ndarray
    ds: np.ndarray


@dataclass(frozen=True)
class Backward:
    """How a kernel makes its gradients; as it stands, by the formulas.

    `weight_dtype` rounds P and dS before they enter products, as flash kernels with 16-bit inputs
    do. The rest is for wrong kernels.
    """

    weight_dtype: np.dtype | None = None
    seen: dict[str, np.ndarray] = field(default_factory=dict)  # [B, Sq, Skv], of dq, dk or dv alone
    scales: dict[str, float] = field(default_factory=dict)  # of dq or dk alone
    heads: np.ndarray | None = None  # [Hq]: the key head of each query head
    value_heads: np.ndarray | None = None  # [Hq]: of the V that dP is made from
    key_weight: np.ndarray | None = None  # [Skv]: how often a key counts
    delta_share: np.ndarray | None = None  # [Skv]: how much of delta is subtracted
    collected: np.ndarray | None = None  # [Hq]: which query heads dk and dv collect
    dv_rows_off: int = 0  # dv takes the dO of so many queries further down
    lse_rows_off: int = 0  # P is made with the LSE of so many queries further down


def pairs(
    problem: Problem, q: np.ndarray, k: np.ndarray, o: np.ndarray, lse: np.ndarray, how: Backward
) -> Pairs:
    """P, dP and dS with the forward pass's o [B, Sq, Hq, D] and natural LSE [B, Hq, Sq]."""
    heads = key_heads(q.shape[2], k.shape[2]) if how.heads is None else how.heads
    value_heads = heads if how.value_heads is None else how.value_heads
    do = problem.do.astype(np.float64)
    score = by_head(q, np.arange(q.shape[2])) @ by_head(k, heads).swapaxes(2, 3) * problem.scale
    lse = np.where(np.isneginf(lse), 0, lse).astype(np.float64)  # of queries that see no key
    p = np.exp(score - np.roll(lse, -how.lse_rows_off, axis=2)[..., None])
    if how.key_weight is not None:
        p = p * how.key_weight
    dp = do.transpose(0, 2, 1, 3) @ by_head(problem.v, value_heads).swapaxes(2, 3)
    delta = (do * o.astype(np.float64)).sum(axis=3).transpose(0, 2, 1)[..., None]
    share = 1.0 if how.delta_share is None else how.delta_share
    return Pairs(p, dp, p * (dp - delta * share))


def gradients_of(
    problem: Problem, q: np.ndarray, k: np.ndarray, of: Pairs, how: Backward
) -> dict[str, np.ndarray]:
    """dq, dk and dv in f64, [B, S, H, D]: those of q and k as attention reads them."""
    hq, hkv = q.shape[2], k.shape[2]
    heads = key_heads(hq, hkv) if how.heads is None else how.heads
    visible_pairs = visible(problem)

    def weights(name: str, value: np.ndarray) -> np.ndarray:
        if how.weight_dtype is not None:
            value = value.astype(np.float32).astype(how.weight_dtype).astype(np.float64)
        value = np.where(how.seen.get(name, visible_pairs)[:, None], value, 0)
        if name != "dq" and how.collected is not None:
            value = value * how.collected[:, None, None]
        return value

    rows = np.arange(hq)
    scale = {name: how.scales.get(name, problem.scale) for name in ("dq", "dk")}
    do = np.roll(problem.do, -how.dv_rows_off, axis=1)
    dq = scale["dq"] * weights("dq", of.ds) @ by_head(k, heads)
    dk = scale["dk"] * weights("dk", of.ds).swapaxes(2, 3) @ by_head(q, rows)
    dv = weights("dv", of.p).swapaxes(2, 3) @ by_head(do, rows)
    return {
        "dq": dq.transpose(0, 2, 1, 3),
        "dk": by_key_head(dk, heads, hkv),
        "dv": by_key_head(dv, heads, hkv),
    }


def _query_ids(capture: Capture, name: str, keys: np.ndarray, mask: Mask, sq: int) -> np.ndarray:
    """The queries' own ids or positions, or else the entries of the keys they stand at."""
    if f"q_{name}" in capture.tensors:
        return capture.tensors[f"q_{name}"]
    at = np.arange(sq) + offset(mask, sq, keys.shape[1])
    if at[0] < 0 or at[-1] >= keys.shape[1]:
        raise ValueError(
            f"q_{name}: absent, and queries stand at {at[0]}..{at[-1]}, outside the keys"
        )
    return keys[:, at]


def _read_rope(capture: Capture, mask: Mask) -> Rope:
    config = capture.metadata["rope"]
    if config["recipe"] != "hf-llama":
        raise ValueError(
            f"rope.recipe: got {config['recipe']!r}, want 'hf-llama' (the only one here)"
        )
    q, k = capture.bshd("q"), capture.bshd("k")
    rotary_dim = config.get("rotary_dim", q.shape[3])
    given = capture.tensors.get("inv_freq")
    default = np.broadcast_to(np.arange(k.shape[1]), k.shape[:2])
    positions = capture.tensors.get("position_ids", default)
    return Rope(
        inv_freq=inverse_frequencies(config, rotary_dim) if given is None else given,
        attention_scaling=1.0,
        rotary_dim=rotary_dim,
        pairing=config.get("pairing", "half"),
        q_positions=_query_ids(capture, "position_ids", positions, mask, q.shape[1]),
        k_positions=positions,
    )


def read_problem(capture: Capture) -> Problem:
    """What the capture asks, its defaults filled in."""
    fields = capture.metadata.get("mask", {})
    mask = Mask(
        rule=fields.get("rule", "full"),
        causal=fields.get("causal", True),
        window_keys=fields.get("window_keys"),
        corner=fields.get("corner", "top-left"),
    )
    q, k, v = (capture.bshd(name) for name in ("q", "k", "v"))
    k_ids = capture.tensors.get("document_ids")
    q_ids = None
    if mask.rule != "full":
        if k_ids is None:
            raise ValueError(f"document_ids: absent, and mask.rule is {mask.rule}")
        q_ids = _query_ids(capture, "document_ids", k_ids, mask, q.shape[1])
    scale = capture.metadata.get("softmax_scale", 1 / math.sqrt(q.shape[3]))
    return Problem(
        q=q,
        k=k,
        v=v,
        mask=mask,
        scale=float(np.float32(scale)),
        q_ids=q_ids,
        k_ids=k_ids,
        rope=_read_rope(capture, mask) if capture.has_rope else None,
        do=capture.bshd("do") if "do" in capture.tensors else None,
    )


def as_rule(problem: Problem, rule: str) -> Problem:
    """The problem under another mask rule."""
    assert rule in RULES, rule
    return replace(problem, mask=replace(problem.mask, rule=rule))


BF16 = np.dtype(ml_dtypes.bfloat16)
