"""The command `python -m reference bad-input`: every bad call of the table, made in `scratch` and in PyTorch.

Where PyTorch refuses a call, `scratch` refuses it with the same class of error. Where PyTorch lets a mistake pass, or
stumbles over it with an accident of its implementation, `scratch` is stricter, and the row says why.

Everything has been at work before, so that there are parameters with gradients, a tape, an optimizer with state. After
a refusal nothing may have changed: not a bit of any parameter, gradient, tape, state or array of the caller. And a
twin, which was spared the bad call, gives the same answers from then on.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console
from rich.text import Text

import scratch
from scratch.nn.pile import Pile
from scratch.terminal import progress, say

from .bad_calls import TABLE, Row, Subject
from .scenes import Scene


class Result(NamedTuple):
    """What came of a row for one name: the verdict, and what each library raised, in a word."""

    row: Row
    name: str
    verdict: str  # 'same', 'stricter', 'alone' where PyTorch does not have the class, or 'WRONG: …'
    scratch: str
    torch: str

    @property
    def label(self) -> str:
        """The row, what it was run for, and the verdict."""
        made, called = self.row.subject.options, self.row.subject.input
        how = (f", made with {made}" if made else "") + (f", called on {called}" if called else "")
        return f"{self.row.group}: {self.row.text} [{self.name}{how}]: {self.verdict}"


def run(row: Row, name: str, ours: Any = scratch, theirs: Any = torch) -> Result:
    """Make one bad call in both libraries, and look at what it has left of `scratch`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            other = at_work(row.subject, name, row.before, theirs)
        except LookupError:
            expected: Any = "no such class"
        else:
            expected, _ = attempt(lambda: other.do(row.call))

        gradients, wanted = unspoilt(row.subject, name, row.before, ours)
        scene = at_work(row.subject, name, row.before, ours)
        before = snapshot(scene.held)
        error, _ = attempt(lambda: scene.do(row.call))
        after = snapshot(scene.held)
        keys = dict.fromkeys([*before, *after])
        changed = [key.lstrip(".") for key in keys if before.get(key, "") != after.get(key, "")]
        if any(snapshot(value) != snapshot(copy) for value, copy in scene.given):
            changed.append("the caller's arrays")
        if not row.before and answer(scene.from_tape) != gradients:
            changed.append("the gradients of the earlier forward pass")
        if wanted is None or answer(scene.work) != wanted:
            changed.append("the answer to a good call")
    return Result(row, name, judged(row, name, error, expected, changed), kind_of(error), kind_of(expected))


def judged(row: Row, name: str, error: Exception | None, theirs: Any, changed: list[str]) -> str:
    """The verdict on what a call raised in `scratch` and in PyTorch, and on what it changed."""
    wanted, reason = row.error.__name__, row.why if row.only in ("", name) else ""
    said = str(error.args[0]) if isinstance(error, KeyError) else str(error or "")
    if kind_of(error) != wanted:
        return f"WRONG: expected {wanted}, got {kind_of(error)}" + (f" ({said})" if said else "")
    if not (said.startswith(row.message) and re.fullmatch(r".+, got .+", said)):
        return f"WRONG: expected the message '{' or '.join(row.message)}, got …', got {said!r}"
    if changed:
        return f"WRONG: expected everything as it was, got changes of {', '.join(changed)}"
    if isinstance(theirs, str):
        return "alone"
    if kind_of(theirs) == wanted and reason:
        return f"WRONG: expected PyTorch not to raise {wanted} ({reason}), got it"
    if kind_of(theirs) != wanted and not reason:
        return f"WRONG: expected {wanted} in PyTorch, too, or a reason, got {kind_of(theirs)}"
    return "stricter" if reason else "same"


def kind_of(error: Any) -> str:
    """What was raised, in a word."""
    return error if isinstance(error, str) else "accepted" if error is None else type(error).__name__


def attempt(call: Callable[[], Any]) -> tuple[Exception | None, Any]:
    """Make a call. Returns the error that it raised, and the result."""
    try:
        return None, call()
    except Exception as error:
        return error, None


def at_work(subject: Subject, name: str, before: str, library: Any) -> Scene:
    """A scene that has been at work, and in which the line `before` has been run."""
    scene = Scene(library, name, subject)
    scene.work()
    scene.do(before)
    return scene


@cache
def unspoilt(subject: Subject, name: str, before: str, library: Any) -> tuple[Any, Any]:
    """What a twin that is spared the bad call answers: the gradients from its tape, and from then on.

    It is asked before any bad call is made, lest a refusal break what both have in common.
    """
    twin = at_work(subject, name, before, library)
    return None if before else answer(twin.from_tape), answer(twin.work)


def answer(call: Callable[[], Any]) -> dict[str, Any] | None:
    """Every bit of the result of a call that should be good; None if it is refused."""
    error, result = attempt(call)
    return snapshot(result) if error is None else None


def snapshot(value: Any) -> dict[str, Any]:
    """Every bit of `value`, by the names of attributes, keys and places that lead there."""
    found: dict[str, Any] = {}
    seen: dict[int, tuple[str, Any]] = {}

    def look(value: Any, name: str) -> None:
        if isinstance(value, np.ndarray):
            found[name] = (value.dtype, value.shape, value.tobytes())
        elif isinstance(value, (str, bytes, int, float, complex, np.generic, np.dtype, type, type(None))):
            found[name] = repr(value)
        elif isinstance(value, Pile) and not value.kept:
            return  # a module makes it when it first looks for a tape
        elif id(value) in seen:
            found[name] = seen[id(value)][0]
        else:
            seen[id(value)] = name, value  # held, so that nothing else gets its id
            parts: dict[str, Any] = {}
            if isinstance(value, np.random.Generator):
                parts = {"": value.bit_generator.state}
            elif isinstance(value, dict):
                parts = {
                    f".{key if isinstance(key, (str, int)) else n}": each for n, (key, each) in enumerate(value.items())
                }
            elif isinstance(value, (list, tuple)):
                found[name], parts = len(value), {f"[{n}]": each for n, each in enumerate(value)}
            else:
                found[name] = id(value)
            slots = [key for key in getattr(value, "__slots__", ()) if hasattr(value, key)]
            parts |= {f".{key}": getattr(value, key) for key in slots}
            parts |= {f".{key}": each for key, each in getattr(value, "__dict__", {}).items()}
            for key, each in parts.items():
                look(each, name + key)

    look(value, "")
    return found


def show(results: Iterable[Result], console: Console, verbose: bool = False) -> None:
    """Print the verdict, what is wrong, and how many calls are refused how; with `verbose` what came of each call."""
    results = list(results)
    kinds = Counter(result.verdict.partition(":")[0] for result in results)
    wrong = f"{kinds['WRONG']} of {len(results)} calls: WRONG"
    say(console, wrong if kinds["WRONG"] else "Every bad call is refused as it should be.")
    for result in results:
        if result.verdict.startswith("WRONG"):
            say(console, result.label, style="bold red")
    alone = f" not there in PyTorch: {kinds['alone']};" if kinds["alone"] else ""
    say(
        console,
        f"Bad calls: {len({result.row for result in results})}, made {len(results)} times in both libraries. The same "
        f"class of error: {kinds['same']}; scratch is stricter: {kinds['stricter']};{alone} wrong: {kinds['WRONG']}.",
    )
    if verbose:
        listing(results, console)
    else:
        say(console, "--verbose lists every call, what it raises, and why scratch is stricter.")


def listing(results: Iterable[Result], console: Console) -> None:
    """Print every call, and below it what came of it for which names."""
    say(console, "reference/bad_calls.md says what the names in the calls are.")
    told: dict[Row, dict[str, list[str]]] = {}
    for result in results:
        both = "{0} in both" if result.scratch == result.torch else "{0}; PyTorch: {1}"
        reason = f" ({result.row.why})" if result.verdict == "stricter" else ""
        refusal = both.format(result.scratch, result.torch) + reason
        told.setdefault(result.row, {}).setdefault(refusal, []).append(result.name)
    title = ""
    for row, refusals in told.items():
        if title != (title := f"\n{row.group}: {row.subject.line}"):
            say(console, title, style="bold")
        console.print(Text(row.text), soft_wrap=True)
        for refusal, names in refusals.items():
            say(console, f"    {', '.join(names)}: {refusal}")


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
    return 1 if any(result.verdict.startswith("WRONG") for result in results) else 0
