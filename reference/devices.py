"""PyTorch on a GPU, in each of the ways in which it computes there: the answer to "my GPU differs from my CPU".

float64 and float32 'ieee' round as a CPU does. float32 'tf32' rounds the factors of every product to TF32's 10 bits
behind the point, which PyTorch 2.13 does by default within cuDNN's recurrences. cuDNN itself can be switched off; then
PyTorch's own kernels run, with the precision set for matrix products.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from .problems import Problem
from .runs import Masks, Run, run_torch

NO_DEVICE = "no CUDA device"


class Mode(NamedTuple):
    """One way of computing on a GPU."""

    dtype: str  # 'float64', 'float32', 'float16' or 'bfloat16'
    precision: str  # of float32 products: 'ieee' or 'tf32'. Other dtypes have no such choice
    cudnn: bool

    @property
    def name(self) -> str:
        """As it is called in tables."""
        dtype = f"{self.dtype} {self.precision!r}" if self.dtype == "float32" else self.dtype
        return f"CUDA {dtype}, {'cuDNN' if self.cudnn else 'no cuDNN'}"

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number that the factors of a product are rounded to."""
        return 2.0**-10 if self.precision == "tf32" else float(torch.finfo(getattr(torch, self.dtype)).eps)

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
        """While this is entered, PyTorch computes in this mode.

        The switch for float32 is left alone for halves: in 'ieee' cuDNN may not use its tensor cores for bfloat16.
        """
        settings = [(torch.backends.cudnn, "enabled", self.cudnn)]
        settings += precision_settings(self.precision) if self.dtype not in ("float16", "bfloat16") else []
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
        try:
            for setting in settings:
                setattr(*setting)
            yield
        finally:
            for setting in before:
                setattr(*setting)


def precision_settings(precision: str) -> list[tuple[Any, str, Any]]:
    """PyTorch's switches for the precision of float32 products: owner, name, value.

    `fp32_precision` is there since PyTorch 2.9. Up to 2.10 cuDNN's switch for recurrences is an attribute of a class,
    which the first LSTM on a GPU hides: it imports a module of the same name. Where there is no such switch it is
    `allow_tf32`.
    """
    cudnn: Any = torch.backends.cudnn
    for owner in (vars(type(cudnn)).get("rnn"), getattr(cudnn, "rnn", None)):
        if hasattr(owner, "fp32_precision"):
            return [(one, "fp32_precision", precision) for one in (owner, torch.backends.cuda.matmul)]
    return [(one, "allow_tf32", precision == "tf32") for one in (cudnn, torch.backends.cuda.matmul)]


@contextmanager
def laid_out_for_cudnn(dtype: torch.dtype) -> Iterator[None]:
    """A recurrence that is made while this is entered has its weights side by side in memory, as cuDNN wants them.

    Of itself PyTorch 2.13 does not do so in bfloat16, and then copies all weights at every call.
    """
    known = torch.backends.cudnn.CUDNN_TENSOR_DTYPES
    missing = {dtype} & {torch.bfloat16} - known
    known |= missing
    try:
        yield
    finally:
        known -= missing


MODES = [
    Mode(dtype, precision, cudnn)
    for dtype, precision in (("float64", "ieee"), ("float32", "ieee"), ("float32", "tf32"))
    for cudnn in (True, False)
]


def device_name() -> str:
    """The GPU, or that there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else NO_DEVICE
