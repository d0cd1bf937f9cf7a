"""The READMEs' examples print what they say they print."""

import ast
import contextlib
import io
import itertools
import re
from pathlib import Path

import pytest

from scratch.textbook import lstm

ROOT = Path(__file__).parent.parent
PACKAGES = ("scratch", "reference", "benchmarks")
PATHS = [ROOT / "README.md", *(path for package in PACKAGES for path in sorted(ROOT.glob(f"{package}/**/README.md")))]
READMES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PATHS}


def examples(readme: str) -> list[tuple[str, str]]:
    """The programs in a README, each with what it prints, which stands below it."""
    blocks = re.findall(r"```(python|text)\n(.*?)```", readme, flags=re.DOTALL)
    return [(code, printed) for (kind, code), (_, printed) in itertools.pairwise(blocks) if kind == "python"]


EXAMPLES = [
    pytest.param(*found, id=f"{name} {n}") for name in READMES for n, found in enumerate(examples(READMES[name]))
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize(("code", "expected"), EXAMPLES)
def test_examples_print_what_the_readme_shows(code: str, expected: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        except AssertionError as error:
            print(f"AssertionError: {error}")
    assert printed.getvalue() == expected


def without_docstrings(source: str) -> str:
    """The lines of a file that are code."""
    tree = ast.parse(source)
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef)]
    docstrings = [scope.body[0] for scope in scopes if ast.get_docstring(scope) is not None]
    dropped = {line for node in docstrings for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    return "\n".join(text for line, text in enumerate(source.splitlines(), 1) if line not in dropped)


def test_the_step_that_the_readme_shows_is_the_textbooks() -> None:
    (shown,) = re.findall(r"```py\n(.*?)\n```", READMES["README.md"], flags=re.DOTALL)
    assert shown in without_docstrings(Path(lstm.__file__ or "").read_text(encoding="utf-8"))
    assert "def step(" in shown and "def step_backward(" in shown
    (equations,) = re.findall(r"^\(0\).*?(?=^```)", READMES["README.md"], flags=re.DOTALL | re.MULTILINE)
    assert equations in (lstm.__doc__ or "")


def test_the_front_page_is_a_page() -> None:
    assert len(READMES["README.md"].splitlines()) <= 200
