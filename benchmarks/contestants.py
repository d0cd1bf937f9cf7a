"""Who is measured: a library on a device, in a dtype and a mode. The others stand beside the first of a list."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .problems import Problem

DTYPES = ("float32", "float64", "float16", "bfloat16")
CPU_DTYPES = ("float32", "float64")

MODULE = "module"
"""The form in which a library offers the recurrence itself: `scratch.nn.LSTM`, `torch.nn.LSTM`."""
CHECKPOINTED = "checkpoint_every=√T"
"""The form in which `scratch` keeps some states alone."""


@dataclass(frozen=True)
class Contestant:
    """One way of computing a training step."""

    library: str
    """'scratch' or 'PyTorch'. Each library on each device has a process of its own."""
    dtype: str = "float32"
    device: str = "cpu"
    precision: str = "ieee"
    """Of float32 products on a GPU: 'ieee' or 'tf32'."""
    cudnn: bool = True
    """Whether cuDNN is on; on a GPU alone."""
    form: str = MODULE
    """The library's own module, or a rung of the ladder."""

    @property
    def name(self) -> str:
        """As it is called in tables."""
        parts = [self.rung]
        if self.device != "cpu":
            dtype = f"{self.dtype} {self.precision!r}" if self.dtype == "float32" else self.dtype
            parts += [f"CUDA {dtype}", "cuDNN" if self.cudnn else "no cuDNN"]
        return ", ".join(parts)

    @property
    def rung(self) -> str:
        """Its place on the ladder: the form, or the library for the library's own module."""
        return self.library if self.form == MODULE else self.form

    def tolerance(self, problem: Problem) -> float:
        """How far its results may be from the first contestant's, relative to their size.

        A wrong term shows as an error near 1; rounding, carried through a hundred steps, stays far below these; in
        float64 it is the promise that is held to. But
        where it takes a unit of relu across 0, the whole gradient of that unit comes or goes. The error is about the
        root of the share of such units: at T50 B128 H1760 two of 11 million made 2e-4, of which 3e-7 were left when
        both sides had the same units on.
        """
        kinks = 10 if problem.arguments.get("nonlinearity") == "relu" else 1
        if self.dtype in ("float16", "bfloat16"):
            return 0.1
        if self.dtype == "float32":
            return 0.05 if self.device == "cuda" and self.precision == "tf32" else 1e-3 * kinks
        return 1e-12 * kinks

    def as_json(self) -> dict[str, Any]:
        """What makes the same contestant again: `Contestant(**…)`."""
        return asdict(self)


def on_cpu(dtype: str = "float32") -> list[Contestant]:
    """Both libraries on the CPU."""
    return [Contestant("scratch", dtype), Contestant("PyTorch", dtype)]


def on_cuda(dtype: str | None = None) -> list[Contestant]:
    """PyTorch on a GPU: cuDNN on and off, float32 'ieee' and 'tf32', and half precision; or one dtype alone."""
    chosen = [dtype] if dtype else ["float32", "float16", "bfloat16"]
    return [
        Contestant("PyTorch", one, "cuda", precision, cudnn)
        for one in chosen
        for precision in (("ieee", "tf32") if one == "float32" else ("ieee",))
        for cudnn in (True, False)
    ]


def contestants(device: str, dtype: str | None, has_cuda: bool) -> list[Contestant]:
    """Who takes part. A GPU stands beside both libraries on the CPU, in float32 unless float64 is asked for.

    Without a GPU those who need one are alone, and can say that there is none without anybody else being measured.
    """
    cpu_dtype = dtype if dtype in CPU_DTYPES else "float32"
    if device == "cpu":
        return on_cpu(cpu_dtype)
    return (on_cpu(cpu_dtype) if has_cuda else []) + on_cuda(dtype)
