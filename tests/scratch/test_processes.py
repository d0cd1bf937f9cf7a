"""Work that processes share: in order, and ended with whoever shares it out, however that ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scratch.processes import TRIAL, WORTH, available_cores, helpful_blas_threads, shared


class Machine:
    """Stands for `threadpoolctl` and for time: a step takes so many seconds on one thread, so many on all."""

    def __init__(self, threads: int, one: float, all_: float) -> None:
        self.threads, self.cost, self.now, self.steps = threads, {1: one, threads: all_}, 0.0, 0
        self.limit = threads

    def threadpool_info(self) -> list[dict[str, object]]:
        return [{"user_api": "openmp", "num_threads": 99}, {"user_api": "blas", "num_threads": self.threads}]

    @contextmanager
    def threadpool_limits(self, number: int | None, api: str) -> Iterator[None]:
        before, self.limit = self.limit, number or self.limit
        yield
        self.limit = before

    def step(self) -> None:
        self.now, self.steps = self.now + self.cost[self.limit], self.steps + 1


@given(st.integers(1, 64), st.floats(1e-3, 9.0), st.floats(0.05, 20.0))
def test_one_thread_is_taken_where_all_are_much_slower_and_then_it_is_told(
    threads: int, one: float, slower: float
) -> None:
    machine, told = Machine(threads, one, one * slower if threads > 1 else one), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "threadpoolctl", machine)
        with helpful_blas_threads(machine.step, told.append, lambda: machine.now):
            assume(abs(slower - WORTH) > 1e-6)
            busy = threads > 1 and slower > WORTH
            assert machine.limit == (1 if busy else threads)
            assert [f"{slower:.1f} times as fast as {threads}" in line for line in told] == [True] * busy
    assert machine.limit == threads
    assert machine.steps == 0 if threads == 1 else machine.now < TRIAL + one + one * slower + 1e-6


LONG = """
import os, sys, time
from collections.abc import Callable
from pathlib import Path
from scratch.processes import shared

def work(part):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    shared(work, [1, 2, 3, 4], 2)
"""


def test_results_come_in_the_order_of_the_parts_each_is_told_and_errors_come_out() -> None:
    told: list[int] = []
    parts = [*range(-10, 10)]
    assert shared(abs, parts, 2, told.append) == [abs(part) for part in parts]
    assert sorted(told) == parts and available_cores() >= 1
    with pytest.raises(TypeError):
        shared(abs, ["no number"], 1)


@pytest.mark.skipif(os.name != "posix", reason="signals are sent")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nobody_works_on_when_the_one_who_shares_it_out_is_gone(tmp_path: Path, how: signal.Signals) -> None:
    script, working = tmp_path / "long.py", tmp_path / "working"
    script.write_text(LONG)
    working.mkdir()
    command = [sys.executable, str(script), str(working)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    until(lambda: len(list(working.iterdir())) == 2)
    process.send_signal(how)
    assert process.wait(30) != 0
    until(lambda: not any(alive(int(path.name)) for path in working.iterdir()))


def until(there: Callable[[], bool]) -> None:
    """Wait until it is so, half a minute at most."""
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether there is such a process, and not only what is left of it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
