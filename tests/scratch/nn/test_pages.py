"""The derivation pages quote the code as it is. (Their examples are doctests, and run with the tests.)"""

import re
from pathlib import Path

import pytest

from scratch import nn

FOLDER = Path(nn.__file__).parent


def lines_of(text: str) -> set[str]:
    """Lines without indentation and comments."""
    return {line.split("  #")[0].strip() for line in text.splitlines()}


@pytest.mark.parametrize("page", sorted(FOLDER.rglob("*.md")), ids=lambda page: page.name)
def test_quoted_code_is_the_code(page: Path) -> None:
    code = set().union(*(lines_of(file.read_text()) for file in FOLDER.rglob("*.py")))
    quoted = set().union(*map(lines_of, re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)))
    assert quoted
    assert quoted - code == set()
