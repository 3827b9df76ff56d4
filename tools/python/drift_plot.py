#!/usr/bin/env python3
"""Plots of `bitanchor drift --json`: a panel for each axis that the file has more than one value of.

    bitanchor drift --generate strong-first-key --shape 1,2048,1,1,128 --recipe hf-llama-legacy,hf-llama,exact \\
        --shifts 0:16,8:16,100:16 --lengths 256,512,1024,2048 --json drift.json
    tools/python/drift_plot.py drift.json -o drift.svg

Panels: shift (D against the first shift, figure 1 left of arXiv 2411.13476), length (D_logit against length, its right),
key (the terms of D of each key, its middle), stages (D of each stage alone), positions (from where a stage costs an ulp).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

# Okabe and Ito's colours, told apart with any colour vision, the yellow left out; markers repeat what colours say.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
DASHES = {"bf16": "-", "f16": "-.", "f32": "--"}
QUANTITIES = ("D_abs", "D_signed", "D_logit", "D_attention", "D_output")
STAGES = ("inverse-frequency", "position", "angle", "cos-sin", "apply")

Row = dict[str, Any]
Series = tuple[list[float], list[float]]


def fail(message: str) -> None:
    print(f"drift_plot: {message}", file=sys.stderr)
    sys.exit(2)


def read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text())
        assert report["schema"] == 1 and report["rows"]
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        fail(f"{path}: got {error or 'other JSON'}, want what bitanchor drift --json wrote")
    return report


def name_of(row: Row) -> str:
    return f"{row['recipe']} {row['dtype']}"


def merged(lines: dict[str, Series]) -> dict[str, Series]:
    """Lines of the same points become one line with all their names."""
    names: dict[tuple, list[str]] = {}
    for name, (x, y) in lines.items():
        names.setdefault((tuple(x), tuple(y)), []).append(name)
    return {joined(group): (list(x), list(y)) for (x, y), group in names.items()}


def joined(names: list[str]) -> str:
    """Of "hf-llama bf16" and "apex bf16" "hf-llama, apex bf16"; exact is the same in every dtype."""
    by_dtype: dict[str, list[str]] = {}
    for name in names:
        recipe, _, dtype = name.rpartition(" ")
        by_dtype.setdefault("" if recipe == "exact" else dtype, []).append(recipe)
    said = []
    for dtype, recipes in by_dtype.items():
        recipes = list(dict.fromkeys(recipes))
        more = f" +{len(recipes) - 2}" if len(recipes) > 2 else ""
        said.append(f"{', '.join(recipes[:2])}{more} {dtype}".strip())
    return "; ".join(said)


def spread(places: list[float], gap: float) -> list[float]:
    """The places, in order, at least `gap` apart and as near to where they were as that allows."""
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[list[int]] = []
    centre: list[float] = []
    for index in order:
        groups.append([index])
        centre.append(places[index])
        while len(groups) > 1 and centre[-1] - centre[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            last = groups.pop()
            groups[-1] += last
            centre.pop()
            centre[-1] = sum(places[i] for i in groups[-1]) / len(groups[-1])
    result = list(places)
    for group, middle in zip(groups, centre):
        for n, index in enumerate(group):
            result[index] = middle + gap * (n - (len(group) - 1) / 2)
    return result


def label_ends(axes: Axes, ends: list[tuple[str, str, float]]) -> None:
    """Names at the right end of their lines, spread so that none covers another."""
    axes.figure.canvas.draw()
    to_axes = axes.transAxes.inverted()
    here = [to_axes.transform(axes.transData.transform((1, y)))[1] for _, _, y in ends]
    line = 0.135 / (axes.get_position().height * axes.figure.get_figheight())  # inches, of 8 points of text
    for (name, colour, _), at, place in zip(ends, here, spread(here, line)):
        axes.annotate(name, xy=(1, at), xytext=(1.06, place), xycoords="axes fraction", textcoords="axes fraction",
                      color=colour, fontsize=8, va="center", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6})  # fmt: skip


def draw(axes: Axes, lines: dict[str, Series], *, markers: bool = True) -> None:
    """One line a name; colour and marker by its first recipe, dashes by dtype. Where y is 0 or not finite there is no point."""
    recipes: dict[str, int] = {}
    ends = []
    for name, (x, y) in merged(lines).items():
        points = sorted((a, b) for a, b in zip(x, y) if math.isfinite(b) and b > 0)
        if not points:
            continue
        recipe, dtype = re.split("[, ]", name)[0], name.rpartition(" ")[2]
        number = recipes.setdefault(recipe, len(recipes))
        colour = COLOURS[number % len(COLOURS)]
        marker = MARKERS[number % len(MARKERS)] if markers or len(points) == 1 else ""
        axes.plot(*zip(*points), color=colour, marker=marker, markersize=4, lw=1.4, ls=DASHES.get(dtype, "-"))
        ends.append((name, colour, points[-1][1]))
    if not ends:
        axes.text(0.5, 0.5, "nothing above 0", transform=axes.transAxes, ha="center")
        return
    axes.set_yscale("log")
    axes.grid(True, which="major", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    label_ends(axes, ends)


def number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def collect(rows: Iterable[Row], x: Callable[[Row], float], quantity: str) -> dict[str, Series]:
    lines: dict[str, Series] = {}
    for row in rows:
        xs, ys = lines.setdefault(name_of(row), ([], []))
        xs.append(x(row))
        ys.append(number(row[quantity]))
    return lines


def symlog_ticks(axes: Axes, values: Iterable[float]) -> None:
    """0, 1, 10, 100, ..."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    top = max(max(values), 1)
    axes.set_xticks([0, *(10**n for n in range(int(math.log10(top)) + 1))])
    axes.set_xlim(-0.3, top * 1.15)


def by_shift(axes: Axes, report: dict[str, Any], quantity: str) -> None:
    longest = max(row["length"] for row in report["rows"])
    other = report["rows"][0]["shift"][1]
    rows = [row for row in report["rows"] if row["length"] == longest and row["shift"][1] == other]
    symlog_ticks(axes, [row["shift"][0] for row in rows])
    draw(axes, collect(rows, lambda row: row["shift"][0], quantity))
    axes.set_title(f"by shift: {longest} tokens, against a shift of {other}", loc="left", fontsize=10)
    axes.set_xlabel("shift of all positions")
    axes.set_ylabel(quantity)


def by_length(axes: Axes, report: dict[str, Any], quantity: str) -> None:
    shift = report["rows"][0]["shift"]
    rows = [row for row in report["rows"] if row["shift"] == shift]
    axes.set_xscale("log", base=2)
    draw(axes, collect(rows, lambda row: row["length"], quantity))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_title(f"by length: shifts {shift[0]} and {shift[1]}", loc="left", fontsize=10)
    axes.set_xlabel("tokens")
    key = f" of key {rows[0]['key']}" if quantity in ("D_logit", "D_attention") else ""
    axes.set_ylabel(quantity + key)


def mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def smoothed(keys: list[float], values: list[float], merge: Callable[[Iterable[float]], float] = mean) -> Series:
    """The first keys as they are, then one value for neighbours, twelve to a factor of ten."""
    bins: dict[float, list[tuple[float, float]]] = {}
    for key, value in zip(keys, values):
        bins.setdefault(key if key < 12 else round(12 * math.log10(key)) + 1e6, []).append((key, value))
    groups = [list(zip(*group)) for group in bins.values()]
    return [mean(x) for x, _ in groups], [merge(y) for _, y in groups]


def by_key(axes: Axes, report: dict[str, Any], quantity: str, merge: Callable[[Iterable[float]], float] = mean) -> None:
    first = report["rows"][0]
    longest = max(row["length"] for row in report["rows"])
    lines: dict[str, Series] = {}
    for row in report["rows"]:
        if row["length"] == longest and row["shift"] == first["shift"]:
            keys, values = [k["key"] for k in row["keys"]], [number(k[quantity]) for k in row["keys"]]
            lines[name_of(row)] = smoothed(keys, values, merge)
    symlog_ticks(axes, [longest])
    draw(axes, lines, markers=False)
    for line in axes.get_lines():  # the first key apart
        x, y = line.get_data()
        axes.plot(x[:1], y[:1], marker="o", markersize=6, color=line.get_color())
    axes.set_title(f"by key, later ones averaged: {longest} tokens, shifts {first['shift'][0]} and {first['shift'][1]}", loc="left",
                   fontsize=10)  # fmt: skip
    axes.set_xlabel("key (0: the first)")
    axes.set_ylabel(quantity)


def by_stage(axes: Axes, report: dict[str, Any], quantity: str) -> None:
    """Of each recipe: all stages round (dotted), and each alone."""
    first = report["rows"][0]
    longest = max(row["length"] for row in report["rows"])

    def same(row: Row) -> bool:
        return row["length"] == longest and row["shift"] == first["shift"]

    groups = list(dict.fromkeys(name_of(row) for row in report["stages"]))
    width = 0.8 / len(groups)
    for n, group in enumerate(groups):
        colour = COLOURS[n % len(COLOURS)]
        rows = [row for row in report["stages"] if "rounded" in row and same(row) and name_of(row) == group]
        place = [STAGES.index(row["rounded"]) + (n + 0.5) * width - 0.4 for row in rows]
        axes.bar(place, [number(row[quantity]) for row in rows], width=width * 0.92, color=colour, label=group)
        for row in report["rows"]:
            if same(row) and name_of(row) == group:
                axes.axhline(number(row[quantity]), color=colour, ls=":", lw=1.2)
    axes.set_yscale("log")
    axes.set_xticks(range(len(STAGES)), STAGES, fontsize=8)
    axes.grid(True, axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1))
    axes.set_title("by stage: each alone rounds; dotted, all round", loc="left", fontsize=10)
    axes.set_ylabel(quantity)


def by_position(axes: Axes, report: dict[str, Any], found: dict[str, Any]) -> None:
    """Of one recipe: from which position a stage costs an ulp, a line a stage."""
    ends = []
    for n, stage in enumerate(STAGES):
        points = [(pair["inverse_frequency"], max(1, pair["first_position"][stage]))
                  for pair in found["pairs"] if pair["first_position"][stage] is not None]  # fmt: skip
        if points:
            axes.plot(*zip(*points), color=COLOURS[n], marker=MARKERS[n], markersize=4, lw=1)
            ends.append((stage, COLOURS[n], points[-1][1]))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    axes.set_ylim(0.8, report["positions"] * 1.3)
    axes.grid(True, color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    if ends:
        label_ends(axes, ends)
    axes.set_title(f"{found['recipe']} {found['dtype']}: where an ulp of a bf16 logit is lost", loc="left", fontsize=10)
    axes.set_xlabel("rotary pair's frequency, radians a position")
    axes.set_ylabel(f"least position (of {report['positions']})")


def panels_of(report: dict[str, Any], quantity: str | None) -> dict[str, list[Callable[[Axes], None]]]:
    rows = report["rows"]
    panels: dict[str, list[Callable[[Axes], None]]] = {}
    if len({tuple(row["shift"]) for row in rows}) > 1:
        panels["shift"] = [lambda axes: by_shift(axes, report, quantity or "D_abs")]
    if len({row["length"] for row in rows}) > 1:
        panels["length"] = [lambda axes: by_length(axes, report, quantity or "D_logit")]
    if "keys" in rows[0]:
        wanted = [quantity] if quantity and quantity != "D_output" else ["D_abs", "D_logit"]
        panels["key"] = [lambda axes, name=name: by_key(axes, report, name) for name in wanted]
    if report.get("stages"):
        panels["stages"] = [lambda axes: by_stage(axes, report, quantity or "D_abs")]
    if report.get("first_positions"):
        panels["positions"] = [lambda axes, one=one: by_position(axes, report, one) for one in report["first_positions"]]
    return panels


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="what bitanchor drift --json wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="svg, pdf or png")
    parser.add_argument("--panel", action="append", help="only this one (may be given again): shift, length, key, ...")
    parser.add_argument("--quantity", choices=QUANTITIES, help="in every panel (default: each panel's own)")
    arguments = parser.parse_args()
    if arguments.output.suffix not in (".svg", ".pdf", ".png"):
        fail(f"--output: got {arguments.output}, want a name that ends in .svg, .pdf or .png")
    report = read(arguments.report)
    panels = panels_of(report, arguments.quantity)
    for panel in arguments.panel or []:
        if panel not in panels:
            fail(f"--panel: got {panel}, want one of {', '.join(panels) or 'none: the file has one row a recipe'}")
    drawn = [one for name, group in panels.items() if name in (arguments.panel or panels) for one in group]
    if not drawn:
        fail(f"{arguments.report}: got one shift, length and key, want more of one of them")
    plt.rcParams.update({"svg.hashsalt": "drift", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    height = 3.6 * len(drawn) + 0.3
    figure, grid = plt.subplots(len(drawn), 1, figsize=(8.5, height), squeeze=False)
    figure.suptitle(f"{report['input']}\nRoPE {report['rope']}", fontsize=8, x=0.01, y=1 - 0.08 / height, ha="left")
    figure.subplots_adjust(left=0.1, right=0.7, top=1 - 0.8 / height, bottom=0.5 / height, hspace=0.42)
    for axes, panel in zip(grid[:, 0], drawn):
        panel(axes)
    try:
        figure.savefig(arguments.output, dpi=110, metadata={"Date": None} if arguments.output.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        fail(f"{arguments.output}: got {error}, want a file that can be written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
