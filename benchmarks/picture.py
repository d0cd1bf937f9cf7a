"""The figures as pictures."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from .growth import THEORY, Curve, MemoryCurve
from .memory import Memory
from .report import in_seconds
from .results import comparable
from .statistics import Spread
from .timing import Row

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000", "#F0E442")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure and its axes, as a matrix."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def colour(names: list[str], name: str) -> str:
    """The colour of a contestant."""
    return COLOURS[names.index(name) % len(COLOURS)]


def speeds(rows: list[list[Row]]) -> Figure:
    """For each problem how many times faster the first is than each other, and the share of the floor of each."""
    names = [row.contestant.name for row in rows[0]]
    problems = [of_problem[0].problem.name for of_problem in rows]
    figure, ((left, right),) = panels(1, 2, 11, 1.6 + 0.26 * len(rows) * max(1, len(names) / 4))

    def draw(axis: Any, place: float, values: Spread, name: str) -> None:
        axis.plot([values.low, values.high], [place, place], color=colour(names, name), linewidth=1.5)
        axis.plot([values.median], [place], "o", color=colour(names, name), markersize=4)

    for place, (first, *others) in enumerate(rows):
        for k, row in enumerate([first, *others]):
            offset = place + (k - len(others) / 2) * 0.6 / len(names)
            if comparable(first, row):
                draw(left, offset, first.speed("step", row), row.contestant.name)
            share = row.share_of_floor("step") if row.measured else None
            if share:
                draw(right, offset, share, row.contestant.name)
    for axis, title, line in ((left, f"speed of {names[0]}", 1), (right, "share of the floor", 1)):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}" if axis is left else NullFormatter())
        axis.axvline(line, color="black", linewidth=0.8)
        axis.set_title(f"{title}, training step", fontsize=10)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.grid(axis="x", alpha=0.3)
    left.set_xlabel(f"time of the other by time of {names[0]}, 95 % interval")
    right.set_xlabel("time of the matrix products alone by time of the step")
    left.set_yticks(range(len(rows)), problems, fontsize=7)
    right.set_yticks(range(len(rows)), [""] * len(rows))
    for name in names:
        right.plot([], [], "o", color=colour(names, name), label=name)
    right.legend(fontsize=7)
    return figure


def ladder(rows: list[list[Row]]) -> Figure:
    """A panel for each problem, with a bar for each rung: forward and backward."""
    figure, axes = panels(len(rows), 1, 8, len(rows) * (1.2 + 0.32 * len(rows[0])))
    for axis, of_problem in zip(axes[:, 0], rows, strict=True):
        shown = [row for row in of_problem if row.measured]
        for place, row in enumerate(shown):
            forward, backward = (row.time(part).median for part in ("forward", "backward"))
            axis.barh(place, forward, color=COLOURS[0], label="" if place else "forward")
            axis.barh(place, backward, left=forward, color=COLOURS[5], label="" if place else "backward")
            axis.text(forward + backward, place, f" {in_seconds(row.time('step').median)}", va="center", fontsize=8)
            floor = row.time("floor step").median
            axis.plot(
                [floor, floor], [place - 0.4, place + 0.4], color="black", label="" if place else "products alone"
            )
        axis.set_yticks(range(len(shown)), [row.contestant.name for row in shown])
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set_xlabel("seconds")
        axis.set_title(f"a training step, {of_problem[0].problem.name}", fontsize=10)
        if shown:
            axis.legend(fontsize=8, loc="lower right")
    return figure


def memories(rows: list[list[Memory]]) -> Figure:
    """Bars of memory, the contestants of a problem beside each other."""
    names = [row.contestant.name for row in rows[0]]
    figure, ((axis,),) = panels(1, 1, 8, 1.4 + 0.3 * len(rows) * max(1, len(names) / 3))
    for place, of_problem in enumerate(rows):
        for k, row in enumerate(of_problem):
            if row.bytes is not None:
                height = 0.8 / len(names)
                at = place + (k - (len(names) - 1) / 2) * height
                axis.barh(at, row.bytes / 2**20, height, color=colour(names, row.contestant.name))
    for name in names:
        axis.barh([0], [0], color=colour(names, name), label=name)
    axis.set_yticks(range(len(rows)), [of_problem[0].problem.name for of_problem in rows], fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("MiB beyond parameters and input, at the peak of a training step")
    axis.legend(fontsize=8)
    return figure


def long(rows: list[list[Memory]]) -> Figure:
    """Memory against T, for each contestant, with lines that grow as T and as √T."""
    names = [row.contestant.name for row in rows[0]]
    figure, ((axis,),) = panels(1, 1, 7, 4.5)
    for own in zip(*rows, strict=True):
        known = [(row.problem.T, row.bytes / 2**20) for row in own if row.bytes]
        name = own[0].contestant.name
        axis.loglog(*zip(*known, strict=True), "o-", color=colour(names, name), label=name, markersize=4)
    (first, *_, last) = (of_length[0].problem.T for of_length in rows)
    bottom = min(row.bytes / 2**20 for row in rows[0] if row.bytes)
    for exponent, label in ((1, "as T"), (0.5, "as √T")):
        ends = [bottom, bottom * (last / first) ** exponent]
        axis.loglog([first, last], ends, "--", color="#999999", linewidth=0.8)
        axis.annotate(label, (last, ends[1]), fontsize=8, color="#666666")
    axis.axhline(1024, color="black", linewidth=0.6)
    axis.annotate("1 GiB", (first, 1024), fontsize=8, va="bottom")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("T")
    axis.set_ylabel("memory of a training step, MiB")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def growth(curves: list[Curve], memory: list[MemoryCurve]) -> Figure:
    """Time against T, B and H with the power laws, and memory against T."""
    names = list(dict.fromkeys(curve.contestant.name for curve in curves))
    figure, axes = panels(2, 2, 10, 8)
    for axis, letter in zip(axes.flat, THEORY, strict=False):
        for curve in (one for one in curves if one.letter == letter and one.sizes):
            law, shade = curve.law, colour(names, curve.contestant.name)
            label = curve.contestant.name + (f": {letter}^{law.exponent:.2f}" if law else "")
            axis.loglog(curve.sizes, [1000 * s for s in curve.seconds], "o", color=shade, label=label, markersize=4)
            if law:
                axis.loglog(curve.sizes, [1000 * law(size) for size in curve.sizes], color=shade, linewidth=0.8)
        sizes = sorted({size for curve in curves if curve.letter == letter for size in curve.sizes})
        axis.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axis.set_xticks([], minor=True)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(letter + (" = I" if letter == "H" else ""))
        axis.set_ylabel("training step, ms")
    last = axes.flat[-1]
    for one in memory:
        per_step = one.per_step
        label = one.contestant.name + (f": {per_step / 2**10:.0f} KiB a step" if per_step is not None else "")
        mebibytes = [number / 2**20 for number in one.bytes]
        last.plot(one.steps, mebibytes, "o-", color=colour(names, one.contestant.name), label=label, markersize=4)
    last.set_xlabel("T")
    last.set_ylabel("memory of a training step, MiB")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    return figure
