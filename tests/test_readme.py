"""The README's examples print what it says they print."""

import ast
import contextlib
import io
import itertools
import re
from pathlib import Path

from scratch.textbook import lstm

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(python|text)\n(.*?)```", README, flags=re.DOTALL)
EXAMPLES = [(code, printed) for (kind, code), (_, printed) in itertools.pairwise(BLOCKS) if kind == "python"]


def test_examples_print_what_the_readme_shows() -> None:
    assert len(EXAMPLES) == 3
    for code, expected in EXAMPLES:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                exec(compile(code, "README.md", "exec"), {})
            except AssertionError as error:
                print(f"AssertionError: {error}")
        assert printed.getvalue() == expected


def without_docstrings(source: str) -> str:
    """The lines of a file that are code, with two blank lines between functions."""
    tree = ast.parse(source)
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef)]
    docstrings = [scope.body[0] for scope in scopes if ast.get_docstring(scope) is not None]
    dropped = {line for node in docstrings for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    kept = [text for line, text in enumerate(source.splitlines(), 1) if line not in dropped]
    return re.sub(r"\n{3,}", "\n\n\n", "\n".join(kept)).strip()


def test_the_page_that_the_readme_shows_is_the_textbooks() -> None:
    (shown,) = re.findall(r"```py\n(.*?)\n```", README, flags=re.DOTALL)
    assert shown == without_docstrings(Path(lstm.__file__ or "").read_text(encoding="utf-8"))
    (equations,) = re.findall(r"^\(0\).*?(?=^```)", README, flags=re.DOTALL | re.MULTILINE)
    assert equations in (lstm.__doc__ or "")
