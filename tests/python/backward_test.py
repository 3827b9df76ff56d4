#!/usr/bin/env python3
"""The gradients of `bitanchor run` are those of automatic differentiation.

Captures with `do` over masks, dtypes, layouts, GQA and RoPE are answered by `bitanchor run` under
every recipe and by either engine, which must write the same file. Its dq, dk and dv must be
PyTorch's, differentiated in f64 from the same inputs, within what the recipe's roundings can do
(`formulas` derives that). PyTorch's are first compared with the formulas in numpy.
SKIPPED without torch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from support import bitanchor, finish, require

GRADIENTS = ("dq", "dk", "dv")
RECIPES = ("textbook", "textbook-bf16p")
U32 = 2.0**-24  # half an ulp of f32, relative
# Half an ulp, relative, and half the smallest subnormal.
ROUNDING = {
    "float32": (2.0**-24, 2.0**-150),
    "float16": (2.0**-11, 2.0**-25),
    "bfloat16": (2.0**-8, 2.0**-134),
}
BF16P = 2.0**-8  # what the rounding of a weight or a dS to bf16 may add, relative
WORTH = 2  # how far the largest element must stand above the widest tolerance, or nothing is said


@dataclass(frozen=True)
class Case:
    """What one capture asks."""

    name: str
    dtype: str
    shape: tuple[int, int, int, int, int, int]  # B, Sq, Skv, Hq, Hkv, D
    rule: str = "full"
    causal: bool = True
    window_keys: int | None = None
    corner: str = "top-left"
    layout: str = "bshd"
    pairing: str | None = None  # of RoPE, over the first half of the head dimension; None: no RoPE


CASES = (
    Case("full-f32", "float32", (1, 20, 20, 2, 2, 16), causal=False),
    Case("causal-f32", "float32", (2, 33, 33, 4, 2, 24)),
    Case("causal-bf16-mqa", "bfloat16", (1, 65, 65, 8, 1, 64)),
    Case("document-f16", "float16", (2, 48, 48, 4, 2, 32), rule="document"),
    Case("anchor-f32", "float32", (1, 50, 50, 6, 2, 20), rule="anchor"),
    Case("anchor-bf16-bhsd", "bfloat16", (2, 70, 70, 4, 2, 64), rule="anchor", layout="bhsd"),
    Case("anchor-window-bf16", "bfloat16", (1, 60, 60, 2, 1, 32), rule="anchor", window_keys=9),
    Case("bottom-right-f32", "float32", (1, 7, 40, 2, 1, 16), corner="bottom-right"),
    Case("blind-rows-f16", "float16", (1, 30, 11, 2, 1, 16), corner="bottom-right"),
    Case("unseen-keys-f32", "float32", (1, 9, 40, 4, 4, 16)),
    Case("rope-half-f32", "float32", (1, 30, 30, 4, 2, 24), pairing="half"),
    Case("rope-unseen-keys-f16", "float16", (1, 30, 60, 2, 1, 16), pairing="half"),
    Case("rope-pairs-f32", "float32", (2, 30, 30, 4, 2, 24), layout="bhsd", pairing="interleaved"),
    Case("rope-anchor-bf16", "bfloat16", (1, 60, 60, 4, 2, 64), rule="anchor", pairing="half"),
)


def make_capture(case: Case, seed: int):
    """The problem and `do`, without answers."""
    import ml_dtypes
    import numpy as np
    from capture_file import Capture

    batch, sq, skv, hq, hkv, dim = case.shape
    dtype = np.dtype(ml_dtypes.bfloat16) if case.dtype == "bfloat16" else np.dtype(case.dtype)
    generator = np.random.Generator(np.random.PCG64(seed))
    metadata = {
        "version": 1,
        "kernel": "tests/python/backward_test.py",
        "layout": case.layout,
        "mask": {
            "rule": case.rule,
            "causal": case.causal,
            "window_keys": case.window_keys,
            "corner": case.corner,
        },
        "softmax_scale": dim**-0.5,
    }
    if case.pairing:
        metadata["rope"] = {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "rotary_dim": dim // 2,
            "pairing": case.pairing,
            "recipe": "hf-llama",
        }
    capture = Capture({}, metadata)
    for name, tokens, heads in (("q", sq, hq), ("k", skv, hkv), ("v", skv, hkv), ("do", sq, hq)):
        value = generator.standard_normal((batch, tokens, heads, dim), dtype=np.float32)
        capture.set_bshd(name, value.astype(dtype))
    if case.rule != "full":
        ids = 1 + (np.arange(skv)[None, :] + 5 * np.arange(batch)[:, None]) // 13
        ids[:, 0] = 0  # the anchor; in rule document a document of one token
        capture.tensors["document_ids"] = ids.astype(np.int32)
    return capture


def tables(rope, positions, dtype):
    """cos and sin [B, S, 1, R/2] in f64, as rounded to the dtype."""
    import numpy as np
    from reference import rope_tables

    both = rope_tables(rope, positions, dtype)
    return [table.astype(np.float64)[:, :, None] for table in both]


def turned_back(x, rope, positions, dtype, sizes: bool = False):
    """The gradient before RoPE of one after it: the transpose of the rotation, or of its sizes."""
    import numpy as np
    from reference import pairs_of

    cos, sin = tables(rope, positions, dtype)
    first, second = pairs_of(rope)
    y = x.copy()
    if sizes:
        cos, sin = np.abs(cos), np.abs(sin)
        y[..., first] = x[..., first] * cos + x[..., second] * sin
        y[..., second] = x[..., second] * cos + x[..., first] * sin
        return y
    y[..., first] = x[..., first] * cos + x[..., second] * sin
    y[..., second] = x[..., second] * cos - x[..., first] * sin
    return y


@dataclass(frozen=True)
class Exact:
    """The gradients in f64, [B, S, H, D], and for each element how far each recipe may be."""

    gradients: dict
    tolerance: dict  # of recipe, then of gradient


def formulas(problem, seen) -> Exact:
    """dQ, dK and dV by their formulas, and first-order bounds of what rounding does to them.

    With n keys, N terms in a fold over queries, D the head dimension, u = 2^-24 and, of a row,
    T = scale max_j sum_d |q_d k_jd| and A = max_j sum_d |dO_d v_jd|, which |dP| and |delta| do not
    exceed: a score errs by (D+1)uT, an argument of exp by (2D+4)uT, P relatively by
    r = 2((2D+4)uT + u) + (n+1)u; dP - delta by (r + (n+2D+3)u)A; dS by P A (3r + 2u + (n+2D+3)u).
    A fold over so many terms adds that many u of their sizes. bf16 weights: O errs by 2^-8 of
    sum_j P_j |v_jd| more, delta by 2^-8 A, and every term of a fold by 2^-8 of its size. Then one
    rounding to the dtype.
    """
    import numpy as np
    from reference import Backward, attend, by_head, by_key_head, gradients_of, key_heads, pairs

    hkv = problem.k.shape[2]
    heads = key_heads(problem.q.shape[2], hkv)
    exactly = Backward()
    answer = attend(problem.q, problem.k, problem.v, seen, problem.scale)
    of = pairs(problem, problem.q, problem.k, answer.o, answer.lse, exactly)
    gradients = gradients_of(problem, problem.q, problem.k, of, exactly)

    q, do = (np.asarray(x, dtype=np.float64).transpose(0, 2, 1, 3) for x in (problem.q, problem.do))
    k, v = by_head(problem.k, heads), by_head(problem.v, heads)
    dim, n, queries = q.shape[3], k.shape[2], q.shape[2] * q.shape[1] // hkv
    see = seen[:, None]
    p, ds = np.where(see, of.p, 0), np.where(see, of.ds, 0)

    largest = lambda x: np.where(see, x, 0).max(axis=3, keepdims=True)  # noqa: E731
    t = largest(np.abs(q) @ np.abs(k).swapaxes(2, 3)) * problem.scale
    a = largest(np.abs(do) @ np.abs(v).swapaxes(2, 3))
    r = (2 * ((2 * dim + 4) * t + 1) + n + 1) * U32
    ds_error = p * a * (3 * r + (2 + n + 2 * dim + 3) * U32)
    tolerance = {}
    for recipe in RECIPES:
        half = BF16P if recipe == "textbook-bf16p" else 0.0
        error = ds_error + p * a * half
        size = np.abs(ds) + error  # of dS as computed
        into_dq = error + size * (half + (n + 2) * U32)
        into_dk = error + size * (half + (queries + 2) * U32)
        into_dv = p * (r + half + (queries + 1) * U32)
        f32 = {
            "dq": (problem.scale * into_dq @ np.abs(k)).transpose(0, 2, 1, 3),
            "dk": by_key_head(problem.scale * into_dk.swapaxes(2, 3) @ np.abs(q), heads, hkv),
            "dv": by_key_head(into_dv.swapaxes(2, 3) @ np.abs(do), heads, hkv),
        }
        unit, smallest = ROUNDING[str(problem.dtype)]
        tolerance[recipe] = {
            name: 1.01 * (f32[name] + (np.abs(gradients[name]) + f32[name]) * unit) + smallest
            for name in GRADIENTS
        }
    return Exact(gradients, tolerance)


def before_rope(exact: Exact, problem) -> Exact:
    """dQ and dK with respect to q and k before RoPE.

    What the rotated gradient may be off by is rotated, too; the rotation's products and their sum
    then each add a rounding in the dtype.
    """
    import numpy as np

    rope, dtype = problem.rope, problem.dtype
    unit, smallest = ROUNDING[str(dtype)]
    gradients = dict(exact.gradients)
    tolerance = {recipe: dict(of) for recipe, of in exact.tolerance.items()}
    for name, positions in (("dq", rope.q_positions), ("dk", rope.k_positions)):
        after = exact.gradients[name]
        gradients[name] = turned_back(after, rope, positions, dtype)
        for recipe, of in exact.tolerance.items():
            off = turned_back(of[name], rope, positions, dtype, sizes=True)
            size = turned_back(np.abs(after), rope, positions, dtype, sizes=True) + off
            tolerance[recipe][name] = off + 1.01 * 2 * unit * size + 3 * smallest
    return Exact(gradients, tolerance)


def turned(x, given, rope, positions, dtype):
    """x under RoPE in torch: the values are `given`, rounded; the derivative is the rotation's."""
    import numpy as np
    import torch
    from reference import pairs_of

    cos, sin = map(torch.from_numpy, tables(rope, positions, dtype))
    first, second = pairs_of(rope)
    y = x.clone()
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., second] * cos + x[..., first] * sin
    return y + (torch.from_numpy(np.array(given, dtype=np.float64)) - y).detach()


def differentiated(problem, seen) -> dict:
    """dQ, dK and dV by torch's autograd in f64, [B, S, H, D]."""
    import numpy as np
    import torch
    from reference import key_heads, rotated

    leaf = lambda x: torch.from_numpy(np.array(x, dtype=np.float64)).requires_grad_()  # noqa: E731
    q, k, v = leaf(problem.q), leaf(problem.k), leaf(problem.v)
    heads = torch.from_numpy(key_heads(q.shape[2], k.shape[2]))
    q_used, k_used = q, k
    if problem.rope is not None:
        (q_given, k_given), rope = rotated(problem), problem.rope
        q_used = turned(q, q_given, rope, rope.q_positions, problem.dtype)
        k_used = turned(k, k_given, rope, rope.k_positions, problem.dtype)
    q_rows, k_rows, v_rows = (
        x.transpose(1, 2) for x in (q_used, k_used[:, :, heads], v[:, :, heads])
    )
    see = torch.from_numpy(np.array(seen))[:, None]
    score = (q_rows @ k_rows.transpose(2, 3) * problem.scale).masked_fill(~see, -torch.inf)
    # softmax of a row of -inf alone is NaN, and so would be its gradients.
    empty = ~see.any(dim=3, keepdim=True)
    p = torch.softmax(score.masked_fill(empty, 0), dim=3).masked_fill(~see, 0)
    o = (p @ v_rows).transpose(1, 2)
    o.backward(torch.from_numpy(np.array(problem.do, dtype=np.float64)))
    return {"dq": q.grad.numpy(), "dk": k.grad.numpy(), "dv": v.grad.numpy()}


def compare_references(name: str, ours: dict, theirs: dict) -> list[str]:
    """Two f64 computations of the same thing."""
    import numpy as np

    failures = []
    for gradient in GRADIENTS:
        error = np.abs(ours[gradient] - theirs[gradient]).max()
        if not error <= 1e-12 * np.abs(theirs[gradient]).max():
            failures.append(f"{name}: {gradient} by formula is {error} from torch's")
    return failures


def judge(name: str, answer, dtype, seen, want: dict, tolerance: dict) -> list[str]:
    """What is wrong with the answer's gradients."""
    import numpy as np

    unseen, blind = ~seen.any(axis=1), ~seen.any(axis=2)  # keys, queries
    zero = {"dq": blind, "dk": unseen, "dv": unseen}

    failures = []
    for gradient in GRADIENTS:
        if gradient not in answer.tensors:
            failures.append(f"{name}: `bitanchor run` wrote no {gradient}, and the capture has do")
            continue
        stored = answer.bshd(gradient)
        if stored.dtype != dtype or stored.shape != want[gradient].shape:
            failures.append(
                f"{name}: {gradient} is {stored.dtype} {stored.shape}, "
                f"want {dtype} {want[gradient].shape}"
            )
            continue
        got = stored.astype(np.float64)
        error, allowed = np.abs(got - want[gradient]), tolerance[gradient]
        wrong = ~(error <= allowed)  # a NaN is wrong
        share = np.where(np.isnan(error), np.inf, error / allowed)
        at = np.unravel_index(np.argmax(share), share.shape)
        print(
            f"{'FAIL' if wrong.any() else 'ok  '} {name:46} {gradient}: worst share of tolerance "
            f"{share[at]:.3f}"
        )
        if wrong.any():
            failures.append(
                f"{name}: {wrong.sum()} of {wrong.size} elements of {gradient} are wrong, the "
                f"worst at {tuple(map(int, at))}: got {got[at]}, want {want[gradient][at]} "
                f"within {allowed[at]}"
            )
        if (allowed * WORTH).max() > np.abs(want[gradient]).max():
            failures.append(f"{name}: the tolerance of {gradient} is too wide to say anything")
        lonely = got[zero[gradient]]
        # RoPE's products and differences make zeros of either sign of +0.
        either = answer.has_rope and gradient != "dv"
        if (lonely != 0).any() or (np.signbit(lonely).any() and not either):
            failures.append(f"{name}: {gradient} of what meets nobody is not +0")
    return failures


def judge_case(executable: Path, folder: Path, case: Case, seed: int) -> list[str]:
    """Every recipe's answer to one capture."""
    from capture_file import Capture, read_capture, write_capture
    from reference import read_problem, rotated, visible

    capture = make_capture(case, seed)
    problem_path, answer_path = folder / "problem.safetensors", folder / "answer.safetensors"
    write_capture(problem_path, capture)
    problem = read_problem(capture)
    seen = visible(problem)
    want = differentiated(problem, seen)
    q_used, k_used = rotated(problem)
    exact = formulas(replace(problem, q=q_used, k=k_used), seen)
    if problem.rope is not None:
        exact = before_rope(exact, problem)
    failures = compare_references(case.name, exact.gradients, want)
    for recipe in RECIPES:
        written = {}
        for engine in ("scalar", "simd"):
            name = f"{case.name} {recipe} {engine}"
            options = ("--recipe", recipe, "--engine", engine)
            done = bitanchor(executable, "run", problem_path, "-o", answer_path, *options)
            if done.returncode != 0:
                failures.append(f"{name}: run: exit status {done.returncode}: {done.stderr}")
                continue
            written[engine] = answer_path.read_bytes()
            # The answer's metadata does not repeat the layout, which is the problem's.
            answer = Capture(read_capture(answer_path).tensors, capture.metadata)
            failures += judge(name, answer, problem.dtype, seen, want, exact.tolerance[recipe])
        if len(set(written.values())) > 1:
            failures.append(f"{case.name} {recipe}: the two engines wrote different files")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    args = parser.parse_args()
    require("numpy", "safetensors", "ml_dtypes", "torch", setup="tools/setup.sh --torch")
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for seed, case in enumerate(CASES):
            failures += judge_case(args.bitanchor, Path(folder), case, seed)
    return finish(failures, f"{2 * len(CASES) * len(RECIPES)} answers compared, {len(failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
