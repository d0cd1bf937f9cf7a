"""Work that processes share: in order, and ended with whoever shares it out, however that ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scratch.processes import available_cores, shared

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


def test_results_come_in_the_order_of_the_parts_and_each_is_told() -> None:
    told: list[int] = []
    assert shared(abs, [-3, 1, -2], 2, told.append) == [3, 1, 2]
    assert sorted(told) == [-3, -2, 1]


def test_what_the_work_raises_comes_out() -> None:
    with pytest.raises(TypeError):
        shared(abs, ["no number"], 1)


def test_there_is_a_core() -> None:
    assert available_cores() >= 1


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
