"""The process that runs a submission: it is sent arrays, calls the submission's functions, and sends back arrays.

`python -I worker.py CHANNEL NOTES` with an open socket and an open pipe; remote.py is the other end. Only NumPy and the
standard library are here: nothing that knows what is right. What `step` and `forward` keep for the way back stays
here, and is spoken of by number. Messages are JSON with arrays in base64, so that reading one runs nothing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

FUNCTIONS = ("step", "step_backward", "forward", "backward")
KEEPS = {"step": 1, "forward": 2}
"""Which of the returned things stays in this process: `kept`, and the tape."""
LARGEST, MOST = 2**20, 20_000
"""Of how many numbers an array is sent, and how many things one message holds."""


class Kept:
    """What a call kept, which is in the other process."""

    def leaves(self) -> list[Any]:
        """Every array inside of it."""
        raise NotImplementedError


class Other(str):
    """Something that is no array and no container: what it is, in words."""


def leaves(value: Any) -> list[Any]:
    """Every array inside of something."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, Kept):
        return value.leaves()
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in leaves(each)]
    return leaves(vars(value)) if hasattr(value, "__dict__") and not callable(value) else []


# Messages.


def encoded(value: Any, left: list[int] | None = None, depth: int = 0) -> Any:
    """A value as JSON holds it. What cannot be sent is sent as the words for it."""
    left = [MOST] if left is None else left
    left[0] -= 1
    if left[0] < 0 or depth > 20:
        return {"other": "something too large"}
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**62):
        return value if not isinstance(value, np.generic) else float(value)
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [encoded(each, left, depth + 1) for each in value[:MOST]]}
    if isinstance(value, Mapping):
        return {"dict": [[str(key)[:100], encoded(each, left, depth + 1)] for key, each in list(value.items())[:MOST]]}
    if value is ... or isinstance(value, str):
        return {"dots": 1} if value is ... else {"text": value[:1000]}
    with suppress(Exception):
        array = np.asarray(value)
        if array.dtype.kind in "biufc" and array.size <= LARGEST:
            return {"array": [array.dtype.str, array.shape, base64.b64encode(array.tobytes()).decode()]}
    shape = f" of shape {np.shape(value)}" if isinstance(value, np.ndarray) else ""
    return {"other": f"a {type(value).__name__}{shape}"}


def decoded(value: Any, kept: Callable[[int], Any]) -> Any:
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
    simple: dict[str, Callable[[Any], Any]] = {"dots": lambda _: ..., "text": str, "other": Other, "kept": kept}
    return simple[kind](content)


def framed(message: Any) -> bytes:
    """A message as the channel carries it: its length, and JSON."""
    data = json.dumps(message).encode()
    return struct.pack(">Q", len(data)) + data


def received(channel: int, size: int) -> bytes:
    """So many bytes. Raises EOFError where the channel ends before."""
    data = b""
    while len(data) < size:
        if not (more := os.read(channel, size - len(data))):
            raise EOFError
        data += more
    return data


def send(channel: int, message: Any) -> None:
    """Write a message, all of it."""
    data = framed(message)
    while data:
        data = data[os.write(channel, data) :]


# The submission.


def told(error: BaseException, file: str) -> dict[str, str]:
    """An error: its class, what it says, and where in the submission it came from."""
    said, where = "", ""
    with suppress(Exception):
        said = "" if error.args == (None,) else " ".join(str(error).split())[:300]
        frames = traceback.walk_tb(error.__traceback__)
        lines = [line for frame, line in frames if frame.f_code.co_filename == file]
        where = f" ({os.path.basename(file)}, line {lines[-1]})" if lines else ""
    return {"kind": type(error).__name__, "said": said, "where": where}


class Runner:
    """The submission, and what its calls have kept."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.module = ModuleType("submission")
        self.module.__file__ = file
        self.kept: list[Any] = []
        self.given: list[list[Any]] = []  # what the calls were given that kept something, which is to stay as it is

    def load(self) -> Any:
        """Run the file. Returns the names of its functions' arguments."""
        sys.modules["submission"] = self.module
        with open(self.file, "rb") as file:
            code = compile(file.read(), self.file, "exec")
        exec(code, self.module.__dict__)
        own = vars(self.module)
        return {name: arguments_of(own[name]) for name in FUNCTIONS if callable(own.get(name))}

    def call(self, name: str, arguments: Any, keywords: Any) -> dict[str, Any]:
        """Call a function. Returns what it gives, and what has become of all that it was given."""
        values = [decoded(each, self.kept.__getitem__) for each in arguments]
        numbers = [each["kept"] for each in arguments if isinstance(each, dict) and "kept" in each]
        guarded = [each for each, sent in zip(values, arguments, strict=True) if "kept" not in (sent or ())]
        value = getattr(self.module, name)(*values, **keywords)
        after = encoded(guarded + [each for number in numbers for each in self.given[number]])
        place = KEEPS.get(name)
        if place is not None and isinstance(value, (tuple, list)) and len(value) == place + 1:
            self.kept.append(value[place])
            self.given.append(guarded)
            parts = {"tuple": [encoded(each) for each in value[:place]] + [{"kept": len(self.kept) - 1}]}
            return {"value": parts, "after": after}
        return {"value": encoded(value), "after": after}

    def answer(self, request: Any) -> dict[str, Any]:
        """Do what is asked."""
        try:
            if request["do"] == "ready":
                return {}
            if request["do"] == "load":
                return {"functions": self.load(), "defines": [*map(str, vars(self.module))][:50]}
            if request["do"] == "leaves":
                return {"leaves": encoded(leaves(self.kept[request["number"]]))}
            return self.call(request["name"], request["arguments"], request["keywords"])
        except BaseException as error:
            return {"raised": told(error, self.file)}
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()


def arguments_of(function: Any) -> list[str]:
    """The names of a function's arguments, as far as they can be told."""
    import inspect

    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def main() -> None:
    """Answer requests until there are no more."""
    channel, notes = map(int, sys.argv[1:])

    def request() -> Any:
        return json.loads(received(channel, *struct.unpack(">Q", received(channel, 8))))

    settings = request()
    sys.path += settings["path"]
    warnings.simplefilter("ignore")
    for name in ("copy", "ctypes", "inspect", "pickle"):  # which NumPy loads late, and some of it would be refused
        import_module(name)
    _ = np.ones((64, 64)) @ np.ones((64, 64))  # for which BLAS takes memory of its own
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
    guard = import_module("guard")  # which lies beside this script
    del sys.path[0], sys.modules["guard"]
    guard.limit(settings["memory"], settings["processor"], settings["file_size"])
    guard.watch(notes, os.getcwd(), settings["roots"], settings["denied"], settings["below"])
    runner = Runner(settings["file"])
    with suppress(EOFError):
        while True:
            send(channel, runner.answer(request()))


if __name__ == "__main__":
    main()
