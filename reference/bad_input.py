"""The command `python -m reference bad-input`: every bad call of the table, made in `scratch` and in PyTorch.

Where PyTorch refuses a call, `scratch` refuses it with the same class of error. Where PyTorch lets a mistake pass, or
stumbles over it with an accident of its implementation, `scratch` is stricter, and the row says why.

Everything has been at work before, so that there are parameters with gradients, a tape, an optimizer with state. After
a refusal nothing may have changed: not a bit of any parameter, gradient, tape, state or array of the caller. And a
twin, which was spared the bad call, gives the same answers from then on.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from scratch.nn.pile import Pile
from scratch.terminal import progress, say, table

from .bad_calls import TABLE, Row, Subject
from .scenes import PYTORCH, SCRATCH, Library, NoCounterpart, NoSuchClass, Scene


@dataclass(frozen=True)
class Outcome:
    """What came of a call: the class of the error and its message, or None and nothing."""

    error: type[Exception] | None
    message: str = ""

    @property
    def name(self) -> str:
        """In one word."""
        if self.error is None:
            return "accepted"
        return {NoCounterpart: "no counterpart", NoSuchClass: "no such class"}.get(self.error, self.error.__name__)


@dataclass(frozen=True)
class Result:
    """What came of a row for one name, in both libraries."""

    row: Row
    name: str
    """The class or function for which the call was made."""
    scratch: Outcome
    torch: Outcome
    changed: tuple[str, ...]
    """What the call has changed in `scratch`, by name, and which answers have become wrong; nothing if all is well."""

    @property
    def label(self) -> str:
        """Names the row and what it was run for."""
        return f"{self.row.group}: {self.row.text} [{self.name}{self.row.subject.how}]"

    @property
    def verdict(self) -> str:
        """'same', 'stricter', 'alone' where PyTorch does not have the class, or 'WRONG: …'."""
        expected, reason = self.row.error, self.row.reason(self.name)
        if self.scratch.error is not expected:
            return f"WRONG: expected {expected.__name__}, got {self.scratch.name}" + (
                f" ({self.scratch.message})" if self.scratch.message else ""
            )
        message = self.scratch.message
        if not (message.startswith(self.row.message) and re.fullmatch(r".+, got .+", message)):
            return f"WRONG: expected the message '{' or '.join(self.row.message)}, got …', got {message!r}"
        if self.changed:
            return f"WRONG: expected everything as it was, got changes of {', '.join(self.changed)}"
        if self.torch.error is NoSuchClass:
            return "alone"
        if self.torch.error is expected and reason:
            return f"WRONG: expected PyTorch not to raise {expected.__name__} ({reason}), got it"
        if self.torch.error is not expected and not reason:
            return f"WRONG: expected {expected.__name__} in PyTorch, too, or a reason, got {self.torch.name}"
        return "stricter" if reason else "same"

    @property
    def kind(self) -> str:
        """The verdict in one word."""
        return self.verdict.partition(":")[0]


def attempt(call: Callable[[], Any]) -> tuple[Outcome, Any]:
    """Make a call. Returns what came of it, and the result."""
    try:
        return Outcome(None), call()
    except Exception as error:
        return Outcome(type(error), str(error.args[0]) if isinstance(error, KeyError) else str(error)), None


def snapshot(value: Any, name: str = "", found: dict[str, Any] | None = None, seen: Any = None) -> dict[str, Any]:
    """Every bit of `value`, by the names of attributes, keys and places that lead there."""
    found, seen = {} if found is None else found, {} if seen is None else seen
    if isinstance(value, np.ndarray):
        found[name] = (value.dtype, value.shape, value.tobytes())
    elif isinstance(value, (str, bytes, int, float, complex, np.generic, np.dtype, type, type(None))):
        found[name] = repr(value)
    elif isinstance(value, Pile) and not value.kept:
        pass  # a module makes it when it first looks for a tape
    elif id(value) in seen:
        found[name] = seen[id(value)][0]
    else:
        seen[id(value)] = name, value  # held, so that nothing else gets its id
        if isinstance(value, np.random.Generator):
            snapshot(value.bit_generator.state, name, found, seen)
        elif isinstance(value, dict):
            for place, (key, each) in enumerate(value.items()):
                snapshot(each, f"{name}.{key if isinstance(key, (str, int)) else place}", found, seen)
        elif isinstance(value, (list, tuple)):
            found[name] = len(value)
            for place, each in enumerate(value):
                snapshot(each, f"{name}[{place}]", found, seen)
        else:
            found[name] = id(value)
        slots = {key: getattr(value, key) for key in getattr(value, "__slots__", ()) if hasattr(value, key)}
        for key, each in (slots | getattr(value, "__dict__", {})).items():
            snapshot(each, f"{name}.{key}", found, seen)
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of what differs."""
    names = dict.fromkeys([*before, *after])
    return [name.lstrip(".") for name in names if before.get(name, "") != after.get(name, "")]


def set_up(subject: Subject, name: str, before: str, library: Library) -> Scene:
    """A scene that has been at work, and in which the line `before` has been run."""
    scene = Scene(library, name, subject)
    scene.work()
    scene.do(before)
    return scene


def run(row: Row, name: str, ours: Library = SCRATCH, theirs: Library = PYTORCH) -> Result:
    """Make one bad call in both libraries, and look at what it has left of `scratch`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            other = set_up(row.subject, name, row.before, theirs)
            expected, _ = attempt(lambda: other.do(row.call))
        except NoSuchClass:
            expected = Outcome(NoSuchClass)

        gradients, wanted = unspoilt(row.subject, name, row.before, ours)
        scene = set_up(row.subject, name, row.before, ours)
        before = snapshot(scene.held)
        outcome, _ = attempt(lambda: scene.do(row.call))
        changed = differences(before, snapshot(scene.held))
        if any(snapshot(value) != snapshot(copy) for value, copy in scene.given):
            changed.append("the caller's arrays")
        if not row.before and answer(scene.from_tape) != gradients:
            changed.append("the gradients of the earlier forward pass")
        if wanted is None or answer(scene.work) != wanted:
            changed.append("the answer to a good call")
    return Result(row, name, outcome, expected, tuple(changed))


@cache
def unspoilt(subject: Subject, name: str, before: str, library: Library) -> tuple[Any, Any]:
    """What a twin that is spared the bad call answers: the gradients from its tape, and from then on.

    It is asked before any bad call is made, lest a refusal break what both have in common.
    """
    twin = set_up(subject, name, before, library)
    return None if before else answer(twin.from_tape), answer(twin.work)


def answer(call: Callable[[], Any]) -> dict[str, Any] | None:
    """Every bit of the result of a call that should be good; None if it is refused."""
    outcome, result = attempt(call)
    return snapshot(result) if outcome.error is None else None


def disagreements(results: Iterable[Result]) -> list[str]:
    """What is wrong, in words."""
    return [f"{result.label}: {result.verdict}" for result in results if result.kind == "WRONG"]


def show(results: Iterable[Result], console: Console, verbose: bool = False) -> None:
    """Print the verdict, what is wrong, and how many calls of which kind; with `verbose` what came of each call."""
    results = list(results)
    wrong, count = disagreements(results), Counter(result.kind for result in results)
    kinds = {"same": "same", "stricter": "stricter", "alone": "not in PyTorch", "WRONG": "wrong"}
    if not count["alone"]:
        del kinds["alone"]
    say(
        console,
        f"{len(wrong)} of {len(results)} calls: WRONG" if wrong else "Every bad call is refused as it should be.",
    )
    for each in wrong:
        say(console, each, style="bold red")
    alone = f" not there in PyTorch: {count['alone']};" if count["alone"] else ""
    say(
        console,
        f"Bad calls: {len({result.row for result in results})}, made {len(results)} times in both libraries. The same "
        f"class of error: {count['same']}; scratch is stricter: {count['stricter']};{alone} wrong: {count['WRONG']}.",
    )
    if verbose:
        listing(results, console)
        return
    counts = table("calls about", *kinds.values())
    for group in dict.fromkeys(result.row.group for result in results):
        of_group = Counter(result.kind for result in results if result.row.group == group)
        counts.add_row(group, *(str(of_group[kind]) for kind in kinds))
    console.print(counts)
    say(console, "--verbose lists every call, what it raises, and why scratch is stricter.")


def listing(results: Iterable[Result], console: Console) -> None:
    """Print every call, under what it is about and what came of it."""
    names: dict[tuple[Row, str], list[str]] = {}
    for result in results:
        ours, theirs = result.scratch.name, result.torch.name
        reason = result.row.reason(result.name) if result.verdict == "stricter" else ""
        refusal = f"{ours} in both" if ours == theirs else f"{ours}; PyTorch: {theirs}"
        if reason and not reason.startswith("PyTorch raises"):
            refusal += f" ({reason})"
        names.setdefault((result.row, refusal), []).append(result.name)
    blocks: dict[tuple[str, str, str], list[str]] = {}
    for (row, refusal), those in names.items():
        blocks.setdefault((row.group, row.subject.line, f"{', '.join(those)}: {refusal}"), []).append(row.text)
    say(console, "reference/bad_calls.md says what the names in the calls are.")
    title = ""
    for (group, line, refusal), texts in blocks.items():
        if title != f"{group}: {line}":
            title = f"{group}: {line}"
            say(console, f"\n{title}", style="bold")
        say(console, refusal)
        for text in texts:
            console.print(Padding(Text(text), (0, 0, 0, 4), expand=False))


def bad_input(
    verbose: Annotated[bool, typer.Option("--verbose", help="List every call, and what came of it.")] = False,
) -> int:
    """Make some hundred bad calls in scratch and in PyTorch, and compare how they are refused.

    Where PyTorch refuses, scratch refuses with the same class of error, or the table says why not. After a refusal
    nothing has changed, and everything still works.

    Exit status: 0 if all is so, 1 if not, 2 if the command is wrong.
    """
    calls = [(row, name) for row in TABLE for name in row.subject.names]
    with progress() as bar:
        results = [run(row, name) for row, name in bar.track(calls, description="making bad calls")]
    show(results, Console(), verbose)
    return 1 if disagreements(results) else 0
