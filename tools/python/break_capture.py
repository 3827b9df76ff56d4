#!/usr/bin/env python3
"""Makes the capture that a wrong kernel would have given, from the capture of a right one.

    python3 tools/python/break_capture.py IN OUT --mutant anchor-dropped
    python3 tools/python/break_capture.py --list

The right and the wrong answer are both computed in f64, their weights and results rounded as a
flash kernel of the capture's dtype rounds them. Where the two differ, the copy gets the wrong
answer; everywhere else it keeps the bits that the real kernel gave. So a verdict on the copy is
about the mistake alone. Mutant `none` replaces the whole answer by the right one: a control.

Exit status: 0 written, 2 bad usage, or the capture cannot show the mistake (no document to leak
from, no second key head, and so on). Needs numpy, safetensors and ml_dtypes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

import reference
from capture_file import ANSWERS, Capture, read_capture, write_capture

BLOCK_KEYS = 64


@dataclass(frozen=True)
class Kernel:
    """One kernel: the problem as it understands it, and how it departs from attention."""

    problem: reference.Problem
    block: int  # which block of 64 keys the block mutants hit
    heads: np.ndarray | None = None
    key_weight: np.ndarray | None = None
    subtract_max: bool = True
    backward: reference.Backward = reference.Backward()
    rotated_products: bool = True  # dq and dk are products with k and q after RoPE
    turn: str = "back"  # how RoPE turns dq and dk: back, not, or forward
    finish: Callable[[dict[str, np.ndarray]], None] = field(default=lambda outputs: None)

    def changed(self, **fields) -> Kernel:
        """This kernel with fields of its problem replaced."""
        return replace(self, problem=replace(self.problem, **fields))

    def going_back(self, **fields) -> Kernel:
        """This kernel with fields of its backward pass replaced."""
        return replace(self, backward=replace(self.backward, **fields))

    def block_rows(self) -> slice:
        """The keys of the block."""
        skv = self.problem.k.shape[1]
        first = self.block * BLOCK_KEYS
        if not 0 <= first < skv:
            raise ValueError(f"--block: got {self.block}, want 0..{(skv - 1) // BLOCK_KEYS}")
        return slice(first, min(first + BLOCK_KEYS, skv))

    def run(self) -> dict[str, np.ndarray]:
        """o, lse, q_rope and k_rope, with do also dq, dk and dv.

        [B, S, H, D] in the capture's dtype, lse [B, Hq, Sq] F32.
        """
        dtype = self.problem.dtype
        q, k = reference.rotated(self.problem)
        answer = reference.attend(
            q,
            k,
            self.problem.v,
            reference.visible(self.problem),
            self.problem.scale,
            reference.weight_dtype(dtype),
            self.heads,
            self.key_weight,
            self.subtract_max,
        )
        outputs = {
            "o": answer.o.astype(np.float32).astype(dtype),
            "lse": answer.lse.astype(np.float32),
            "q_rope": q,
            "k_rope": k,
        }
        if self.problem.do is not None:
            outputs |= self._gradients(q, k, outputs["o"], outputs["lse"])
        self.finish(outputs)
        return outputs

    def _gradients(
        self, q: np.ndarray, k: np.ndarray, o: np.ndarray, lse: np.ndarray
    ) -> dict[str, np.ndarray]:
        """dq, dk and dv from what the forward pass stored: sums exact, then rounded once."""
        problem = self.problem
        how = replace(
            self.backward,
            weight_dtype=reference.weight_dtype(problem.dtype),
            heads=self.heads,
            key_weight=self.key_weight,
        )
        of = reference.pairs(problem, q, k, o, lse, how)
        if not self.rotated_products:
            q, k = problem.q, problem.k
        exact = reference.gradients_of(problem, q, k, of, how)
        gradients = {n: g.astype(np.float32).astype(problem.dtype) for n, g in exact.items()}
        rope = problem.rope
        if rope is not None and self.turn != "not":
            back = self.turn == "back"
            for name, at in (("dq", rope.q_positions), ("dk", rope.k_positions)):
                gradients[name] = reference.rotate(gradients[name], rope, at, back=back)
        return gradients


def _anchor_dropped(kernel: Kernel) -> Kernel:
    return replace(kernel, problem=reference.as_rule(kernel.problem, "document"))


def _documents_ignored(kernel: Kernel) -> Kernel:
    return replace(kernel, problem=reference.as_rule(kernel.problem, "full"))


def _causal_shifted(by: int) -> Callable[[Kernel], Kernel]:
    return lambda kernel: kernel.changed(mask=replace(kernel.problem.mask, causal_shift=by))


def _block_counted(times: int) -> Callable[[Kernel], Kernel]:
    def mutate(kernel: Kernel) -> Kernel:
        weight = np.ones(kernel.problem.k.shape[1])
        weight[kernel.block_rows()] = times
        return replace(kernel, key_weight=weight)

    return mutate


def _key_block_wrong(kernel: Kernel) -> Kernel:
    rows = kernel.block_rows()
    v = kernel.problem.v.copy()
    v[:, rows] = np.roll(kernel.problem.v, BLOCK_KEYS, axis=1)[:, rows]
    return kernel.changed(v=v)


def _scale_missing(kernel: Kernel) -> Kernel:
    return kernel.changed(scale=1.0)


def _scale_wrong(kernel: Kernel) -> Kernel:
    return kernel.changed(scale=1.0 / kernel.problem.q.shape[3])


def _heads_mapped(kernel: Kernel) -> Kernel:
    hq, hkv = kernel.problem.q.shape[2], kernel.problem.k.shape[2]
    return replace(kernel, heads=np.arange(hq) % hkv)


def _values_shifted(kernel: Kernel) -> Kernel:
    return kernel.changed(v=np.roll(kernel.problem.v, 1, axis=1))


def _no_max_subtraction(kernel: Kernel) -> Kernel:
    return replace(kernel, subtract_max=False)


def _zeros(outputs: dict[str, np.ndarray]) -> None:
    for name, value in outputs.items():
        outputs[name] = np.zeros_like(value)


def _middle(o: np.ndarray, big: bool) -> tuple[int, ...]:
    """An element in the middle of o; with `big`, the next one of at least the average size."""
    size = np.abs(o.astype(np.float64)).ravel()
    start = size.size // 2 + size.size // 7
    enough = size[start:] >= (size.mean() if big else 0)
    return tuple(np.unravel_index(start + int(np.argmax(enough)), o.shape))


def _one_nan(outputs: dict[str, np.ndarray]) -> None:
    outputs["o"][_middle(outputs["o"], big=False)] = np.nan


def _sign_flipped(outputs: dict[str, np.ndarray]) -> None:
    index = _middle(outputs["o"], big=True)
    outputs["o"][index] = -outputs["o"][index]


def _finish(edit: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Kernel], Kernel]:
    return lambda kernel: replace(kernel, finish=edit)


def _rope(kernel: Kernel) -> reference.Rope:
    if kernel.problem.rope is None:
        raise ValueError("the capture has no RoPE")
    return kernel.problem.rope


def _rope_pairing(kernel: Kernel) -> Kernel:
    rope = _rope(kernel)
    swapped = "interleaved" if rope.pairing == "half" else "half"
    return kernel.changed(rope=replace(rope, pairing=swapped))


def _rope_bf16_angles(kernel: Kernel) -> Kernel:
    return kernel.changed(rope=replace(_rope(kernel), angle_dtype=reference.BF16))


def _positions_not_reset(kernel: Kernel) -> Kernel:
    rope = _rope(kernel)
    batch, skv = rope.k_positions.shape
    sq = rope.q_positions.shape[1]
    running = np.broadcast_to(np.arange(skv), (batch, skv))
    first = reference.offset(kernel.problem.mask, sq, skv)
    queries = np.broadcast_to(np.arange(first, first + sq), (batch, sq))
    return kernel.changed(rope=replace(rope, k_positions=running, q_positions=queries))


def _backward(**fields) -> Callable[[Kernel], Kernel]:
    return lambda kernel: kernel.going_back(**fields)


def _delta_kept_from_block(kernel: Kernel) -> Kernel:
    share = np.ones(kernel.problem.k.shape[1])
    share[kernel.block_rows()] = 0
    return kernel.going_back(delta_share=share)


def _scale_missing_from(gradient: str) -> Callable[[Kernel], Kernel]:
    return _backward(scales={gradient: 1.0})


def _group_not_summed(kernel: Kernel) -> Kernel:
    hq, hkv = kernel.problem.q.shape[2], kernel.problem.k.shape[2]
    return kernel.going_back(collected=np.arange(hq) % (hq // hkv) == 0)


def _masked_otherwise(*gradients: str, **fields) -> Callable[[Kernel], Kernel]:
    """The products of some gradients alone take another mask."""

    def mutate(kernel: Kernel) -> Kernel:
        mask = replace(kernel.problem.mask, **fields)
        seen = reference.visible(kernel.changed(mask=mask).problem)
        return kernel.going_back(seen=dict.fromkeys(gradients, seen))

    return mutate


def _window_shifted(by: int) -> Callable[[Kernel], Kernel]:
    def mutate(kernel: Kernel) -> Kernel:
        window = kernel.problem.mask.window_keys
        if window is None:
            raise ValueError("mask.window_keys: absent, and the mistake is in the window")
        return _masked_otherwise("dq", "dk", "dv", window_keys=window + by)(kernel)

    return mutate


def _anchor_collects(own_document: bool) -> Callable[[Kernel], Kernel]:
    """dk and dv of anchors collect from the queries of the first document alone, or from none."""

    def mutate(kernel: Kernel) -> Kernel:
        problem = kernel.problem
        if problem.mask.rule != "anchor":
            raise ValueError(f"mask.rule: got {problem.mask.rule}, want anchor")
        anchors = problem.k_ids[:, None, :] == 0
        first = np.where(problem.k_ids == 0, problem.k_ids.max(), problem.k_ids).min(axis=1)
        near = (problem.q_ids <= first[:, None])[:, :, None] & own_document
        seen = reference.visible(problem) & (~anchors | near)
        return kernel.going_back(seen={"dk": seen, "dv": seen})

    return mutate


def _other_heads_values(kernel: Kernel) -> Kernel:
    hq, hkv = kernel.problem.q.shape[2], kernel.problem.k.shape[2]
    return kernel.going_back(value_heads=(reference.key_heads(hq, hkv) + 1) % hkv)


def _unrotated_products(kernel: Kernel) -> Kernel:
    _rope(kernel)
    return replace(kernel, rotated_products=False)


def _turned(turn: str) -> Callable[[Kernel], Kernel]:
    def mutate(kernel: Kernel) -> Kernel:
        _rope(kernel)
        return replace(kernel, turn=turn)

    return mutate


@dataclass(frozen=True)
class Mutant:
    says: str
    mutate: Callable[[Kernel], Kernel]


MUTANTS: dict[str, Mutant] = {
    "none": Mutant("a right kernel: the control", lambda kernel: kernel),
    "anchor-dropped": Mutant("documents no longer see the anchor", _anchor_dropped),
    "documents-ignored": Mutant("every document sees the others", _documents_ignored),
    "causal-shifted-left": Mutant("query i sees keys up to i - 1", _causal_shifted(-1)),
    "causal-shifted-right": Mutant("query i sees keys up to i + 1", _causal_shifted(1)),
    "block-skipped": Mutant("one 64-key block is never visited", _block_counted(0)),
    "block-repeated": Mutant("one 64-key block is visited twice", _block_counted(2)),
    "key-block-wrong": Mutant("one 64-key block of V is the block before it", _key_block_wrong),
    "scale-missing": Mutant("scores are not scaled", _scale_missing),
    "scale-wrong": Mutant("scores are scaled by 1/D", _scale_wrong),
    "heads-mapped": Mutant("query head h reads key head h mod Hkv", _heads_mapped),
    "values-shifted": Mutant("V is off by one row", _values_shifted),
    "no-max-subtraction": Mutant("f32 exponentials of bare scores", _no_max_subtraction),
    "zeros": Mutant("every answer is zero", _finish(_zeros)),
    "one-nan": Mutant("one element of o is NaN", _finish(_one_nan)),
    "sign-flipped": Mutant("one element of o has the other sign", _finish(_sign_flipped)),
    "rope-pairing": Mutant("dimensions paired the other way", _rope_pairing),
    "rope-bf16-angles": Mutant("RoPE angles rounded to bf16", _rope_bf16_angles),
    "positions-not-reset": Mutant("positions 0..S-1 whatever was given", _positions_not_reset),
}

# Wrong in the backward pass alone.
BACKWARD_MUTANTS: dict[str, Mutant] = {
    "delta-missing": Mutant("dS = P dP", _backward(delta_share=np.zeros(1))),
    "delta-missing-in-block": Mutant("dS = P dP in one 64-key block", _delta_kept_from_block),
    "dq-scale-missing": Mutant("dq lacks the scale", _scale_missing_from("dq")),
    "dk-scale-missing": Mutant("dk lacks the scale", _scale_missing_from("dk")),
    "group-not-summed": Mutant("dk, dv collect one query head of a group", _group_not_summed),
    "anchor-collects-near": Mutant("the anchor's dk, dv: first document", _anchor_collects(True)),
    "anchor-collects-nothing": Mutant("the anchor's dk, dv: nothing", _anchor_collects(False)),
    **{
        f"{name}-causal-{side}": Mutant(
            f"query i's keys in {name} end at i {'+' if by > 0 else '-'} 1",
            _masked_otherwise(name, causal_shift=by),
        )
        for name in ("dq", "dk", "dv")
        for side, by in (("left", -1), ("right", 1))
    },
    "backward-window-narrow": Mutant("backward window one key short", _window_shifted(-1)),
    "backward-window-wide": Mutant("backward window one key long", _window_shifted(1)),
    "dp-other-head": Mutant("dP from the next key head's V", _other_heads_values),
    "dv-rows-off": Mutant("dv takes dO of the next query", _backward(dv_rows_off=1)),
    "lse-rows-off": Mutant("P with the LSE of the next query", _backward(lse_rows_off=1)),
    "unrotated-products": Mutant("dS meets q and k before RoPE", _unrotated_products),
    "not-turned-back": Mutant("dq, dk of the rotated q and k", _turned("not")),
    "turned-forward": Mutant("RoPE turns dq, dk on, not back", _turned("forward")),
}

ALL_MUTANTS = MUTANTS | BACKWARD_MUTANTS


def _bits(value: np.ndarray) -> np.ndarray:
    value = np.ascontiguousarray(value)
    return value.view(np.dtype(f"u{value.itemsize}"))


def _as_stated(lse: np.ndarray, problem: reference.Problem, spec: dict) -> np.ndarray:
    """A natural, scaled lse [B, Hq, Sq] in the base, scaling and empty value the capture states."""
    stated = lse.astype(np.float64)
    if not spec.get("scaled", True):
        raise ValueError("lse.scaled: got false, want true (break_capture.py converts no other)")
    if str(spec.get("base", "e")) == "2":
        stated = stated / np.log(2)
    empty = np.isneginf(lse)
    return np.where(empty, float(spec.get("empty", "-inf")), stated).astype(np.float32)


def break_capture(
    capture: Capture, mutant: str, block: int | None = None
) -> tuple[Capture, dict[str, int]]:
    """The capture as the wrong kernel would have given it, and how many elements that changed.

    ValueError if this capture cannot show the mistake.
    """
    answers = [name for name in ANSWERS if name in capture.tensors]
    if not answers:
        raise ValueError(f"answers: got none, want some of {', '.join(ANSWERS)}")
    problem = reference.read_problem(capture)
    middle = problem.k.shape[1] // 2 // BLOCK_KEYS
    kernel = Kernel(problem, block=middle if block is None else block)
    want = kernel.run()
    wrong = ALL_MUTANTS[mutant].mutate(kernel).run()
    says = f"{capture.metadata.get('kernel', '')}; with mistake {mutant} (break_capture.py)"
    broken = Capture(dict(capture.tensors), {**capture.metadata, "kernel": says.removeprefix("; ")})
    if mutant == "no-max-subtraction" and np.isfinite(wrong["o"].astype(np.float32)).all():
        raise ValueError(f"{mutant} overflows nowhere here: this capture cannot show it")
    changed: dict[str, int] = {}
    for name in answers:
        got = capture.tensors[name] if name == "lse" else capture.bshd(name)
        if name == "lse":
            spec = capture.metadata.get("lse", {})
            want[name] = _as_stated(want[name], problem, spec)
            wrong[name] = _as_stated(wrong[name], problem, spec)
        differs = _bits(want[name]) != _bits(wrong[name])
        changed[name] = int(np.count_nonzero(differs))
        value = wrong[name].astype(got.dtype)
        if mutant != "none":
            value = np.where(differs, value, got)
        if name == "lse":
            broken.tensors[name] = value
        else:
            broken.set_bshd(name, value)
    if not any(changed.values()) and mutant != "none":
        raise ValueError(f"{mutant} changes nothing here: this capture cannot show it")
    return broken, changed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", nargs="?", metavar="IN", help="a right kernel's capture")
    parser.add_argument("output", nargs="?", metavar="OUT", help="where the wrong one's goes")
    parser.add_argument("--mutant", choices=ALL_MUTANTS, metavar="NAME", help="see --list")
    parser.add_argument(
        "--block", type=int, help="which block of 64 keys (default: the middle one)"
    )
    parser.add_argument(
        "--answers", metavar="NAMES", help="keep only these answers of the capture, as o,lse"
    )
    parser.add_argument("--list", action="store_true", help="name the mutants and stop")
    args = parser.parse_args()
    if args.list:
        for name, mutant in ALL_MUTANTS.items():
            print(f"{name:23} {mutant.says}")
        return 0
    if args.input is None or args.output is None or args.mutant is None:
        parser.error("IN, OUT and --mutant are needed")
    try:
        capture = read_capture(args.input)
        if args.answers is not None:
            capture = capture.judged_by(args.answers.split(","))
        broken, changed = break_capture(capture, args.mutant, args.block)
        write_capture(args.output, broken)
        counts = ", ".join(
            f"{n} of {capture.tensors[name].size} in {name}" for name, n in changed.items() if n
        )
        print(f"{args.output}: {args.mutant}: elements changed: {counts or 'none'}")
    except (OSError, KeyError, ValueError) as error:
        print(f"break_capture.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
