"""Pages that need nothing but a browser: a template, the style of all of them, and the numbers in it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = 6  # significant digits of a number on a page


def filled(template: Path, data: Any) -> str:
    """The HTML of a template, with pages.css for {{ style }}, pages.js for {{ script }} and the data for {{ data }}.

    A text in the data stays text, whatever markup it holds. Raises ValueError for numbers that are not finite.
    """
    # "<" would be read as markup where "</script" or "<!--" begins.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    files = (template, *(Path(__file__).with_suffix(suffix) for suffix in (".css", ".js")))
    page, style, script = (path.read_text(encoding="utf-8") for path in files)
    return page.replace("{{ style }}", style).replace("{{ script }}", script).replace("{{ data }}", content)


def rounded(array: Any) -> Any:
    """An array as nested lists of numbers with a few significant digits; a scalar as a number."""
    if np.ndim(array) > 0:
        return [rounded(part) for part in array] if np.ndim(array) > 1 else [rounded(x) for x in array.tolist()]
    return float(f"{float(array):.{DIGITS}g}")
