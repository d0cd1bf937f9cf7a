"""Pages that need nothing but a browser: a template, the style of all of them, and the numbers in it."""

import json
from pathlib import Path
from typing import Any


def filled(template: Path, data: Any) -> str:
    """The HTML of a template, with pages.css in the place of {{ style }} and `data` as JSON in that of {{ data }}.

    Whatever a text in the data holds stays text.

    Raises ValueError for numbers that are not finite.
    """
    # "<" would be read as markup where "</script" or "<!--" begins.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    page, style = (path.read_text(encoding="utf-8") for path in (template, Path(__file__).with_suffix(".css")))
    return page.replace("{{ style }}", style).replace("{{ data }}", content)
