"""A submission that runs in a process of its own, whose functions can be taken stage by stage.

What is right never enters that process: it is sent arrays, and sends back arrays, which are compared here. What it
sends is read as JSON and numbers, so that it runs nothing here.

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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread, Timer
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from .subject import Broken, Raised, endless, raised
from .worker import FUNCTIONS, Kept, decoded, encoded, leaves

SENT_AT_MOST = 2**25
"""Bytes of one answer, beyond which it is not read."""
START = 60.0
"""Seconds in which Python and NumPy start, which are nobody's fault."""
OUTPUT_KEPT = 4000
"""Bytes of what it prints that are kept."""
UNREADABLE = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
NO_ANSWER = "what comes back from its process is no answer"


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

    def __init__(self, file: Path) -> None:
        self.channel, theirs = socket.socketpair()
        self.notes, notes = os.pipe()
        os.set_blocking(self.notes, False)
        handed = (theirs.fileno(), notes)
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
        environment |= dict.fromkeys(("HOME", "TMPDIR"), str(file.parent)) | {"MALLOC_ARENA_MAX": "2"}
        environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(Path(__file__).with_name("worker.py")), *map(str, handed)],
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
        self.stream = self.channel.makefile("rwb")

    def ask(self, request: Any, seconds: float) -> dict[str, Any]:
        """The answer to a request. Raises Broken; TimeoutError after so many seconds."""
        timer = Timer(seconds, self.channel.shutdown, [socket.SHUT_RDWR])
        timer.daemon, deadline = True, monotonic() + seconds
        timer.start()
        line = b""
        with suppress(OSError):
            self.stream.write(json.dumps(request).encode() + b"\n")
            self.stream.flush()
            line = self.stream.readline(SENT_AT_MOST)
        timer.cancel()
        if monotonic() >= deadline:
            raise TimeoutError
        if not line:
            raise Broken(self.how_it_ended())
        with suppress(*UNREADABLE):
            if isinstance(answer := json.loads(line), dict):
                return answer
        raise Broken(NO_ANSWER)

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
        self.process.wait()
        self.reader.join(1)  # unless somebody else holds the other end
        found = []
        with suppress(BlockingIOError):
            for line in os.read(self.notes, 2**16).decode("ascii", "replace").splitlines():
                kind, _, text = line.partition("\t")
                found.append((kind, plain(text.strip("'\""), 300)))
        with suppress(OSError):
            self.stream.close()
        self.channel.close()
        os.close(self.notes)
        return found


def readable() -> list[str]:
    """The folders where Python, NumPy and the system have what they read."""
    own = [sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), os.path.dirname(np.__file__)]
    system = ["/usr", "/lib", "/lib64", "/etc", "/dev", "/sys", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"]
    return sorted({os.path.realpath(each) for each in own} | set(system))


class Submission:
    """A file, run in a process, and what its functions give: it can be taken stage by stage once it is loaded."""

    def __init__(self, file: Path, limits: Limits, allowed: Sequence[str] = ()) -> None:
        self.file, self.limits, self.allowed = file, limits, allowed
        self.process: Process | None = None
        self.left = {"start": START, **dict.fromkeys(("load", "kept", *FUNCTIONS), limits.seconds)}
        self.notes: list[tuple[str, str]] = []
        self.printed, self.output = 0, b""
        self.takes: dict[str, list[str]] = {}
        self.defines: list[str] = []

    def load(self) -> None:
        """Start the process and run the file in it. Raises Broken."""
        self.process = Process(self.file)
        house = Path(__file__).parents[2]
        settings = {
            "file": str(self.file),
            "memory": self.limits.memory * 2**20,
            "processor": math.ceil(6 * self.limits.seconds) + 2,
            "file_size": self.limits.file_size * 2**20,
            "below": bool(self.allowed),
            "path": [str(house)] if self.allowed else [],
            "roots": [*readable(), *([str(house)] if self.allowed else [])],
            "denied": [str(house / name) for name in ("scratch", "reference") if name not in self.allowed],
        }
        self.ask("start", settings, dict)

        def read(found: Any) -> None:
            self.defines = [plain(name, 40) for name in found["defines"] if name[:2] != "__"]
            self.takes = {name: [*map(str, takes)] for name, takes in found["takes"].items() if name in FUNCTIONS}

        try:
            self.ask("load", {}, read)
        except Raised as error:
            self.stop()
            raise Broken(f"it raises {raised(*error.args)}") from None

    def stop(self) -> None:
        """End the process; another is started when it is needed."""
        if self.process is not None:
            process, self.process = self.process, None
            self.notes += [note for note in process.close() if note not in self.notes]
            self.printed += process.printed
            self.output += process.output[: OUTPUT_KEPT - len(self.output)]

    def ask(self, what: str, request: Any, read: Callable[[Any], Any]) -> Any:
        """What is read in an answer, within the time that is left for this. Raises Broken, and Raised."""
        if self.process is None:
            self.load()
        assert self.process is not None
        start = monotonic()
        try:
            answer = self.process.ask(request, self.left[what])
            if "raised" not in answer:
                return read(answer)
            kind, said, where = (plain(each, 300) for each in answer["raised"])
        except TimeoutError:
            broken = endless(self.limits.seconds)
        except Broken as ended:
            broken = str(ended)
        except UNREADABLE:
            broken = NO_ANSWER
        else:
            raise Raised(kind, said, where)
        finally:
            self.left[what] -= monotonic() - start
        self.stop()
        raise Broken(broken)

    def call(self, name: str, arguments: Mapping[str, Any], keywords: Mapping[str, str]) -> tuple[Any, str]:
        """What a function gives, and the name of what it was given and has written into, if it has."""
        sent = {what: encoded(value) for what, value in arguments.items()}
        request = {"name": name, "arguments": sent, "keywords": dict(keywords)}
        value, wrote = self.ask(name, request, lambda answer: (decoded(answer["value"]), plain(answer["wrote"], 20)))
        return value, wrote

    def leaves(self, kept: Any) -> list[Any]:
        """Every array in what was kept."""
        if isinstance(kept, Kept):
            kept = self.ask("kept", {"kept": int(kept)}, lambda answer: decoded(answer["value"]))
        return [each for each in leaves(kept) if each.dtype.kind in "biuf"]


def plain(text: Any, most: int) -> str:
    """A text in one line without what would steer a terminal."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)[: 4 * most])
    return line if len(line) <= most else f"{line[: most - 1]}…"
