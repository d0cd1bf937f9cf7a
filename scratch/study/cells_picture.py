"""The picture of cells: pieces of text, each character on the colour of a cell's activation."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font_names
from matplotlib.ft2font import FT2Font

from .cells import Findings, Ranking
from .cells_features import MEANINGS
from .cells_page import stretch
from .pictures import heading, new_figure

COLOURS = LinearSegmentedColormap.from_list("cells", ["#6aa9e9", "#fbfaf7", "#f79a4b"])
"""From blue to orange, which colour-blind readers can tell apart, light enough for black letters."""

WIDTH, ROWS = 88, 8
"""Characters in a row, and rows of text for each feature."""

WIDE = "CJK|WenQuanYi|MS Gothic|Yu Gothic|Hiragino Sans|PingFang|SimSun|Malgun|Unifont"
"""Fonts with what DejaVu, which comes with Matplotlib, lacks: those that are installed are used, too."""

FONT = FontProperties(family=["DejaVu Sans Mono", *(name for name in get_font_names() if re.search(WIDE, name))])

LETTER: dict[str, Any] = {
    "ha": "center",
    "va": "center",
    "fontproperties": FONT,
    "parse_math": False,
    "clip_on": True,
}

SPREAD = 2.0
"""The colours end at so many standard deviations from the cell's mean."""

BAR = 0.34
"""The height of the feature's bars, in rows of text."""


def picture(found: Findings) -> Figure:
    """For each feature, its best cell over a piece of the second half of the text that is like it in the feature."""
    shown = [pair for pair in enumerate(found.rankings) if not pair[1].absent]
    figure = new_figure(8.8, 1.2 + 2.0 * max(1, len(shown)))
    title = "The cell of a character model that goes best with each feature of a text"
    subtitle = f"{found.origin}, reading {found.source}"
    heading(figure, f"{title}\n{subtitle}", fontweight="normal", fontsize=11, parse_math=False)
    panels = figure.subplots(max(1, len(shown)), 1, squeeze=False)[:, 0]
    for panel in panels:
        panel.set_axis_off()
    if not shown:
        panels[0].text(0, 0.5, "There is nothing to track in this text.", transform=panels[0].transAxes)
    for panel, (number, ranking) in zip(panels, shown, strict=False):
        draw(panel, found, number, ranking)
    scale = ScalarMappable(Normalize(-SPREAD, SPREAD), COLOURS)
    bar = figure.colorbar(scale, ax=panels.tolist(), location="bottom", aspect=60, shrink=0.6, pad=0.01)
    what = f"{found.held} of the cell after the character, in standard deviations from its mean"
    bar.set_label(f"{what}; bars below the characters: the feature", fontsize=9)
    return figure


def draw(panel: Any, found: Findings, number: int, ranking: Ranking) -> None:
    """A piece of text in the colours of the best cell, with the feature as bars below."""
    where = stretch(found.text, found.features[:, [number]], lambda start: rows(found.text, start)[-1].stop)
    cell = ranking.best
    over = found.cells[len(found.text) // 2 :, cell].astype(np.float64)
    z, y = (found.cells[:, cell] - over.mean()) / over.std(), found.features[:, number]
    highest, height = max(1.0, y[where].max()), 1 + BAR + 0.12
    for row, part in enumerate(rows(found.text, where.start)):
        top, edges = row * height, np.arange(part.stop - part.start + 1)
        panel.pcolormesh(edges, [top, top + 1], z[None, part], cmap=COLOURS, vmin=-SPREAD, vmax=SPREAD, rasterized=True)
        bars = top + 1 + BAR * np.append(y[part], y[part][-1]) / highest
        panel.fill_between(edges, top + 1, bars, step="post", color="#444444", linewidth=0)
        for column, character in enumerate(found.text[part]):
            if character != " ":
                colour = "#8a8a8a" if character in "\n\t\r" else "#111111"
                size = 6.5 if east_asian_width(character) in "WF" else 9.5
                panel.text(column + 0.5, top + 0.52, glyph(character), color=colour, fontsize=size, **LETTER)
    layer, unit = found.place(cell)
    r, level = ranking.reported[cell], ranking.level
    panel.set(xlim=(0, WIDTH), ylim=(ROWS * height, -0.1))
    title = (
        f"{ranking.name} ({MEANINGS[ranking.name]}): layer {layer}, unit {unit}, r = {r:.2f}, "
        f"{'above' if ranking.tracked else 'not above'} chance ({level:.2f})"
    )
    panel.set_title(title.replace("-", "−"), loc="left", fontsize=9.5, fontweight="bold")


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
    """The code points that the fonts can draw."""
    fonts = (FT2Font(findfont(FontProperties(family=name))) for name in FONT.get_family())
    return frozenset(point for font in fonts for point in font.get_charmap())


def missing(text: str) -> str:
    """A line about the characters that no font here can draw, and what to install; empty if there are none."""
    lacking = sorted(character for character in set(text) if character.isprintable() and ord(character) not in known())
    more = f" and {len(lacking) - 10:,} more" if len(lacking) > 10 else ""
    shown = f"{''.join(lacking[:10])}{more}"
    return f"in the picture □ stands for {shown}: no font here has it; Noto Sans CJK would do" if lacking else ""


def glyph(character: str) -> str:
    """A character that can be seen and drawn."""
    shown = {"\n": "↵", "\t": "→", "\r": "←"}.get(character, character)
    return shown if shown.isprintable() and ord(shown) in known() else "□"
