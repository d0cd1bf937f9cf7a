"""What a GPU needs to be measured: its own clock, graphs, and what PyTorch says of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import torch

Call = Callable[[], object]


class CudaClock:
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


def recorded(parts: Sequence[Call]) -> list[Call]:
    """The parts as CUDA graphs, in the order in which they run: one call each, so that Python is not what is measured.

    They run once beforehand on a stream of their own, as CUDA asks for. What they computed then and while they were
    recorded lies where the replays will write it.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for part in parts:
            part()
    torch.cuda.current_stream().wait_stream(stream)
    replays = []
    for part in parts:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            part()
        replays.append(graph.replay)
    return replays


class RecordedFloor:
    """The products alone, as two graphs."""

    def __init__(self, floor: Any) -> None:
        self.layouts = floor.layouts
        self.kept = floor  # the graphs read its memory
        self.forward, self.backward = recorded([floor.forward, floor.backward])


def version() -> tuple[int, ...]:
    """PyTorch's: major, minor."""
    return tuple(int(part) for part in str(torch.__version__).split(".")[:2])


def environment() -> dict[str, Any]:
    """What PyTorch says of the GPU; nothing without one."""
    if not torch.cuda.is_available():
        return {}
    return {
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
        "GPU memory": torch.cuda.get_device_properties(0).total_memory,
        "driver": driver(),
    }


def driver() -> str:
    """The version of the GPU's driver, as its own tool tells it."""
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"
