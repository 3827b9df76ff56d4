#!/usr/bin/env python3
"""What the scorecard shows holds: no right kernel is rejected, faint faults are caught.

Right kernels of tools/python/right_kernels.py, those least like each other, pass the contract with
its test for bias on all four problems of the scorecard; tools/scorecard has all of them. The wrong ones below fail it: the faintest of each kind, which
tolerances let through, and those that only a tiled kernel can have. The recipe textbook-bf16p in
numpy gives the bits of `check --recipe`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from support import finish, require

RIGHT = (
    "flash-64",
    "descending-128-f32-weights",
    "matrix-unit-16",
    "rounding-down",
    "split-k",
    "eager-bf16-weights",
    "exp-an-ulp-up",
    "skip-rescale",
)
CAUGHT = {
    "normal V": (
        "anchor-twice",
        "causal-shifted-left",
        "one-boundary-late",
        "rope-bf16-angles",
        "tiles-a-key-short",
        "softmax-constant-1e-4",
        "weights-truncated",
        "weights-rounded-up",
        "row-sum-1e-4",
        "output-truncated",
        "output-not-rescaled",
        "maximum-stale",
        "lane-wrong",
        "row-stale",
        "lse-base-2",
    ),
    "positive V": ("documents-ignored", "softmax-constant-1e-4", "bf16-scores", "bf16-accumulator"),
    "long rows": ("anchor-dropped", "ragged-tile-dropped", "weights-truncated", "row-sum-1e-4"),
    "large scores": ("window-narrow", "mask-minus-1e4", "no-max-subtraction", "nan-hidden"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    args = parser.parse_args()
    require("numpy", "safetensors", "ml_dtypes")
    from scorecard import CONTRACT, PROBLEMS, RECIPE, REPLAY, Case, Judge, judged, run_cases

    cases = [Case(problem, kernel, True) for problem in PROBLEMS for kernel in RIGHT]
    cases += [Case(problem, kernel, False) for problem in PROBLEMS for kernel in CAUGHT[problem]]
    failures = []
    program = args.bitanchor.resolve()
    for result in run_cases(Judge(program), cases, os.cpu_count() or 1):
        case = result.case
        want = "pass" if case.right else "reject"
        got = "pass" if result.passed.get(CONTRACT) else "reject"
        if result.broke or not result.counts or got != want:
            what = result.says or f"{result.sigma:.1f} sigma"
            failures.append(f"{case.problem}, {case.kernel}: got {got}, want {want} ({what})")
    for problem in PROBLEMS:
        result = judged(Judge(program, replays=True), Case(problem, RECIPE, True))
        if not result.passed.get(REPLAY):
            failures.append(f"{problem}, {RECIPE} in numpy: not replay's bits {result.says}")
    return finish(failures, f"{len(cases)} kernels judged, {len(failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
