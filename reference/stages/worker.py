"""Where a candidate's functions are called: in this process, or in one of its own, which this file is then run as.

`python -I worker.py CHANNEL NOTES` with an open socket and an open pipe; remote.py is the other end. Only NumPy and the
standard library are here: nothing that knows what is right. What `step` and `forward` keep for the way back stays in
the process, and is spoken of by number. A message is a line of JSON with arrays in base64: reading one runs nothing.
"""

import base64
import inspect
import json
import os
import re
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

FUNCTIONS = ("step", "step_backward", "forward", "backward")
KEEPS = {"step": 1, "forward": 2}
"""Which of the returned things is for the way back: `kept`, and the tape."""
WAY_BACK, OF_STEPS = ("kept", "tape"), "what `step` kept"
"""What is not the caller's, and may be changed in place where that does no harm."""
LARGEST, MOST = 2**20, 20_000
"""Of how many numbers an array is sent, and how many things one message holds."""


class Kept(int):
    """The number of what a call kept, which is in the other process."""


class Other(str):
    """Something that is no array and no container: what it is, in words."""


class Runner:
    """Functions that are called in this process."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.functions = functions
        self.takes = {name: arguments_of(function) for name, function in functions.items()}
        self.there: Mapping[str, Any] = {}  # what the last loop forward was given, which the way back may not change

    def call(
        self, name: str, arguments: Mapping[str, Any], keywords: Mapping[str, str], watch: bool = False
    ) -> tuple[Any, list[str]]:
        """What a function gives, and the names of what it has written into of that which is not its own.

        watch: whether what is kept for the way back is looked at as well, which takes time where it is much.
        """
        guarded = self.guarded(name, arguments)
        before = {what: copies(value) for what, value in guarded.items() if watch or what not in WAY_BACK}
        with warnings.catch_warnings(), self.noted_steps(watch and name == "forward") as kept:
            warnings.simplefilter("ignore")
            value = self.functions[name](*arguments.values(), **keywords)
        wrote = [what for what, was in before.items() if not same(leaves(guarded[what]), was)]
        tape = leaves(value[-1]) if kept and isinstance(value, (tuple, list)) and value else []
        for each, was in kept:
            now = leaves(each)
            if len(now) == len(was) and not lie_in(was, now + tape):  # the loop may have copied it, or taken it apart
                wrote.append(OF_STEPS)
                break
        return value, wrote

    def guarded(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What a call may not change: what it is given, and on the way back what the loop forward was given."""
        if name == "forward":
            self.there = arguments
        return {**self.there, **arguments} if name == "backward" else {**arguments}

    @contextmanager
    def noted_steps(self, watch: bool) -> Iterator[list[tuple[Any, list[Any]]]]:
        """What the loop forward's steps keep while this is entered, each with a copy of it; nothing if it has none."""
        step, known = self.functions.get("step"), getattr(self.functions.get("forward"), "__globals__", {})
        kept: list[tuple[Any, list[Any]]] = []

        def noted(*given: Any, **options: Any) -> Any:
            value = step(*given, **options)
            kept.append((value[-1], copies(value[-1])))
            return value

        if not watch or step is None or known.get("step") is not step:
            yield kept
            return
        known["step"] = noted
        try:
            yield kept
        finally:
            known["step"] = step


def arguments_of(function: Any) -> list[str]:
    """The names of a function's arguments, as far as they can be told."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def copies(value: Any) -> list[Any]:
    """A copy of every array inside of something."""
    return [leaf.copy() for leaf in leaves(value)]


def leaves(value: Any) -> list[Any]:
    """Every array of numbers inside of something; not of a list that is too long for a tape, nor of a module.

    What is there several times is looked at once: the steps of a tape may know each other.
    """
    found, left, seen = [], [value], dict[int, Any]()
    while left:
        value = left.pop()
        inside: Sequence[Any] = ()
        if isinstance(value, np.ndarray) and value.dtype.kind != "O":
            found += [value] * (value.dtype.kind in "biufc")
        elif id(value) not in seen and not isinstance(value, ModuleType):
            seen[id(value)] = value
            if isinstance(value, (np.ndarray, Mapping)):
                inside = [*(value.flat if isinstance(value, np.ndarray) else value.values())]
            elif isinstance(value, (tuple, list)):
                inside = value
            elif hasattr(value, "__dict__") and not callable(value):
                inside = [vars(value)]
        left += inside[::-1] if len(inside) <= 1000 else ()
    return found


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether the arrays are the same, each with each."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def lie_in(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether all of some arrays are among others."""
    return all(any(same([one], [other]) for other in others) for one in some)


def told(error: BaseException) -> tuple[str, str]:
    """An error's class; and in a line its class, what it says, and where in the candidate's code it came from."""
    kind = line = type(error).__name__
    ours = (os.path.dirname(os.path.dirname(__file__)), os.path.dirname(os.__file__), os.path.dirname(np.__file__))
    with suppress(Exception, SystemExit):  # its own __str__ may raise anything
        said = "" if error.args == (None,) else " ".join(str(error).split())[:300]
        frames = [(frame.f_code.co_filename, number) for frame, number in traceback.walk_tb(error.__traceback__)]
        own = [each for each in frames if not each[0].startswith((*ours, "<frozen"))]
        where = f" ({os.path.basename(own[-1][0])}, line {own[-1][1]})" if own else ""
        line = f"{kind}{': ' if said else ''}{said}{where}"
    return kind, line


# Messages.


def encoded(value: Any, left: list[int] | None = None, depth: int = 0) -> Any:
    """A value as JSON holds it. What cannot be sent is sent as the words for it."""
    left = [MOST] if left is None else left
    left[0] -= 1
    if left[0] < 0 or depth > 20:
        return {"other": "something too large"}
    if isinstance(value, Kept):
        return {"kept": int(value)}
    if (
        value is None
        or value is ...
        or isinstance(value, (bool, float))
        or (isinstance(value, int) and abs(value) < 2**62)
    ):
        return None if value is ... else float(value) if isinstance(value, np.generic) else value
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [encoded(each, left, depth + 1) for each in value[:MOST]]}
    if isinstance(value, Mapping):
        return {"dict": [[str(key)[:100], encoded(each, left, depth + 1)] for key, each in list(value.items())[:MOST]]}
    with suppress(Exception):
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        if array.dtype.kind in "biufc" and array.size <= LARGEST:
            return {"array": [array.dtype.str, array.shape, base64.b64encode(array.tobytes()).decode()]}
    shape = f" of shape {np.shape(value)}" if isinstance(value, np.ndarray) else ""
    return {"other": f"a {type(value).__name__}{shape}"}


def decoded(value: Any, kept: Callable[[int], Any] = Kept) -> Any:
    """The value that JSON holds. kept: gives what has stayed in a process. Raises ValueError and its like."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        dtype, shape, data = content
        if not re.fullmatch(r"[<>|=]?[biufc]\d{1,2}", dtype):
            raise ValueError(f"expected the name of a number's dtype, got {dtype!r}")
        return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
    if kind in ("tuple", "list"):
        parts = [decoded(each, kept) for each in content]
        return tuple(parts) if kind == "tuple" else parts
    if kind == "dict":
        return {str(key): decoded(each, kept) for key, each in content}
    simple: dict[str, Callable[[Any], Any]] = {"other": Other, "kept": kept}
    return simple[kind](content)


# The process.


class Server(Runner):
    """A submission, in the process that is its own."""

    def __init__(self, file: str) -> None:
        super().__init__({})
        self.file = file
        self.kept: list[Any] = []

    def answer(self, request: Any) -> dict[str, Any]:
        """Do what is asked: a call, or to run the file."""
        try:
            return self.called(**request) if request else self.load()
        except BaseException as error:
            return {"raised": told(error)}
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()

    def load(self) -> dict[str, Any]:
        """Run the file. Returns the names of its functions' arguments."""
        module = sys.modules["submission"] = ModuleType("submission")
        module.__file__ = self.file
        with open(self.file, "rb") as file:
            code = compile(file.read(), self.file, "exec")
        exec(code, module.__dict__)
        own = vars(module)
        super().__init__({name: own[name] for name in FUNCTIONS if callable(own.get(name))})
        return {"takes": [*self.takes.items()]}

    def called(
        self, name: str, arguments: Mapping[str, Any], keywords: Mapping[str, str], watch: bool
    ) -> dict[str, Any]:
        """Call a function. What it keeps for the way back stays here; what it may not change is sent as it is then."""
        given = {what: decoded(value, self.kept.__getitem__) for what, value in arguments.items()}
        guarded = self.guarded(name, given)
        value, wrote = self.call(name, given, keywords, watch)
        place = KEEPS.get(name)
        if place is not None and isinstance(value, (tuple, list)) and len(value) == place + 1:
            self.kept.append(value[place])
            value = (*value[:place], Kept(len(self.kept) - 1))
        after = {what: encoded(each) for what, each in guarded.items() if what not in WAY_BACK}
        return {"value": encoded(value), "after": after, "wrote": wrote}


def main() -> None:
    """Answer requests until there are no more."""
    channel, notes = socket.socket(fileno=int(sys.argv[1])).makefile("rwb"), int(sys.argv[2])
    settings = json.loads(channel.readline())
    sys.path += settings["path"]
    for name in ("ctypes", "pickle"):  # which NumPy loads late, and some of it would be refused
        import_module(name)
    _ = np.ones((64, 64)) @ np.ones((64, 64))  # for which BLAS takes memory of its own
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
    guard = import_module("guard")  # which lies beside this script
    del sys.path[0], sys.modules["guard"]
    guard.limit(settings["memory"], settings["processor"], settings["file_size"])
    guard.watch(notes, os.getcwd(), settings["roots"], settings["denied"], settings["below"])
    server = Server(settings["file"])
    answer: dict[str, Any] = {}  # that it is ready
    while True:
        channel.write(json.dumps(answer).encode() + b"\n")
        channel.flush()
        if not (line := channel.readline()):
            return
        answer = server.answer(json.loads(line))


if __name__ == "__main__":
    main()
