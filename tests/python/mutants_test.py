#!/usr/bin/env python3
"""Wrong kernels are judged wrong, whatever small thing they got wrong.

Packed problems of four documents behind an anchor are answered by `bitanchor run`; those answers
pass `check`. Then each mutant of tools/python/break_capture.py must fail it: forward passes judged
by all their answers and by o alone, backward passes by dq, dk and dv alone. The controls, right
answers recomputed in Python, must pass. The captures in tests/data pass, and their copies with one
wrong key block fail.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from support import DATA, Judged, answered, check, finish, require

from packed import Packed, make_problem  # support put tools/python on the path

# Query rows whose scores pass 88, where an f32 exponential overflows without max subtraction.
LOUD_ROWS = tuple((row, 64.0) for row in (150, 333, 500, 640, 800, 1000))
FORWARD_PROBLEM = Packed("bf16", (200, 312, 256, 256), 4, 2, 64, 20241120, loud_rows=LOUD_ROWS)
SHORT, WINDOW = (100, 60, 127, 97), ("backward-window-narrow", "backward-window-wide")
BACKWARD_PROBLEMS = {
    "bf16": Packed("bf16", SHORT, 4, 2, 64, 1, cannot_show=WINDOW),
    "bf16 4:1": Packed("bf16", SHORT, 4, 1, 64, 2, cannot_show=(*WINDOW, "dp-other-head")),
    "bf16 window": Packed(
        "bf16", SHORT, 4, 2, 64, 3, window_keys=40, cannot_show=("anchor-collects-near",)
    ),
    "f16": Packed("f16", SHORT, 4, 2, 64, 4, cannot_show=WINDOW),
    "f32": Packed("f32", SHORT, 4, 2, 64, 5, cannot_show=WINDOW),
}


class Table:
    """Prints a row a judgement and keeps the failures."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.rows = 0
        print(f"{'capture':40} {'judged by':10} {'want':4} {'exit':>4} {'wrong':>7}  worst element")

    def add(self, name: str, judged_by: str, want: str, judged: Judged) -> None:
        ok = judged.passed if want == "pass" else judged.failed
        self.rows += 1
        mark = "" if ok else "   <-- FAILED"
        print(
            f"{name:40} {judged_by:10} {want:4} {judged.status:4} {judged.wrong():7}  "
            f"{judged.worst()}{mark}",
            flush=True,
        )
        if not ok:
            self.failures.append(f"{name} by {judged_by}: want {want}; {judged.summary()}")


def judge_forward(executable: Path, folder: Path, table: Table) -> None:
    """Every forward mutant."""
    from break_capture import MUTANTS, break_capture
    from capture_file import ANSWERS, write_capture

    right = answered(executable, folder, make_problem(FORWARD_PROBLEM))
    path = folder / "capture.safetensors"
    for by, answers in (("all", ANSWERS), ("o alone", ("o",))):
        capture = right.judged_by(answers)
        write_capture(path, capture)
        table.add("bitanchor run", by, "pass", check(executable, path))
        for name in MUTANTS:
            write_capture(path, break_capture(capture, name)[0])
            want = "pass" if name == "none" else "fail"
            table.add(name, by, want, check(executable, path, "--contract", "flash-bf16"))


def judge_backward(executable: Path, folder: Path, table: Table) -> None:
    """Every backward mutant."""
    from break_capture import BACKWARD_MUTANTS, break_capture
    from capture_file import ANSWERS, GRADIENTS, write_capture

    path = folder / "capture.safetensors"
    for says, packed in BACKWARD_PROBLEMS.items():
        right = answered(executable, folder, make_problem(packed, backward=True))
        for by, answers in (("all", ANSWERS), ("gradients", GRADIENTS)):
            capture = right.judged_by(answers)
            write_capture(path, capture)
            table.add(f"bitanchor run, {says}", by, "pass", check(executable, path))
            write_capture(path, break_capture(capture, "none")[0])
            table.add(f"none, {says}", by, "pass", check(executable, path))
        for name in BACKWARD_MUTANTS:
            if name in packed.cannot_show:
                continue
            write_capture(path, break_capture(capture, name)[0])
            table.add(f"{name}, {says}", "gradients", "fail", check(executable, path))


def judge_stages(executable: Path, folder: Path, table: Table) -> None:
    """With every stage in the capture, only what is wrong itself is out, and the first is named."""
    import numpy as np
    from break_capture import break_capture
    from capture_file import Capture, write_capture

    right = answered(executable, folder, make_problem(BACKWARD_PROBLEMS["bf16"], backward=True))
    right = break_capture(right, "none")[0]  # whose delta is that of the stored o
    products = right.bshd("do").astype(np.float64) * right.bshd("o").astype(np.float64)
    delta = products.sum(axis=3).transpose(0, 2, 1).astype(np.float32)

    def with_rows(capture, **rows):
        return Capture({**capture.tensors, "delta": delta, **rows}, capture.metadata)

    path = folder / "capture.safetensors"
    captures = {
        "all stages": (with_rows(right), set()),
        "lse stated too large": (with_rows(right, lse=right.tensors["lse"] + np.float32(0.1)), {"lse"}),
        "delta stated too large": (with_rows(right, delta=delta * np.float32(1.5)), {"delta"}),
        **{
            name: (with_rows(break_capture(right, name)[0]), out)
            for name, out in {
                "delta-missing": {"dq", "dk"},
                "dv-rows-off": {"dv"},
                "dq-scale-missing": {"dq"},
                "lse-rows-off": {"dv", "dq", "dk"},
            }.items()
        },
    }
    for name, (capture, out) in captures.items():
        write_capture(path, capture)
        judged = check(executable, path)
        table.add(f"{name}, by stages", "all", "fail" if out else "pass", judged)
        first = next((stage for stage in ("lse", "delta", "dv", "dq", "dk") if stage in out), "")
        if judged.outputs_outside() != out or judged.report.get("first_out") != first:
            table.failures.append(f"{name}: want {out} out, {first!r} first; {judged.summary()}")


def judge_committed(executable: Path, folder: Path, table: Table) -> None:
    """The captures of tests/data, each with one wrong key block, and gradients without delta."""
    from break_capture import break_capture
    from capture_file import GRADIENTS, read_capture, write_capture

    committed = sorted(DATA.glob("*.safetensors"))
    if not committed:
        table.failures.append(f"no capture in {DATA}")
    for original in committed:
        table.add(original.stem, "all", "pass", check(executable, original))
        path, capture = folder / original.name, read_capture(original)
        write_capture(path, break_capture(capture, "key-block-wrong")[0])
        table.add(f"{original.stem} broken", "all", "fail", check(executable, path))
        if "do" in capture.tensors:
            gradients = capture.judged_by(GRADIENTS)
            write_capture(path, break_capture(gradients, "delta-missing")[0])
            table.add(f"{original.stem} broken", "gradients", "fail", check(executable, path))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    args = parser.parse_args()
    require("numpy", "safetensors", "ml_dtypes")
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        judge_forward(args.bitanchor, Path(folder), table)
        judge_backward(args.bitanchor, Path(folder), table)
        judge_stages(args.bitanchor, Path(folder), table)
        judge_committed(args.bitanchor, Path(folder), table)
    return finish(table.failures, f"{table.rows} captures judged, {len(table.failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
