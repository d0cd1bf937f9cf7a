"""The figures as pictures."""

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

STEP, MEMORY = "a training step", "memory of a training step, MiB"

Value = Callable[[Figures], Spread | None]
"""What is drawn of a row, with its interval."""


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """An empty figure and its axes, one after the other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """A colour and a marker for each name, no two alike."""
    return {
        name: {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k // len(COLOURS) % len(MARKERS)]}
        for k, name in enumerate(dict.fromkeys(names))
    }


def across(axis: Any, title: str, labels: list[str], in_time: bool) -> None:
    """Finish an axis with a line for each label, from the top, and a logarithmic scale of seconds or of numbers."""
    axis.set_title(title, fontsize=10)
    axis.set_xscale("log")
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)
    axis.margins(x=0.15)
    low, high = axis.get_xlim()
    if in_time:  # each power of ten, or where there are few also 2 and 5 times it
        axis.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 1000 else (1, 2, 5)))
    axis.xaxis.set_major_formatter(EngFormatter(unit="s") if in_time else "{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}" if high / low < 20 and not in_time else NullFormatter())
    axis.tick_params(axis="x", which="minor", labelsize=6)


def dots(shown: dict[str, Value], figures: Figures) -> Figure:
    """A panel for each of the values, with a line for each problem; on it a dot with its interval for each contestant.

    Contestants stand one below the other in their line.
    """
    rows = figures["rows"]
    groups, names = by_problem(rows), styles(row["contestant"] for row in rows)
    height = 1.6 + 0.26 * len(groups) * max(1, len(names) / 4)
    figure, axes = panels(1, len(shown), 3 + 4 * len(shown), height)
    for axis, (title, value) in zip(axes, shown.items(), strict=True):
        for place, own in enumerate(groups.values()):
            for k, row in enumerate(own):
                if found := value(row):
                    style, at = names[row["contestant"]], place + (k - (len(own) - 1) / 2) * 0.7 / len(names)
                    axis.plot([found.low, found.high], [at] * 2, color=style["color"], linewidth=1.5)
                    axis.plot([found.median], [at], style["marker"], color=style["color"], markersize=4)
        across(axis, title, list(groups) if axis is axes[0] else [""] * len(groups), title == STEP)
        if title.startswith(("speed", "share")):
            axis.axvline(1, color="black", linewidth=0.8)
    for name, style in names.items():
        axis.plot([], [], style["marker"], color=style["color"], label=name)
    figure.legend(loc="outside right center", fontsize=7)
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
    figure, axes = panels(len(groups), 1, 8, len(groups) * (1.2 + 0.32 * max(map(len, groups.values()))))
    for axis, (problem, own) in zip(axes, groups.items(), strict=True):
        shown = [row for row in own if "step" in row]
        for place, row in enumerate(shown):
            values = {part: seconds(row, part) for part in ("forward", "backward", "step")}
            step = values["step"]
            axis.plot([min(values.values()), step], [place] * 2, color="#999999", linewidth=0.8, zorder=1)
            looks = zip(values.items(), (COLOURS[0], COLOURS[5], COLOURS[7]), "osD", strict=True)
            for (part, value), colour, marker in looks:
                axis.plot([value], [place], marker, color=colour, markersize=5, label=part)
            axis.annotate(in_seconds(step), (step, place), (7, 0), textcoords="offset points", va="center", fontsize=8)
            if floor := interval(row, "step", SHARE):
                ends = [place - 0.35, place + 0.35]
                axis.plot([floor.median * step] * 2, ends, color=COLOURS[1], label="products alone")
        across(axis, problem, [row["contestant"] for row in shown], in_time=True)
    drawn = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(drawn.values()), list(drawn), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def against(axis: Any, name: str, label: str) -> None:
    """Finish an axis on which something is drawn against a size."""
    axis.set_xlabel(name)
    axis.set_ylabel(label)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)


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
    against(axis, "T", MEMORY)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def growth(figures: Figures) -> Figure:
    """Time against T, B and H with the power laws, and memory against T; below them one legend with the exponents."""
    found = curves(figures)
    names = styles(curve["contestant"] for curve in found["times"])
    laws: dict[str, list[str]] = {name: [f"{name}:"] for name in names}
    figure, axes = panels(2, 2, 10, 8 + 0.1 * len(names))
    for curve in found["times"]:
        axis = axes[list(THEORY).index(curve["letter"])]
        sizes, times, style = curve["sizes"], [1000 * one for one in curve["seconds"]], names[curve["contestant"]]
        axis.loglog(sizes, times, linestyle="", **style, markersize=4)
        if curve["exponent"] is not None:
            power, factor = power_law(sizes, times)
            axis.loglog(sizes, [factor * x**power for x in sizes], color=style["color"], linewidth=0.8)
            axis.set_xticks(sizes, map(str, sizes))
            axis.set_xticks([], minor=True)
            laws[curve["contestant"]].append(f"{curve['letter']}^{curve['exponent']:.2f}")
    for axis, letter in zip(axes, ("T", "B", "H = I"), strict=False):
        against(axis, letter, "training step, ms")
    for one in found["memory"]:
        name, mebibytes = one["contestant"], [number / 2**20 for number in one["bytes"]]
        axes[-1].plot(one["steps"], mebibytes, **names[name], label=" ".join(laws[name]), markersize=4)
    against(axes[-1], "T", MEMORY)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
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
