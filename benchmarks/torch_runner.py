"""A training step in PyTorch: its own module, or a rung of the ladder; on the CPU or on a GPU."""

import gc
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
from threadpoolctl import threadpool_info
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from reference.carry import Training
from reference.devices import NO_DEVICE, Mode, device_name, laid_out_for_cudnn
from scratch.types import Array

from . import floor
from .clock import Clock, each, run_twice
from .contestants import LOOP, Contestant, Unavailable
from .learning import Learner
from .problems import Problem, draw
from .rungs import AS_GRAPH, ON_TORCH, Rung

OUT_OF_MEMORY = (MemoryError, torch.cuda.OutOfMemoryError)

drawn_once = lru_cache(maxsize=1)(draw)
"""On a GPU many contestants in one process are made ready for the same problem, one after the other."""


class CudaClock(Clock):
    """The GPU's own clock: events in the stream in which it computes."""

    least = 0.2
    """Seconds of work before a turn, and in it: a GPU's frequency falls while the CPU computes, and must rise again."""

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

    def memory(self, step: Callable[[], object]) -> dict[str, Any]:
        """By how much what PyTorch has allocated on the GPU grows, and the seconds of one step."""
        self.wait()
        torch.cuda.reset_peak_memory_stats()
        before, seconds = torch.cuda.memory_allocated(), run_twice(self, step)
        grown = max(0, torch.cuda.max_memory_allocated() - before)
        return {"bytes": grown, "how": "torch.cuda.max_memory_allocated", "seconds": seconds}


def recorded(parts: dict[str, Callable[[], object]]) -> dict[str, Callable[[], object]]:
    """The parts as CUDA graphs, in the order in which they run: one call each, so that Python is not what is measured.

    They run once beforehand on a stream of their own, as CUDA asks for. What they computed then and while they were
    recorded lies where the replays will write it.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        each(parts.values())
    torch.cuda.current_stream().wait_stream(stream)
    replays: dict[str, Callable[[], object]] = {}
    for name, part in parts.items():
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            part()
        replays[name] = graph.replay
    return replays


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
    """A problem in PyTorch, ready to be run.

    Raises Unavailable if it is for a GPU and there is none, or for what PyTorch or the rung does not compute.
    """

    def __init__(self, contestant: Contestant, problem: Problem, seed: int) -> None:
        self.on_cuda = contestant.device == "cuda"
        if self.on_cuda and not torch.cuda.is_available():
            raise Unavailable(NO_DEVICE)
        self.problem, self.dtype = problem, getattr(torch, contestant.dtype)
        self.place = {"dtype": self.dtype, "device": contestant.device}
        self.mode = Mode(contestant.dtype, contestant.precision, contestant.cudnn)
        self.clock: Clock = CudaClock() if self.on_cuda else Clock()
        numbers = (drawn_once if self.on_cuda else draw)(problem, seed)

        def tensor(value: Array) -> torch.Tensor:
            return torch.from_numpy(value).to(**self.place)

        self.x, self.d_output = tensor(numbers.input), tensor(numbers.d_output)
        if problem.packed:
            self.x, self.d_output = (pack_padded_sequence(one, problem.lengths).data for one in (self.x, self.d_output))
        self.sizes = torch.tensor([sum(length > t for length in problem.lengths) for t in range(problem.T)])
        parameters = {name: tensor(value) for name, value in numbers.parameters.items()}
        self.by_hand = contestant.form in (*ON_TORCH, *AS_GRAPH)
        """Whether it has a backward of its own; else autograd is asked."""
        if self.by_hand:
            zeros = torch.zeros(problem.B, problem.H, **self.place)
            self.module: Any = Rung(contestant.form, problem, parameters, zeros, torch)
        else:
            self.x.requires_grad_()
            self.module = self.with_autograd(contestant, parameters)
        self.replays: dict[str, Callable[[], object]] = {}
        if contestant.form in AS_GRAPH:
            if not self.on_cuda:
                raise Unavailable("a CUDA graph needs a GPU")
            with self.turn():  # from here on a step is two replays, which write over what they wrote before
                self.replays = recorded({"forward": self.forward, "backward": self.backward})
        self.clock.wait()

    @property
    def parts(self) -> dict[str, Callable[[], object]]:
        """What a training step calls one after the other."""
        return self.replays or {"clear": self.clear, "forward": self.forward, "backward": self.backward}

    def with_autograd(self, contestant: Contestant, parameters: dict[str, torch.Tensor]) -> torch.nn.Module:
        """PyTorch's own module, or the loop over its cell."""
        loop = contestant.form == LOOP
        version = tuple(map(int, str(torch.__version__).split(".")[:2]))
        if self.on_cuda and contestant.cudnn and not loop and self.dtype == torch.bfloat16 and version < (2, 10):
            raise Unavailable("below PyTorch 2.10 cuDNN does not compute bfloat16")
        module = Loop if loop else getattr(torch.nn, self.problem.module)
        with self.turn(), laid_out_for_cudnn(self.dtype):
            made: torch.nn.Module = module(**self.problem.arguments, **self.place)
        if loop:
            parameters = {f"cell.{name.removesuffix('_l0')}": value for name, value in parameters.items()}
        made.load_state_dict(parameters)
        return made

    def clear(self) -> None:
        """Forget the gradients, as before every step of a training."""
        self.x.grad = None
        self.module.zero_grad()

    def turn(self) -> AbstractContextManager[None]:
        """While this is entered, steps may run, in the mode. It is not timed: to a toy example it would add a fifth."""
        return self.mode.switched_on()

    def forward(self) -> None:
        """The forward pass, with what backward needs."""
        output, _ = self.module(PackedSequence(self.x, self.sizes) if self.problem.packed else self.x)
        self.output = output.data if self.problem.packed else output

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

    def floor(self) -> floor.Floor:
        """The products alone; on a GPU recorded as graphs, which read the matrices of its calls."""

        def make(rows: int, columns: int) -> torch.Tensor:
            return torch.randn(rows, columns, **self.place)

        with torch.no_grad():
            made = floor.Floor(self.problem, make, torch.matmul, self.clock)
            if self.on_cuda:
                made.parts = recorded(made.parts)
            return made


def runner(contestant: Contestant, problem: Problem, seed: int, threads: int) -> Any:
    """A problem, ready to be run on so many threads."""
    torch.set_num_threads(threads)
    return Learner(Training, problem, seed) if problem.text else Runner(contestant, problem, seed)


def release() -> None:
    """Give back the memory of what was forgotten."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ceiling(contestant: Contestant, threads: int) -> dict[str, float]:
    """What a device makes in a contestant's mode: operations in a second of a large product, bytes of a large copy."""
    torch.set_num_threads(threads)
    place = {"dtype": getattr(torch, contestant.dtype), "device": contestant.device}
    clock = CudaClock() if contestant.device == "cuda" else Clock()
    with Mode(contestant.dtype, contestant.precision, contestant.cudnn).switched_on(), torch.no_grad():
        return floor.ceiling(lambda *shape: torch.randn(*shape, **place), torch.matmul, torch.Tensor.copy_, clock)


def driver() -> str:
    """The version of the GPU's driver, as its own tool tells it."""
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def environment() -> dict[str, Any]:
    """What computes here."""
    found = {
        "PyTorch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "oneDNN": torch.backends.mkldnn.is_available(),
        "MKL": torch.backends.mkl.is_available(),
        "thread pools": sorted({f"{pool['internal_api']}: {pool['num_threads']}" for pool in threadpool_info()}),
        "GPU": device_name(),
    }
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        found |= {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version(), "GPU memory": memory}
        found["driver"] = driver()
    return found
