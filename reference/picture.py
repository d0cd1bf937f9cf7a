"""The error as a picture: a row for each tensor, a column for each option, the colour its worst error."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from .check import PYTORCH, Found
from .problems import eps_of
from .summary import by_option

COLOURS = "cividis"
"""Even in lightness, and the same to colour-blind readers."""


def picture(found: Found) -> Figure:
    """A panel for each dtype and each of subject and PyTorch; the colours of a dtype mean the same in both panels."""
    parties = [found.subject.name, *([PYTORCH] if found.in_torch else [])]
    dtypes = [dtype for dtype in found.subject.dtypes if any(row.dtype == dtype for row in found.rows)]
    panels = [(dtype, who, by_option(found, who, dtype)) for dtype in dtypes for who in parties]
    tensors = list(dict.fromkeys(kind for *_, table in panels for kinds in table.values() for kind in kinds))
    options = list(dict.fromkeys(option for *_, table in panels for option in table))
    alternatives = Counter(group for group, _ in options)
    options = [option for option in options if alternatives[option[0]] > 1] or options  # one alone tells nothing

    figure = Figure(figsize=(2.6 + 0.3 * len(options), 1.4 + (0.35 + 0.22 * len(tensors)) * len(panels)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
    for dtype in dtypes:
        places = [place for place, (own, _, _) in enumerate(panels) if own == dtype]
        errors = {place: matrix(panels[place][2], tensors, options) for place in places}
        seen = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in errors.values()])
        eps = eps_of(dtype)
        norm = LogNorm(vmin=min([eps / 8, *seen]), vmax=max([eps * 100, *seen]))
        for place, values in errors.items():
            image = draw(axes[place], values, norm)
            axes[place].set_title(f"{panels[place][1]}, {dtype}", fontsize=10)
            axes[place].set_yticks(range(len(tensors)), tensors, fontsize=8)
            axes[place].set_xticks(range(len(options)), [option for _, option in options], rotation=90, fontsize=8)
            for column, ((before, _), (group, _)) in enumerate(pairwise(options)):
                if before != group:
                    axes[place].axvline(column + 0.5, color="white", linewidth=2.5)
        label = "worst error, relative to the truth\n(numbers: powers of ten)"
        figure.colorbar(image, ax=[axes[place] for place in places], label=label, fraction=0.04, pad=0.01)
    return figure


def draw(axis: Any, errors: np.ndarray, norm: LogNorm) -> Any:
    """One panel. An error of exactly 0 has the colour of the smallest; what there is none of stays white."""
    shown = np.ma.masked_invalid(np.where(errors == 0, norm.vmin, np.where(np.isinf(errors), norm.vmax, errors)))
    image = axis.imshow(shown, norm=norm, cmap=COLOURS, aspect="auto")
    for (row, column), error in np.ndenumerate(errors):
        if np.isnan(error):
            continue
        text = "0" if error == 0 else "✗" if np.isinf(error) else f"{np.log10(error):.0f}"
        colour = "white" if norm(max(error, norm.vmin)) < 0.5 else "black"
        axis.text(column, row, text, color=colour, fontsize=6.5, ha="center", va="center")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


def matrix(
    table: dict[tuple[str, str], dict[str, float]], tensors: list[str], options: list[tuple[str, str]]
) -> np.ndarray:
    """The worst errors as (tensors, options); NaN where there is none."""
    return np.array([[table.get(option, {}).get(tensor, np.nan) for option in options] for tensor in tensors])


def as_svg(figure: Figure) -> str:
    """The picture as an element of an HTML page."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
