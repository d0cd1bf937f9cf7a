"""The README's examples print what it says they print."""

import contextlib
import io
import itertools
import re
from pathlib import Path

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
