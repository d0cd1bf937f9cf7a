"""The other end of the pipe: workers that are started when they are needed, and started again when they die."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from .contestants import Contestant, Unavailable

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""What libraries read, when they are loaded, for the number of their threads."""


class Failed(Exception):
    """Raised with the reason why a worker could not do what it was asked for."""


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """A process that is begun within this has so many processors and no more, whatever threads its library starts."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(cores)[:count])
        yield
    finally:
        os.sched_setaffinity(0, cores)


class Worker:
    """A process of its own for one library on one device."""

    def __init__(self, library: str, threads: int, device: str = "cpu") -> None:
        self.library, self.threads, self.device = library, threads, device
        self.process: subprocess.Popen[str] | None = None
        self.generation = 0
        """Goes up whenever what was prepared is gone: with the process, after an error, and when it is forgotten."""

    def start(self) -> subprocess.Popen[str]:
        """The running process."""
        if self.process is None:
            self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
            with on_cores(self.threads):
                self.process = subprocess.Popen(
                    [sys.executable, "-m", f"{__package__}.worker", self.library, str(self.threads)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self.errors,
                    text=True,
                    cwd=Path(__file__).parent.parent,
                    env=os.environ | dict.fromkeys(THREADS, str(self.threads)),
                    start_new_session=True,
                )
        return self.process

    def exchange(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The process's reply; None if it dies over the request."""
        process, line = self.start(), ""
        with suppress(OSError):
            print(json.dumps(request), file=process.stdin, flush=True)
            line = cast(IO[str], process.stdout).readline()
        return cast(dict[str, Any], json.loads(line)) if line else None

    def ask(self, do: str, **what: Any) -> Any:
        """Have something done. Raises Unavailable, or Failed, also if the process dies over it.

        After an error on a GPU the process ends: what went wrong there may spoil whatever comes next in it.
        """
        reply = self.exchange({"do": do, **what})
        if reply is None:
            raise Failed(self.last_words())
        if "unavailable" in reply:
            raise Unavailable(reply["unavailable"])
        if "error" in reply:
            self.generation += 1
            if self.device != "cpu":
                self.close()
            raise Failed(reply["error"])
        return reply["answer"]

    def forget(self) -> None:
        """Drop what was prepared, if there is a process that has anything."""
        if self.process is not None:
            with suppress(Failed):
                self.ask("forget")
            self.generation += 1

    def last_words(self) -> str:
        """Why the process died. The next question starts another."""
        status = self.start().wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        self.close()
        if status < 0:
            meaning = " (out of memory?)" if status == -signal.SIGKILL else ""
            return f"the process died of {signal.Signals(-status).name}{meaning}"
        return f"the process ended with status {status}" + (f": {said[-1]}" if said else "")

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout, self.errors):
                with suppress(OSError):  # what a dead process did not read
                    cast(IO[str], stream).close()
            self.process = None
            self.generation += 1


class Workers(AbstractContextManager["Workers"]):
    """The workers of a run, by library and device. Their processes end with the `with` that this is entered in."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.workers: dict[tuple[str, str], Worker] = {}

    def of(self, contestant: Contestant) -> Worker:
        """The worker that a contestant belongs to."""
        key = (contestant.library, contestant.device)
        if key not in self.workers:
            self.workers[key] = Worker(contestant.library, self.threads, contestant.device)
        return self.workers[key]

    def renew(self) -> None:
        """End the processes; the next questions start others."""
        for worker in self.workers.values():
            worker.close()

    def __exit__(self, *error: object) -> None:
        self.renew()
