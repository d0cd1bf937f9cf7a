"""A training step in PyTorch: its own module, or a rung of the ladder; on the CPU or on a GPU."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import threadpool_info

from reference.carry import Training
from reference.devices import NO_DEVICE, Mode, device_name
from scratch.types import Array

from .clock import Clock, CpuClock
from .contestants import Contestant
from .floor import Floor
from .ladder import LOOP, ON_TORCH, Rung
from .problems import Problem, draw
from .unavailable import Unavailable

OUT_OF_MEMORY = (MemoryError, torch.cuda.OutOfMemoryError)


class CudaClock:
    """The GPU's own clock: events in the stream in which it computes."""

    def mark(self) -> torch.cuda.Event:
        """When everything that was begun so far is done."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self) -> None:
        """Until the GPU has done everything."""
        torch.cuda.synchronize()

    def between(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """The seconds from one event to the other."""
        return float(start.elapsed_time(end)) / 1000


class Loop(torch.nn.Module):
    """`torch.nn.LSTM` of one layer as a Python loop over `torch.nn.LSTMCell`, with the same parameters."""

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        super().__init__()
        kept = {name: options[name] for name in ("dtype", "device")}
        self.cell = torch.nn.LSTMCell(input_size, hidden_size, **kept)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """x: (T, B, I). Returns output: (T, B, H) and the final state."""
        state, output = None, []
        for x_t in x:
            state = self.cell(x_t, state)
            output.append(state[0])
        return torch.stack(output), state


class Runner:
    """A problem in PyTorch, ready to be run. Raises Unavailable if it is for a GPU and there is none."""

    def __init__(self, contestant: Contestant, problem: Problem, seed: int, threads: int) -> None:
        self.on_cuda = contestant.device == "cuda"
        if self.on_cuda and not torch.cuda.is_available():
            raise Unavailable(NO_DEVICE)
        torch.set_num_threads(threads)
        self.problem, self.dtype = problem, getattr(torch, contestant.dtype)
        self.place = {"dtype": self.dtype, "device": contestant.device}
        self.mode = Mode(contestant.dtype, contestant.precision, contestant.cudnn)
        self.clock: Clock = CudaClock() if self.on_cuda else CpuClock()
        numbers = draw(problem, seed)

        def tensor(value: Array) -> torch.Tensor:
            return torch.from_numpy(value).to(**self.place)

        self.x, self.d_output = tensor(numbers.input), tensor(numbers.d_output)
        parameters = {name: tensor(value) for name, value in numbers.parameters.items()}
        self.by_hand = contestant.form in ON_TORCH
        """Whether it has a backward of its own; else autograd is asked."""
        if self.by_hand:
            self.module: Any = Rung(contestant.form, parameters, torch.zeros(problem.B, problem.H, **self.place), torch)
        else:
            self.x.requires_grad_()
            self.module = self.with_autograd(contestant.form, parameters)

    def with_autograd(self, form: str, parameters: dict[str, torch.Tensor]) -> torch.nn.Module:
        """PyTorch's own module, or the loop over its cell."""
        module = Loop if form == LOOP else getattr(torch.nn, self.problem.module)
        with self.mode.switched_on():
            made: torch.nn.Module = module(**self.problem.arguments, **self.place)
        if form == LOOP:
            parameters = {f"cell.{name.removesuffix('_l0')}": value for name, value in parameters.items()}
        made.load_state_dict(parameters)
        return made

    def clear(self) -> None:
        """Forget the gradients, as before every step of a training."""
        self.x.grad = None
        self.module.zero_grad()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While this is entered, steps may run, in the mode. It is not timed: to a toy example it would add a fifth."""
        with self.mode.switched_on(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            yield

    def forward(self) -> None:
        """The forward pass, with what backward needs."""
        self.output, _ = self.module(self.x)

    def backward(self) -> None:
        """The gradients of the input and of every parameter."""
        if self.by_hand:
            self.x.grad, _ = self.module.backward(self.d_output)
        else:
            torch.autograd.backward(self.output, self.d_output)

    def results(self) -> dict[str, Array]:
        """What the last step computed, by name."""
        found = {"output": self.output.detach(), "d_input": self.x.grad}
        for name, parameter in self.module.named_parameters():
            own = f"{name.removeprefix('cell.')}_l0" if name.startswith("cell.") else name
            found[f"d_{own}"] = parameter.grad
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        return {name: value.to("cpu", wide).numpy() for name, value in found.items() if value is not None}

    def floor(self) -> Any:
        """The products alone. On a GPU they are recorded as graphs, so that Python is not what is measured."""

        def make(rows: int, columns: int) -> torch.Tensor:
            return torch.randn(rows, columns, **self.place)

        with torch.no_grad():
            floor = Floor(self.problem, make, torch.matmul, torch.cuda.synchronize if self.on_cuda else lambda: None)
            return RecordedFloor(floor) if self.on_cuda else floor


class RecordedFloor:
    """The products as two graphs on the GPU."""

    def __init__(self, floor: Floor) -> None:
        self.layouts = floor.layouts
        self.kept = floor  # the graphs read its memory
        self.forward, self.backward = (self.record(one) for one in (floor.forward, floor.backward))

    def record(self, products: Callable[[], None]) -> Callable[[], None]:
        """Run once on a stream of its own, as CUDA asks for, then record."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            products()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            products()
        replay: Callable[[], None] = graph.replay
        return replay


training = Training.resumed
"""A character model that goes on from a checkpoint with its text."""


def environment() -> dict[str, Any]:
    """What computes here."""
    pools = {f"{pool['internal_api']}: {pool['num_threads']}" for pool in threadpool_info()}
    found = {
        "PyTorch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "oneDNN": torch.backends.mkldnn.is_available(),
        "MKL": torch.backends.mkl.is_available(),
        "thread pools": sorted(pools),
        "GPU": device_name(),
    }
    if torch.cuda.is_available():
        found |= {
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "GPU memory": torch.cuda.get_device_properties(0).total_memory,
            "driver": driver(),
        }
    return found


def driver() -> str:
    """The version of the GPU's driver, as its own tool tells it."""
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"
