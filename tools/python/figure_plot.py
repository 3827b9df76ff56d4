#!/usr/bin/env python3
"""Figures 1, 6 and 7 of arXiv 2411.13476 in shape, from the configs in tools/figures. `tools/figure` calls it.

    tools/figure 1-left -o /tmp      one figure
    tools/figure all                 all of them, where the committed ones are
    tools/figure 6 --measure         measure this machine's times first (minutes of CPU time)
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import drift_plot
import figure_data
import matplotlib.ticker
from drift_plot import COLOURS, MARKERS, Axes, by_key, by_length, by_shift, label_ends, plt, symlog_ticks
from matplotlib.figure import Figure

SYNTHETIC = "synthetic q and k, not the paper's model"
PAPER = "arXiv 2411.13476"
WIDTH = 8.5


def figure_with(count: int, heading: list[str]) -> tuple[Figure, list[Axes]]:
    """Panels one below the other, and room on the right for the names of lines."""
    height = (3.0 if count < 3 else 2.6) * count + 0.6
    figure, grid = plt.subplots(count, 1, figsize=(WIDTH, height), squeeze=False)
    figure.suptitle(heading[0], fontsize=11, fontweight="bold", x=0.012, y=1 - 0.1 / height, ha="left")
    figure.text(0.012, 1 - 0.42 / height, "\n".join(heading[1:]), fontsize=8, color="0.3", va="top")
    top = 1 - (0.6 + 0.14 * len(heading)) / height
    figure.subplots_adjust(left=0.1, right=0.74, top=top, bottom=0.5 / height, hspace=0.42)
    return figure, list(grid[:, 0])


def plain_ticks(axes: Axes) -> None:
    """1, 2 and 5 as they are where powers of ten alone would be one or two."""
    axes.minorticks_off()
    low, high = axes.get_ylim()
    if high / low > 150:
        return
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))


def samples(axes: Axes, panel: figure_data.Config, reports: dict[tuple[str, int], dict[str, Any]]) -> None:
    """A thin line a seed and a thick one through their geometric mean, for each draw."""
    side = 0 if panel["axis"] == "first shift" else 1
    fixed = {0: 16, 1: 0}[side]
    ends = []
    for n, draw in enumerate(dict.fromkeys(draw for draw, _ in reports)):
        lines = []
        for seed in [seed for of, seed in reports if of == draw]:
            rows = [row for row in figure_data.panel_rows(panel, reports, seed)
                    if row["recipe"] == draw and row["shift"][1 - side] == fixed]  # fmt: skip
            points = sorted((row["shift"][side], row[panel["quantity"]]) for row in rows)
            axes.plot(*zip(*points), color=COLOURS[n], lw=0.7, alpha=0.55)
            lines.append(points)
        mean = [(at[0][0], math.exp(sum(math.log(y) for _, y in at) / len(at))) for at in zip(*lines)]
        axes.plot(*zip(*mean), color=COLOURS[n], marker=MARKERS[n], markersize=4, lw=2)
        ends.append((draw, COLOURS[n], mean[-1][1]))
    symlog_ticks(axes, [x for x, _ in mean])
    axes.set_yscale("log")
    axes.grid(True, which="major", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    label_ends(axes, ends)
    axes.set_xlabel("shift of all positions")
    axes.set_ylabel(panel["quantity"])


def drift_figure(config: figure_data.Config, program: Path) -> Figure:
    reports = figure_data.drift(config, program)
    B, S, _, _, D = config["drift"]["shape"].split(",")
    seeds = config.get("seeds", [0])
    mean = f"mean of {B} sequences of " if B != "1" else ""
    said = f"{mean}{S} tokens, head of {D}, theta 10000, causal; seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    figure, grid = figure_with(len(config["panels"]), [config["title"], f"{SYNTHETIC}: {said}"])
    for axes, panel in zip(grid, config["panels"]):
        report = {"rows": figure_data.panel_rows(panel, reports)}
        if panel["axis"] == "shift":
            by_shift(axes, report, panel["quantity"])
        elif panel["axis"] == "length":
            by_length(axes, report, panel["quantity"])
        elif panel["axis"] == "key":
            by_key(axes, report, panel["quantity"], {"most": max, "least": min}[panel["neighbours"]])
        else:
            samples(axes, panel, reports)
        plain_ticks(axes)
        axes.set_title(panel["title"], loc="left", fontsize=10)
        if "per" in panel:
            axes.set_ylabel(f"{panel['quantity']} a {panel['per']}", fontsize=8)
    return figure


def cost_figure(config: figure_data.Config, program: Path, measured: dict[str, Any]) -> Figure:
    rows = figure_data.costs(config, program, measured)
    documents, how = config["documents"], config["measure"]
    heading = [config["title"],
               f"documents of {min(documents)} to {max(documents)} tokens, {sum(documents) // len(documents)} on average, packed; "
               f"attention alone, forward, {how['recipe']}, heads of {how['head_dim']}",
               f"CPU time on one thread of {measured['cpu']}, {measured['date']}: compare the lines, not the seconds"]  # fmt: skip
    panels = [("kept_pairs", "Pairs of query and key that are kept", "pairs"),
              ("block_density", f"Share of blocks of {config['block']} x {config['block']} that keep any", "share of blocks"),
              ("microseconds", "Time a token, measured", "µs a token and head")]  # fmt: skip
    figure, grid = figure_with(len(panels), heading)
    for axes, (quantity, title, unit) in zip(grid, panels):
        ends, last = [], {}
        for n, (mask, x, y) in enumerate(figure_data.lines_by_length(rows, quantity)):
            axes.plot(x, y, color=COLOURS[n], marker=MARKERS[n], markersize=4, lw=1.6)
            last[mask] = y
            ends.append((mask if n == 0 else f"{mask}: 1/{last['full'][-1] / y[-1]:.0f} of full", COLOURS[n], y[-1]))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(x)
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        plain_ticks(axes)
        axes.grid(True, which="major", color="0.9", lw=0.6)
        axes.set_axisbelow(True)
        label_ends(axes, ends)
        axes.set_title(f"{title}: at 4096 tokens anchor is {last['anchor'][0] / last['full'][0]:.0%} of full"
                       .replace("4096", str(x[0])), loc="left", fontsize=10)  # fmt: skip
        axes.set_xlabel("tokens")
        axes.set_ylabel(unit)
    return figure


def draw(name: str, program: Path, folder: Path, suffix: str) -> Path:
    config = figure_data.read_config(name)
    if name == "6":
        figure = cost_figure(config, program, json.loads(figure_data.MEASURED.read_text()))
    else:
        figure = drift_figure(config, program)
    path = folder / f"{name}{suffix}"
    metadata = {"Date": None, "Title": config["title"], "Description": f"{PAPER}, figure {name} in shape; {SYNTHETIC}; "
                f"drawn from {figure_data.digest(name)}"} if suffix == ".svg" else None  # fmt: skip
    figure.savefig(path, dpi=110, metadata=metadata, facecolor="white")
    plt.close(figure)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*figure_data.NAMES, "all"], help="of the paper's figure, or all")
    parser.add_argument("-o", "--output", type=Path, default=figure_data.FIGURES, help="folder (default: tools/figures)")
    parser.add_argument("--format", choices=("svg", "png", "pdf"), default="svg")
    parser.add_argument("--measure", action="store_true", help="of figure 6: time this machine first, and keep the times")
    parser.add_argument("--bitanchor", type=Path, default=figure_data.ROOT / "build" / "release" / "bitanchor")
    arguments = parser.parse_args()
    if not arguments.output.is_dir():
        drift_plot.fail(f"--output: got {arguments.output}, want a folder")
    names = figure_data.NAMES if arguments.name == "all" else (arguments.name,)
    if arguments.measure and "6" not in names:
        drift_plot.fail(f"--measure: got figure {arguments.name}, want 6 or all")
    plt.rcParams.update({"svg.hashsalt": "figure", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    try:
        if arguments.measure:
            config = figure_data.read_config("6")
            measured = figure_data.measure(config, arguments.bitanchor, lambda line: print(line, file=sys.stderr))
            figure_data.MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
        for name in names:
            print(draw(name, arguments.bitanchor, arguments.output, "." + arguments.format))
    except subprocess.CalledProcessError as error:
        drift_plot.fail(f"bitanchor: exit status {error.returncode}")
    except ValueError as error:
        drift_plot.fail(str(error))
    except OSError as error:
        drift_plot.fail(f"got {error}, want files that can be read and written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
