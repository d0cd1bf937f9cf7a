"""Each page is short, needs NumPy alone, says in each line which equation it computes; no sign in it can be wrong."""

import ast
import re
from collections.abc import Iterator
from inspect import getsource
from io import StringIO
from tokenize import generate_tokens
from types import ModuleType, SimpleNamespace

from reference.equivalence import assert_close
from reference.runs import run_torch
from tests.test_readme import without_docstrings

from .pages import PAGES, each_module, rich, run

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


NUMBERED = re.compile(r"  # (\(\d\)|σ)")
TURNED = {"+": "-", "-": "+"}


def operands(value: ast.expr) -> list[ast.expr]:
    """The arrays that a line computes, or the ones that it hands to a step."""
    match value:
        case ast.Call(func=ast.Name("step" | "step_backward"), args=[first, *_]):
            return operands(first)
        case ast.Tuple(elts=several) | ast.Dict(values=several):
            return several
        case ast.DictComp(value=one):
            return [one]
    return [value]


def wrong_signs(source: str) -> Iterator[tuple[int, str]]:
    """The source with one sign turned, or one value negated that a numbered line computes; and the line's number."""
    lines = source.splitlines()
    places = [
        (*token.start, token.end[1], TURNED[token.string])
        for token in generate_tokens(StringIO(source).readline)
        if token.string in TURNED
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return) and NUMBERED.search(lines[node.lineno - 1]):
            for each in operands(node.value):
                places += [(each.lineno, each.col_offset, each.end_col_offset, f"-({ast.unparse(each)})")]
    for number, start, end, text in places:
        line = lines[number - 1]
        yield number, "\n".join([*lines[: number - 1], line[:start] + text + line[end:], *lines[number:]])


def agrees(source: str, module: ModuleType) -> bool:
    """Whether the module with another source agrees with PyTorch."""
    exec(source, functions := {})
    try:
        for page in [page for page in PAGES if page.functions is module]:
            problem = rich(page)
            assert_close(run(page._replace(functions=SimpleNamespace(**functions)), problem), run_torch(problem))
    except AssertionError:
        return False
    return True


@each_module
def test_a_wrong_sign_in_any_line_is_found(module: ModuleType) -> None:
    source = getsource(module)
    assert agrees(source, module)
    planted = list(wrong_signs(source))
    assert [wrong.splitlines()[number - 1] for number, wrong in planted if agrees(wrong, module)] == []
    numbered = {number for number, line in enumerate(source.splitlines(), 1) if NUMBERED.search(line)}
    assert numbered <= {number for number, _ in planted}
