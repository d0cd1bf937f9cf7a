"""PyTorch on a GPU, in each of the ways in which it computes there: the answer to "my GPU differs from my CPU".

float64 and float32 'ieee' round as a CPU does. float32 'tf32' rounds the factors of every product to TF32's 10 bits
behind the point, which PyTorch 2.13 does by default within cuDNN's recurrences. cuDNN itself can be switched off; then
PyTorch's own kernels run, with the precision set for matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from .problems import Problem
from .runs import Masks, Run, run_torch

NO_DEVICE = "no CUDA device"


class Mode(NamedTuple):
    """One way of computing on a GPU."""

    dtype: str
    """'float64' or 'float32'."""
    precision: str
    """'ieee' or 'tf32'."""
    cudnn: bool

    @property
    def name(self) -> str:
        """As it is called in tables."""
        dtype = f"{self.dtype} {self.precision!r}" if self.dtype == "float32" else self.dtype
        return f"CUDA {dtype}, {'cuDNN' if self.cudnn else 'no cuDNN'}"

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number that the factors of a product are rounded to."""
        return 2.0**-10 if self.precision == "tf32" else float(np.finfo(self.dtype).eps)

    def run(self, problem: Problem, masks: Masks) -> Run:
        """Run the problem on the GPU.

        cuDNN differentiates in training mode alone, so eval() without dropout stands for itself in training mode.
        """
        if not problem.configuration.training:
            problem = replace(problem, configuration=replace(problem.configuration, training=True, dropout=0.0))
        with self.switched_on():
            return run_torch(problem, masks, device="cuda")

    @contextmanager
    def switched_on(self) -> Iterator[None]:
        """While this is entered, PyTorch computes in this mode."""
        settings = [(torch.backends.cudnn, "enabled", self.cudnn), *precision_settings(self.precision)]
        before = [getattr(owner, name) for owner, name, _ in settings]
        try:
            for owner, name, value in settings:
                setattr(owner, name, value)
            yield
        finally:
            for (owner, name, _), value in zip(settings, before, strict=True):
                setattr(owner, name, value)


def precision_settings(precision: str) -> list[tuple[Any, str, Any]]:
    """PyTorch's switches for the precision of float32 products: owner, name, value. They were renamed in 2.9."""
    backends: Any = torch.backends
    if hasattr(backends.cudnn, "rnn"):
        return [(owner, "fp32_precision", precision) for owner in (backends.cudnn.rnn, backends.cuda.matmul)]
    return [(owner, "allow_tf32", precision == "tf32") for owner in (backends.cudnn, backends.cuda.matmul)]


MODES = [
    Mode(dtype, precision, cudnn)
    for dtype, precision in (("float64", "ieee"), ("float32", "ieee"), ("float32", "tf32"))
    for cudnn in (True, False)
]


def device_name() -> str:
    """The GPU, or that there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else NO_DEVICE
