#!/usr/bin/env python3
"""`bitanchor drift` against its definitions in numpy (drift_reference.py), and what the command line promises."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from support import ROOT, TOOLS, Checks, bitanchor, finish, require

require("numpy", "ml_dtypes", "safetensors")

import numpy as np  # noqa: E402
import safetensors.numpy  # noqa: E402
from drift_reference import BF16, F32, F64, Case, cases, close, drift, inverse_frequencies, positions_of  # noqa: E402
from golden_test import gen_1  # noqa: E402


class Test(Checks):
    def drift(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return bitanchor(self.program, "drift", *arguments)

    def json(self, *arguments: str | Path) -> dict[str, Any]:
        done = self.drift(*arguments, "--json", "-")
        if done.returncode != 0:
            raise RuntimeError(f"drift {arguments}: {done.stderr}")
        return json.loads(done.stdout)

    def write(self, name: str, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> Path:
        path = self.folder / name
        contiguous = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        safetensors.numpy.save_file(contiguous, str(path), metadata=metadata)
        return path


def arguments_of(case: Case) -> list[str]:
    return ["--recipe", ",".join(case.recipes), "--shifts", ",".join(f"{a}:{b}" for a, b in case.shifts),
            "--lengths", ",".join(map(str, case.lengths)), "--mask", case.rule, "--rope-theta", str(case.theta),
            "--one-in", str(case.one_in), "--key", "all"]  # fmt: skip


def tensors_of(case: Case) -> dict[str, np.ndarray]:
    """q, k and v [L, B, S, H, D]."""
    random = np.random.default_rng(len(case.name))
    shapes = {"q": case.Hq, "k": case.Hkv, "v": case.Hkv}
    return {name: random.standard_normal((case.L, case.B, case.S, H, case.D)).astype(case.dtype)
            for name, H in shapes.items()}  # fmt: skip


def numbers(test: Test, case: Case) -> None:
    """Every number of every row and key, of a file."""
    tensors = tensors_of(case)
    stored = dict(tensors) if case.L > 1 else {name: value[0] for name, value in tensors.items()}
    if case.ids:
        stored["document_ids"] = np.array([case.ids] * case.B, dtype=np.int64)
    positions = np.array([positions_of(case) + b * case.by_batch for b in range(case.B)], dtype=np.int32)
    if case.reset or case.by_batch:
        stored["position_ids"] = positions
    if case.apart:
        stored["q_position_ids"] = positions + np.int32(case.apart)
    path = test.write("case.safetensors", stored)
    report = test.json("--input", path, *arguments_of(case))
    wanted = [(shift, recipe, length) for shift in case.shifts for recipe in case.recipes for length in case.lengths]
    got_rows = [(tuple(row["shift"]), row["recipe"], row["length"]) for row in report["rows"]]
    test.want(got_rows == wanted, f"{case.name}: rows {got_rows}")
    for row in report["rows"]:
        want = drift(case, tensors, row["recipe"], tuple(row["shift"]), row["length"])
        what = f"{case.name}, {row['recipe']} {row['shift']} length {row['length']}"
        # Exact is zero but for f64's rounding: of sums of D products and of angles.
        floor = 1e-11 if row["recipe"] == "exact" else 1e-13
        for name in ("D_abs", "D_signed", "D_output"):
            test.want(close(row[name], want[name], floor), f"{what}: {name} got {row[name]} want {want[name]}")
        test.want(row["D_logit"] == row["keys"][0]["D_logit"], f"{what}: the row's key")
        for name, values in want["keys"].items():
            got = [key[name] for key in row["keys"]]
            good = len(got) == len(values) and all(close(a, b, 10 * floor) for a, b in zip(got, values))
            test.want(good, f"{what}: {name} of keys")
        test.want([key["key"] for key in row["keys"]] == list(range(0, row["length"], case.one_in)), f"{what}: keys")


def strong_first_key(test: Test) -> None:
    """The draw, by way of its drift, and the shapes that the paper's figures have."""
    B, S, Hq, Hkv, D = 1, 128, 2, 1, 64
    seed = 2**33 + 7
    sink = max(1, D // 16)

    def drawn(name: str, H: int) -> np.ndarray:
        return gen_1(seed, name, B * S * H * D).view(BF16).astype(F64).reshape(1, B, S, H, D)

    q, k, v = drawn("q", Hq), drawn("k", Hkv), drawn("v", Hkv)
    q[..., -sink:] += 8
    k[:, :, 0] /= 8
    k[:, :, 1:, :, -sink:] -= 1.5
    k[:, :, 0, :, -sink:] = 0.5
    case = Case("strong-first-key", S=S, Hq=Hq, Hkv=Hkv, D=D)
    tensors = {"q": q.astype(BF16), "k": k.astype(BF16), "v": v.astype(BF16)}
    generate = ["--generate", "strong-first-key", "--shape", f"{B},{S},{Hq},{Hkv},{D}", "--seed", str(seed)]
    report = test.json(*generate, "--recipe", "hf-llama,exact", "--dtype", "bf16,f32", "--shifts", "0:16,8:16")
    by = {(row["recipe"], row["dtype"], row["shift"][0]): row for row in report["rows"]}
    want = drift(case, tensors, "hf-llama", (0, 16), S)
    got = by["hf-llama", "bf16", 0]
    for name in ("D_abs", "D_signed", "D_output"):
        test.want(close(got[name], want[name], 1e-13), f"strong-first-key: {name} got {got[name]} want {want[name]}")
    for shift in (0, 8):
        for name in ("D_abs", "D_logit", "D_output"):
            bf16, f32, exact = (by[key][name] for key in
                                (("hf-llama", "bf16", shift), ("hf-llama", "f32", shift), ("exact", "bf16", shift)))  # fmt: skip
            test.want(bf16 >= 100 * f32, f"{name}: bf16 {bf16} is not 100 times f32 {f32}")
            test.want(f32 >= 1e4 * exact, f"{name}: f32 {f32} is not far above exact {exact}")
    # Figure 1, middle: after softmax the first key moves most; before it, less than most keys do.
    keys = test.json(*generate, "--recipe", "hf-llama", "--key", "all")["rows"][0]["keys"]
    after, before = [key["D_attention"] for key in keys], [key["D_logit"] for key in keys]
    test.want(after[0] == max(after), f"after softmax the first key moves {after[0]}, another {max(after)}")
    # Keys that half of the queries see.
    others = sorted(before[1 : S // 2])
    test.want(before[0] < others[len(others) // 2], f"before softmax: {before[0]}, median {others[len(others) // 2]}")
    # gen-1 alone is `normal`.
    normal = {name: gen_1(seed, name, B * S * H * D).view(BF16).reshape(1, B, S, H, D)
              for name, H in (("q", Hq), ("k", Hkv), ("v", Hkv))}  # fmt: skip
    generate[1] = "normal"
    got = test.json(*generate, "--recipe", "hf-llama", "--key", "9")["rows"][0]
    want = drift(case, normal, "hf-llama", (0, 16), S)
    test.want(close(got["D_abs"], want["D_abs"], 1e-13), f"normal: D_abs got {got['D_abs']} want {want['D_abs']}")
    test.want(close(got["D_logit"], want["keys"]["D_logit"][9], 1e-13) and got["key"] == 9, "normal: D_logit of key 9")


def same_whatever_the_threads(test: Test) -> None:
    arguments = ["--generate", "strong-first-key", "--shape", "2,700,2,1,32", "--recipe", "hf-llama,ggml-cpu,exact",
                 "--lengths", "65,64,700,300", "--key", "all"]  # fmt: skip
    texts = [test.drift(*arguments, "--json", "-", "--threads", str(n)).stdout for n in (1, 2, 3, 16)]
    test.want(len(texts[0]) > 10000 and len(set(texts)) == 1, "the same bytes for 1, 2, 3 and 16 threads")
    names = [target["name"] for target in json.loads(bitanchor(test.program, "info", "--json").stdout)["targets"]]
    for name in names:
        test.want(test.drift(*arguments, "--json", "-", "--target", name).stdout == texts[0], f"the same bytes on {name}")
    test.want(len(names) > 0, "targets")


def stages(test: Test) -> None:
    arguments = ["--generate", "normal", "--shape", "1,300,1,1,32", "--recipe", "hf-llama-legacy,exact", "--stages",
                 "--positions", "5000"]  # fmt: skip
    report = test.json(*arguments)
    plain = report["rows"][0]["D_abs"]
    names = ["inverse-frequency", "position", "angle", "cos-sin", "apply"]
    got = {row.get("exact") or row["rounded"]: row for row in report["stages"]}
    test.want(list(got) == names and len(report["stages"]) == 10, f"stages {list(got)}")
    alone = {row["rounded"]: row["D_abs"] for row in report["stages"] if "rounded" in row}
    without = {row["exact"]: row["D_abs"] for row in report["stages"] if "exact" in row}
    # Below 316 a bf16 position is off by 1 at most, a bf16 angle as well: these dwarf the tables' roundings.
    test.want(min(alone["position"], alone["angle"]) > 3 * max(alone["cos-sin"], alone["apply"]), f"alone {alone}")
    test.want(all(value > 0 for value in alone.values()), f"alone {alone}")
    test.want(without["apply"] > plain / 2, f"without {without}, plain {plain}")
    (found,) = report["first_positions"]
    R = 32
    inv = np.power(10000.0, -np.arange(0, R, 2) / R)
    positions = np.arange(5000)

    def first(angle: np.ndarray, pair: int) -> int | None:
        """Of a rotation by another angle; nothing else rounds."""
        cost = 2 * np.abs(np.sin((angle - positions * inv[pair]) / 2))
        past = np.flatnonzero(cost > 2.0**-8)
        return int(past[0]) if len(past) else None

    def bf16(x: np.ndarray) -> np.ndarray:
        return x.astype(F32).astype(BF16).astype(F64)

    inv32 = inverse_frequencies(10000.0, R)
    for pair, row in enumerate(found["pairs"]):
        test.want(abs(row["inverse_frequency"] / inv[pair] - 1) < 1e-14, f"frequency of pair {pair}")
        want = {"inverse-frequency": first(positions * bf16(inv32[pair : pair + 1])[0], pair),
                "position": first(bf16(positions) * inv[pair], pair),
                "angle": first((positions * inv[pair]).astype(BF16).astype(F64), pair)}  # fmt: skip
        for name, position in want.items():
            got_position = row["first_position"][name]
            test.want(got_position == position, f"{name} of pair {pair}: got {got_position} want {position}")
        test.want(row["first_position"]["cos-sin"] is None, f"bf16 tables are within 2^-8.5: pair {pair}")


def rope_types(test: Test) -> None:
    """Rope types by a config: exact is zero for all, those that go by the length too."""
    types: list[dict[str, Any]] = [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 64},
        {"rope_type": "longrope", "short_factor": [1.0] * 16, "long_factor": [1 + i / 4 for i in range(16)],
         "factor": 4.0, "original_max_position_embeddings": 64},
    ]  # fmt: skip
    path = test.folder / "config.json"
    for rope in types:
        config = {"head_dim": 32, "rope_theta": 500000.0, "max_position_embeddings": 64, "rope_scaling": rope}
        path.write_text(json.dumps(config))
        report = test.json("--generate", "normal", "--shape", "1,200,1,1,32", "--config", path, "--recipe",
                           "hf-llama,exact", "--lengths", "40,200")  # fmt: skip
        for row in report["rows"]:
            good = row["D_abs"] < 1e-12 if row["recipe"] == "exact" else 1e-6 < row["D_abs"] < 1
            test.want(good, f"{rope['rope_type']} {row['recipe']} length {row['length']}: D_abs {row['D_abs']}")
    # A row does not depend on what else is asked for, and both of a pair's shifts go by the greater one.
    for rope in types:
        config = {"head_dim": 32, "rope_theta": 500000.0, "max_position_embeddings": 64, "rope_scaling": rope}
        path.write_text(json.dumps(config))
        common = ["--generate", "normal", "--shape", "1,150,1,1,32", "--config", path, "--recipe", "hf-llama,exact"]
        every = test.json(*common, "--lengths", "40,150", "--shifts", "0:16,16:0,0:300")["rows"]
        alone = [row for shift in ("0:16", "16:0", "0:300") for recipe in ("hf-llama", "exact") for length in ("40", "150")
                 for row in test.json(*common[:-1], recipe, "--lengths", length, "--shifts", shift)["rows"]]  # fmt: skip
        test.want(every == alone, f"{rope['rope_type']}: rows together {every} alone {alone}")
        values = [[row["D_abs"] for row in every if row["shift"] == shift] for shift in ([0, 16], [16, 0])]
        test.want(values[0] == values[1], f"{rope['rope_type']}: 0:16 and 16:0 {values}")


def formats(test: Test) -> None:
    arguments = ["--generate", "normal", "--shape", "1,64,1,1,16", "--shifts", "0:16,0:1", "--recipe", "all"]
    report = test.json(*arguments)
    rows = list(csv.DictReader(io.StringIO(test.drift(*arguments, "--csv", "-").stdout)))
    test.want(len(rows) == len(report["rows"]) > 50, f"{len(rows)} rows of CSV")
    for row, want in zip(rows, report["rows"]):
        same = (row["recipe"] == want["recipe"] and int(row["shift_one"]) == want["shift"][0]
                and float(row["D_abs"]) == want["D_abs"] and float(row["D_logit"]) == want["D_logit"])  # fmt: skip
        test.want(same, f"CSV {row} JSON {want}")
    every = test.drift(*arguments, "--csv", "-", "--key", "all").stdout.splitlines()
    test.want(len(every) == 1 + 64 * len(rows), "CSV of every key")
    text = test.drift(*arguments).stdout
    test.want(text.count("\n") == len(rows) + 4, "a line of text a row")
    out = test.folder / "out.json"
    quiet = test.drift(*arguments, "--quiet", "--json", out)
    test.want(quiet.stdout == "" and json.loads(out.read_text()) == report, "--quiet --json FILE")
    # The README's example is what the program says.
    readme = (ROOT / "README.md").read_text()
    command = next(line for line in readme.splitlines() if line.startswith("$ bitanchor drift "))
    test.want(f"{command}\n{test.drift(*command.split()[3:]).stdout}```" in readme, "the README's example")
    help_text = test.drift("--help").stdout
    test.want(help_text.index("bitanchor drift --generate") < help_text.index("Options"), "an example comes first")
    # A file of q and k alone has no D_output.
    two = {"q": np.ones((1, 8, 1, 4), F32), "k": np.ones((1, 8, 1, 4), F32)}
    row = test.json("--input", test.write("qk", two))["rows"][0]
    test.want(row["D_output"] is None and row["dtype"] == "f32", f"q and k alone: {row}")


def captures(test: Test) -> None:
    """A capture says layout, mask and RoPE; the same tensors in two layouts drift the same."""
    program, problem = test.program, test.folder / "problem"
    for layout in ("bshd", "bhsd"):
        done = bitanchor(program, "gen", "-o", problem, "--shape", "2,90,2,1,32", "--documents", "40,50", "--mask", "anchor",
                         "--rope", "hf-llama", "--rope-theta", "500000", "--layout", layout, "--seed", "5")  # fmt: skip
        test.want(done.returncode == 0, done.stderr)
        row = test.json("--input", problem, "--recipe", "hf-llama,meta-llama")["rows"][0]
        same = test.json("--generate", "normal", "--shape", "2,90,2,1,32", "--documents", "40,50", "--mask", "anchor",
                         "--rope-theta", "500000", "--seed", "5", "--recipe", "hf-llama")["rows"][0]  # fmt: skip
        test.want(row == same, f"capture in {layout}: {row} generated {same}")


def scales(test: Test) -> None:
    """A capture's own scale is not taken, and that is said."""
    problem = test.folder / "problem"
    bitanchor(test.program, "gen", "-o", problem, "--shape", "1,20,2,1,64", "--rope", "hf-llama")
    test.want("softmax_scale" not in test.drift("--input", problem).stdout, "1/sqrt(64) is taken")
    with safetensors.safe_open(str(problem), "np") as file:
        metadata = json.loads(file.metadata()["bitanchor"])
    metadata["softmax_scale"] = 0.5
    path = test.write("scaled", safetensors.numpy.load_file(str(problem)), {"bitanchor": json.dumps(metadata)})
    said = test.drift("--input", path).stdout
    test.want("taken: softmax_scale: 1/sqrt(64), not the capture's 0.5\n" in said, f"a scale of 0.5: {said}")


def angles(test: Test) -> None:
    """cos and sin in f64 are of angles below 2^32: exact is zero up to there, and refused beyond."""
    problem = test.folder / "problem"
    done = bitanchor(test.program, "gen", "-o", problem, "--shape", "1,20,2,1,8", "--rope", "hf-llama")
    test.want(done.returncode == 0, done.stderr)
    tensors = safetensors.numpy.load_file(str(problem))
    with safetensors.safe_open(str(problem), "np") as file:
        metadata = file.metadata()
    last = 35  # 20 tokens, shifted by 16

    def capture(name: str, frequency: float) -> Path:
        inv_freq = np.array([1, 0.1, frequency, 0.001], F32)
        return test.write(name, {**tensors, "inv_freq": inv_freq}, metadata)

    below, beyond = (np.nextafter(np.float32(2**32 / last), np.float32(to)) for to in (0, np.inf))
    for sign in (1, -1):
        path = capture("below", sign * below)
        exact, rounded = test.json("--input", path, "--recipe", "exact,hf-llama")["rows"]
        test.want(exact["D_logit"] < 1e-13 < rounded["D_logit"] < 1, f"{sign * below}: exact {exact} rounded {rounded}")
    path = capture("stages", 1e7)
    test.json("--input", path, "--recipe", "hf-llama", "--stages", "--positions", "400")
    refused: list[list[str | Path]] = [["--input", path, "--stages", "--positions", "500"]]
    refused += [["--input", capture(f"refused{n}", frequency), "--recipe", recipe]
                for n, frequency in enumerate((beyond, -beyond, 3e38, np.inf, -np.inf, np.nan))
                for recipe in ("exact", "hf-llama")]  # fmt: skip
    normal = ["--generate", "normal", "--shape", "1,20,2,1,64", "--recipe", "hf-llama,exact"]
    refused += [[*normal, "--rope-theta", "1e-10", "--shifts", "0:2000000000"],
                [*normal, "--rope-theta", "1e-38"], [*normal, "--rope-theta", "0.4", "--shifts", "0:2147483628"],
                [*normal, "--rope-theta", "0.001", "--stages", "--positions", "9000000"]]  # fmt: skip
    for arguments in refused:
        done = test.drift(*arguments)
        one_line = done.stderr.count("\n") == 1 and len(done.stderr) <= 600 and "2^32" in done.stderr
        test.want(done.returncode == 2 and one_line and done.stdout == "",
                  f"{arguments}: status {done.returncode}, stderr {done.stderr!r}, stdout {done.stdout!r}")  # fmt: skip
    done = test.drift(*normal, "--rope-theta", "1", "--shifts", "0:2147483628")
    test.want(done.returncode == 0, f"frequency 1 at any position: {done.stderr}")


def plots(test: Test) -> None:
    """Every panel is drawn, and the lines bear their recipes' names."""
    if importlib.util.find_spec("matplotlib") is None:
        print("not tested: plots, as there is no matplotlib; tools/setup.sh --plots installs it")
        return
    report, picture = test.folder / "drift.json", test.folder / "drift.svg"
    test.drift("--generate", "normal", "--shape", "1,64,1,1,16", "--shifts", "0:16,8:16", "--lengths", "32,64", "--recipe",
               "hf-llama,apex,meta-llama,exact", "--key", "all", "--stages", "--positions", "300", "--json", report)  # fmt: skip
    script = TOOLS / "drift_plot.py"
    done = subprocess.run([sys.executable, script, report, "-o", picture], capture_output=True, text=True, check=False)
    test.want(done.returncode == 0 and done.stderr == "", f"drift_plot: {done.stderr}")
    comments = picture.read_text()  # matplotlib writes each text it draws as a comment
    ElementTree.fromstring(comments)
    wanted = ["hf-llama, apex bf16", "meta-llama bf16", "exact", "by shift: 64 tokens", "by length", "by key", "by stage",
              "meta-llama bf16: where an ulp"]  # fmt: skip
    for text in wanted:
        test.want(f"<!-- {text}" in comments, f"drift_plot: no text {text!r}")
    for arguments in ([report, "-o", picture, "--panel", "x"], [picture, "-o", picture], [report, "-o", test.folder]):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
        test.want(done.returncode == 2 and "Traceback" not in done.stderr, f"drift_plot {arguments}: {done.stderr}")


def progress(test: Test) -> None:
    """A bar with the time left, on a terminal alone, after a second; none with --quiet."""
    terminal, program_end = pty.openpty()
    bar = ""
    for tokens in (5000, 7000, 10000, 14000, 20000, 40000):
        arguments = ["--generate", "normal", "--shape", f"1,{tokens},1,1,64", "--recipe", "hf-llama", "--threads", "1"]
        command = [str(test.program), "drift", *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=program_end, check=True, timeout=600)
        while select.select([terminal], [], [], 0)[0]:
            bar += os.read(terminal, 65536).decode()
        shown = re.search(r"\rdrift +[0-9]{1,2}%  [0-9]+ s left", bar)
        if shown:  # it took more than a second
            break
    test.want(shown is not None, f"no bar in {bar!r}")
    test.want(bar.endswith("\r") and bar[-62:].strip() == "", f"the bar is left standing: {bar[-80:]!r}")
    test.want(test.drift(*arguments).stderr == "", "no bar but on a terminal")
    subprocess.run([*command, "--quiet"], stdout=subprocess.DEVNULL, stderr=program_end, check=True, timeout=600)
    test.want(not select.select([terminal], [], [], 0)[0], "no bar with --quiet")
    os.close(terminal)
    os.close(program_end)


def pictures(test: Test) -> None:
    """--svg: one drawing for each axis that has several values, of itself alone, the same bytes every time."""
    picture = test.folder / "picture.svg"
    shape = ["--generate", "normal", "--shape", "1,64,1,1,16"]
    several = ["--recipe", "hf-llama,apex,meta-llama,exact", "--dtype", "bf16,f32"]
    axes = {
        "D_abs: 64 tokens, shifts 0 and 16": [],
        "D_logit of key 5: 64 tokens, shifts 0 and 16": ["--key", "5"],
        "by shift: 64 tokens, against a shift of 16": ["--shifts", "0:16,8:16,16:16"],
        "by shift: 64 tokens, against a shift of 0": ["--shifts", "0:16,0:8"],
        "by pair of shifts: 64 tokens": ["--shifts", "0:16,8:24"],
        "by length: shifts 0 and 16": ["--lengths", "8,64"],
        "by key, later ones averaged: 64 tokens, shifts 0 and 16": ["--key", "all"],
        "by stage, each alone rounds: 64 tokens, shifts 0 and 16": ["--stages", "--positions", "300"],
        "where an ulp of a bf16 logit is lost: hf-llama, apex bf16": ["--stages", "--positions", "300"],
    }
    for title, more in axes.items():
        done = test.drift(*shape, *several, *more, "--svg", picture)
        text = picture.read_text()
        root = ElementTree.fromstring(text)
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        test.want(done.returncode == 0 and title in texts, f"--svg {more}: {done.stderr} {texts}")
        test.want(text.count("//") == 1 and "url(" not in text, f"--svg {more}: refers to something else")
        names = " ".join(texts) + " ".join(element.text for element in root.iter("{http://www.w3.org/2000/svg}title"))
        for name in ("hf-llama", "apex", "meta-llama", "exact", "bf16", "f32"):
            test.want(name in names, f"--svg {more}: no {name}")
        again = test.drift(*shape, *several, *more, "--svg", "-", "--threads", "1")
        test.want(again.stdout == text, f"--svg {more}: other bytes on stdout")
    # Every length is a place on its axis, and a shift of 16 against 16 is 0, which a logarithm has not.
    test.drift(*shape, *several, "--lengths", "8,32,64", "--shifts", "0:16,16:16", "--svg", picture)
    words = picture.read_text()
    for word in (">8<", ">32<", ">64<", ">0<"):
        test.want(word in words, f"--svg: no tick {word}")
    # exact is of what the model's format makes of q and k: of an f32 file another one in each, of one in bf16 the same.
    random = np.random.default_rng(3)
    for dtype, exact_names in ((F32, {"exact bf16", "exact f32"}), (BF16, {"exact"})):
        path = test.write("exact", {name: random.standard_normal((1, 8, 1, 4)).astype(dtype) for name in "qk"})
        for more in ([], ["--shifts", "0:16,8:16"]):
            test.drift("--input", path, "--dtype", "bf16,f32", "--recipe", "exact", *more, "--svg", picture)
            names = set(re.findall(">(exact[^<:]*)<", picture.read_text()))
            test.want(names == exact_names, f"--svg: {names} of {dtype}")
    # What is not finite is said to be missing: f16 ends at 65504.
    big = np.full((1, 8, 1, 4), 60000, F32)
    path = test.write("big", {"q": big, "k": big})
    test.drift("--input", path, "--dtype", "f16", "--recipe", "hf-llama,exact", "--svg", picture)
    test.want("(1 not shown) nan" in picture.read_text(), "--svg: NaN is said")


class Tags(HTMLParser):
    """Whether elements close in turn, and their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words = ""
        self.good = True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.good = self.good and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def pages(test: Test) -> None:
    """--html: the tables' numbers, the drawings and the command, in a page of itself alone."""
    random = np.random.default_rng(4)
    hostile_name = "<script>alert(1)</script>&'\".safetensors".replace("/", "\u2215")
    path = test.write(hostile_name, {name: random.standard_normal((1, 40, 1, 16)).astype(F32) for name in "qk"})
    page = test.folder / "page.html"
    arguments = ["--input", path, "--recipe", "hf-llama,exact", "--lengths", "8,40", "--stages", "--positions", "300"]
    done = test.drift(*arguments, "--html", page)
    text = page.read_text()
    tags = Tags(text)
    test.want(done.returncode == 0 and tags.good and not tags.open, f"--html: {done.stderr} {tags.open}")
    test.want("script" not in tags.seen and tags.seen.count("svg") == 1, f"--html: {set(tags.seen)}")
    test.want(text.count("://") == 1 and "src=" not in text, "--html: refers to something else")  # SVG's namespace
    report = test.json(*arguments)
    for row in report["rows"] + report["stages"]:
        for name in ("D_abs", "D_signed", "D_logit"):
            test.want(f"<td>{row[name]:.4g}</td>" in text, f"--html: no {name} {row[name]}")
    (found,) = report["first_positions"]
    for pair in found["pairs"]:
        cells = "".join(f"<td>{'–' if p is None else p}</td>" for p in pair["first_position"].values())
        test.want(cells in text, f"--html: no {cells}")
    for words in ("position_ids: 0..39 (default)", "--positions 300", "RoPE: default, theta 10000"):
        test.want(words in tags.words, f"--html: no {words}")
    test.want(test.drift(*arguments, "--html", page).returncode == 0 and page.read_text() == text, "--html: other bytes")


def hostile(test: Test) -> None:
    shape = ["--generate", "normal", "--shape", "1,32,1,1,8"]
    q = np.ones((1, 8, 2, 4), F32)
    nan = q.copy()
    nan[0, 7, 1, 3] = np.nan
    files = {
        "no-k": {"q": q},
        "nan": {"q": nan, "k": q},
        "infinite": {"q": q, "k": np.full_like(q, np.inf)},
        "integers": {"q": q.astype(np.int32), "k": q},
        "heads": {"q": np.ones((1, 8, 3, 4), F32), "k": q},
        "tokens": {"q": q, "k": q[:, :7]},
        "axes": {"q": q[0], "k": q[0]},
        "six": {"q": q[None, None], "k": q[None, None]},
        "layers": {"q": np.stack([q, q]), "k": q},
        "odd": {"q": np.ones((1, 8, 2, 5), F32), "k": np.ones((1, 8, 2, 5), F32)},
        "wide": {"q": np.ones((1, 2, 1, 514), F32), "k": np.ones((1, 2, 1, 514), F32)},
        "unknown": {"q": q, "k": q, "qq": q},
        "tables": {"q": q, "k": q, "cos": np.ones((99, 2), F32), "sin": np.ones((99, 2), F32)},
        "v": {"q": q, "k": q, "v": q[:, :7]},
        "positions": {"q": q, "k": q, "position_ids": np.full((1, 8), -1, np.int64)},
        "empty": {"q": q[:, :0], "k": q[:, :0]},
    }
    arguments: list[list[str | Path]] = [["--input", test.write(name, tensors)] for name, tensors in files.items()]
    good = test.write("good", {"q": q, "k": q})
    arguments += [
        [], ["--input", test.folder], ["--input", test.folder / "absent"], ["--input", good, *shape],
        ["--input", good, "--seed", "1"], ["--input", good, "--mask", "document"], ["--input", good, "--lengths", "9"],
        ["--generate", "normal"], ["--generate", "other", "--shape", "1,8,1,1,8"],
        [*shape[:3], "1,32,1,1"], [*shape[:3], "1,32,1,1,7"], [*shape[:3], "1,32,3,2,8"], [*shape[:3], "0,32,1,1,8"],
        [*shape[:3], "1,999999999999,1,1,8"], [*shape, "--documents", "1,2"], [*shape, "--documents", "16,x"],
    ]  # fmt: skip
    options = {
        "--recipe": ("", ",", "hf-llama,", "nonsense", "hf-llama,exact,x" * 100, "\x1b[31m", "exact,exact", "all,exact",
                     "hf-llama " * 1000),
        "--shifts": ("", "0", "0:", ":1", "1:2:3", "-1:2", "0:2147483647", "0:1,", "0:1e3", "0:99999999999999999999", "0:16,1:2,0:16",
                     "0:16;1:2", " 0:16"),
        "--lengths": ("", "0", "33", "-1", "8,,9", "x", "8,8", "99999999999999999999"),
        "--key": ("32", "-1", "x", "", "1.5", "0,1"),
        "--dtype": ("", "fp8", "bf16,,f32", "bf16,bf16"),
        "--one-in": ("0", "-3", "x", "0.5", "33", "99999999999999999999"),
        "--positions": ("0", "-1", "16777217", "2147483648", "99999999999"),
        "--rope-theta": ("0", "-1", "x", "nan", "inf", "-nan", "1e99", ""),
        "--config": (str(test.folder), str(test.folder / "absent"), str(good)),
        **{option: ("", str(test.folder), str(test.folder / "absent" / "x"), "x" * 5000)
           for option in ("--json", "--csv", "--svg", "--html")},
        "--threads": ("0", "x"),
        "--pairing": ("both",),
    }
    arguments += [[*shape, f"{option}={value}"] for option, values in options.items() for value in values]
    arguments += [[*shape, "--one-in", "2", "--key", "1"], [*shape, "--json", "-", "--csv", "-"],
                  [*shape, "--json", "-", "--svg", "-"], [*shape, "--html", "-", "--svg", "-"], [*shape, "--csv", test.folder / "one", "--svg", test.folder / "one"],
                  ["--input", good, "--svg", good], ["--input", good, "--lengths", "4", "--key", "4"],
                  ["--input", test.write("nothing", {}), "--svg", "-"]]  # fmt: skip
    for list_of in arguments:
        done = test.drift(*list_of)
        one_line = done.stderr[-1:] == "\n" and len(done.stderr) <= 600 and done.stderr[:-1].isprintable()
        test.want(done.returncode == 2 and one_line and done.stdout == "",
                  f"{list_of}: status {done.returncode}, stderr {done.stderr!r}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        test = Test(arguments.bitanchor, Path(folder))
        for case in cases():
            numbers(test, case)
        strong_first_key(test)
        same_whatever_the_threads(test)
        stages(test)
        rope_types(test)
        formats(test)
        captures(test)
        scales(test)
        angles(test)
        plots(test)
        pictures(test)
        pages(test)
        progress(test)
        hostile(test)
    return finish(test.failures, f"{test.checks} checks of drift, {len(test.failures)} failed")


if __name__ == "__main__":
    sys.exit(main())
