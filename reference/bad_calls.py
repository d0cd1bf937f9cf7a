"""The table of bad calls, as `bad_calls.md` has it: there it is explained, and there a call is added."""

import builtins
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from .problems import CELLS, can_project, state_of

PAGE = Path(__file__).with_suffix(".md")

RECURRENCES = tuple(dict.fromkeys(str(options["module"]) for options in CELLS.values()))
"""The names of all recurrent modules in the house. Each has a cell of the same name and 'Cell'."""
OPTIMIZERS = ("SGD", "Adagrad", "RMSprop", "Adam", "AdamW")
KINDS = {
    " that has a nonlinearity": {str(options["module"]) for options in CELLS.values() if "nonlinearity" in options},
    " that can project": set(filter(can_project, RECURRENCES)),
    " whose state is a tuple": {name for name in RECURRENCES if len(state_of(name)) > 1},
}
"""Which recurrences a line may ask for, after 'every recurrence' or 'every cell'."""
OTHERS = {
    " that has no nonlinearity": " that has a nonlinearity",
    " that cannot project": " that can project",
    " whose state is one array": " whose state is a tuple",
}
"""All but which."""


class Subject(NamedTuple):
    """What calls are made on: the classes or functions, and what a module is made with and has been called on."""

    names: tuple[str, ...]
    options: str
    input: str
    line: str  # all this as it is on the page


class Row(NamedTuple):
    """One bad call: what is done first, and allowed; what is refused; and with which error."""

    group: str
    subject: Subject
    before: str
    call: str
    error: type[Exception]
    message: tuple[str, ...]  # how the message may begin
    why: str  # why PyTorch does not raise the same; empty if it does
    only: str  # the only class for which `why` holds; empty if it holds for all

    @property
    def text(self) -> str:
        """The whole line of Python."""
        return f"{self.before}; {self.call}" if self.before else self.call


def each(text: str) -> list[str]:
    """The texts that a text with `{a | b}` in it stands for."""
    parts = re.split(r"\{([^{}]*\|[^{}]*)\}", text)  # every second one holds alternatives
    choices = [map(str.strip, part.split("|")) if place % 2 else [part] for place, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def names(what: str) -> tuple[str, ...]:
    """The classes that 'every recurrence …', 'every cell …', 'every optimizer' or a list of names stands for."""
    if what == "every optimizer":
        return OPTIMIZERS
    kind = re.fullmatch(rf"every (recurrence|cell)({'|'.join(('', *KINDS, *OTHERS))})", what)
    if kind:
        left_out = KINDS.get(OTHERS.get(kind[2], ""), set())
        chosen = KINDS.get(kind[2], set(RECURRENCES) - left_out)
        return tuple(name + "Cell" * (kind[1] == "cell") for name in RECURRENCES if name in chosen)
    if " " in what.replace(", ", ""):
        raise ValueError(f"expected names or 'every …' in {PAGE.name}, got {what!r}")
    return tuple(what.split(", "))


def table(page: str) -> Iterator[Row]:
    """The rows of a page. Raises ValueError for a line that is not one."""
    group, inside, subject = "", False, None
    for line in page.splitlines():
        heading = re.fullmatch(r"# (.+?)(?:, made with (.+?))?(?:, called on (.+))?", line)
        row = re.fullmatch(r"(.+?)  # (\w+): (expected .+?)(?:  # (?:(\w+) only: )?(.+))?", line)
        error = getattr(builtins, row[2], None) if row else None
        if line.startswith("```"):
            inside, subject = not inside, None
        elif line.startswith("## "):
            group = line[3:]
        elif inside and heading:
            what, options, input = heading.groups(default="")
            subject = Subject(names(what), options, input, line[2:])
        elif inside and row and error and subject:
            for text in each(row[1]):
                before, _, call = text.rpartition("; ")
                yield Row(group, subject, before, call, error, tuple(each(row[3])), row[5] or "", row[4] or "")
        elif inside and line:
            raise ValueError(f"expected `call  # Error: expected …` in {PAGE.name}, got {line!r}")


TABLE = list(table(PAGE.read_text(encoding="utf-8")))
