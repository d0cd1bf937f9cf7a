"""The figures as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from .growth import THEORY, curves
from .results import CEILING, SECONDS, SHARE, SPEED, Figures, by_problem, interval, seconds
from .statistics import Spread, in_seconds, power_law

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000", "#F0E442")
"""Colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""
MARKERS = "osD^v"
"""Of the first nine, of the second nine, and so on."""

STEP = "a training step"

Value = Callable[[Figures], Spread | None]
"""What is drawn of a row, with its interval."""


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """An empty figure and its axes, one after the other."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """A colour and a marker for each name, no two alike."""
    return {
        name: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k // len(COLOURS) % len(MARKERS)]}
        for k, name in enumerate(dict.fromkeys(names))
    }


def in_time(axis: Any) -> None:
    """Let a logarithmic axis tell seconds: each power of ten, or where there are few also 2 and 5 times it."""
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 1000 else (1, 2, 5)))
    axis.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def dots(shown: dict[str, Value], figures: Figures) -> Figure:
    """A panel for each of the values, on a logarithmic axis; in it for each problem a line with a dot for each
    contestant, and its interval.
    """
    rows = figures["rows"]
    groups, names = by_problem(rows), styles(row["contestant"] for row in rows)
    height = 1.6 + 0.26 * len(groups) * max(1, len(names) / 4)
    figure, axes = panels(1, len(shown), 3 + 4 * len(shown), height)
    for axis, (title, value) in zip(axes, shown.items(), strict=True):
        for place, own in enumerate(groups.values()):
            for k, row in enumerate(own):
                if found := value(row):
                    style, offset = names[row["contestant"]], place + (k - (len(own) - 1) / 2) * 0.7 / len(names)
                    axis.plot([found.low, found.high], [offset] * 2, color=style["color"], linewidth=1.5)
                    axis.plot([found.median], [offset], style["marker"], color=style["color"], markersize=4)
        axis.set_xscale("log")
        axis.set_title(title, fontsize=10)
        axis.set_ylim(len(groups) - 0.4, -0.6)
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(range(len(groups)), list(groups) if axis is axes[0] else [], fontsize=7)
        few = axis.get_xlim()[1] / axis.get_xlim()[0] < 20
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}" if few else NullFormatter())
        axis.tick_params(axis="x", which="minor", labelsize=6)
        if title.startswith(("speed", "share")):
            axis.axvline(1, color="black", linewidth=0.8)
        if title == STEP:
            in_time(axis)
    for name, style in names.items():
        axis.plot([], [], style["marker"], color=style["color"], label=name)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    on_gpu = any(row["form"]["device"] == "cuda" for row in rows)
    figure.suptitle(figures["environment"]["PyTorch"]["GPU"] if on_gpu else figures["environment"]["CPU"], fontsize=9)
    return figure


def of_step(what: str) -> Value:
    """What is kept of a whole step."""
    return lambda row: interval(row, "step", what)


def alone(value: float | None) -> Spread | None:
    """A number without an interval."""
    return Spread(value, value, value) if value else None


def ladder(figures: Figures) -> Figure:
    """A panel for each problem, with a line for each rung: forward, backward and the whole step."""
    groups = by_problem(figures["rows"])
    most = max(map(len, groups.values()))
    figure, axes = panels(len(groups), 1, 8, len(groups) * (1.2 + 0.32 * most))
    for axis, (problem, own) in zip(axes, groups.items(), strict=True):
        shown = [row for row in own if "step" in row]
        for place, row in enumerate(shown):
            hidden = "_" if place else ""  # of labels that begin with it no legend tells
            values = {part: seconds(row, part) for part in ("forward", "backward", "step")}
            axis.plot([min(values.values()), values["step"]], [place] * 2, color="#999999", linewidth=0.8, zorder=1)
            for (part, value), colour, marker in zip(
                values.items(), (COLOURS[0], COLOURS[5], COLOURS[7]), "osD", strict=True
            ):
                axis.plot([value], [place], marker, color=colour, markersize=5, label=hidden + part)
            at = (values["step"], place)
            axis.annotate(in_seconds(at[0]), at, (7, 0), textcoords="offset points", va="center", fontsize=8)
            if floor := interval(row, "step", SHARE):
                ends = [floor.median * values["step"]] * 2
                axis.plot(ends, [place - 0.35, place + 0.35], color=COLOURS[1], label=hidden + "products alone")
        axis.set_xscale("log")
        axis.set_yticks(range(len(shown)), [row["contestant"] for row in shown])
        axis.invert_yaxis()
        axis.margins(x=0.15, y=0.1)
        axis.grid(axis="x", alpha=0.3)
        in_time(axis)
        axis.set_title(problem, fontsize=10)
        if shown:
            axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def against(axis: Any, name: str, label: str) -> None:
    """Finish an axis on which something is drawn against a size."""
    axis.set_xlabel(name)
    axis.set_ylabel(label)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8)


def long(figures: Figures) -> Figure:
    """Memory against T, for each contestant, with lines that grow as T and as √T."""
    rows = [row for row in figures["rows"] if row.get("bytes")]
    figure, (axis,) = panels(1, 1, 7, 4.5)
    for name, style in styles(row["contestant"] for row in rows).items():
        known = [(row["sizes"]["T"], row["bytes"] / 2**20) for row in rows if row["contestant"] == name]
        axis.loglog(*zip(*known, strict=True), "-", **style, label=name, markersize=4)
    steps = [row["sizes"]["T"] for row in figures["rows"]]
    bottom = min((row["bytes"] / 2**20 for row in rows), default=1.0)
    for exponent, label in ((1, "as T"), (0.5, "as √T")):
        ends = [bottom, bottom * (max(steps) / min(steps)) ** exponent]
        axis.loglog([min(steps), max(steps)], ends, "--", color="#999999", linewidth=0.8)
        axis.annotate(label, (max(steps), ends[1]), fontsize=8, color="#666666")
    axis.axhline(1024, color="black", linewidth=0.6)
    axis.annotate("1 GiB", (min(steps), 1024), fontsize=8, va="bottom")
    against(axis, "T", "memory of a training step, MiB")
    return figure


def growth(figures: Figures) -> Figure:
    """Time against T, B and H with the power laws, and memory against T."""
    found = curves(figures)
    names = styles(curve["contestant"] for curve in found["times"])
    figure, axes = panels(2, 2, 10, 8)
    for axis, letter in zip(axes, THEORY, strict=False):
        for curve in (one for one in found["times"] if one["letter"] == letter and one["sizes"]):
            exponent, sizes, times = curve["exponent"], curve["sizes"], [1000 * s for s in curve["seconds"]]
            label = curve["contestant"] + (f": {letter}^{exponent:.2f}" if exponent is not None else "")
            style = names[curve["contestant"]]
            axis.loglog(sizes, times, linestyle="", **style, label=label, markersize=4)
            if exponent is not None:
                power, factor = power_law(sizes, times)
                axis.loglog(sizes, [factor * x**power for x in sizes], color=style["color"], linewidth=0.8)
            axis.set_xticks(sizes, map(str, sizes), minor=False)
            axis.set_xticks([], minor=True)
        against(axis, letter + (" = I" if letter == "H" else ""), "training step, ms")
    for one in found["memory"]:
        each = one["bytes for each step"]
        label = one["contestant"] + (f": {each / 2**10:.0f} KiB a step" if each is not None else "")
        mebibytes = [number / 2**20 for number in one["bytes"]]
        axes[-1].plot(one["steps"], mebibytes, **names[one["contestant"]], label=label, markersize=4)
    against(axes[-1], "T", "memory of a training step, MiB")
    return figure


FASTER: dict[str, Value] = {"speed of the first, training step": of_step(SPEED)}

PICTURES: dict[str, Callable[[Figures], Figure]] = {
    "step": partial(dots, FASTER | {"share of the floor, training step": of_step(SHARE)}),
    "gpu": partial(
        dots,
        {STEP: of_step(SECONDS), "share of the ceiling": lambda row: alone(row.get("step", {}).get(CEILING))},
    ),
    "ladder": ladder,
    "memory": partial(dots, {"MiB of a training step": lambda row: alone(row.get("bytes", 0) / 2**20)}),
    "long": long,
    "growth": growth,
    "text": partial(dots, FASTER | {STEP: of_step(SECONDS)}),
}
"""By the name under which figures are kept."""
