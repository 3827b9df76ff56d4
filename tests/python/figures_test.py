#!/usr/bin/env python3
"""The figures of tools/figures: their numbers against numpy, the shapes they claim at a reduced size, the committed SVGs."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from support import TOOLS, Checks, finish, require

require("numpy", "ml_dtypes")

import figure_data  # noqa: E402
import numpy as np  # noqa: E402
from drift_reference import BF16, DTYPES, F64, Case, close, drift  # noqa: E402
from golden_test import gen_1  # noqa: E402

DRIFT = [name for name in figure_data.NAMES if name != "6"]
MOST_BYTES = 150_000


def reduced(name: str, **options: str) -> figure_data.Config:
    config = figure_data.read_config(name)
    return config | {"drift": config["drift"] | options}


def configs(test: Checks) -> None:
    """Every panel finds rows of every line it should show."""
    for name in DRIFT:
        config = reduced(name, shape="1,24,1,1,32", **({"lengths": "8,24"} if name == "1-right" else {}))
        config["seeds"] = config.get("seeds", [0])[:2]
        reports = figure_data.drift(config, test.program)
        for panel in config["panels"]:
            for seed in config["seeds"]:
                rows = figure_data.panel_rows(panel, reports, seed)
                want = config["drift"]["recipe"].split(",") if "draw" in panel else config["draws"]
                want = {*want, *(["exact"] if panel.get("exact") else [])}
                test.want({row["recipe"] for row in rows} == want, f"{name}: lines {[row['recipe'] for row in rows]}")
    shifts = figure_data.read_config("1-left")["drift"]["shifts"].split(",")
    paper = (0, 2, 4, 6, 8, 10, 12, 14, 15, 17, 18, 20, 22, 50, 100, 200, 500, 1000, 2000)
    test.want(shifts == [f"{shift}:16" for shift in paper], f"1-left: shifts {shifts}")
    whole = [panel for panel in figure_data.read_config("1-left")["panels"] if panel.get("exact") and "dtype" not in panel]
    test.want(len(whole) == 1, f"1-left: {len(whole)} panels with bf16, f32 and exact")


def drawn(draw: str, seed: int, S: int, D: int) -> dict[str, np.ndarray]:
    """q, k and v [L, B, S, H, D] in bf16, from NUMERICS.md's words."""
    tensors = {name: gen_1(seed, name, S * D).view(BF16).astype(F64).reshape(1, 1, S, 1, D) for name in "qkv"}
    sinks = max(1, D // 16)
    if draw != "normal":
        tensors["q"][..., -sinks:] += 8
        tensors["k"][:, :, 0] /= 8
        tensors["k"][:, :, 1:, :, -sinks:] -= 1.5
        tensors["k"][:, :, 0, :, -sinks:] = 0.5
    if draw == "sink-and-outliers":
        signs = np.array([12 if n % 2 == 0 else -12 for n in range(sinks)])
        if sinks % 2 == 1:
            signs[-1] = 0
        tensors["k"][:, :, 1:, :, -sinks:] += signs
    return {name: value.astype(BF16) for name, value in tensors.items()}


def numbers(test: Checks) -> None:
    """Every number of figure 1 left, in numpy, at 40 tokens; of the draws with even, odd and single sink dimensions besides."""
    figure = reduced("1-left", shape="1,40,1,1,32")
    odd, single = (reduced("1-left", shape=f"1,20,1,1,{D}", shifts="0:16", recipe="hf-llama") for D in (48, 16))
    for config in (figure, odd, single):
        _, S, _, _, D = map(int, config["drift"]["shape"].split(","))
        case = Case("figure", S=S, Hq=1, Hkv=1, D=D)
        for (draw, seed), report in figure_data.drift(config, test.program).items():
            bf16 = drawn(draw, seed, S, D)
            for row in report["rows"]:
                tensors = {name: value.astype(DTYPES[row["dtype"]]) for name, value in bf16.items()}
                want = drift(case, tensors, row["recipe"], tuple(row["shift"]), S)
                floor = 1e-11 if row["recipe"] == "exact" else 1e-13  # as drift_test.py
                got = [row[quantity] for quantity in ("D_abs", "D_signed", "D_output", "D_logit")]
                wanted = [want["D_abs"], want["D_signed"], want["D_output"], want["keys"]["D_logit"][0]]
                same = all(close(a, b, floor) for a, b in zip(got, wanted))
                test.want(same, f"{draw} D {D}, {row['recipe']} {row['dtype']} {row['shift']}: got {got} want {wanted}")


def left(test: Checks) -> None:
    """bf16 far above f32 on every draw, exact at f64's rounding, and the trained model's likeness above the other."""
    config = reduced("1-left", shape="1,512,1,1,128", shifts="0:16,17:16,2000:16")
    for (draw, _), report in figure_data.drift(config, test.program).items():
        by = {(row["recipe"], row["dtype"], row["shift"][0]): row for row in report["rows"]}
        for (recipe, dtype, shift), row in by.items():
            if recipe == "exact" or dtype == "f32":
                continue
            for quantity in ("D_abs", "D_output"):
                bf16, f32, exact = (r[quantity] for r in (row, by[recipe, "f32", shift], by["exact", "f32", shift]))
                what = f"{draw}, {recipe}, shift {shift}: {quantity}"
                test.want(bf16 >= 100 * f32, f"{what} bf16 {bf16} is not 100 times f32's {f32}")
                # f64's roundoff is 2^-29 of f32's; sums of 2^7 products may all round one way.
                test.want(0 < exact <= f32 * 2**-22, f"{what} exact {exact} is no rounding, beside f32's {f32}")
    config = reduced("1-left", shape="1,2048,1,1,128", shifts="0:16", recipe="hf-llama", dtype="bf16")
    D = {draw: report["rows"][0]["D_abs"] for (draw, _), report in figure_data.drift(config, test.program).items()}
    test.want(D["sink-and-outliers"] > 2 * D["normal"], f"1-left at 2048 tokens: {D}")


def middle(test: Checks) -> None:
    """The follow-up's two findings: before softmax the first key moves least; after it most, though never most of the whole."""
    config = reduced("1-middle", shape="2,512,1,1,128")
    after, before = config["panels"]
    reports = figure_data.drift(config, test.program)
    for row in figure_data.panel_rows(after, reports):
        terms = [key["D_abs"] for key in row["keys"]]
        # A row's weights add up to 1 at both shifts, and n_j is least at the first key.
        test.want(terms[0] <= sum(terms) / 2, f"{row['recipe']}: the first key's share of D is {terms[0] / sum(terms)}")
        if row["recipe"] != "normal":
            test.want(terms[0] > 2 * max(terms[1:]), f"{row['recipe']} after softmax: {terms[0]}, another {max(terms[1:])}")
    rows = {row["recipe"]: row for row in figure_data.panel_rows(before, reports)}
    for draw in ("sink-and-outliers", "strong-first-key"):
        first, *others = (key["D_logit"] for key in rows[draw]["keys"][:-8])  # the last are seen by few queries
        test.want(first < min(others) / 2, f"{draw} before softmax: {first}, another {min(others)}")
    plain = [key["D_logit"] for key in rows["normal"]["keys"][:-8]]
    test.want(plain[0] > min(plain), "normal: the first key moves least where nothing makes it")
    test.want(figure_data.panel_rows(before, reports)[0]["keys"][256]["D_logit"] ==
              reports["sink-and-outliers", 0]["rows"][0]["keys"][256]["D_logit"] * 2, "a query that sees the key: half do")  # fmt: skip


def right(test: Checks) -> None:
    """D_logit of the first key grows with every doubling where bf16 holds the angle, hardly where f32 does."""
    lengths = [64, 128, 256, 512, 1024]
    config = reduced("1-right", shape="1,1024,1,1,128", dtype="bf16", lengths=",".join(map(str, lengths)))
    for (draw, _), report in figure_data.drift(config, test.program).items():
        of = {recipe: [row["D_logit"] for row in report["rows"] if row["recipe"] == recipe] for recipe in
              ("hf-llama-legacy", "hf-llama")}  # fmt: skip
        legacy = of["hf-llama-legacy"]
        test.want(all(a < b for a, b in zip(legacy, legacy[1:])) and legacy[-1] > 8 * legacy[0], f"{draw}, legacy: {legacy}")
        test.want(max(of["hf-llama"]) < 2 * min(of["hf-llama"]), f"{draw}, hf-llama: {of['hf-llama']}")


def samples(test: Checks) -> None:
    """Figure 7: every sample of the trained model's likeness shows it, on both sides."""
    config = reduced("7", shape="1,2048,1,1,128", shifts="0:16,0:2000") | {"seeds": [1, 2, 3]}
    reports = figure_data.drift(config, test.program)
    for seed in config["seeds"]:
        sink, normal = ([row["D_abs"] for row in reports[draw, seed]["rows"]] for draw in config["draws"])
        test.want(all(a > 2 * b for a, b in zip(sink, normal)), f"7, seed {seed}: {sink} against {normal}")


def cost(test: Checks) -> None:
    """Figure 6: pairs and blocks counted one by one, and the times that were measured."""
    config = figure_data.read_config("6") | {"lengths": [1500], "documents": [300, 120, 7], "block": 100}
    T, block = 1500, config["block"]
    documents = figure_data.documents_of(config, T)
    test.want(sum(documents) == T and documents[:4] == [300, 120, 7, 300] and documents[-1] <= 300, f"documents {documents}")
    ids = np.repeat(np.arange(1, len(documents) + 1), documents)
    ids[0] = 0
    causal = np.tri(T, dtype=bool)
    masks = {"full": causal, "anchor": causal & ((ids[:, None] == ids[None, :]) | (ids[None, :] == 0))}
    for row in figure_data.pairs(config, test.program):
        seen = masks[row["mask"]]
        dense = seen.reshape(T // block, block, T // block, block).any(axis=(1, 3)).mean()
        test.want(row["kept_pairs"] == seen.sum(), f"{row['mask']}: {row['kept_pairs']} pairs, counted {seen.sum()}")
        test.want(close(row["block_density"], dense, 0), f"{row['mask']}: density {row['block_density']}, counted {dense}")
    config = figure_data.read_config("6")
    rows = figure_data.costs(config, test.program, json.loads(figure_data.MEASURED.read_text()))
    for quantity in ("kept_pairs", "block_density", "microseconds"):
        (_, lengths, full), (_, _, anchor) = figure_data.lines_by_length(rows, quantity)
        test.want(lengths == config["lengths"], f"6: lengths {lengths}")
        shares = [a / f for a, f in zip(anchor, full)]
        test.want(all(share < 0.5 for share in shares), f"6: anchor's {quantity} of full's: {shares}")
        test.want(shares[-1] < 0.1, f"6: anchor's {quantity} of full's at the longest: {shares[-1]}")
    with tempfile.TemporaryDirectory() as folder:  # a child's time is its own
        spin = Path(folder) / "spin.py"
        spin.write_text("import time\nwhile time.process_time() < 0.2: pass\n")
        seconds = figure_data.cpu_seconds([sys.executable, spin])
    test.want(0.2 <= seconds < 2, f"0.2 s of CPU time were measured as {seconds}")


def committed(test: Checks) -> None:
    """Each SVG is there, small, of the configs that are there, and in the README."""
    readme = (figure_data.ROOT / "README.md").read_text()
    for name in figure_data.NAMES:
        text = (figure_data.FIGURES / f"{name}.svg").read_text()
        ElementTree.fromstring(text)
        test.want(len(text) < MOST_BYTES, f"{name}.svg: {len(text)} bytes")
        test.want(figure_data.digest(name) in text, f"{name}.svg is older than its config: tools/figure {name}")
        test.want(f"<!-- {figure_data.read_config(name)['title']}" in text, f"{name}.svg: its title")
        test.want("<dc:date>" not in text, f"{name}.svg: a date")
        test.want(f"](tools/figures/{name}.svg)" in readme, f"README.md does not show {name}.svg")


def refusals(test: Checks) -> None:
    """A misspelt key, a missing one and a line that nothing is of are errors, not another figure."""
    kept = figure_data.FIGURES
    with tempfile.TemporaryDirectory() as folder:
        figure_data.FIGURES = Path(folder)
        for name, change in (
            ("7", lambda config: config | {"seed": [1]}),
            ("7", lambda config: {key: config[key] for key in config if key != "draws"}),
            ("1-left", lambda config: config | {"panels": [config["panels"][0] | {"dtpe": "f32"}]}),
            ("1-middle", lambda config: config | {"panels": [config["panels"][0] | {"neighbours": "most", "neighbors": "least"}]}),
            ("6", lambda config: config | {"measure": config["measure"] | {"thread": 2}}),
        ):
            config = json.loads((kept / f"{name}.json").read_text())
            (Path(folder) / f"{name}.json").write_text(json.dumps(change(config)))
            try:
                figure_data.read_config(name)
                test.want(False, f"{name}: {change(config)} was taken")
            except ValueError as error:
                test.want(name in str(error), f"{name}: {error}")
    figure_data.FIGURES = kept
    panel = {"axis": "shift", "quantity": "D_abs", "recipe": "hf-lama", "title": "t"}
    rows = [{"recipe": "hf-llama", "dtype": "bf16"}]
    for ask in (
        lambda: figure_data.panel_rows(panel, {("normal", 0): {"rows": rows}}),
        lambda: figure_data.costs(figure_data.read_config("6"), test.program, {"rows": []}),
    ):
        try:
            test.want(False, f"taken: {ask()}")
        except ValueError as error:
            test.want("panel" in str(error) or "--measure" in str(error), str(error))


def drawing(test: Checks) -> None:
    """The script that draws: the committed figure 6 again, byte for byte."""
    if importlib.util.find_spec("matplotlib") is None:
        print("not tested: drawing, as there is no matplotlib; tools/setup.sh --plots installs it")
        return
    script = [sys.executable, TOOLS / "figure_plot.py", "--bitanchor", test.program]
    done = subprocess.run([*script, "6", "-o", test.folder], capture_output=True, text=True, check=False)
    test.want(done.returncode == 0 and done.stderr == "", f"figure_plot 6: {done.stderr}")
    drawn, kept = ((folder / "6.svg").read_text() for folder in (test.folder, figure_data.FIGURES))
    version = f"Matplotlib v{importlib.metadata.version('matplotlib')}"
    test.want(drawn == kept or version not in kept, "figure 6 is not drawn as it is committed")
    for arguments in (["8"], ["6", "-o", test.folder / "absent"], ["7", "--measure"]):
        done = subprocess.run([*script, *arguments], capture_output=True, text=True, check=False)
        test.want(done.returncode == 2 and "Traceback" not in done.stderr, f"figure_plot {arguments}: {done.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        test = Checks(arguments.bitanchor, Path(folder))
        for part in (configs, numbers, left, middle, right, samples, cost, committed, refusals, drawing):
            part(test)
    return finish(test.failures, f"{test.checks} checks of figures, {len(test.failures)} failed")


if __name__ == "__main__":
    sys.exit(main())
