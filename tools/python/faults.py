"""What a kernel can have wrong, as changes to a Run of kernels.py.

So a fault can be put into a tiled kernel, whose rounding noise is its own, and into the textbook
recipe, whose bits are known. A fault that the problem cannot have raises NotHere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

import f32_math as f32
import reference
from break_capture import BLOCK_KEYS, MUTANTS
from f32_math import BF16, F32, Array
from kernels import Run

Fault = Callable[[Run], Run]


class NotHere(ValueError):
    """The problem cannot have this fault."""


# --- how the problem was understood ---


def understood(mutant: str) -> Fault:
    def fault(run: Run) -> Run:
        return replace(run, kernel=MUTANTS[mutant].mutate(run.kernel))

    return fault


def masked(**fields) -> Fault:
    def fault(run: Run) -> Run:
        kernel = run.kernel
        return replace(run, kernel=kernel.changed(mask=replace(kernel.problem.mask, **fields)))

    return fault


def window(by: int | None) -> Fault:
    def fault(run: Run) -> Run:
        window = run.kernel.problem.mask.window_keys
        if window is None:
            raise NotHere
        return masked(window_keys=None if by is None else window + by)(run)

    return fault


def window_applied(run: Run) -> Run:
    if run.kernel.problem.mask.window_keys is not None:
        raise NotHere
    return masked(window_keys=128)(run)


def corner_swapped(run: Run) -> Run:
    corner = run.kernel.problem.mask.corner
    return masked(corner="top-left" if corner == "bottom-right" else "bottom-right")(run)


def boundaries_late(which: slice) -> Fault:
    """Documents but the first begin a token later; the anchor is where it was."""

    def fault(run: Run) -> Run:
        problem = run.kernel.problem
        ids = problem.k_ids[0]
        starts = (np.flatnonzero((ids[1:] != ids[:-1]) & (ids[:-1] != 0)) + 1)[which]

        def moved(of: Array, first: int) -> Array:
            of = of.copy()
            here = starts[(starts >= first) & (starts < first + of.shape[1])]
            of[0, here - first] = ids[here - 1]
            return of

        sq, skv = problem.q.shape[1], problem.k.shape[1]
        first = reference.offset(problem.mask, sq, skv)
        kernel = run.kernel.changed(
            k_ids=moved(problem.k_ids, 0), q_ids=moved(problem.q_ids, first)
        )
        return replace(run, kernel=kernel)

    return fault


def keys_counted(of: Callable[[Run], Array], times: float) -> Fault:
    """Those keys count so many times; `of` gives their indices."""

    def fault(run: Run) -> Run:
        weight = np.ones(run.kernel.problem.k.shape[1])
        weight[of(run)] = times
        return replace(run, kernel=replace(run.kernel, key_weight=weight))

    return fault


def keys(run: Run) -> Array:
    return np.arange(run.kernel.problem.k.shape[1])


def keys_values_swapped(run: Run) -> Run:
    problem = run.kernel.problem
    return replace(run, kernel=run.kernel.changed(k=problem.v, v=problem.k))


def stale_tile(run: Run) -> Run:
    """K and V of one tile are those of the tile before."""
    problem, rows = run.kernel.problem, run.kernel.block_rows()
    k, v = problem.k.copy(), problem.v.copy()
    for of, x in ((problem.k, k), (problem.v, v)):
        x[:, rows] = np.roll(of, BLOCK_KEYS, axis=1)[:, rows]
    return replace(run, kernel=run.kernel.changed(k=k, v=v))


# --- RoPE ---


def rope(**change: Callable[[reference.Rope], object]) -> Fault:
    def fault(run: Run) -> Run:
        rope = run.kernel.problem.rope
        fields = {name: of(rope) for name, of in change.items()}
        return replace(run, kernel=run.kernel.changed(rope=replace(rope, **fields)))

    return fault


def rope_twice(run: Run) -> Run:
    q, k = reference.rotated(run.kernel.problem)
    return replace(run, kernel=run.kernel.changed(q=q, k=k))


def rope_missing(run: Run) -> Run:
    return replace(run, kernel=run.kernel.changed(rope=None))


def other_theta(rope: reference.Rope) -> Array:
    return reference.inverse_frequencies({"rope_theta": 500000.0}, rope.rotary_dim)


# --- softmax and sums ---


def choosing(**fields) -> Fault:
    return lambda run: run.choosing(**fields)


def constant_off(by: float) -> Fault:
    return lambda run: run.choosing(softmax=replace(run.how.softmax, constant=1 + by))


def coarse_exp(run: Run) -> Run:
    softmax = replace(run.how.softmax, exp=f32.exp2_polynomial(2), base2=True)
    return run.choosing(softmax=softmax)


def row_sum_off(run: Run) -> Run:
    row_sum = run.how.row_sum
    return run.choosing(row_sum=lambda p: row_sum(p) * F32.type(1 + 1e-4))


def _middle_tile(run: Run) -> int:
    return run.kernel.problem.k.shape[1] // run.how.tile // 2 + 1


def rescale_missing(field: str) -> Fault:
    """In one tile the running sum `rescale_o` or `rescale_l` is left as it was."""

    def fault(run: Run) -> Run:
        tile = _middle_tile(run)
        return run.choosing(**{field: lambda at, f: np.ones_like(f) if at == tile else f})

    return fault


def stale_maximum(run: Run) -> Run:
    tile = _middle_tile(run)

    def maximum(at: int, old: Array, new: Array) -> Array:
        return np.where(np.isneginf(old), new, old) if at == tile else new

    return run.choosing(maximum_of_weights=maximum)


def never_rescaled(run: Run) -> Run:
    return run.choosing(
        rescale_o=lambda at, f: np.ones_like(f), rescale_l=lambda at, f: np.ones_like(f)
    )


def dropout(run: Run) -> Run:
    """A tenth of the weights is dropped, the rest made larger; the row sum has them all."""
    generator = np.random.Generator(np.random.PCG64(7))

    def weights(p: Array) -> Array:
        kept = generator.random(p.shape, dtype=F32) >= F32.type(0.1)
        return f32.rounded(p * kept / F32.type(0.9), BF16)

    return run.choosing(weights=weights)


# --- the output ---


def on_output(edit: Callable[[Array], None]) -> Fault:
    def fault(run: Run) -> Run:
        def edited(o: Array) -> Array:
            o = o.copy()
            edit(o)
            return o

        return replace(run, on_output=edited)

    return fault


def wrong_lane(o: Array) -> None:
    o[..., 3::8] *= F32.type(1 + 2.0**-7)


def wrong_head(o: Array) -> None:
    o[-1] = o[-2]


def _middle_row(o: Array) -> tuple[int, int]:
    return 1, o.shape[1] // 2 + 3


def stale_row(o: Array) -> None:
    h, i = _middle_row(o)
    o[h, i] = o[h, i - 1]


def zero_element(o: Array) -> None:
    h, i = _middle_row(o)
    o[h, i, int(np.argmax(np.abs(o[h, i])))] = 0


def finish(edit: Callable[[dict[str, Array]], None]) -> Fault:
    return lambda run: replace(run, kernel=replace(run.kernel, finish=edit))


def transposed(outputs: dict[str, Array]) -> None:
    o = outputs["o"]
    outputs["o"] = np.ascontiguousarray(o.transpose(0, 2, 1, 3)).reshape(o.shape)


def lse_base_2(outputs: dict[str, Array]) -> None:
    outputs["lse"] = outputs["lse"] * F32.type(f32.LOG2E)


def lse_unscaled(outputs: dict[str, Array]) -> None:
    outputs["lse"] = outputs["lse"] * F32.type(outputs["o"].shape[3] ** 0.5)


def nan_hidden(run: Run) -> Run:
    kernel = replace(run.kernel, subtract_max=False)
    return replace(run, kernel=kernel, on_output=lambda o: np.nan_to_num(o, nan=0.0))
