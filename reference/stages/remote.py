"""A submission that runs in a process of its own, as functions that can be taken stage by stage.

What is right never enters that process: it is sent arrays, and sends back arrays, which are compared here. What it
sends is read as JSON and numbers, so that it runs nothing here. What it does to the arrays it was given is done to
them here too, so that writing over inputs is seen as if the functions ran in this process.

This is no sandbox. It holds off accidents and simple tricks: limits of time, memory and file size, a folder and a
session of its own, and an audit hook (guard.py). Run what you do not trust in a container besides.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from inspect import Parameter, Signature
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from .subject import Interface, advice, endless
from .worker import FUNCTIONS, Kept, Other, decoded, encoded, framed, leaves

SENT_AT_MOST = 2**25
"""Bytes of one answer, beyond which it is not read."""
START = 60.0
"""Seconds in which Python and NumPy start, which are nobody's fault."""
OUTPUT_KEPT = 4000
"""Bytes of what it prints that are kept."""
UNREADABLE = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
ADVISED = {"TypeError": TypeError, "ValueError": ValueError, "KeyError": KeyError}


class Broken(Exception):
    """The submission's process does not answer. The argument says why."""


class NotLoaded(Exception):
    """The submission's file cannot be run. The argument says why."""


class Limits(NamedTuple):
    """What a submission may use."""

    seconds: float = 10.0
    """For running its file, and for all calls of each of its functions."""
    memory: int = 1024
    """Megabytes, beyond those that Python and NumPy need."""
    file_size: int = 16
    """Megabytes of one file."""


class Process:
    """The process, and the channel to it. Its folder is the working directory, and holds the file."""

    def __init__(self, file: Path, limits: Limits, allowed: Sequence[str] = ()) -> None:
        self.channel, theirs = socket.socketpair()
        self.notes, notes = os.pipe()
        os.set_blocking(self.notes, False)
        handed = (theirs.fileno(), notes)
        command = [sys.executable, "-I", "-B", str(Path(__file__).with_name("worker.py")), *map(str, handed)]
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
        environment |= dict.fromkeys(("HOME", "TMPDIR"), str(file.parent)) | {"MALLOC_ARENA_MAX": "2"}
        environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pipesize=2**18,  # Linux: a gigabyte goes through quicker
            cwd=file.parent,
            env=environment,
            pass_fds=handed,
            start_new_session=True,
        )
        theirs.close()
        os.close(notes)
        self.printed, self.output = 0, b""
        self.reader = Thread(target=self.take_output, daemon=True)
        self.reader.start()
        house = Path(__file__).parents[2]
        settings = {
            "file": str(file),
            "memory": limits.memory * 2**20,
            "processor": math.ceil(6 * limits.seconds) + 2,
            "file_size": limits.file_size * 2**20,
            "below": bool(allowed),
            "path": [str(house)] if allowed else [],
            "roots": [*readable(), *([str(house)] if allowed else [])],
            "denied": [str(house / name) for name in ("scratch", "reference") if name not in allowed],
        }
        self.unsent = framed(settings)

    def ask(self, request: Any, seconds: float) -> Any:
        """The answer to a request. Raises TimeoutError, or Broken."""
        deadline = monotonic() + seconds
        self.channel.settimeout(seconds)
        try:
            self.channel.sendall(self.unsent + framed(request))
        except TimeoutError:
            raise
        except OSError:
            raise Broken(self.how_it_ended()) from None
        self.unsent = b""
        size = int.from_bytes(self.read(8, deadline))
        if size > SENT_AT_MOST:
            raise Broken("what comes back from its process is no answer")
        try:
            answer = json.loads(self.read(size, deadline))
        except UNREADABLE:
            answer = None
        if not isinstance(answer, dict):
            raise Broken("what comes back from its process is no answer")
        return answer

    def read(self, size: int, deadline: float) -> bytes:
        """So many bytes of its answer. Raises TimeoutError, or Broken."""
        data = bytearray()
        while len(data) < size:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError
            self.channel.settimeout(left)
            more = b""
            with suppress(ConnectionError):
                more = self.channel.recv(min(size - len(data), 2**16))
            if not more:
                raise Broken(self.how_it_ended())
            data += more
        return bytes(data)

    def take_output(self) -> None:
        """Read what it prints while it runs, and keep the beginning."""
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            while data := os.read(stream.fileno(), 2**20):
                self.printed += len(data)
                self.output += data[: OUTPUT_KEPT - len(self.output)]

    def how_it_ended(self) -> str:
        """How the process ended, in words."""
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "it closes what is not its own, the way back from its process"
        if status >= 0:
            return f"it ends the process, with status {status}, instead of coming back (os._exit?)"
        if -status == signal.SIGXCPU:
            return "it takes more processor time than it may"
        return f"its process was ended by {signal.Signals(-status).name}"

    def close(self) -> list[tuple[str, str]]:
        """End it and all that it started. Returns what was noted: pairs (import or refused, what)."""
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.reader.join(1)  # unless somebody else holds the other end
        found = []
        with suppress(BlockingIOError):
            for line in os.read(self.notes, 2**16).decode("ascii", "replace").splitlines():
                kind, _, text = line.partition("\t")
                found.append((kind, plain(text.strip("'\""), 300)))
        self.channel.close()
        os.close(self.notes)
        return found


def readable() -> list[str]:
    """The folders where Python, NumPy and the system have what they read."""
    own = [sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), os.path.dirname(np.__file__)]
    system = ["/usr", "/lib", "/lib64", "/etc", "/dev", "/sys", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"]
    return sorted({os.path.realpath(each) for each in own} | set(system))


class Submission:
    """A file, and what its functions give. `functions` can be taken stage by stage."""

    def __init__(self, file: Path, limits: Limits, allowed: Sequence[str] = ()) -> None:
        self.file, self.limits, self.allowed = file, limits, allowed
        self.process: Process | None = None
        self.left = dict.fromkeys(("load", *FUNCTIONS), limits.seconds)
        self.notes: list[tuple[str, str]] = []
        self.printed, self.output = 0, b""
        self.functions: dict[str, Function] = {}
        self.defines: list[str] = []
        self.narrow = False  # whether it gave numbers of less than float64

    def start(self) -> Process:
        """The process, with the file run in it. Raises NotLoaded."""
        if self.process is None:
            self.process = Process(self.file, self.limits, self.allowed)
            try:
                self.process.ask({"do": "ready"}, START)
                found = self.ask("load", {"do": "load"})
                self.defines = [plain(name, 40) for name in found["defines"] if name[:2] != "__"]
                self.functions = {
                    name: Function(self, name, [*map(str, takes)])
                    for name, takes in found["functions"].items()
                    if name in self.left
                }
            except (Broken, Interface, TimeoutError) as told:
                self.stop()
                raise NotLoaded(str(told) or "its process does not start") from None
            except UNREADABLE:
                self.stop()
                raise NotLoaded("what comes back from its process is no answer") from None
        return self.process

    def stop(self) -> None:
        """End the process; another is started when it is needed."""
        if self.process is not None:
            process, self.process = self.process, None
            self.notes += [note for note in process.close() if note not in self.notes]
            self.printed += process.printed
            self.output += process.output[: OUTPUT_KEPT - len(self.output)]

    def ask(self, name: str, request: Any) -> Any:
        """An answer, within the time that is left for this function. Raises Interface, or NotImplementedError."""
        try:
            process = self.start()
        except NotLoaded as told:
            raise Interface(f"its file cannot be run a second time: {told}") from None
        start = monotonic()
        try:
            answer = process.ask(request, self.left[name])
        except TimeoutError:
            self.stop()
            raise Interface(endless(self.limits.seconds)) from None
        except Broken as told:
            self.stop()
            raise Interface(str(told)) from None
        finally:
            self.left[name] -= monotonic() - start
        if "raised" in answer:
            raise raised(name, answer["raised"])
        return answer

    def call(self, name: str, arguments: Sequence[Any], keywords: Mapping[str, str]) -> Any:
        """What a function gives."""
        process = self.start()
        sent, given, kept = list[Any](), list[Any](), list[Any]()
        for each in arguments:
            if isinstance(each, There):
                if each.process is not process:
                    raise Interface("its process has ended, and with it what was kept for this call")
                sent.append({"kept": each.number})
                kept += each.given
            else:
                sent.append(encoded(each))
                given.append(each)
        answer = self.ask(name, {"do": "call", "name": name, "arguments": sent, "keywords": dict(keywords)})
        try:
            value = decoded(answer["value"], lambda number: There(self, process, name, int(number), given))
            after = decoded(answer["after"], int)
            for here, there in zip([*given, *kept], after, strict=True):
                written(here, there)
            came = [each for each in value if not isinstance(each, There)] if isinstance(value, tuple) else value
            self.narrow |= any(leaf.dtype.kind == "f" and leaf.itemsize < 8 for leaf in leaves(came))
            return value
        except UNREADABLE:
            self.stop()
            raise Interface("what comes back from its process is no answer") from None


class There(Kept):
    """What a call kept, in the submission's process. given: what the call was given, which is to stay as it is."""

    def __init__(self, submission: Submission, process: Process, name: str, number: int, given: list[Any]) -> None:
        self.submission, self.process, self.name, self.number, self.given = submission, process, name, number, given

    def leaves(self) -> list[Any]:
        """Every array inside of it, as a copy."""
        if self.submission.process is not self.process:
            return []
        answer = self.submission.ask(self.name, {"do": "leaves", "number": self.number})
        try:
            found = decoded(answer["leaves"], int)
            return [each for each in found if isinstance(each, np.ndarray) and each.dtype.kind in "biuf"]
        except UNREADABLE:
            return []


class Function:
    """One function of a submission."""

    def __init__(self, submission: Submission, name: str, takes: Sequence[str]) -> None:
        self.submission, self.name = submission, name
        names = [each for each in dict.fromkeys(takes) if each.isidentifier()]
        with suppress(ValueError):  # a keyword of the language
            self.__signature__ = Signature([Parameter(each, Parameter.KEYWORD_ONLY) for each in names])

    def __call__(self, *arguments: Any, **keywords: str) -> Any:
        """Call it over there. Raises Interface, or NotImplementedError."""
        try:
            return self.submission.call(self.name, arguments, keywords)
        except NotLoaded as told:
            raise Interface(f"its file cannot be run a second time: {told}") from None


def raised(name: str, error: Any) -> Exception:
    """What to raise here for an error over there."""
    try:
        kind, said, where = (plain(error[key], 300) for key in ("kind", "said", "where"))
    except UNREADABLE:
        return Interface("what comes back from its process is no answer")
    if kind == "NotImplementedError" and name in FUNCTIONS:
        return NotImplementedError()
    told = f"it raises {kind}{': ' if said else ''}{said}{where}"
    return Interface(told + advice(name, ADVISED.get(kind, Exception)(said)))


def written(here: Any, there: Any) -> None:
    """Do to what was sent what was done to it over there."""
    if isinstance(here, np.ndarray):
        fits = isinstance(there, np.ndarray) and there.shape == here.shape and there.dtype == here.dtype
        here[...] = there if fits else np.nan
    elif isinstance(here, dict):
        if isinstance(there, dict) and list(there) == list(here):
            for name, value in here.items():
                written(value, there[name])
        else:
            here.clear()
    elif isinstance(here, (tuple, list)):
        if not isinstance(there, (tuple, list)) or len(there) != len(here):
            there = [Other("gone")] * len(here)
        for one, other in zip(here, there, strict=True):
            written(one, other)


def plain(text: Any, most: int) -> str:
    """A text in one line without what would steer a terminal."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)[: 4 * most])
    return line if len(line) <= most else f"{line[: most - 1]}…"
