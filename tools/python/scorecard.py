#!/usr/bin/env python3
"""Right and wrong kernels before every judge: who lets wrong ones through, who rejects right ones.

    tools/python/scorecard.py --bitanchor build/release/bitanchor --markdown scorecard.md
    tools/python/scorecard.py --bitanchor ... --only "large scores/weights-truncated"

Four problems, the kernels of kernels.py and wrong_kernels.py on each, their answers `o` and `lse`
judged by the contract with its test for bias, by replay, and by every rule that the program knows.
A wrong kernel counts where its fault changes the answer. Replay judges the same fault in the recipe
textbook-bf16p; faults that only online softmax can have are not put to it.

Exit status: 0 the tables were made, 1 a case failed to run, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy: the cases run side by side

import numpy as np

import reference
from break_capture import BLOCK_KEYS, Kernel
from capture_file import Capture, write_capture
from faults import NotHere
from kernels import Run, textbook
from packed import Packed, make_problem
from right_kernels import RIGHT, TEXTBOOK_BF16P
from scorecard_tables import markdown
from wrong_kernels import WRONG

DOCUMENTS = (200, 312, 256, 232)  # 1,000 tokens: the last tile of 64 keys is a partial one
# With scores of eight times the usual size: a few rows whose scores pass 88, where exp overflows in
# f32, and the first rows of documents, which see few keys, with scores below -10,000.
LOUD = tuple((row, 8.0) for row in (150, 333, 500, 640, 800, 990)) + tuple(
    (row, 2048.0) for row in (200, 201, 512, 513, 768, 769)
)
PROBLEMS = {
    "normal V": Packed("bf16", DOCUMENTS, 4, 2, 64, seed=11),
    "positive V": Packed("bf16", DOCUMENTS, 4, 2, 64, seed=11, positive_values=True),
    "long rows": Packed("bf16", (597, 3496), 4, 2, 64, seed=12, queries=64),
    "large scores": Packed(
        "bf16", DOCUMENTS, 4, 2, 64, seed=13, window_keys=192, loudness=8, loud_rows=LOUD
    ),
}
BASE = "flash-64"
RECIPE = "textbook-bf16p"

CONTRACT, INTERVALS, REPLAY = "contract and bias", "contract without bias", f"replay {RECIPE}"


@dataclass(frozen=True)
class Case:
    problem: str
    kernel: str
    right: bool


@dataclass
class Result:
    """What the judges said of a case: by judge, whether it passed. Absent: not put to it."""

    case: Case
    passed: dict[str, bool] = field(default_factory=dict)
    cause: str = ""  # explain's first
    sigma: float = 0.0  # the largest of the bias, in size
    says: str = ""  # why it does not count, or what went wrong
    counts: bool = True
    broke: bool = False


@dataclass(frozen=True)
class Judge:
    """The program under test."""

    program: Path
    rules: tuple[str, ...] = ()  # to ask besides the contract
    explains: bool = False
    replays: bool = False

    def report(self, capture: Path, *arguments: str, command: str = "check") -> dict:
        """The JSON report of one judgement. RuntimeError if there is none."""
        done = subprocess.run(
            [self.program, command, capture, "--json", "-", "--threads", "1", *arguments],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"bitanchor {command}: exit status {done.returncode}: {done.stderr}")
        report = json.loads(done.stdout)
        if (report["verdict"] == "pass") != (done.returncode == 0):
            raise RuntimeError(f"{report['verdict']!r} with exit status {done.returncode}")
        return report


def has_command(program: Path, command: str) -> bool:
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    return f"\n  {command} " in help_text.stdout


@cache
def problem_of(name: str) -> tuple[Capture, Kernel]:
    """A problem as a capture without answers, and as a right kernel understands it."""
    capture = make_problem(PROBLEMS[name], kernel="tools/python/scorecard.py")
    problem = reference.read_problem(capture)
    return capture, Kernel(problem, block=problem.k.shape[1] // 2 // BLOCK_KEYS)


def base_of(problem: str) -> Run:
    right = RIGHT[BASE]
    return Run(problem_of(problem)[1], right.engine, right.how)


def recipe_of(problem: str) -> Run:
    return Run(problem_of(problem)[1], textbook, TEXTBOOK_BF16P)


@cache
def right_answer(problem: str, recipe: bool) -> dict[str, np.ndarray]:
    return (recipe_of if recipe else base_of)(problem).answer()


def differs(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> bool:
    return any(got[name].tobytes() != want[name].tobytes() for name in want)


def _write(path: Path, problem: str, outputs: dict[str, np.ndarray]) -> None:
    capture = problem_of(problem)[0]
    write_capture(path, Capture({**capture.tensors, **outputs}, capture.metadata))


def _judge(judge: Judge, path: Path, result: Result) -> None:
    report = judge.report(path)
    outputs = report["outputs"]
    result.passed[CONTRACT] = report["verdict"] == "pass"
    result.passed[INTERVALS] = not any(o["outside"] or o["nonfinite_mismatch"] for o in outputs)
    sigmas = [abs(float(o["bias_sigma"] or 0)) for o in outputs]
    result.sigma = max(sigmas)
    if judge.rules:
        rules = judge.report(path, "--rule", ",".join(judge.rules))["rules"]
        for name in judge.rules:
            of = [rule["verdict"] == "pass" for rule in rules if rule["name"] == name]
            if of:
                result.passed[name] = all(of)


def _judge_replay(judge: Judge, path: Path, case: Case, result: Result) -> None:
    """The case's fault in the recipe, where the recipe can have it and shows it."""
    run = recipe_of(case.problem)
    if not case.right:
        if WRONG[case.kernel].tiles:
            return
        run = WRONG[case.kernel].fault(run)
    elif case.kernel != RECIPE:
        return
    outputs = run.answer()
    if case.right or differs(outputs, right_answer(case.problem, recipe=True)):
        _write(path, case.problem, outputs)
        result.passed[REPLAY] = judge.report(path, "--recipe", RECIPE)["verdict"] == "pass"


def _outputs(case: Case, result: Result) -> dict[str, np.ndarray] | None:
    """The case's answer; none, and why, where the problem does not have or show the fault."""
    if case.right:
        right = RIGHT[case.kernel]
        return Run(problem_of(case.problem)[1], right.engine, right.how).answer()
    wrong = WRONG[case.kernel]
    try:
        outputs = wrong.fault(base_of(case.problem)).answer()
    except NotHere:
        result.says = "the problem cannot have it"
        return None
    if not differs(outputs, right_answer(case.problem, recipe=False)) or not wrong.shows(outputs):
        result.says = "changes nothing"
        return None
    return outputs


def judged(judge: Judge, case: Case) -> Result:
    """Runs one kernel on one problem and asks every judge."""
    result = Result(case)
    try:
        outputs = _outputs(case, result)
        if outputs is None:
            result.counts = False
            return result
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "capture.safetensors"
            _write(path, case.problem, outputs)
            _judge(judge, path, result)
            if judge.explains and not case.right and not result.passed[CONTRACT]:
                causes = judge.report(path, command="explain").get("causes", [])
                result.cause = causes[0]["id"] if causes else "none"
            if judge.replays:
                _judge_replay(judge, path, case, result)
    except (RuntimeError, ValueError, KeyError, subprocess.SubprocessError) as error:
        result.broke, result.says = True, f"{type(error).__name__}: {error}"
    return result


def all_cases() -> list[Case]:
    return [
        Case(problem, kernel, right)
        for problem in PROBLEMS
        for kernels, right in ((RIGHT, True), (WRONG, False))
        for kernel in kernels
    ]


def run_cases(judge: Judge, cases: list[Case], workers: int) -> Iterable[Result]:
    """In the order of the cases."""
    with ProcessPoolExecutor(max_workers=workers) as pool:
        yield from pool.map(judged, [judge] * len(cases), cases)


def judge_of(program: Path) -> Judge:
    info = subprocess.run([program, "info", "--json"], capture_output=True, text=True, check=True)
    rules = json.loads(info.stdout)["rules"]
    names = tuple(rule if isinstance(rule, str) else rule["name"] for rule in rules)
    return Judge(program.resolve(), names, has_command(program, "explain"), replays=True)


def _line(result: Result) -> str:
    case, passed = result.case, result.passed
    if not result.counts or result.broke:
        said = ("BROKE: " if result.broke else "") + result.says
    else:
        who = ", ".join(name for name, ok in passed.items() if not ok)
        said = f"rejected by {who or 'nobody'}; {result.sigma:.1f} sigma"
        said += f"; explain: {result.cause}" if result.cause else ""
    return f"{case.problem:13} {'right' if case.right else 'wrong'} {case.kernel:28} {said}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program")
    parser.add_argument(
        "--only", metavar="PROBLEM/KERNEL", help="cases that begin so, as 'normal V/' or '/zeros'"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where the tables go")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every case's outcome goes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    cases = all_cases()
    if args.only is not None:
        problem, _, kernel = args.only.partition("/")
        cases = [c for c in cases if c.problem.startswith(problem) and c.kernel.startswith(kernel)]
        if not cases:
            parser.error(
                f"--only: got {args.only!r}, want a problem and a kernel, as 'normal V/zeros'"
            )
    judge = judge_of(args.bitanchor)
    results = []
    for result in run_cases(judge, cases, args.workers):
        print(_line(result), flush=True, file=sys.stderr)
        results.append(result)
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    tables = markdown(results, list(PROBLEMS))
    if args.markdown is not None:
        args.markdown.write_text(tables)
    print(tables)
    return 1 if any(result.broke for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
