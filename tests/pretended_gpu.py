"""A pretended GPU, so that what is written for CUDA runs where there is none.

Tensors that are asked for on "cuda" lie in the CPU's memory and carry a label. The rules that PyTorch has for a GPU are
enforced as far as Python sees them: operands on one device, lengths on the CPU, no `.numpy()`, cuDNN's backward in
training mode alone, events read after a `synchronize`, nothing in a graph that waits. It can be slow to begin, have
little memory, or break for good. About the numbers and the speed of a GPU it says nothing.
"""

from __future__ import annotations

import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

RECURRENCES = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
MIXING = RECURRENCES | {"copy_", "__set__", "_pack_padded_sequence", "_pad_packed_sequence", "type_as"}
MIXING |= {"_has_compatible_shallow_copy_type"}
"""What may have operands on several devices, or is looked at by itself."""
WAITING = {"item", "cpu", "tolist", "__bool__", "__float__", "nonzero"}
UNPACKED = "RNN module weights are not part of single contiguous chunk of memory"
CAPTURING = "CUDA error: operation not permitted when stream is capturing"
BROKEN = "CUDA error: an illegal memory access was encountered"

Patch = Callable[[Any, str, Any], None]
"""As `setattr`; `monkeypatch.setattr` takes it back."""


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in a value."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from tensors(one)


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether a tensor carries the label."""
    return getattr(tensor, "on_pretended_gpu", False)


def place(device: Any) -> str | None:
    """'cuda', 'cpu' or whatever a device is, without its number."""
    return str(device).split(":")[0] if isinstance(device, (str, torch.device)) else None


def refuse(what: Any, text: str, kind: type[Exception] = RuntimeError) -> None:
    """Raise the error that PyTorch or CUDA has for it, if there is anything to refuse."""
    if what:
        raise kind(text)


class Gpu:
    """The device. cold: seconds of the first recurrence; memory: bytes; speed: how many times as fast its clock says it
    is; breaks: the dtype of a recurrence after which nothing works any more in this process.
    """

    def __init__(self, cold: float = 0.0, memory: float = float("inf"), speed: float = 1.0, breaks: str = "") -> None:
        self.cold, self.memory, self.speed, self.breaks = cold, memory, speed, breaks
        self.broken = self.eval_forward = False
        self.log: list[dict[str, Any]] = []
        """Each recurrence forward and backward, and the mode in which it was called."""
        self.users: Counter[int] = Counter()  # of each storage
        self.sizes: dict[int, int] = {}
        self.peak = 0
        self.captured: list[Any] | None = None
        self.marks: list[Event] = []

    def synchronize(self, device: Any = None) -> None:
        """Wait until everything is done."""
        refuse(self.broken, BROKEN)
        refuse(self.captured is not None, CAPTURING)
        while self.marks:
            self.marks.pop().done = True

    def label(self, value: Any) -> None:
        """Let a value's tensors lie on this device. Raises OutOfMemoryError."""
        for tensor in (one for one in tensors(value) if not on_gpu(one)):
            where, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
            if where and where not in self.sizes:
                full = sum(self.sizes.values()) + size > self.memory
                refuse(full, f"CUDA out of memory. Tried to allocate {size} bytes.", torch.cuda.OutOfMemoryError)
                self.sizes[where] = size
            tensor.on_pretended_gpu = True
            self.users[where] += 1
            weakref.finalize(tensor, self.release, where)
        self.peak = max(self.peak, sum(self.sizes.values()))

    def release(self, where: int) -> None:
        """A tensor with this storage is gone."""
        self.users[where] -= 1
        if not self.users[where]:
            self.sizes.pop(where, None)

    def note(self, what: str, **more: Any) -> None:
        """Put down what is called, and in which mode."""
        precision = torch.backends.cudnn.rnn.fp32_precision
        self.log.append({"what": what, "cudnn": torch.backends.cudnn.enabled, "precision": precision, **more})

    def recurrence(self, name: str, args: tuple[Any, ...]) -> None:
        """What PyTorch and cuDNN ask of the arguments of a recurrence. Those of packed data have batch sizes second."""
        packed = isinstance(args[1], torch.Tensor) and args[1].dtype == torch.int64
        refuse(packed and on_gpu(args[1]), "batch_sizes of a packed sequence have to be on the CPU")
        x, state, weights, train = args[0], args[1 + packed], args[2 + packed], args[6 + packed]
        strange = [one for one in tensors([state, weights]) if not on_gpu(one) or one.dtype != x.dtype]
        refuse(strange, "input, states and weights are expected on one device and in one dtype")
        flat = all(getattr(one, "flat", False) for one in tensors(weights))
        if torch.backends.cudnn.enabled:
            refuse([one for one in tensors(state) if not one.is_contiguous()], "rnn: hx is not contiguous")
            if not flat:
                warnings.warn(f"{UNPACKED}. This means they need to be compacted at every call.", stacklevel=2)
            self.eval_forward = not train
        dtype = str(x.dtype).removeprefix("torch.")
        self.note(name, dtype=dtype, flat=flat, packed=packed)
        time.sleep(self.cold)
        self.cold, self.broken = 0.0, self.broken or dtype == self.breaks

    def backward(self) -> None:
        """What cuDNN asks for before it differentiates."""
        self.note("backward")
        eval_forward = self.eval_forward and torch.backends.cudnn.enabled
        refuse(eval_forward, "cudnn RNN backward can only be called in training mode")


class Rules(TorchFunctionMode):
    """What PyTorch does with tensors on the device."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(function, "__name__", "")
        owner = getattr(getattr(function, "__self__", None), "__name__", "")  # of a getter: device, is_cuda, grad, …
        inputs = [*tensors(args), *tensors(kwargs)]
        here = [one for one in inputs if on_gpu(one)]
        if name == "__get__" and owner in ("device", "is_cuda", "is_cpu") and here:
            return {"device": torch.device("cuda", 0), "is_cuda": True, "is_cpu": False}[owner]
        refuse(here and self.gpu.broken, BROKEN)
        refuse(here and self.gpu.captured is not None and name in WAITING, CAPTURING)
        refuse(here and name in ("numpy", "__array__"), "can't convert cuda:0 device type tensor to numpy.", TypeError)
        asked = [place(kwargs["device"])] if kwargs.get("device") is not None else []
        if "cuda" in asked:
            kwargs["device"] = "cpu"
        if name == "to":
            asked += [place(one) for one in args if place(one) in ("cuda", "cpu")]
            args = tuple("cpu" if place(one) == "cuda" else one for one in args)
        elif name in ("cuda", "cpu"):
            asked, function, args = [name], torch.Tensor.to, (args[0], "cpu")
        if name in ("to", "cuda", "cpu") and asked and (asked[-1] == "cuda") != bool(here):
            kwargs["copy"] = True
        strangers = [one for one in inputs if not on_gpu(one) and one.dim() and one.numel()]
        mixed = here and strangers and not asked and name not in MIXING
        refuse(mixed, f"Expected all tensors to be on the same device, got cuda:0 and cpu in {name}")
        if here and name in RECURRENCES:
            self.gpu.recurrence(name, args)
        if here and name == "backward":
            self.gpu.backward()
        result = function(*args, **kwargs)
        if asked[-1:] == ["cuda"] or (here and not asked):
            if name in ("_pack_padded_sequence", "_pad_packed_sequence"):  # sizes and lengths stay on the CPU
                result[0].on_pretended_gpu = True
            elif name == "__set__" and owner == "data" and on_gpu(args[1]):
                self.gpu.label(args[0])
            else:
                self.gpu.label(result)
            if self.gpu.captured is not None and list(tensors(result)):
                self.gpu.captured.append((function, args, kwargs, result))
        return result


class Event:
    """A mark in a stream, which can be read once somebody has waited for it."""

    def __init__(self, gpu: Gpu, enable_timing: bool = False) -> None:
        self.gpu, self.timing, self.done = gpu, enable_timing, False

    def record(self) -> None:
        """Now."""
        self.at = time.perf_counter()
        self.gpu.marks.append(self)

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds."""
        known = self.timing and end.timing and self.done and end.done
        refuse(not known, "Both events must be completed before calculating elapsed time.", ValueError)
        return (end.at - self.at) * 1000 / self.gpu.speed


class Graph:
    """What was recorded; a replay computes it anew from what its inputs hold by then, into the same results."""

    @torch.no_grad()
    def replay(self) -> None:
        """Again."""
        for function, args, kwargs, result in self.calls:
            anew = function(*args, **kwargs)
            for old, new in zip(tensors(result), tensors(anew), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextmanager
def capture(gpu: Gpu, graph: Graph) -> Iterator[None]:
    """While this is entered, what is called is recorded."""
    gpu.synchronize()
    gpu.captured = graph.calls = []
    try:
        yield
    finally:
        gpu.captured = None
    gpu.note("graph", calls=len(graph.calls))


def flatten(weights: list[torch.Tensor], *_: Any) -> None:
    """Lay weights side by side."""
    for one in weights:
        one.flat = True


def install(gpu: Gpu, patch: Patch) -> Rules:
    """Put the device into PyTorch. Enter what is returned."""

    def parameter(kind: Any, data: Any = None, requires_grad: bool = True) -> Any:
        made = create(kind, data, requires_grad)
        if data is not None and on_gpu(data):
            gpu.label(made)
        return made

    create, cudnn = torch.nn.Parameter.__new__, torch.backends.cudnn
    stream = SimpleNamespace(wait_stream=lambda other: None)
    of_cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "set_device": lambda device: None,
        "get_device_name": lambda device=None: "Pretended GPU",
        "get_device_properties": lambda device=None: SimpleNamespace(total_memory=8e10, name="Pretended GPU"),
        "synchronize": gpu.synchronize,
        "Event": partial(Event, gpu),
        "Stream": lambda: stream,
        "current_stream": lambda device=None: stream,
        "stream": lambda one: nullcontext(),
        "CUDAGraph": Graph,
        "graph": partial(capture, gpu),
        "device_of": lambda tensor: nullcontext(),
        "empty_cache": lambda: None,
        "memory_allocated": lambda device=None: sum(gpu.sizes.values()),
        "reset_peak_memory_stats": lambda device=None: setattr(gpu, "peak", sum(gpu.sizes.values())),
        "max_memory_allocated": lambda device=None: gpu.peak,
    }
    for owner, values in (
        (torch.cuda, of_cuda),
        (cudnn.m, {"is_available": lambda: True, "_init": lambda: True, "version": lambda: 91900}),
        (getattr(cudnn.rnn, "m", cudnn.rnn), {"get_cudnn_mode": lambda mode: 2}),
        (torch, {"_use_cudnn_rnn_flatten_weight": lambda: True, "_cudnn_rnn_flatten_weight": flatten}),
        (torch.nn.Parameter, {"__new__": staticmethod(parameter)}),
        (torch.version, {"cuda": "13.0"}),
    ):
        for name, value in values.items():
            patch(owner, name, value)
    return Rules(gpu)
