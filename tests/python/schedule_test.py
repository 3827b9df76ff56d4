"""Schedules of GPU kernels on the command line: what `run` makes of one `check` takes for one
element by element, a contract on the same matrix unit admits it, and `explain` names it among all
the others; a textbook's answer is none of theirs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from support import Checks, bitanchor, check, finish, require

require("numpy", "safetensors", "ml_dtypes")

import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402
from capture_file import Capture, read_capture, write_capture  # noqa: E402

SM80, SM8X, SM90 = (f"flash-attention-2/{chip}" for chip in ("sm80", "sm8x", "sm90-mma"))
# What explain has to find again: dtype, head_dim, what the schedule is otherwise than SM80.
VARIANTS = [
    ("bf16", 64, {"tile": [128, 32], "order": "first-first"}),
    ("bf16", 64, {"tile": [64, 256], "row_sum": "ascending", "unit": "hopper"}),
    ("f16", 64, {"unit": "volta", "exp_argument": "shifted", "tile": [128, 64]}),
    ("f16", 64, {"unit": "blackwell", "fused_row_sum": False, "normalisation": "division"}),
]
NAMES = {"order": "last-first", "exp_argument": "fused", "row_sum": "quads", "fused_row_sum": True,
         "normalisation": "reciprocal"}  # fmt: skip


class Schedules(Checks):
    def gen(
        self, dtype: str = "bf16", D: int = 64, mask: str = "full", *more: str, S: int = 160
    ) -> Capture:
        path = self.folder / "problem"
        drawn = ["--shape", f"1,{S},2,1,{D}", "--mask", mask, "--dtype", dtype, *more]
        if mask != "full":
            drawn += ["--documents", f"30,{S - 40},10"]
        made = bitanchor(self.program, "gen", "-o", path, "--quiet", *drawn)
        self.want(made.returncode == 0, f"gen {drawn}: {made.stderr}")
        return read_capture(path)

    def run(self, problem: Capture, recipe: str | Path, *more: str) -> tuple[Capture, str]:
        """The problem with the schedule's answer, and what `run` said."""
        path, answer = self.folder / "problem", self.folder / "answer"
        write_capture(path, problem)
        ran = bitanchor(self.program, "run", path, "-o", answer, "--recipe", recipe, *more)
        self.want(ran.returncode == 0, f"run --recipe {recipe}: {ran.stderr}")
        tensors = {**problem.tensors, **read_capture(answer).tensors}
        return Capture(tensors, problem.metadata), ran.stdout

    def written(self, capture: Capture) -> Path:
        path = self.folder / "capture"
        write_capture(path, capture)
        return path

    def schedule_file(self, **fields) -> Path:
        path = self.folder / "schedule.json"
        path.write_text(json.dumps({"name": "mine", "base": SM80, **fields}))
        return path


def with_one_bit_flipped(capture: Capture, name: str, at: tuple[int, ...], bit: int) -> Capture:
    changed = np.array(capture.tensors[name])
    bits = changed.view(np.uint16 if changed.itemsize == 2 else np.uint32)
    bits[at] ^= 1 << bit
    return Capture({**capture.tensors, name: changed}, capture.metadata)


def same_bits(got: Capture, want: Capture, name: str) -> bool:
    return bool(got.tensors[name].tobytes() == want.tensors[name].tobytes())


SAID = "elements of o ("  # what `run` says of them: how many are pinned


def check_judging(on: Schedules) -> None:
    for dtype, D, mask, recipe in (("bf16", 64, "anchor", SM80), ("f16", 128, "document", SM90),
                                   ("bf16", 128, "full", SM8X)):  # fmt: skip
        what = f"{recipe} {dtype} D {D} {mask}"
        capture, said = on.run(on.gen(dtype, D, mask, "--rope", "hf-llama"), recipe)
        on.want(SAID in said, f"{what}: {said}")
        judged = check(on.program, on.written(capture), "--recipe", recipe)
        outputs = {output["name"]: output for output in judged.report.get("outputs", [])}
        on.want(judged.passed and set(outputs) == {"q_rope", "k_rope", "o", "lse"},
                f"{what}: {judged.summary()}")
        o, lse = outputs["o"], outputs["lse"]
        share = o["pinned"] / o["elements"]
        on.want(share > (0.95 if dtype == "bf16" else 0.7), f"{what}: {share} of o pinned")
        on.want(o["exact"] == o["pinned"] and o["exact"] + o["within"] == o["elements"],
                f"{what}: {o}")
        on.want(lse["pinned"] < lse["elements"] // 10 and lse["outside"] == 0, f"{what}: {lse}")
        # Two numbers further is in none of these sets.
        for name, at, bit in (("o", (0, 159, 1, 5), 1), ("lse", (0, 1, 159), 6)):
            changed = on.written(with_one_bit_flipped(capture, name, at, bit))
            wrong = check(on.program, changed, "--recipe", recipe)
            on.want(wrong.failed and wrong.outputs_outside() == {name},
                    f"{what}: a bit of {name}: {wrong.summary()}")
    scalar, _ = on.run(on.gen("bf16", 64, "anchor"), SM80, "--engine", "scalar", "--quiet")
    lanes, _ = on.run(on.gen("bf16", 64, "anchor"), SM80, "--quiet")
    on.want(same_bits(scalar, lanes, "o") and same_bits(scalar, lanes, "lse"), "engines differ")
    # The last capture on other terms: another order of tiles; LSE in base 2; what reports say.
    path = on.written(capture)
    other = check(on.program, path, "--recipe", on.schedule_file(order="first-first"))
    on.want(other.failed and "o" in other.outputs_outside(), f"other order: {other.summary()}")
    metadata = {**capture.metadata, "lse": {"base": "2", "scaled": True}}
    lse2 = capture.tensors["lse"] * np.float32(np.log2(np.e))
    base2 = Capture({**capture.tensors, "lse": lse2}, metadata)
    judged = check(on.program, on.written(base2), "--recipe", recipe)
    on.want(judged.passed, f"lse in base 2: {judged.summary()}")
    path = on.written(capture)
    page, junit = on.folder / "page.html", on.folder / "junit.xml"
    reports = ("--html", page, "--junit", junit)
    said = bitanchor(on.program, "check", path, "--recipe", recipe, *reports).stdout
    sentence = f"{o['pinned'] / o['elements']:.3%}"[:2]
    for where, text in (("html", page.read_text()), ("junit", junit.read_text())):
        on.want("Only one number is possible for" in text and sentence in text,
                f"{where} says what is pinned")
    on.want("one admissible number for" in said, f"check says what is pinned: {said}")


def check_contracts(on: Schedules) -> None:
    """What a unit makes is inside tensor-core of that unit."""
    units = {"bf16": ("ampere", "hopper"), "f16": ("volta", "turing", "blackwell")}
    for dtype, names in units.items():
        problem = on.gen(dtype, 64, "anchor")
        for unit in names:
            capture, _ = on.run(problem, on.schedule_file(unit=unit), "--quiet")
            path = on.written(capture)
            judged = check(on.program, path, "--contract", f"tensor-core-{dtype}/{unit}")
            on.want(judged.passed, f"tensor-core-{dtype}/{unit}: {judged.summary()}")
            on.want(judged.report["judged_by"]["name"] == f"tensor-core-{dtype}/{unit}",
                    f"{unit}: name")


def check_explain(on: Schedules) -> None:
    """Each capture made here is named first, above all others or beside its twins."""
    cases = [("bf16", 64, SM80, {}), ("bf16", 128, SM8X, {}), ("bf16", 64, SM90, {})]
    cases += [(dtype, D, None, fields) for dtype, D, fields in VARIANTS]
    for dtype, D, name, fields in cases:
        what = f"explain {name or fields} {dtype} D {D}"
        recipe = name or on.schedule_file(**fields)
        capture, _ = on.run(on.gen(dtype, D, S=448), recipe, "--quiet")
        done = check(on.program, on.written(capture), command="explain")
        matches = done.report.get("schedules", [])
        on.want(done.status == 0 and bool(matches), f"{what}: {done.status} {done.stderr}")
        if not matches:
            continue
        best = [match for match in matches if match["rounded"] == matches[0]["rounded"]]
        on.want(best[0]["reproduces"] == 1 and best[0]["rounded"] == 1, f"{what}: {best[0]}")
        if name is not None:
            on.want(name in [match["name"] for match in best], f"{what}: {best}")
            # Few rows show nothing of the unit; all of them do.
            on.want(len({match["unit"] for match in best}) == 1 and best[0]["rows"] == 2 * 448, f"{what}: {best}")
        else:
            mine = [match for match in best if is_what_was_run(match, fields)]
            on.want(len(mine) == 1, f"{what}: {best}")
        # Of tiles and orders none but the right one may have made it.
        on.want(len({(match["tile_keys"], match["order"]) for match in matches}) == 1,
                f"{what}: {matches}")
    # To the kernel a single query is not causal, which on sm8x makes it another tile than sm80's.
    decode = on.gen("bf16", 128, "full", "--kv-length", "300", "--corner", "bottom-right", S=1)
    capture, _ = on.run(decode, SM8X, "--quiet")
    matches = check(on.program, on.written(capture), command="explain").report["schedules"]
    on.want(SM8X in [match["name"] for match in matches] and matches[0]["tile_keys"] == 32,
            f"a single query's schedule: {matches[:2]}")
    for recipe in ("textbook", "textbook-bf16p"):
        capture, _ = on.run(on.gen("bf16", 64, S=448), recipe)
        path = on.written(capture)
        done = check(on.program, path, command="explain")
        matches = done.report.get("schedules", [])
        on.want(bool(matches) and matches[0]["reproduces"] < 1,
                f"{recipe} is no schedule's: {matches}")
        if recipe == "textbook":
            said = bitanchor(on.program, "explain", path).stdout
            on.want("none that is known" in said, f"explain says so: {said}")


def is_what_was_run(match: dict, fields: dict) -> bool:
    units = {match["unit"], *match["same_units"]}
    tile = fields.get("tile", [128, 128])[1]
    rest = all(match[key] == fields.get(key, usual) for key, usual in NAMES.items())
    return fields.get("unit", "ampere") in units and match["tile_keys"] == tile and rest


def check_table(on: Schedules) -> None:
    """A GPU whose functions are not those of any library: its table makes and judges its bits."""
    first, n = 0xBF800000 - (1 << 19), 1 << 20  # around -1
    x = np.arange(first, first + n, dtype=np.uint32).view(np.float32)
    ex2 = np.exp2(x.astype(np.float64)).astype(np.float32)
    ex2.view(np.uint32)[::3] += 2
    rcp = 1 / np.arange(0x3F800000, 0x40000000, dtype=np.uint32).view(np.float32)
    rcp.view(np.uint32)[::2] -= 1
    table = on.folder / "table.safetensors"
    tensors = {"ex2": ex2, "ex2_first": np.array([first], np.uint32), "rcp": rcp}
    safetensors.numpy.save_file(tensors, str(table))
    problem = on.gen("f16", 64)
    capture, said = on.run(problem, SM80, "--special-functions", str(table))
    on.want("where the table does not know them" in said, f"run with a table: {said}")
    plain, _ = on.run(problem, SM80)
    on.want(not same_bits(plain, capture, "o"), "the table moves bits")
    path = on.written(capture)
    judged = check(on.program, path, "--recipe", SM80, "--special-functions", str(table))
    without = check(on.program, path, "--recipe", SM80)
    pinned = [next(o["pinned"] for o in one.report["outputs"] if o["name"] == "o")
              for one in (judged, without)]  # fmt: skip
    on.want(judged.passed and without.passed and pinned[0] > pinned[1],
            f"with a table {pinned[0]}, without {pinned[1]} pinned")
    safetensors.numpy.save_file({"rcp": rcp * np.float32(1.001)}, str(table))
    refused = bitanchor(on.program, "check", path, "--recipe", SM80, "--special-functions", table)
    on.want(refused.returncode == 2 and "rcp[0]: got" in refused.stderr,
            f"a wrong table: {refused.stderr}")


def check_refusals(on: Schedules) -> None:
    problems = {
        "dtype F32": on.gen("f32"),
        "head dimension 80": on.gen("bf16", 80),
        "window": on.gen("bf16", 64, "full", "--window", "100"),
        "do: got": on.gen("bf16", 64, "full", "--do"),
    }
    answer = on.folder / "answer"
    for what, problem in problems.items():
        ran = bitanchor(on.program, "run", on.written(problem), "-o", answer, "--recipe", SM80)
        on.want(ran.returncode == 2 and what in ran.stderr and ran.stderr.count("\n") == 1,
                f"run {what}: {ran.stderr}")
    good = on.gen()
    for what, arguments, fields in (
        ("unit: got", ("--recipe", on.folder / "schedule.json"), {"unit": "cdna3"}),
        ("base: got", ("--recipe", on.folder / "schedule.json"), {"base": "textbook"}),
        ("--recipe: got", ("--recipe", "flash-attention-2/sm70"), {}),
        ("--special-functions: got", ("--special-functions", "x"), {}),
    ):
        on.schedule_file(**fields)
        ran = bitanchor(on.program, "run", on.written(good), "-o", answer, *arguments)
        on.want(ran.returncode == 2 and what in ran.stderr and ran.stderr.count("\n") == 1,
                f"run {arguments}: {ran.stderr}")
    drawn = ("--shape", "1,8,1,1,64", "--recipe", SM80)
    made = bitanchor(on.program, "golden", "make", on.folder / "goldens", *drawn)
    on.want(made.returncode == 2 and "--recipe: got" in made.stderr, f"golden make: {made.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True)
    program = parser.parse_args().bitanchor
    with tempfile.TemporaryDirectory() as folder:
        on = Schedules(program, Path(folder))
        for part in (check_judging, check_contracts, check_explain, check_table, check_refusals):
            part(on)
        listed = json.loads(bitanchor(program, "info", "--json").stdout)
        on.want({SM80, SM8X, SM90} == set(listed["schedules"]),
                "info lists schedules")
    return finish(on.failures, f"{on.checks} checks, {len(on.failures)} failures")


if __name__ == "__main__":
    sys.exit(main())
