#!/usr/bin/env python3
"""Wrong kernels are judged wrong, whatever small thing they got wrong.

A packed problem of four documents behind an anchor is answered by `bitanchor run`; that answer
passes `check`. Then each mutant of tools/python/break_capture.py must fail it, judged by all the
answers and by o alone. The control, a right answer recomputed in Python, must pass. The captures
in tests/data pass, and their copies with one wrong key block fail.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

from support import DATA, Judged, bitanchor, check, finish, skip

DOCUMENTS = (200, 312, 256, 256)
HQ, HKV, DIM, SEED = 4, 2, 64, 20241120
# Query rows whose scores pass 88, where an f32 exponential overflows without max subtraction.
LOUD_ROWS = (150, 333, 500, 640, 800, 1000)
LOUDNESS = 64


def make_problem():
    """The problem, without answers."""
    import ml_dtypes
    import numpy as np
    from capture_file import Capture

    total = sum(DOCUMENTS)
    generator = np.random.Generator(np.random.PCG64(SEED))
    tensors = {}
    for name, heads in (("q", HQ), ("k", HKV), ("v", HKV)):
        value = generator.standard_normal((1, total, heads, DIM), dtype=np.float32)
        if name == "q":
            value[:, LOUD_ROWS] *= LOUDNESS
        tensors[name] = value.astype(ml_dtypes.bfloat16)
    ids = np.repeat(np.arange(1, len(DOCUMENTS) + 1), DOCUMENTS)
    ids[0] = 0
    tensors["document_ids"] = ids.astype(np.int32)[None]
    positions = np.concatenate([np.arange(length) for length in DOCUMENTS])
    tensors["position_ids"] = positions.astype(np.int64)[None]
    metadata = {
        "version": 1,
        "kernel": "tests/python/mutants_test.py",
        "layout": "bshd",
        "mask": {"rule": "anchor", "causal": True, "window_keys": None, "corner": "top-left"},
        "softmax_scale": DIM**-0.5,
        "rope": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "rotary_dim": DIM,
            "pairing": "half",
            "recipe": "hf-llama",
        },
        "lse": {"base": "e", "scaled": True, "empty": "-inf"},
    }
    return Capture(tensors, metadata)


class Table:
    """Prints a row a judgement and keeps the failures."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.rows = 0
        print(f"{'capture':34} {'judged by':10} {'want':4} {'exit':>4} {'wrong':>7}  worst element")

    def add(self, name: str, judged_by: str, want: str, judged: Judged) -> None:
        ok = judged.passed if want == "pass" else judged.failed
        self.rows += 1
        mark = "" if ok else "   <-- FAILED"
        print(
            f"{name:34} {judged_by:10} {want:4} {judged.status:4} {judged.wrong():7}  "
            f"{judged.worst()}{mark}",
            flush=True,
        )
        if not ok:
            self.failures.append(f"{name} by {judged_by}: want {want}; {judged.summary()}")


def judge_mutants(executable: Path, folder: Path, table: Table) -> None:
    """Every mutant of the packed problem."""
    from break_capture import MUTANTS, break_capture
    from capture_file import ANSWERS, Capture, read_capture, write_capture

    problem = make_problem()
    problem_path, answer_path = folder / "problem.safetensors", folder / "answer.safetensors"
    write_capture(problem_path, problem)
    done = bitanchor(executable, "run", problem_path, "-o", answer_path)
    if done.returncode != 0:
        table.failures.append(f"bitanchor run: exit status {done.returncode}: {done.stderr}")
        return
    answered = Capture({**problem.tensors, **read_capture(answer_path).tensors}, problem.metadata)
    path = folder / "capture.safetensors"
    for answers in (("o", "lse", "q_rope", "k_rope"), ("o",)):
        kept = {
            name: value
            for name, value in answered.tensors.items()
            if name not in ANSWERS or name in answers
        }
        capture, judged_by = Capture(kept, answered.metadata), "all" if "lse" in kept else "o alone"
        write_capture(path, capture)
        table.add("bitanchor run", judged_by, "pass", check(executable, path))
        for name in MUTANTS:
            write_capture(path, break_capture(capture, name)[0])
            want = "pass" if name == "none" else "fail"
            judged = check(executable, path, "--contract", "flash-bf16")
            table.add(name, judged_by, want, judged)


def judge_committed(executable: Path, folder: Path, table: Table) -> None:
    """The captures of tests/data, and each with one wrong key block."""
    from break_capture import break_capture
    from capture_file import read_capture, write_capture

    committed = sorted(DATA.glob("*.safetensors"))
    if not committed:
        table.failures.append(f"no capture in {DATA}")
    for original in committed:
        table.add(original.stem, "all", "pass", check(executable, original))
        path = folder / original.name
        write_capture(path, break_capture(read_capture(original), "key-block-wrong")[0])
        table.add(f"{original.stem} broken", "all", "fail", check(executable, path))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    args = parser.parse_args()
    packages = ("numpy", "safetensors", "ml_dtypes")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        skip(f"no {', '.join(missing)} for {sys.executable}; tools/setup.sh installs them")
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        judge_mutants(args.bitanchor, Path(folder), table)
        judge_committed(args.bitanchor, Path(folder), table)
    return finish(table.failures, f"{table.rows} captures judged, {len(table.failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
