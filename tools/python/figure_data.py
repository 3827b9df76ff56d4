"""The numbers of the figures in tools/figures: each one's config, and what bitanchor says to it.

Synthetic q and k stand where arXiv 2411.13476 took LLaMA-2-7B's: `sink-and-outliers` and `strong-first-key` for the
trained model, `normal` for one at random initialisation (lib/NUMERICS.md, section 7). No matplotlib here.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "tools" / "figures"
MEASURED = FIGURES / "6-measured.json"
NAMES = ("1-left", "1-middle", "1-right", "6", "7")

Config = dict[str, Any]
Row = dict[str, Any]


def config_path(name: str) -> Path:
    return FIGURES / f"{name}.json"


def checked(config: Config, required: set[str], optional: set[str], where: str) -> Config:
    """The config; ValueError where a key is missing or unknown, as a misspelt one would otherwise do nothing."""
    if not isinstance(config, dict) or not required <= set(config) <= required | optional:
        got = sorted(config) if isinstance(config, dict) else config
        raise ValueError(f"{where}: got {got}, want {sorted(required)} and at most {sorted(optional)} besides")
    return config


def read_config(name: str) -> Config:
    path = config_path(name)
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if name == "6":
        checked(config, {"title", "lengths", "documents", "masks", "block", "measure"}, set(), str(path))
        checked(config["measure"], {"recipe", "head_dim", "tokens_times_heads", "threads", "runs"}, set(), f"{path}: measure")
        return config
    checked(config, {"title", "draws", "drift", "panels"}, {"seeds"}, str(path))  # bitanchor checks drift's own
    for n, panel in enumerate(config["panels"]):
        one_of = {"draw"} if "draw" in panel else {"recipe"}
        by_key = {"neighbours"} if panel.get("axis") == "key" else set()
        checked(panel, {"axis", "quantity", "title"} | one_of | by_key, {"dtype", "exact", "per"}, f"{path}: panel {n}")
    return config


def digest(name: str) -> str:
    """Of everything committed that the figure is drawn from; its SVG bears it."""
    sources = [config_path(name)] + ([MEASURED] if name == "6" else [])
    return sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def asked(program: Path, *arguments: str | Path) -> dict[str, Any]:
    """The JSON that a command of bitanchor prints."""
    command = [str(program), *map(str, arguments), "--json", "-"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


# ---- drift: figures 1 and 7 ----


def drift(config: Config, program: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """By draw and seed: what `bitanchor drift` says."""
    options = [f"--{name}={value}" for name, value in config["drift"].items()]
    return {(draw, seed): asked(program, "drift", "--generate", draw, "--seed", str(seed), *options)
            for draw in config["draws"] for seed in config.get("seeds", [0])}  # fmt: skip


def panel_rows(panel: Config, reports: dict[tuple[str, int], dict[str, Any]], seed: int = 0) -> list[Row]:
    """The panel's rows of one seed: of one draw, or of one recipe, and then with the draw's name where the recipe stood."""
    rows = []
    for draw in [draw for draw, of_seed in reports if of_seed == seed and draw == panel.get("draw", draw)]:
        for row in reports[draw, seed]["rows"]:
            if row["dtype"] != panel.get("dtype", row["dtype"]):
                continue
            if "draw" in panel:
                rows.append(per_query(row, panel))
            elif row["recipe"] == panel["recipe"]:
                rows.append(per_query(row, panel) | {"recipe": draw})
    if not rows:
        raise ValueError(f"panel {panel['title']!r}: no row is of its draw, recipe and dtype")
    return rows + (exact_rows(reports, seed) if panel.get("exact") else [])


def exact_rows(reports: dict[tuple[str, int], dict[str, Any]], seed: int = 0) -> list[Row]:
    """Of the first draw."""
    first = next(draw for draw, of_seed in reports if of_seed == seed)
    return [row for row in reports[first, seed]["rows"] if row["recipe"] == "exact" and row["dtype"] == "bf16"]


def per_query(row: Row, panel: Config) -> Row:
    """D_logit of key j is 1/T of a sum over the T - j queries that see it; here their mean, if the panel says so."""
    if "per" not in panel:
        return row
    T, quantity = row["length"], panel["quantity"]
    keys = [key | {quantity: key[quantity] * T / (T - key["key"])} for key in row["keys"]]
    return row | {"keys": keys}


# ---- cost by length: figure 6 ----


def documents_of(config: Config, length: int) -> list[int]:
    """The config's document lengths, again and again, the last one cut."""
    taken: list[int] = []
    for document in itertools.cycle(config["documents"]):
        left = length - sum(taken)
        if left <= document:
            return [*taken, left]
        taken.append(document)
    raise AssertionError("no documents")


def mask_arguments(config: Config, mask: str, length: int) -> list[str]:
    documents = ",".join(map(str, documents_of(config, length)))
    return ["--mask", mask, "--documents", documents]


def pairs(config: Config, program: Path) -> list[Row]:
    """What each mask keeps at each length: pairs, and the share of blocks that keep any."""
    rows = []
    for length, mask in itertools.product(config["lengths"], config["masks"]):
        block = str(config["block"])
        report = asked(program, "mask", *mask_arguments(config, mask, length), "--block-q", block, "--block-k", block)
        blocks = report["blocks"]
        rows.append({"length": length, "mask": mask, "kept_pairs": report["kept_pairs"],
                     "block_density": (blocks["full"] + blocks["partial"]) / sum(blocks.values())})  # fmt: skip
    return rows


def cpu_name() -> str:
    """As Linux knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cpu_seconds(command: list[str | Path]) -> float:
    """User and system time of a child, its threads included."""
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command)
    return usage.ru_utime + usage.ru_stime


def measure(config: Config, program: Path, say=print) -> dict[str, Any]:
    """CPU time of `bitanchor run`, the least of some runs, less that of a problem of one token."""
    how = config["measure"]

    def least(problem: list[str], runs: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            given, answer = Path(folder) / "problem.safetensors", Path(folder) / "answer.safetensors"
            subprocess.run([program, "gen", "-o", given, "--quiet", *problem], check=True)
            run = [program, "run", given, "-o", answer, "--recipe", how["recipe"], "--threads", str(how["threads"]), "--quiet"]
            return min(cpu_seconds(run) for _ in range(runs))

    start = least(["--shape", f"1,1,1,1,{how['head_dim']}"], 5)
    rows = []
    for length in config["lengths"]:
        heads = max(1, how["tokens_times_heads"] // length)
        for mask in config["masks"]:
            began = time.monotonic()
            problem = ["--shape", f"1,{length},{heads},{heads},{how['head_dim']}", *mask_arguments(config, mask, length)]
            seconds = least(problem, how["runs"][str(length)]) - start
            rows.append({"length": length, "mask": mask, "heads": heads, "seconds": round(seconds, 4)})
            say(f"{mask} {length}: {seconds:.3f} s of CPU time for {heads} heads ({time.monotonic() - began:.0f} s passed)")
    return {"cpu": cpu_name(), "date": date.today().isoformat(), "start_seconds": round(start, 4), "rows": rows}


def costs(config: Config, program: Path, measured: dict[str, Any]) -> list[Row]:
    """pairs(), and of each the measured microseconds a token and head."""
    time_of = {(row["length"], row["mask"]): row["seconds"] / row["heads"] / row["length"] * 1e6 for row in measured["rows"]}
    absent = {(length, mask) for length in config["lengths"] for mask in config["masks"]} - set(time_of)
    if absent:
        raise ValueError(f"{MEASURED}: got no time of {sorted(absent)}, want tools/figure 6 --measure")
    return [row | {"microseconds": time_of[row["length"], row["mask"]]} for row in pairs(config, program)]


def lines_by_length(rows: list[Row], quantity: str) -> Iterator[tuple[str, list[int], list[float]]]:
    for mask in dict.fromkeys(row["mask"] for row in rows):
        of_mask = [row for row in rows if row["mask"] == mask]
        yield mask, [row["length"] for row in of_mask], [row[quantity] for row in of_mask]
