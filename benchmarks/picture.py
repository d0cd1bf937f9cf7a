"""The figures as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from .growth import THEORY
from .results import SECONDS, SHARE, SPEED, Figures, by_problem, interval, name_of, seconds
from .statistics import Spread, power_law
from .units import in_seconds

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000", "#F0E442")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""
MARKERS = "osD^v"
"""Of the first nine, of the second nine, and so on."""


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure and its axes, as a matrix."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """A colour and a marker for each name, no two alike."""
    order = dict.fromkeys(names)
    return {
        name: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k // len(COLOURS) % len(MARKERS)]}
        for k, name in enumerate(order)
    }


def dots(axis: Any, rows: list[Figures], value: Callable[[Figures], Spread | None], title: str) -> None:
    """For each problem a line with a dot for each contestant, and its interval, on a logarithmic axis."""
    names = styles(map(name_of, rows))
    groups = by_problem(rows)
    for place, own in enumerate(groups.values()):
        for k, row in enumerate(own):
            found, style = value(row), names[name_of(row)]
            offset = place + (k - (len(own) - 1) / 2) * 0.7 / len(names)
            if found:
                axis.plot([found.low, found.high], [offset] * 2, color=style["color"], linewidth=1.5)
                axis.plot([found.median], [offset], style["marker"], color=style["color"], markersize=4)
    axis.set_xscale("log")
    axis.set_title(title, fontsize=10)
    axis.set_ylim(len(groups) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)
    axis.set_yticks(range(len(groups)), list(groups), fontsize=7)


def in_time(axis: Any) -> None:
    """Let a logarithmic axis tell seconds: each power of ten, or where there are few also 2 and 5 times it."""
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 1000 else (1, 2, 5)))
    axis.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def legend(axis: Any, rows: list[Figures], **where: Any) -> None:
    """Which dot is whose."""
    for name, style in styles(map(name_of, rows)).items():
        axis.plot([], [], style["marker"], color=style["color"], label=name)
    axis.legend(fontsize=7, **where)


def side_by_side(rows: list[Figures]) -> tuple[Figure, Any, Any]:
    """A figure with two panels, as high as the rows ask for."""
    groups, names = by_problem(rows), styles(map(name_of, rows))
    figure, ((left, right),) = panels(1, 2, 11, 1.6 + 0.26 * len(groups) * max(1, len(names) / 4))
    return figure, left, right


def speeds(figures: Figures) -> Figure:
    """For each problem how many times faster the first is than each other, and the share of the floor of each."""
    rows = figures["rows"]
    first = name_of(rows[0])
    figure, left, right = side_by_side(rows)
    dots(left, rows, lambda row: interval(row, "step", SPEED), f"speed of {first}, training step")
    dots(right, rows, lambda row: interval(row, "step", SHARE), "share of the floor, training step")
    for axis in (left, right):
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}" if axis is left else NullFormatter())
        axis.tick_params(axis="x", which="minor", labelsize=6)
        axis.axvline(1, color="black", linewidth=0.8)
    if left.get_xlim()[1] / left.get_xlim()[0] > 20:
        left.xaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel(f"time of the other by time of {first}, 95 % interval")
    right.set_xlabel("time of the matrix products alone by time of the step")
    right.set_yticklabels([])
    legend(right, rows)
    return figure


def gpu(figures: Figures) -> Figure:
    """The time of a step, and its share of what the device can do at most."""
    rows = figures["rows"]
    figure, left, right = side_by_side(rows)

    def ceiling(row: Figures) -> Spread | None:
        share = row.get("step", {}).get("share of the ceiling")
        return Spread(share, share, share) if share else None

    dots(left, rows, lambda row: interval(row, "step", SECONDS), "a training step")
    dots(right, rows, ceiling, "share of the ceiling")
    in_time(left)
    left.set_xlabel("median and quartiles")
    right.set_xlabel("least time, at the rates of a large product and copy, by time")
    right.xaxis.set_major_formatter("{x:g}")
    right.axvline(1, color="black", linewidth=0.8)
    right.set_yticklabels([])
    figure.suptitle(str(figures["environment"].get("PyTorch", {}).get("GPU", "")), fontsize=11)
    legend(right, rows, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def ladder(figures: Figures) -> Figure:
    """A panel for each problem, with a line for each rung: forward, backward and the whole step."""
    groups = by_problem(figures["rows"])
    most = max(map(len, groups.values()))
    figure, axes = panels(len(groups), 1, 8, len(groups) * (1.2 + 0.32 * most))
    for axis, (problem, own) in zip(axes[:, 0], groups.items(), strict=True):
        shown = [row for row in own if "step" in row]
        for place, row in enumerate(shown):
            forward, backward, step = (seconds(row, part) for part in ("forward", "backward", "step"))
            axis.plot([min(forward, backward), step], [place] * 2, color="#999999", linewidth=0.8, zorder=1)
            for value, colour, marker, label in (
                (forward, COLOURS[0], "o", "forward"),
                (backward, COLOURS[5], "s", "backward"),
                (step, COLOURS[7], "D", "training step"),
            ):
                axis.plot([value], [place], marker, color=colour, markersize=5, label="" if place else label)
            axis.annotate(in_seconds(step), (step, place), (7, 0), textcoords="offset points", va="center", fontsize=8)
            if floor := interval(row, "step", SHARE):
                at = floor.median * step
                label = "" if place else "products alone"
                axis.plot([at] * 2, [place - 0.35, place + 0.35], color=COLOURS[1], label=label)
        axis.set_xscale("log")
        axis.set_yticks(range(len(shown)), [name_of(row) for row in shown])
        axis.invert_yaxis()
        axis.margins(x=0.15, y=0.1)
        axis.grid(axis="x", alpha=0.3)
        in_time(axis)
        axis.set_title(problem, fontsize=10)
        if shown:
            axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def memories(figures: Figures) -> Figure:
    """The memory of each contestant, problem by problem."""
    rows = figures["rows"]
    groups, names = by_problem(rows), styles(map(name_of, rows))
    figure, ((axis,),) = panels(1, 1, 8, 1.4 + 0.3 * len(groups) * max(1, len(names) / 3))

    def mebibytes(row: Figures) -> Spread | None:
        known = row.get("bytes")
        return Spread(*[known / 2**20] * 3) if known else None

    dots(axis, rows, mebibytes, "a training step")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("MiB beyond parameters and input, at the peak")
    legend(axis, rows)
    return figure


def long(figures: Figures) -> Figure:
    """Memory against T, for each contestant, with lines that grow as T and as √T."""
    rows = figures["rows"]
    known: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.get("bytes"):
            known.setdefault(name_of(row), []).append((row["sizes"]["T"], row["bytes"] / 2**20))
    figure, ((axis,),) = panels(1, 1, 7, 4.5)
    for name, style in styles(known).items():
        axis.loglog(*zip(*known[name], strict=True), "-", **style, label=name, markersize=4)
    first, last = min(row["sizes"]["T"] for row in rows), max(row["sizes"]["T"] for row in rows)
    bottom = min((points[0][1] for points in known.values()), default=1.0)
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


def growth(figures: Figures) -> Figure:
    """Time against T, B and H with the power laws, and memory against T."""
    curves, memory = figures["times"], figures["memory"]
    names = styles(curve["contestant"] for curve in curves)
    figure, axes = panels(2, 2, 10, 8)
    for axis, letter in zip(axes.flat, THEORY, strict=False):
        own = [curve for curve in curves if curve["letter"] == letter and curve["sizes"]]
        for curve in own:
            exponent, sizes, times = curve["exponent"], curve["sizes"], [1000 * s for s in curve["seconds"]]
            label = curve["contestant"] + (f": {letter}^{exponent:.2f}" if exponent is not None else "")
            style = names[curve["contestant"]]
            axis.loglog(sizes, times, linestyle="", **style, label=label, markersize=4)
            if exponent is not None:
                law = power_law(sizes, times)
                axis.loglog(sizes, [law.factor * x**law.exponent for x in sizes], color=style["color"], linewidth=0.8)
        every = sorted({size for curve in own for size in curve["sizes"]})
        axis.set_xticks(every, [str(size) for size in every], minor=False)
        axis.set_xticks([], minor=True)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(letter + (" = I" if letter == "H" else ""))
        axis.set_ylabel("training step, ms")
    last = axes.flat[-1]
    for one in memory:
        each = one["bytes for each step"]
        label = one["contestant"] + (f": {each / 2**10:.0f} KiB a step" if each is not None else "")
        mebibytes = [number / 2**20 for number in one["bytes"]]
        last.plot(one["steps"], mebibytes, **names[one["contestant"]], label=label, markersize=4)
    last.set_xlabel("T")
    last.set_ylabel("memory of a training step, MiB")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    return figure


PICTURES: dict[str, Callable[[Figures], Figure]] = {
    "step": speeds,
    "gpu": gpu,
    "ladder": ladder,
    "memory": memories,
    "long": long,
    "growth": growth,
}
"""By the name under which figures are kept."""
