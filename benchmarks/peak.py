"""By how much the memory of a process grows in two training steps: the peak, above what is there before the first.

On the CPU it is the resident memory, as Linux tells it: the peak (VmHWM) is set back before the first step, and memory
that is free within the process is given back, so that it cannot hide what is used. Elsewhere it is `ru_maxrss`. On a
GPU it is what PyTorch has allocated there. The libraries have run a tiny problem before, which pays for what they load.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

STATUS, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def growth_of_memory(prepared: Any) -> dict[str, Any]:
    """The growth in bytes, of the process and on the GPU, and how it was measured."""
    cuda = getattr(prepared.runner, "on_cuda", False)
    if cuda:
        from torch import cuda as device

        device.synchronize()
        device.reset_peak_memory_stats()
        before = device.memory_allocated()
        seconds = run_twice(prepared)
        peak, how = device.max_memory_allocated(), "torch.cuda.max_memory_allocated"
    else:
        before = resident_after_cleaning()
        seconds = run_twice(prepared)
        peak, how = peak_resident()
    return {"bytes": max(0, peak - before), "how": how, "seconds": seconds}


def run_twice(prepared: Any) -> float:
    """Two steps: in the second, what the first computed is still there while it begins, as in any training.

    Returns the seconds of the second.
    """
    for _ in range(2):
        start = perf_counter()
        prepared.step()
        prepared.runner.clock.wait()
    return perf_counter() - start


def resident_after_cleaning() -> int:
    """The resident memory, with everything given back that is free, and the peak set back to it."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        PEAK_RESET.write_text("5")
        return in_status("VmRSS")
    except OSError:
        return peak_resident()[0]


def peak_resident() -> tuple[int, str]:
    """The largest resident memory in bytes, and where the number is from."""
    try:
        return in_status("VmHWM"), "VmHWM in /proc/self/status"
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "ru_maxrss"


def in_status(name: str) -> int:
    """A number of bytes out of the process's status. Raises OSError if there is none."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in {STATUS}")
