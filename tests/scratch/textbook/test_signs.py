"""A wrong sign, wherever it is planted on a page, shows in the comparison with PyTorch."""

import ast
import re
from collections.abc import Iterator
from inspect import getsource
from io import StringIO
from tokenize import generate_tokens
from types import ModuleType, SimpleNamespace

from reference.equivalence import assert_close
from reference.runs import run_torch

from .pages import PAGES, each_module, rich, run

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
