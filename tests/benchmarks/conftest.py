"""Workers that compute in this process: as quick as the figures are wrong, with the requests and answers of a pipe."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import __main__ as door
from benchmarks import clock, torch_runner
from benchmarks.process import Worker
from benchmarks.torch_runner import CudaClock
from benchmarks.worker import Work
from reference.devices import precision_settings
from tests.pretended_gpu import Gpu

Command = Callable[..., tuple[int, str, str]]
Begin = Callable[..., Gpu]


@pytest.fixture(autouse=True)
def no_search_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes long in a process as full as this."""
    for module in (clock, torch_runner):
        monkeypatch.setattr(module, "gc", SimpleNamespace(collect=int, disable=int, enable=int))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command with its arguments. Returns exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["benchmarks", *map(str, arguments)])
        status = door.main()
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What each worker is asked for: its device, and what to do. 'end' is the end of its process."""
    asked: list[tuple[str, str]] = []

    def exchange(self: Any, request: dict[str, Any]) -> Any:
        asked.append((self.device, request["do"]))
        self.process = self.process or Work(self.library, 1)
        return json.loads(json.dumps(self.process.do(json.loads(json.dumps(request)))))

    def close(self: Any) -> None:
        if self.process is not None:
            asked.append((self.device, "end"))
        self.process, self.generation = None, self.generation + 1

    monkeypatch.setattr(Worker, "exchange", exchange)
    monkeypatch.setattr(Worker, "close", close)
    return asked


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The pictures that are asked for, by the names of their files. They are not written, which takes long."""
    found: dict[str, Figure] = {}
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: found.update({path.name: self}))
    return found


def mode() -> list[Any]:
    """What is on now: cuDNN, and the precisions of float32 products."""
    return [torch.backends.cudnn.enabled, *(getattr(owner, name) for owner, name, _ in precision_settings("ieee"))]


@pytest.fixture
def gpu(pretended_gpu: Begin, in_process: list[Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """A pretended GPU, which is whole again in a new process, and whose clock needs not come up. Whatever happens to a
    contestant, afterwards PyTorch computes in the mode of before.
    """
    before = mode()

    def begin(**what: Any) -> Gpu:
        found, close = pretended_gpu(**what), Worker.close

        def mend(self: Worker) -> None:
            close(self)
            found.broken = False

        monkeypatch.setattr(Worker, "close", mend)
        monkeypatch.setattr(CudaClock, "least", 0.0)
        return found

    yield begin
    assert mode() == before
