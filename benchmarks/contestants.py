"""Who is measured: a library on a device, in a dtype and a mode. The others stand beside the first of a list."""

from dataclasses import dataclass

from .problems import Problem

DTYPES = ("float32", "float64", "float16", "bfloat16")
CPU_DTYPES = ("float32", "float64")

TOLERANCES = {
    "float64": (1e-12, 1e-11),
    "float32": (1e-3, 1e-2),
    "tf32": (0.05, 0.2),
    "float16": (0.1, 0.3),
    "bfloat16": (0.1, 0.3),
}
"""How far results may be apart, relative to their size; and with relu."""

MODULE = "module"
"""The form in which a library offers the recurrence itself: `scratch.nn.LSTM`, `torch.nn.LSTM`."""
LOOP = "PyTorch loop"
"""The form of a Python loop over `torch.nn.LSTMCell`."""
CHECKPOINTED = "checkpoint_every=√T"
"""The form in which `scratch` keeps some states alone."""


class Unavailable(Exception):
    """Raised with the reason why somebody does not take part: no such recurrence, no such device. It is no failure."""


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
    """Whether cuDNN is on. It has a part in PyTorch's own module alone."""
    form: str = MODULE
    """The library's own module, or a rung of the ladder."""

    @property
    def name(self) -> str:
        """As it is kept and shown: the rung of the ladder; on a GPU with the mode behind."""
        if self.device == "cpu":
            return self.rung
        rung = {LOOP: "loop"}.get(self.form, self.form.removesuffix(", torch").replace("CUDA ", ""))
        return f"{('cuDNN' if self.cudnn else 'no cuDNN') if self.form == MODULE else rung} {self.mode}"

    @property
    def mode(self) -> str:
        """The dtype; of float32 on a GPU how it is multiplied."""
        return self.precision if self.device != "cpu" and self.dtype == "float32" else self.dtype

    @property
    def rung(self) -> str:
        """Its place on the ladder: the form, or the library for the library's own module."""
        return self.library if self.form == MODULE else self.form

    def tolerance(self, problem: Problem) -> float:
        """How far its results may be from the first contestant's, relative to their size.

        A wrong term shows as an error near 1. Rounding, carried through a hundred steps, stays far below these figures;
        in float64 it is the promise that is held to. But where rounding takes a unit of relu across 0, the whole
        gradient of that unit comes or goes, and the error is about the root of the share of such units: at T50 B128
        H1760 two of 11 million made 2e-4 in float32. In TF32 and halves, which round 8,000 times as coarsely, there are
        as many more.
        """
        relu = problem.options.get("nonlinearity") == "relu"
        plain, with_relu = TOLERANCES["tf32" if self.mode == "tf32" else self.dtype]
        return with_relu if relu else plain


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


def contestants(device: str, dtype: str | None) -> list[Contestant]:
    """Who takes part. A GPU stands beside both libraries on the CPU, in float32 unless float64 is asked for."""
    cpu = on_cpu(dtype if dtype in CPU_DTYPES else "float32")
    return cpu if device == "cpu" else cpu + on_cuda(dtype)
