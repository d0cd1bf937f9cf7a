"""Each page is short, needs NumPy alone, and says at the end of each line which equation it computes or undoes."""

import ast
import re
from collections.abc import Iterator
from inspect import getsource
from types import ModuleType

from tests.test_readme import without_docstrings

from .pages import each_module

MOST = 60
"""How many lines of code still fit on one screen, with their docstrings."""


@each_module
def test_a_page_is_short_and_needs_numpy_alone(module: ModuleType) -> None:
    source = getsource(module)
    code = [line for line in without_docstrings(source).splitlines() if line.strip() and line.strip()[0] != "#"]
    assert 20 < len(code) <= MOST
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(each) for each in imports] == ["from typing import Any", "import numpy as np"]


def computing(function: ast.FunctionDef) -> Iterator[ast.Assign | ast.AugAssign]:
    """The assignments in a function that compute an array: neither a new name, nor a size."""
    for node in ast.walk(function):
        is_computed = isinstance(node, ast.Assign | ast.AugAssign) and not isinstance(node.value, ast.Name)
        if is_computed and ast.unparse(node) != "H = h_prev.shape[1]":
            yield node


@each_module
def test_each_line_of_a_step_ends_with_the_number_of_an_equation(module: ModuleType) -> None:
    lines, tree = getsource(module).splitlines(), ast.parse(getsource(module))
    equations = re.findall(r"^\((\d)\)  ", module.__doc__ or "", flags=re.MULTILINE)
    assert equations == [str(number) for number in range(len(equations))]
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in ("step", "step_backward"):
        ends = [lines[node.end_lineno - 1].partition("  # ")[2] for node in computing(functions[name])]
        assert [end for end in ends if not re.match(r"\(\d\)(, \(\d\))*(  |$)", end)] == []
        assert {number for end in ends for number in re.findall(r"\((\d)\)", end)} == set(equations)
