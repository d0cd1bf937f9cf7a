"""The report: what a check has found, as one HTML page that needs nothing but a browser."""

from __future__ import annotations

from pathlib import Path

import jinja2
import numpy as np

from . import summary
from .check import Found
from .devices import NO_DEVICE
from .failures import Told
from .picture import as_svg, picture


def page(found: Found, told: Told) -> str:
    """The page, from the template beside this file."""
    jinja = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    jinja.filters |= {"error": in_short, "ulps": summary.in_ulps}
    template = jinja.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    tensors = {dtype: rows for dtype in found.subject.dtypes if (rows := summary.tensors(found, dtype))}
    return template.render(
        found=found,
        subject=found.subject.name,
        verdict=summary.verdict(found, told),
        told=told,
        tensors=tensors,
        picture=as_svg(picture(found)) if found.configurations and tensors else "",
        agreements=summary.agreements(found),
        gpu=summary.on_gpu(found),
        no_device=NO_DEVICE,
        environment=summary.environment(),
    )


def in_short(error: float) -> str:
    """An error with two digits."""
    return f"{error:.1e}" if np.isfinite(error) else "✗"
