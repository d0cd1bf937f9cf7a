"""The processes that share a training, each with its part of the streams: data parallelism, as `torchrun` starts it.

Rank 0 leads: it decides when to make a step, to validate, to save and to stop, since it alone looks at the clock and
hears of interrupts. The others follow.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

CPU = torch.device("cpu")

STOP, ADVANCE, VALIDATE, CHECKPOINT = range(4)
"""What rank 0 tells the others."""


@dataclass(frozen=True)
class Ranks:
    """One of `count` processes, and where it computes. By itself it is alone."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    def part(self, whole: int) -> slice:
        """Which of so many streams are this process's."""
        return slice(whole * self.rank // self.count, whole * (self.rank + 1) // self.count)

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of what each process has: the same on all of them."""
        if self.count > 1:
            value = value.detach().clone()
            distributed.all_reduce(value)
        return value

    def together(self, part: torch.Tensor, dim: int) -> torch.Tensor:
        """What each process has, of one shape, side by side in the order of the ranks."""
        if self.count == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.count)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim)

    def tell(self, order: int) -> None:
        """Rank 0 of several says what the others are to do; by any other nothing is said."""
        if self.count > 1 and not self.rank:
            distributed.broadcast(torch.tensor(order, device=self.device), 0)

    def told(self) -> int:
        """What rank 0 tells."""
        message = torch.tensor(STOP, device=self.device)
        distributed.broadcast(message, 0)
        return int(message)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process among those that `torchrun` has started, or alone. device: 'cpu' or 'cuda', one GPU to a process.

    Raises RuntimeError if there is no such device, or if the processes do not find each other.
    """
    local = int(os.environ.get("LOCAL_RANK", 0)) if distributed.is_torchelastic_launched() else 0
    if device == "cuda":
        if torch.cuda.device_count() <= local:
            raise RuntimeError(f"expected a CUDA device for each process, got {torch.cuda.device_count()} devices")
        torch.cuda.set_device(local)
    place = torch.device(device, local) if device == "cuda" else CPU
    if not distributed.is_torchelastic_launched():
        yield Ranks(device=place)
        return
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), place)
    finally:
        gc.collect()  # what averages gradients refers to itself, and would hold on to the group
        distributed.destroy_process_group()
