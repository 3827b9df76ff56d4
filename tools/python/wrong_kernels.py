"""Wrong kernels: a right one of right_kernels.py with one fault each. `WRONG`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import f32_math as f32
import faults
from break_capture import BLOCK_KEYS, MUTANTS
from f32_math import BF16, F16, F32, FP8, Array
from faults import Fault


@dataclass(frozen=True)
class Wrong:
    says: str
    fault: Fault
    causes: tuple[str, ...] = ("unknown",)  # what `explain` may call it
    tiles: bool = False  # a fault of online softmax: the textbook recipe has no place for it
    shows: Callable[[dict[str, Array]], bool] = lambda outputs: True  # or it is no fault here


def _not_finite(outputs: dict[str, Array]) -> bool:
    return not np.isfinite(outputs["o"].astype(F32)).all()


def _lse_not_finite(outputs: dict[str, Array]) -> bool:
    return not np.isfinite(outputs["lse"]).all()


def _masked_row_rivals(outputs: dict[str, Array]) -> bool:
    """Some row's scores are so low that a masked one of -10000 counts."""
    return bool((outputs["lse"] < -9000).any())


def _of_break_capture(name: str, *causes: str, **fields) -> Wrong:
    return Wrong(MUTANTS[name].says, faults.understood(name), causes or (name,), **fields)


WRONG: dict[str, Wrong] = {
    "anchor-dropped": _of_break_capture("anchor-dropped"),
    "anchor-twice": Wrong(
        "the anchor counts twice",
        faults.keys_counted(lambda run: run.kernel.problem.k_ids[0] == 0, 2),
        ("anchor-twice",),
    ),
    "documents-ignored": _of_break_capture("documents-ignored"),
    "causal-shifted-left": _of_break_capture("causal-shifted-left", "causal-shifted"),
    "causal-shifted-right": _of_break_capture("causal-shifted-right", "causal-shifted"),
    "causal-ignored": Wrong(
        "keys after the query", faults.masked(causal=False), ("causal-ignored",)
    ),
    "corner-swapped": Wrong("the other corner", faults.corner_swapped, ("corner-swapped",)),
    "window-narrow": Wrong("window a key short", faults.window(-1), ("window-shifted",)),
    "window-wide": Wrong("window a key long", faults.window(1), ("window-shifted",)),
    "window-ignored": Wrong("no window", faults.window(None), ("window-ignored",)),
    "window-applied": Wrong("a window of 128 keys", faults.window_applied, ("window-applied",)),
    "one-boundary-late": Wrong(
        "one document begins a token late",
        faults.boundaries_late(slice(1, 2)),
        ("boundary-shifted",),
    ),
    "boundaries-late": Wrong(
        "all documents but the first do", faults.boundaries_late(slice(None)), ("boundary-shifted",)
    ),
    "block-skipped": _of_break_capture("block-skipped"),
    "block-repeated": _of_break_capture("block-repeated"),
    "key-block-wrong": _of_break_capture("key-block-wrong", "stale-tile"),
    "tile-stale": Wrong(
        "K and V of one tile are the last one's", faults.stale_tile, ("key-block-wrong",)
    ),
    "ragged-tile-dropped": Wrong(
        "the last, partial tile of keys is not visited",
        faults.keys_counted(
            lambda run: faults.keys(run) >= faults.keys(run).size // BLOCK_KEYS * BLOCK_KEYS, 0
        ),
        ("block-skipped",),
    ),
    "tiles-a-key-short": Wrong(
        "the last key of every tile is dropped",
        faults.keys_counted(lambda run: faults.keys(run) % BLOCK_KEYS == BLOCK_KEYS - 1, 0),
        ("tile-key-dropped",),
    ),
    "scale-missing": _of_break_capture("scale-missing"),
    "scale-wrong": _of_break_capture("scale-wrong"),
    "heads-mapped": _of_break_capture("heads-mapped"),
    "values-shifted": _of_break_capture("values-shifted"),
    "keys-values-swapped": Wrong("K for V", faults.keys_values_swapped, ("keys-values-swapped",)),
    "layout-transposed": Wrong(
        "o stored as bhsd", faults.finish(faults.transposed), ("layout-transposed",)
    ),
    "rope-pairing": _of_break_capture("rope-pairing"),
    "rope-bf16-angles": _of_break_capture("rope-bf16-angles", "rope-angle-rounded"),
    "rope-bf16-positions": Wrong(
        "positions rounded to bf16",
        faults.rope(
            q_positions=lambda rope: rope.q_positions.astype(BF16).astype(F32),
            k_positions=lambda rope: rope.k_positions.astype(BF16).astype(F32),
        ),
        ("rope-position-rounded",),
    ),
    "rope-missing": Wrong("no RoPE", faults.rope_missing, ("rope-missing",)),
    "rope-twice": Wrong("RoPE applied twice", faults.rope_twice, ("rope-applied-twice",)),
    "rope-backward": Wrong(
        "RoPE turns the other way",
        faults.rope(q_positions=lambda r: -r.q_positions, k_positions=lambda r: -r.k_positions),
        ("rope-direction",),
    ),
    "rope-theta": Wrong(
        "theta 500000 for 10000", faults.rope(inv_freq=faults.other_theta), ("rope-theta",)
    ),
    "positions-not-reset": _of_break_capture("positions-not-reset"),
    "key-positions-late": Wrong(
        "keys one position ahead of queries",
        faults.rope(k_positions=lambda rope: rope.k_positions + 1),
        ("positions-shifted",),
    ),
    "no-max-subtraction": _of_break_capture("no-max-subtraction", "not-finite", shows=_not_finite),
    "nan-hidden": Wrong(
        "the same, NaN written as 0",
        faults.nan_hidden,
        ("not-finite",),
        shows=_lse_not_finite,
    ),
    "mask-minus-1e4": Wrong(
        "masked scores are -10000",
        faults.choosing(masked=-1e4),
        ("mask-not-infinite",),
        shows=_masked_row_rivals,
    ),
    "softmax-constant-1e-3": Wrong(
        "log2(e) off by 1e-3", faults.constant_off(1e-3), ("exp-constant",)
    ),
    "softmax-constant-1e-4": Wrong(
        "log2(e) off by 1e-4", faults.constant_off(1e-4), ("exp-constant",)
    ),
    "coarse-exp": Wrong(
        "exp2 by a parabola, off by 2e-3", faults.coarse_exp, ("exp-inaccurate",)
    ),
    "bf16-scores": Wrong(
        "scores rounded to bf16",
        faults.choosing(on_scores=lambda s: f32.rounded(s, BF16)),
        ("scores-rounded",),
    ),
    "bf16-score-sums": Wrong(
        "q k summed in bf16",
        faults.choosing(scores=f32.product_in_groups(16, lambda x: f32.rounded(x, BF16))),
        ("scores-rounded",),
    ),
    "weights-truncated": Wrong(
        "P rounded toward zero",
        faults.choosing(weights=f32.bf16_toward_zero),
        ("weights-truncated",),
    ),
    "weights-rounded-up": Wrong(
        "P rounded up",
        faults.choosing(weights=f32.bf16_away_from_zero),
        ("weights-rounded-up",),
    ),
    "weights-fp8": Wrong(
        "P in E4M3", faults.choosing(weights=lambda p: f32.rounded(p, FP8)), ("weights-fp8",)
    ),
    "dropout-on": Wrong("dropout of 0.1 left on", faults.dropout, ("dropout",)),
    "row-sum-1e-4": Wrong(
        "the row sum is 1e-4 too large", faults.row_sum_off, ("row-sum-wrong",)
    ),
    "row-sum-truncated-weights": Wrong(
        "the row sum adds weights truncated to bf16",
        faults.choosing(summed=f32.bf16_toward_zero),
        ("row-sum-rounded",),
    ),
    "bf16-accumulator": Wrong(
        "the running output kept in bf16",
        faults.choosing(on_running_output=lambda o: f32.rounded(o, BF16)),
        ("accumulator-rounded",),
    ),
    "bf16-accumulator-down": Wrong(
        "the same, rounded down",
        faults.choosing(on_running_output=f32.bf16_down),
        ("accumulator-rounded",),
    ),
    "output-not-rescaled": Wrong(
        "one tile does not rescale o",
        faults.rescale_missing("rescale_o"),
        ("output-not-rescaled",),
        tiles=True,
    ),
    "sum-not-rescaled": Wrong(
        "one tile does not rescale the row sum",
        faults.rescale_missing("rescale_l"),
        ("sum-not-rescaled",),
        tiles=True,
    ),
    "maximum-stale": Wrong(
        "one tile takes the last maximum", faults.stale_maximum, ("maximum-stale",), tiles=True
    ),
    "never-rescaled": Wrong(
        "no tile rescales", faults.never_rescaled, ("never-rescaled",), tiles=True
    ),
    "output-truncated": Wrong(
        "o truncated to bf16",
        faults.choosing(store=lambda o: f32.bf16_toward_zero(o).astype(BF16)),
        ("output-truncated",),
    ),
    "output-rounded-twice": Wrong(
        "o rounded to f16, then to bf16",
        faults.choosing(store=lambda o: o.astype(F16).astype(F32).astype(BF16)),
    ),
    "lane-wrong": Wrong(
        "dimensions 3 mod 8 are 2^-7 too large",
        faults.on_output(faults.wrong_lane),
        ("dimensions-wrong",),
    ),
    "head-wrong": Wrong(
        "the last head is the one before",
        faults.on_output(faults.wrong_head),
        ("heads-permuted",),  # the answers of heads 0, 1, 2, 2
    ),
    "row-stale": Wrong(
        "one row of one head is the one before",
        faults.on_output(faults.stale_row),
        ("rows-copied",),
    ),
    "one-zero": Wrong(
        "one large element is 0", faults.on_output(faults.zero_element), ("elements-unwritten",)
    ),
    "one-nan": _of_break_capture("one-nan", "not-finite"),
    "sign-flipped": _of_break_capture("sign-flipped"),
    "zeros": _of_break_capture("zeros", "zeros", "unknown"),
    "lse-base-2": Wrong("LSE in base 2, unstated", faults.finish(faults.lse_base_2), ("lse-base",)),
    "lse-unscaled": Wrong(
        "LSE of unscaled size", faults.finish(faults.lse_unscaled), ("lse-unscaled",)
    ),
}
