"""The derivation pages quote the code as it is. (Their examples are doctests, and run with the tests.)"""

import re
from inspect import getsource
from pathlib import Path
from typing import Any

import pytest

from scratch import nn, study, textbook
from scratch.nn import bptt, lstm
from scratch.textbook import gru as textbook_gru
from scratch.textbook import lstm as textbook_lstm
from scratch.textbook import rnn as textbook_rnn
from tests.scratch.textbook.equations import Page

NN, STUDY, TEXTBOOK = (Path(package.__file__).parent for package in (nn, study, textbook))
CORE = NN / "from_textbook_to_core.md"
DERIVATIONS = [page for page in TEXTBOOK.glob("*.md") if Page(page).numbered()]
QUOTING = [page for page in (*NN.rglob("*.md"), *DERIVATIONS) if "```python\n" in page.read_text()]


def lines_of(text: str) -> set[str]:
    """Lines without indentation and comments."""
    return {line.split("  #")[0].strip() for line in text.splitlines()}


@pytest.mark.parametrize("page", sorted(QUOTING), ids=lambda page: page.name)
def test_quoted_code_is_the_code(page: Path) -> None:
    code = set().union(*(lines_of(file.read_text()) for file in page.parent.rglob("*.py")))
    quoted = set().union(*map(lines_of, re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)))
    assert quoted
    assert quoted - code == set()


@pytest.mark.parametrize("page", sorted([*DERIVATIONS, CORE, STUDY / "rtrl.md"]), ids=lambda page: page.name)
def test_equations_that_are_referred_to_exist(page: Path) -> None:
    """On the page that is named behind them; else on the page itself, or on a page on which it builds."""
    prose = re.sub(r"```math\n.*?```", "", page.read_text(), flags=re.DOTALL)
    named = re.findall(r"\((\d+\.\d+)\)(?: to \((\d+\.\d+)\))?\s+of\s+\[`(\w+\.md)`\]", prose)
    for *numbers, there in named:
        assert set(numbers) - {""} <= Page(TEXTBOOK / there).numbered().keys()
    referred = set(re.findall(r"(?<!\w)\((\d+\.\d+|[TR]?\d)\)(?!(?: to \(\d+\.\d+\))?\s+of\s+\[`)", prose))
    assert referred
    builds_on = [TEXTBOOK / "rnn.md"] if page in DERIVATIONS else DERIVATIONS
    assert referred - set().union(*(Page(each).numbered() for each in (page, *builds_on))) == set()


LINES = [
    *((TEXTBOOK / f"{page.__name__.rpartition('.')[2]}.md", "line.*", (page.step_backward, page.backward),
       r"  # .*\(\d\)|d_h = d_output") for page in (textbook_rnn, textbook_lstm, textbook_gru)),
    (CORE, "line", (bptt.forward, bptt.backward, bptt.sums_over_time), r"  # \(T\d\)"),
    (CORE, "line of the cell", (lstm.linearize, lstm.step_backward), r"^    (?!.* = |return|\"|Fills)\S.*[a-z]"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "head", "functions", "computes"), LINES)
def test_each_line_that_computes_is_in_a_table(page: Path, head: str, functions: Any, computes: str) -> None:
    """A dict may stand there entry by entry, and what a line ends with may be left out."""
    cells = [row[0] for name, rows in Page(page).tables().items() if re.fullmatch(head, name) for row in rows]
    spans = [span.removesuffix("…)") for cell in cells for span in re.findall("`([^`]+)`", cell)]
    lines = [line for function in functions for line in getsource(function).splitlines()]
    assert [span for span in spans if not any(span in line for line in lines)] == []
    computed = [line for line in lines if re.search(computes, line)]
    assert len(computed) > 5
    assert [line for line in computed if not any(span in line for span in spans)] == []
