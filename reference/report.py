"""The report: what a check has found, as one HTML page that needs nothing but a browser, and the error as a picture.

The picture has a row for each tensor and a column for each option; the colour is the worst error.
"""

from collections import Counter
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from scratch.types import Array

from .check import PYTORCH, Found
from .devices import NO_DEVICE
from .failures import Told
from .problems import eps_of
from .space import labels
from .summary import in_short, tables

COLOURS = "cividis"
"""Even in lightness, and the same to colour-blind readers."""


def page(found: Found, told: Told, shown: dict[str, Any], figure: Figure | None) -> str:
    """The page, from the template beside this file. shown: the summary. figure: the picture, if there is one."""
    jinja = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    jinja.filters |= {"error": lambda error: f"{error:.1e}" if np.isfinite(error) else "✗", "short": in_short}
    template = jinja.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    svg = StringIO()
    if figure:
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return template.render(
        found=found,
        told=told,
        shown=shown,
        tables=tables(found, shown),
        picture=svg.getvalue()[svg.getvalue().find("<svg") :],
        no_device=NO_DEVICE,
    )


def picture(found: Found) -> Figure | None:
    """A panel for each dtype and each of subject and PyTorch; the colours of a dtype mean the same in both panels.

    None if nothing was computed.
    """
    if not found.configurations:
        return None
    parties = [found.subject.name, *([PYTORCH] if found.in_torch else [])]
    dtypes = [dtype for dtype in found.subject.dtypes if any(row.dtype == dtype for row in found.rows)]
    panels = {(dtype, who): by_option(found, who, dtype) for dtype in dtypes for who in parties}
    cells = [cell for errors in panels.values() for cell in errors]
    tensors = list(dict.fromkeys(kind for kind, _ in cells))
    groups = list(labels(found.configurations[0]))
    options = sorted(dict.fromkeys(option for _, option in cells), key=lambda option: groups.index(option[0]))
    alternatives = Counter(group for group, _ in options)
    options = [option for option in options if alternatives[option[0]] > 1] or options  # one alone tells nothing

    figure = Figure(figsize=(2.6 + 0.3 * len(options), 1.4 + (0.35 + 0.22 * len(tensors)) * len(panels)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
    for number, dtype in enumerate(dtypes):
        own = axes[number * len(parties) : (number + 1) * len(parties)]
        errors = np.array(
            [[[panels[dtype, who].get((t, o), np.nan) for o in options] for t in tensors] for who in parties]
        )
        seen, eps = errors[np.isfinite(errors) & (errors > 0)], eps_of(dtype)
        norm = LogNorm(vmin=min([eps / 8, *seen]), vmax=max([eps * 100, *seen]))
        for who, axis, values in zip(parties, own, errors, strict=True):
            image = draw(axis, values, norm)
            axis.set_title(f"{who}, {dtype}", fontsize=10)
            axis.set_yticks(range(len(tensors)), tensors, fontsize=8)
            axis.set_xticks(range(len(options)), [option for _, option in options], rotation=90, fontsize=8)
            for column, ((before, _), (group, _)) in enumerate(pairwise(options)):
                if before != group:
                    axis.axvline(column + 0.5, color="white", linewidth=2.5)
        label = "worst error, relative to the truth\n(numbers: powers of ten)"
        figure.colorbar(image, ax=list(own), label=label, fraction=0.04, pad=0.01)
    return figure


def by_option(found: Found, who: str, dtype: str) -> dict[tuple[str, tuple[str, str]], float]:
    """The worst error of each kind of tensor for each option, which is (group of options, option)."""
    errors: dict[tuple[str, tuple[str, str]], float] = {}
    for row in found.rows:
        if row.who == who and row.dtype == dtype:
            for option in labels(row.configuration).items():
                errors[row.kind, option] = max(errors.get((row.kind, option), 0.0), row.error)
    return errors


def draw(axis: Axes, errors: Array, norm: LogNorm) -> Any:
    """One panel. An error of exactly 0 has the colour of the smallest; what there is none of stays white."""
    shown = np.ma.masked_invalid(np.where(errors == 0, norm.vmin, np.where(np.isinf(errors), norm.vmax, errors)))
    image = axis.imshow(shown, norm=norm, cmap=COLOURS, aspect="auto")
    for (row, column), error in np.ndenumerate(errors):
        if np.isnan(error):
            continue
        text = "0" if error == 0 else "✗" if np.isinf(error) else f"{round(np.log10(error))}"
        colour = "white" if norm(max(error, norm.vmin)) < 0.5 else "black"
        axis.text(column, row, text, color=colour, fontsize=6.5, ha="center", va="center")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image
