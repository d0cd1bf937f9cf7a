"""Whether an error refuses something or is a mistake, and how it is told.

An error refuses if its author wrote it down, as a `raise` or `assert` statement in the candidate's own code, if it is a
NotImplementedError, if Python says that the call does not fit the function's arguments, or if a name that was given, or
was not, is looked up in vain (KeyError); whatever else comes out of an operation is a crash, and nobody's refusal.

Another kind of input (packed, unbatched, an empty batch, None for d_output) is more than the interface asks for: who
has never heard of it crashes on it, so there any error refuses, but one of `BLUNDERS`.
"""

import dis
import re
import traceback
from collections.abc import Collection
from pathlib import Path
from types import FrameType
from typing import Any

ERRORS = (Exception, SystemExit)
"""What a candidate may raise without ending the check."""
BLUNDERS = (NameError, ZeroDivisionError, ImportError, SyntaxError)
"""Errors by which nobody refuses anything."""
KINDS_OF_INPUT = ("unbatched input", "packed input", "empty batch", "backward without d_output")


class Owners:
    """Whose code a candidate is: that of its own module, and that of the packages of its bases."""

    def __init__(self, target: Any) -> None:
        parts = [getattr(part, "func", part) for part in (target if isinstance(target, tuple) else (target,))]
        kinds = [kind for part in parts for kind in (part.__mro__ if isinstance(part, type) else (part,))]
        self.module = {package(getattr(part, "__module__", "")) for part in parts} - {""}
        self.bases = {package(kind.__module__) for kind in kinds if hasattr(kind, "__module__")} - {"builtins"}
        self.files = {part.__code__.co_filename for part in parts if hasattr(part, "__code__")}

    def own(self, frame: FrameType) -> bool:
        """Whether this is code that its author wrote."""
        return package(frame.f_globals.get("__name__")) in self.module or frame.f_code.co_filename in self.files


def package(module: Any) -> str:
    """The outermost package of a module."""
    return str(module or "").partition(".")[0]


def misfits(error: BaseException, owners: Owners) -> bool:
    """Whether it is Python's word that a call from outside does not fit the candidate's function."""
    said = re.search(r"\(\) (takes|got an unexpected|got multiple|missing|got some positional)", str(error))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name != "__call__"]
    return isinstance(error, TypeError) and bool(said) and not any(map(owners.own, frames))


def refuses(error: BaseException, owners: Owners, names: Collection[str] = (), constructing: bool = False) -> bool:
    """Whether an error refuses what was asked for. names: those that may be looked up in vain."""
    if isinstance(error, NotImplementedError) or misfits(error, owners):
        return True
    if isinstance(error, KeyError):
        return bool(error.args) and error.args[0] in names
    frames, innermost = [], error.__traceback__
    while innermost is not None:
        frames.append((innermost.tb_frame, innermost.tb_lasti))
        innermost = innermost.tb_next
    if not frames or frames[-1][0].f_code.co_code[frames[-1][1]] != dis.opmap["RAISE_VARARGS"]:
        return False
    last = frames[-1][0]
    inherited = constructing or not any(owners.own(frame) for frame, _ in frames)
    return owners.own(last) or (inherited and package(last.f_globals.get("__name__")) in owners.bases)


def lacks(error: BaseException, owners: Owners, need: str) -> bool:
    """Whether an error, at a problem with one need more than a simple one that works, says that this is not offered."""
    if need in KINDS_OF_INPUT:
        return not isinstance(error, BLUNDERS)
    without_bias = need == "bias" and ("bias" in str(error) or "NoneType" in str(error))
    return without_bias or refuses(error, owners, {"relu"})


def in_words(error: BaseException) -> str:
    """An error in one line: its class, what it says, and where in the candidate's own code it came from."""
    said = " ".join(str(error).split())
    own = {Path(__file__).parent, Path(__file__).parent.parent}
    places = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    # Python's own frozen modules have no folder.
    places = [(at, line) for at, line in places if at.parent not in own and at.parent.name not in ("", "importlib")]
    where = f" ({places[-1][0].name}, line {places[-1][1]})" if places else ""
    return f"{type(error).__name__}{': ' if said else ''}{said[:300]}{where}"
