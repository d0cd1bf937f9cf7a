"""Pages that need nothing but a browser: a template, and the numbers in it."""

import json
from pathlib import Path
from typing import Any


def filled(template: Path, data: Any) -> str:
    """The HTML of a template with `data` as JSON in the place of {{ data }}. Whatever a text in it holds stays text.

    Raises ValueError for numbers that are not finite.
    """
    # "<" would be read as markup where "</script" or "<!--" begins.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.read_text(encoding="utf-8").replace("{{ data }}", content)
