"""What cells keep track of: a table, a page and a picture of a text in the colours of cells."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from rich.console import Console

from ..terminal import count, say, table
from ..text.corpus import code_points
from ..types import Array
from .cells import SHIFTS, Findings
from .cells_features import MEANINGS
from .pages import filled, rounded
from .pictures import heading, new_figure

NO_BETTER = 0.05  # a correlation that is larger by no more than this is called about as good
SHOWN_CELLS = 8  # the number of cells that are on the page for each feature, the best first

COLOURS = LinearSegmentedColormap.from_list("cells", ["#6aa9e9", "#fbfaf7", "#f79a4b"])
"""From blue to orange, which colour-blind readers can tell apart, light enough for black letters."""

WIDTH, ROWS = 88, 8  # characters in a row of the picture, and rows of text for each feature
FONT = FontProperties(family="DejaVu Sans Mono")  # it comes with Matplotlib
SPREAD = 2.0  # the colours of the picture end at so many standard deviations from the cell's mean
BAR = 0.34  # the height of the feature's bars, in rows of text


def show(out: Console, found: Findings) -> None:
    """The best cell for each feature, and what to make of it."""
    ranking, cells = found.ranking, found.cells.shape[1]
    say(out, found.origin)
    say(
        out,
        f"{count(cells, 'cell')} as {found.held} over {count(len(found.text), 'character')} of {found.source}: for "
        "each feature the best on the first half, and its correlation r on both",
        "bold",
    )
    ranked = table("feature", "layer", "unit", "first half", "second half", "chance", "as drawn")
    of_best = ranking.of_best(ranking.chosen), ranking.of_best(ranking.reported), ranking.level, found.as_drawn
    for f, (name, *numbers) in enumerate(zip(MEANINGS, *of_best, strict=True)):
        place = ("–", "–") if ranking.absent[f] else map(str, found.place(int(ranking.order[f, 0])))
        written = ("–" if np.isnan(r) else f"{r:.2f}".replace("-", "−") for r in numbers)
        ranked.add_row(name, *place, *written)
    out.print(ranked)
    untaught = np.abs(found.as_drawn) > np.abs(of_best[1]) - NO_BETTER
    for what, which in (
        ("Above chance", ranking.tracked),
        ("Not above", ~ranking.tracked & ~ranking.absent),
        ("Nothing to track in one half of this text or in both", ranking.absent),
        ("About as good in a model that has learned nothing", ranking.tracked & untaught),
    ):
        say(out, f"{what}: {', '.join(name for name, it in zip(MEANINGS, which, strict=True) if it) or 'none'}.")
    say(
        out,
        "Chance is what the best of all cells stays below, 95 times of 100, when the feature is shifted against the "
        "text; as drawn is what the best cell reaches before any training.",
    )


def stretch(text: str, y: Array, end: Callable[[int], int]) -> slice:
    """A stretch of the second half of a text, from the beginning of a line, that is like the half in its features.

    It is the one with the smallest Σ ((m − M)² + (s − S)²) / S² over the features, the first if there are several. m
    and s are the feature's mean and standard deviation in the stretch, M and S those in the half. The cells have no say
    in it. y: (T, F). end: says where a stretch ends that begins at a character. A stretch that ends with the text is
    taken only if there is no other.
    """
    half = len(text) // 2
    M, S = y[half:].mean(axis=0), y[half:].std(axis=0)

    def apart(where: slice) -> tuple[bool, float]:
        m, s = y[where].mean(axis=0), y[where].std(axis=0)
        return where.stop == len(text), float((((m - M) ** 2 + (s - S) ** 2) / np.where(S > 0, S, np.inf) ** 2).sum())

    starts = half + np.flatnonzero(code_points(text)[half - 1 : -1] == ord("\n"))
    return min((slice(start, end(start)) for start in (starts.tolist() or [half])), key=apart)


def page(found: Findings, length: int = 2000) -> str:
    """The page: an HTML file that needs nothing but a browser, with a stretch of the text in the colours of cells.

    length: of the stretch, in characters. The page itself explains what it shows.
    """
    T, (_, layers, units), ranking = len(found.text), found.activations.shape, found.ranking
    where = stretch(found.text, found.features, lambda start: min(T, start + length))
    shown = []
    for f, (name, meaning) in enumerate(MEANINGS.items()):
        cells = []
        for cell in ranking.order[f, :SHOWN_CELLS].tolist():
            layer, unit = found.place(cell)
            over = found.cells[T // 2 :, cell].astype(np.float64)
            numbers = {"chosen": ranking.chosen[f, cell], "reported": ranking.reported[f, cell]}
            numbers |= {"mean": over.mean(), "deviation": over.std()}
            values = np.round(found.cells[where, cell].astype(np.float64), 3).tolist()
            cells.append({"layer": layer, "unit": unit, "values": values, **for_json(numbers)})
        values = found.features[where, f].astype(int).tolist()
        numbers = for_json({"level": ranking.level[f], "drawn": found.as_drawn[f]})
        most = max(1, *values)
        shown.append({"name": name, "meaning": meaning, "most": most, "values": values, "cells": cells, **numbers})
    data = {"text": found.text[where], "start": where.start, "characters": T, "features": shown, "shifts": SHIFTS}
    data |= {"origin": found.origin, "source": found.source, "held": found.held, "layers": layers, "units": units}
    return filled(Path(__file__).with_name("cells.html"), data)


def for_json(numbers: dict[str, float]) -> dict[str, float | None]:
    """Numbers for JSON, which has no NaN."""
    return {name: None if np.isnan(x) else rounded(np.float64(x)) for name, x in numbers.items()}


def picture(found: Findings) -> Any:
    """For each feature, its best cell over a piece of the second half of the text that is like it in the feature."""
    shown = np.flatnonzero(~found.ranking.absent).tolist()
    figure = new_figure(8.8, 1.2 + 2.0 * max(1, len(shown)))
    title = "The cell of a character model that goes best with each feature of a text"
    subtitle = f"{found.origin}, reading {found.source}"
    heading(figure, f"{title}\n{subtitle}", fontweight="normal", fontsize=11, parse_math=False)
    panels = figure.subplots(max(1, len(shown)), 1, squeeze=False)[:, 0]
    for panel in panels:
        panel.set_axis_off()
    if not shown:
        panels[0].text(0, 0.5, "There is nothing to track in this text.", transform=panels[0].transAxes)
    for panel, feature in zip(panels, shown, strict=False):
        draw(panel, found, feature)
    scale = ScalarMappable(Normalize(-SPREAD, SPREAD), COLOURS)
    bar = figure.colorbar(scale, ax=panels.tolist(), location="bottom", aspect=60, shrink=0.6, pad=0.01)
    what = f"{found.held} of the cell after the character, in standard deviations from its mean"
    bar.set_label(f"{what}; bars below the characters: the feature", fontsize=9)
    return figure


def draw(panel: Any, found: Findings, feature: int) -> None:
    """A piece of text in the colours of the best cell, with the feature as bars below."""
    ranking, y = found.ranking, found.features[:, feature]
    where = stretch(found.text, y[:, None], lambda start: rows(found.text, start)[-1].stop)
    cell = int(ranking.order[feature, 0])
    over = found.cells[len(found.text) // 2 :, cell].astype(np.float64)
    z, highest, height = (found.cells[:, cell] - over.mean()) / over.std(), max(1.0, y[where].max()), 1 + BAR + 0.12
    letter: dict[str, Any] = {"ha": "center", "va": "center", "fontproperties": FONT, "parse_math": False}
    for row, part in enumerate(rows(found.text, where.start)):
        top, edges = row * height, np.arange(part.stop - part.start + 1)
        panel.pcolormesh(edges, [top, top + 1], z[None, part], cmap=COLOURS, vmin=-SPREAD, vmax=SPREAD, rasterized=True)
        bars = top + 1 + BAR * np.append(y[part], y[part][-1]) / highest
        panel.fill_between(edges, top + 1, bars, step="post", color="#444444", linewidth=0)
        for column, character in enumerate(found.text[part]):
            colour = "#8a8a8a" if character in "\n\t\r" else "#111111"
            panel.text(column + 0.5, top + 0.52, glyph(character), color=colour, fontsize=9.5, clip_on=True, **letter)
    layer, unit = found.place(cell)
    name, meaning = list(MEANINGS.items())[feature]
    above = "above" if ranking.tracked[feature] else "not above"
    r = f"r = {ranking.reported[feature, cell]:.2f}, {above} chance ({ranking.level[feature]:.2f})".replace("-", "−")
    panel.set(xlim=(0, WIDTH), ylim=(ROWS * height, -0.1))
    title = f"{name} ({meaning}): layer {layer}, unit {unit}, {r}"
    panel.set_title(title, loc="left", fontsize=9.5, fontweight="bold")


def rows(text: str, start: int) -> list[slice]:
    """The text from a character on, in rows: each ends with a line, or where there is no more room."""
    found: list[slice] = []
    while start < len(text) and len(found) < ROWS:
        end = text.find("\n", start, start + WIDTH)
        found.append(slice(start, min(len(text), start + WIDTH) if end < 0 else end + 1))
        start = found[-1].stop
    return found


@cache
def known() -> frozenset[int]:
    """The code points that the font can draw."""
    return frozenset(FT2Font(findfont(FONT)).get_charmap())


def glyph(character: str) -> str:
    """A character that can be seen and drawn."""
    shown = {"\n": "↵", "\t": "→", "\r": "←"}.get(character, character)
    return shown if shown.isprintable() and ord(shown) in known() else "□"
