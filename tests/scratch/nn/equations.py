"""The numbered equations of docstrings, and what the code computes, to hold them against."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from tests.scratch.textbook.equations import assert_close

Check = Callable[[], Iterable[tuple[Any, Any]]]
"""Yields pairs: what the equation says, written out in NumPy, and what the code computed."""


class Docstring:
    """A docstring whose equations, those with a number before or behind, are tested one by one."""

    def __init__(self, text: str | None) -> None:
        self.text = inspect.cleandoc(text or "")
        self.tested: dict[str, Check] = {}

    def equation(self, text: str) -> Callable[[Check], Check]:
        """The decorator of the test of this equation."""
        return lambda check: self.tested.setdefault(text, check)

    def check(self, text: str) -> None:
        """Compare what the equation says with what the code computed."""
        pairs = list(self.tested[text]())
        assert pairs
        for said, computed in pairs:
            assert_close(said, computed)

    def numbered(self) -> set[str]:
        """The equations of the docstring, without what is said behind them."""
        before = re.findall(r"^\(\d\) +(\S.*?)(?:,?  .*)?$", self.text, flags=re.M)
        behind = re.findall(r"^(?:Differentiated:)? {2,}(\S.*?) {2,}\(\d\).*$", self.text, flags=re.M)
        return {*before, *behind}
