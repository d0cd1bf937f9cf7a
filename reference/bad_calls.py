"""The table of bad calls, as `bad_calls.md` has it: there it is explained, and there a call is added."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from .problems import CELLS, can_project, state_of

PAGE = Path(__file__).with_suffix(".md")

RECURRENCES = tuple(dict.fromkeys(str(options["module"]) for options in CELLS.values()))
"""The names of all recurrent modules in the house. Each has a cell of the same name and 'Cell'."""
WITH_NONLINEARITY = {str(options["module"]) for options in CELLS.values() if "nonlinearity" in options}
SEVERAL_PARTS = tuple(name for name in RECURRENCES if len(state_of(name)) > 1)
"""Those whose state is a tuple of arrays."""
OPTIMIZERS = ("SGD", "Adagrad", "RMSprop", "Adam", "AdamW")
KINDS: dict[str, Callable[[str], bool]] = {
    "": lambda name: True,
    " that has a nonlinearity": lambda name: name in WITH_NONLINEARITY,
    " that has no nonlinearity": lambda name: name not in WITH_NONLINEARITY,
    " that can project": can_project,
    " that cannot project": lambda name: not can_project(name),
    " whose state is one array": lambda name: name not in SEVERAL_PARTS,
    " whose state is a tuple": lambda name: name in SEVERAL_PARTS,
}
"""Which recurrences a line may ask for, after 'every recurrence' or 'every cell'."""


@dataclass(frozen=True)
class Subject:
    """What calls are made on."""

    names: tuple[str, ...]
    """The classes or functions for which a call is made."""
    options: str
    """What the module is made with, besides its sizes."""
    input: str
    """What the module has been called on before; empty for its usual input."""
    line: str
    """All this as it is on the page."""
    how: str
    """The part of the line behind the names."""


@dataclass(frozen=True, eq=False)
class Row:
    """One bad call."""

    group: str
    subject: Subject
    before: str
    """What is done first, and allowed."""
    call: str
    """What is refused."""
    error: type[Exception]
    """What `scratch` raises."""
    message: tuple[str, ...]
    """How the message may begin."""
    why: str
    """Why PyTorch does not raise the same; empty if it does."""
    only: str
    """The only class for which `why` holds; empty if it holds for all."""

    @property
    def text(self) -> str:
        """The whole line of Python."""
        return f"{self.before}; {self.call}" if self.before else self.call

    def reason(self, name: str) -> str:
        """Why `scratch` is stricter than PyTorch for this name; empty if it is not."""
        return self.why if self.only in ("", name) else ""


def each(text: str) -> list[str]:
    """The texts that a text with `{a | b}` in it stands for."""
    parts = re.split(r"\{([^{}]*\|[^{}]*)\}", text)  # every second one holds alternatives
    choices = [map(str.strip, part.split("|")) if place % 2 else [part] for place, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def names(what: str) -> tuple[str, ...]:
    """The classes that 'every recurrence', 'every cell', 'every optimizer' or a list of names stands for.

    Raises ValueError for other words.
    """
    if what == "every optimizer":
        return OPTIMIZERS
    kind = re.fullmatch(rf"every (recurrence|cell)({'|'.join(KINDS)})", what)
    if kind:
        suffix = "Cell" if kind[1] == "cell" else ""
        return tuple(name + suffix for name in RECURRENCES if KINDS[kind[2]](name))
    if " " in what.replace(", ", ""):
        raise ValueError(f"expected names or 'every …' in {PAGE.name}, got {what!r}")
    return tuple(what.split(", "))


def table(page: str) -> Iterator[Row]:
    """The rows of a page. Raises ValueError for a line that is not one."""
    group, inside, subject = "", False, None
    for line in page.splitlines():
        if line.startswith("```"):
            inside, subject = not inside, None
        elif line.startswith("## "):
            group = line[3:]
        elif inside and line:
            heading = re.fullmatch(r"# (.+?)(?:, made with (.+?))?(?:, called on (.+))?", line)
            row = re.fullmatch(r"(.+?)  # (\w+): (expected .+?)(?:  # (?:(\w+) only: )?(.+))?", line)
            error = getattr(builtins, row[2], None) if row else None
            if heading:
                what, options, input = heading.groups(default="")
                subject = Subject(names(what), options, input, line[2:], line[2:].removeprefix(what))
            elif row and error and subject:
                for text in each(row[1]):
                    before, _, call = text.rpartition("; ")
                    yield Row(group, subject, before, call, error, tuple(each(row[3])), row[5] or "", row[4] or "")
            else:
                raise ValueError(f"expected `call  # Error: expected …` in {PAGE.name}, got {line!r}")


TABLE = list(table(PAGE.read_text(encoding="utf-8")))
