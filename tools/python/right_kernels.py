"""Right kernels, each of them honest and none like another: `RIGHT`.

Every one keeps to the contracts flash-bf16 (lib/NUMERICS.md, section 5). Its row sum adds weights
before they are rounded, as the contract says: a kernel that adds the rounded ones is another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

import f32_math as f32
from f32_math import Array
from kernels import Engine, How, Softmax, eager, split, textbook, tiled, two_pass


@dataclass(frozen=True)
class Right:
    says: str
    engine: Engine = tiled
    how: How = field(default_factory=How)


NATURAL = Softmax(f32.exp_rounded)
TRUNCATING = {width: f32.product_in_groups(width, f32.f32_toward_zero) for width in (8, 16)}
TEXTBOOK_BF16P = How(softmax=NATURAL, divide=True, scores=f32.product_in_order)


def _f32_weights(p: Array) -> Array:
    return p


RIGHT: dict[str, Right] = {
    "flash-64": Right("online softmax over tiles of 64 keys, exp2 with the scale folded"),
    "flash-128": Right("the same over tiles of 128", how=How(tile=128)),
    "flash-32-natural": Right(
        "tiles of 32, exp, division", how=How(tile=32, softmax=NATURAL, divide=True)
    ),
    "descending-64": Right("tiles from the last to the first", how=How(descending=True)),
    "descending-128-f32-weights": Right(
        "the same over 128 keys, P kept in f32",
        how=How(tile=128, descending=True, weights=_f32_weights),
    ),
    "matrix-unit-16": Right(
        "groups of 16 exact products, truncated to f32",
        how=How(scores=TRUNCATING[16], values=TRUNCATING[16]),
    ),
    "matrix-unit-8-descending": Right(
        "groups of 8, tiles descending",
        how=How(scores=TRUNCATING[8], values=TRUNCATING[8], descending=True, tile=128),
    ),
    "rounding-down": Right(
        "f32 sums in order, all rounded down: faithful, if one-sided",
        how=How(values=f32.product_in_groups(1, f32.f32_down)),
    ),
    "split-k": Right("flash decoding: 4 parts joined by LSE", split, How(splits=4)),
    "two-pass": Right(
        "the maximum first, P kept in f32", two_pass, How(softmax=NATURAL, weights=_f32_weights)
    ),
    "eager-f32": Right(
        "unfused in f32, weights normalised first",
        eager,
        How(softmax=NATURAL, weights=_f32_weights, divide=True),
    ),
    "eager-bf16-weights": Right(
        "unfused, normalised weights rounded to bf16",
        eager,
        How(softmax=Softmax(f32.exp_library), divide=True),
    ),
    "exp2-unfused": Right(
        "exp2 of scores scaled and rounded first", how=How(softmax=Softmax(f32.exp2_rounded, True))
    ),
    "exp2-polynomial": Right(
        "exp2 by a polynomial in f32", how=How(softmax=Softmax(f32.exp2_polynomial(6), True, True))
    ),
    "exp-an-ulp-up": Right(
        "exp one ulp above, always", how=How(softmax=Softmax(f32.exp_an_ulp_up), divide=True)
    ),
    "scale-first": Right(
        "q scaled before the product", how=How(scale_first=True, softmax=Softmax(f32.exp_library))
    ),
    "sums-in-order": Right(
        "every product and sum in ascending order",
        how=How(scores=f32.product_in_order, values=f32.product_in_order),
    ),
    "sums-pairwise": Right(
        "row sums and scores pairwise",
        how=How(
            scores=f32.product_in_lanes(f32.sum_pairwise), row_sum=f32.sum_pairwise, divide=True
        ),
    ),
    "sums-interleaved": Right(
        "row sums and scores in 8 lanes",
        how=How(scores=f32.product_in_lanes(f32.sum_interleaved), row_sum=f32.sum_interleaved),
    ),
    "sums-blocked": Right("row sums in blocks of 16", how=How(row_sum=f32.sum_blocked)),
    "skip-rescale": Right(
        "rescales only where the maximum grew by more than 8 log 2",
        how=How(rescale_beyond=8 * np.log(2), softmax=Softmax(f32.exp2_polynomial(6), True, True)),
    ),
    "lazy-rescale": Right("four tiles share one maximum", how=How(tile=32, tiles_a_maximum=4)),
    "textbook": Right("recipe textbook", textbook, replace(TEXTBOOK_BF16P, weights=_f32_weights)),
    "textbook-bf16p": Right("recipe textbook-bf16p", textbook, TEXTBOOK_BF16P),
}
