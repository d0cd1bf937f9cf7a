"""A submission that runs in a process of its own, whose functions can be taken stage by stage.

What is right never enters that process: it is sent arrays, and sends back arrays, which are compared here. What it
sends is read as JSON and numbers, so that it runs nothing here.

This is no sandbox. It holds off accidents and simple tricks: limits of time, memory and file size, a folder and a
session of its own, and an audit hook (guard.py). Run what you do not trust in a container besides.
"""

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

from .subject import ENDLESS, Interface, interface
from .worker import FUNCTIONS, OF_STEPS, WAY_BACK, Runner, decoded, encoded

SENT_AT_MOST = 2**25
"""Bytes of one answer, beyond which it is not read."""
START = 60.0
"""Seconds in which Python and NumPy start, which are nobody's fault."""
OUTPUT_KEPT = 4000
"""Bytes of what it prints that are kept."""
UNREADABLE = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/dev", "/sys", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat")
"""Where a process may read, besides where Python and NumPy are."""


class Limits(NamedTuple):
    """What a submission may use: seconds for running its file, and for all calls of each of its functions; megabytes
    beyond those that Python and NumPy need; megabytes of one file.
    """

    seconds: float = 10.0
    memory: int = 1024
    file_size: int = 16


class Submission(Runner):
    """A file, run in a process, and what its functions give: it can be taken stage by stage once it is loaded.

    The file's folder is the working directory. printed, output: how many bytes it has printed, and the first of them.
    notes: what it imports, and what was refused.
    """

    def __init__(self, file: Path, limits: Limits, allowed: Sequence[str] = ()) -> None:
        super().__init__({})
        self.file, self.limits, self.allowed = file, limits, allowed
        self.process: subprocess.Popen[bytes] | None = None
        self.left = {"start": START, **dict.fromkeys(("load", *FUNCTIONS), limits.seconds)}
        self.notes: list[tuple[str, str]] = []
        self.printed, self.output = 0, b""

    def load(self) -> None:
        """Start the process and run the file in it. Raises Interface."""
        self.channel, theirs = socket.socketpair()
        self.stream = self.channel.makefile("rwb")
        self.pipe, pipe = os.pipe()
        os.set_blocking(self.pipe, False)
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
        environment |= dict.fromkeys(("HOME", "TMPDIR"), str(self.file.parent)) | {"MALLOC_ARENA_MAX": "2"}
        environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        handed = (theirs.fileno(), pipe)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(Path(__file__).with_name("worker.py")), *map(str, handed)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pipesize=2**18,  # Linux: a gigabyte goes through quicker
            cwd=self.file.parent,
            env=environment,
            pass_fds=handed,
            start_new_session=True,
        )
        theirs.close()
        os.close(pipe)
        self.reader = Thread(target=self.take_output, args=[self.process.stdout], daemon=True)
        self.reader.start()
        house = Path(__file__).parents[2]
        roots = [sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), os.path.dirname(np.__file__)]
        settings = {
            "file": str(self.file),
            "memory": self.limits.memory * 2**20,
            "processor": math.ceil(6 * self.limits.seconds) + 2,
            "file_size": self.limits.file_size * 2**20,
            "below": bool(self.allowed),
            "path": [str(house)] if self.allowed else [],
            "roots": [*SYSTEM, *map(os.path.realpath, roots), *([str(house)] if self.allowed else [])],
            "denied": [str(house / name) for name in ("scratch", "reference") if name not in self.allowed],
        }
        self.ask("start", settings, dict)

        try:
            found = self.ask("load", {}, lambda answer: [(str(name), [*takes]) for name, takes in answer["takes"]])
        except Interface:
            self.stop()
            raise
        self.takes = {name: takes for name, takes in found if name in FUNCTIONS}

    def take_output(self, stream: Any) -> None:
        """Read what it prints while it runs, and keep the beginning."""
        with stream:
            while data := os.read(stream.fileno(), 2**20):
                self.printed += len(data)
                self.output += data[: OUTPUT_KEPT - len(self.output)]

    def stop(self) -> None:
        """End the process and all that it started; another is started when it is needed."""
        if self.process is None:
            return
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.reader.join(1)  # unless somebody else holds the other end
        with suppress(BlockingIOError):
            for line in os.read(self.pipe, 2**16).decode("ascii", "replace").splitlines():
                kind, _, text = line.partition("\t")
                self.notes.append((kind, plain(text.strip("'\""), 300)))
        self.notes = [*dict.fromkeys(self.notes)]
        with suppress(OSError):
            self.stream.close()
        self.channel.close()
        os.close(self.pipe)

    def ask(self, what: str, request: Any, read: Callable[[Any], Any]) -> Any:
        """What is read in an answer, within the time that is left for this. Raises Interface; Empty."""
        if self.process is None:
            self.load()
        start, line = monotonic(), b""
        timer = Timer(self.left[what], self.channel.shutdown, [socket.SHUT_RDWR])
        timer.daemon = True
        timer.start()
        with suppress(OSError):
            self.stream.write(json.dumps(request).encode() + b"\n")
            self.stream.flush()
            line = self.stream.readline(SENT_AT_MOST)
        timer.cancel()
        self.left[what] -= monotonic() - start
        if self.left[what] <= 0:
            broken = ENDLESS.format(self.limits.seconds)
        elif not line:
            broken = self.how_it_ended()
        else:
            broken = "what comes back from its process is no answer"
            with suppress(*UNREADABLE):
                answer = json.loads(line)
                if "raised" not in answer:
                    return read(answer)
                kind, told = (plain(each, 400) for each in answer["raised"])
                raise interface(what, kind, told)
        self.stop()
        raise Interface(broken)

    def how_it_ended(self) -> str:
        """How the process ended, in words."""
        assert self.process is not None
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "it closes what is not its own, the way back from its process"
        if status >= 0:
            return f"it ends the process, with status {status}, instead of coming back (os._exit?)"
        if -status == signal.SIGXCPU:
            return "it takes more processor time than it may"
        return f"its process was ended by {signal.Signals(-status).name}"

    def call(
        self, name: str, arguments: Mapping[str, Any], keywords: Mapping[str, str], watch: bool = False
    ) -> tuple[Any, list[str]]:
        """What a function gives, and the names of what it has written into; whether it has is found out here."""
        sent = json.loads(json.dumps({what: encoded(value) for what, value in arguments.items()}))
        request = {"name": name, "arguments": sent, "keywords": dict(keywords), "watch": watch}
        value, after, wrote = self.ask(
            name, request, lambda answer: (decoded(answer["value"]), dict(answer["after"]), [*answer["wrote"]])
        )
        guarded = self.guarded(name, sent)
        written = [what for what, was in guarded.items() if what not in WAY_BACK and after.get(what) != was]
        return value, written + [what for what in (*WAY_BACK, OF_STEPS) if what in wrote]


def plain(text: Any, most: int) -> str:
    """A text in one line without what would steer a terminal."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text)[: 4 * most])
    return line if len(line) <= most else f"{line[: most - 1]}…"
