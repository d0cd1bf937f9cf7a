"""The report: what a check has found, as one HTML page that needs nothing but a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from .check import PYTORCH, Found
from .devices import NO_DEVICE
from .failures import Told
from .picture import as_svg, picture
from .summary import agreements, environment, in_ulps, lines, on_gpu, ratio, verdict


def page(found: Found, told: Told) -> str:
    """The page, from the template beside this file."""
    name = found.subject.name
    jinja = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    jinja.filters |= {"error": in_short, "ulps": in_ulps}
    template = jinja.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    dtypes = [dtype for dtype in found.subject.dtypes if lines(found, name, dtype)]
    return template.render(
        subject=name,
        count=len(found.configurations),
        verdict=verdict(found, told),
        told=told.failures,
        rest=told.rest,
        others=[row for row in found.disagreements if row.who != name],
        tensors={dtype: tensors(found, dtype) for dtype in dtypes},
        witnessed=found.witnessed,
        in_torch=found.in_torch,
        not_in_torch=found.not_in_torch,
        picture=as_svg(picture(found)) if found.configurations and dtypes else "",
        agreements=agreements(found),
        gpu=on_gpu(found),
        no_device=NO_DEVICE,
        not_offered=found.not_offered,
        environment=environment(),
    )


def tensors(found: Found, dtype: str) -> list[dict[str, Any]]:
    """A row for each kind of tensor in one dtype."""
    ours, theirs = lines(found, found.subject.name, dtype), lines(found, PYTORCH, dtype)
    return [
        {"kind": kind, "ours": line, "theirs": theirs.get(kind), "ratio": ratio(found, kind, dtype)}
        for kind, line in ours.items()
    ]


def in_short(error: float) -> str:
    """An error with two digits."""
    return f"{error:.1e}" if np.isfinite(error) else "✗"
