"""From the textbook to the core, and on to PyTorch's own: the same LSTM training step, rung by rung.

    textbook           scratch.textbook.lstm on NumPy arrays: every product in every step
    hoisted            what needs no step before it is one product outside the loop (hoisted.py)
    scratch            scratch.nn.LSTM, the core
    textbook, torch    the first two once more, on PyTorch's tensors, without autograd: the same lines, another library
    hoisted, torch
    PyTorch loop       a Python loop over torch.nn.LSTMCell, with autograd
    PyTorch            torch.nn.LSTM: the loop in a library; on a GPU without and with cuDNN

With a GPU the rungs of PyTorch stand on it. Taking products out of the loop is the first of the steps by which cuDNN
became fast (Appleyard, Kočiský and Blunsom 2016, arXiv 1604.01946). What is left to it is to fuse the elementwise work
into a kernel, and to keep W_hh on the chip.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from scratch.textbook import lstm

from . import hoisted
from .contestants import MODULE, Contestant

ON_NUMPY = {"textbook": lstm, "hoisted": hoisted}
"""The rungs in plain functions, from the lowest, on NumPy arrays."""

ON_TORCH = {f"{name}, torch": page for name, page in ON_NUMPY.items()}
"""The same on PyTorch tensors."""

LOOP = "PyTorch loop"
"""The rung of a Python loop over `torch.nn.LSTMCell`."""

GAINS = {
    "textbook": "the textbook on NumPy: all products in the loop",
    "hoisted": "outside the loop: all but W_hh h and W_hhᵀ d_a",
    "scratch": "the core: elementwise work arranged for speed",
    "textbook, torch": "the textbook on PyTorch tensors, no autograd",
    "hoisted, torch": "outside the loop: all but W_hh h and W_hhᵀ d_a",
    LOOP: "torch.nn.LSTMCell, step by step, with autograd",
    "PyTorch": "torch.nn.LSTM: the loop over time in one call",
}
"""What is new on each rung, beside the one below."""


class Rung:
    """A rung's pair of functions behind a module's calls, from a first state of zeros.

    parameters: by the module's names, weight_ih_l0 and so on; zeros: (B, H); xp: the library that both are of.
    """

    def __init__(self, form: str, parameters: dict[str, Any], zeros: Any, xp: Any) -> None:
        self.page = (ON_NUMPY | ON_TORCH)[form]
        self.parameters = {name.removesuffix("_l0"): value for name, value in parameters.items()}
        self.zeros, self.xp = (zeros, zeros), xp
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.gradients: dict[str, Any] = {}

    def named_parameters(self) -> list[tuple[str, Any]]:
        """Each name with something that holds the gradient in `grad`."""
        return [(f"{name}_l0", SimpleNamespace(grad=value)) for name, value in self.gradients.items()]

    def __call__(self, x: Any) -> tuple[Any, Any]:
        """x: (T, B, I). Returns output: (T, B, H) and the last state."""
        output, state, self.tape = self.page.forward(x, self.zeros, self.parameters, xp=self.xp)
        return output, state

    def backward(self, d_output: Any) -> tuple[Any, Any]:
        """d_output: (T, B, H). Returns d_x: (T, B, I) and the gradient of the first state. The tape is spent."""
        d_x, d_state, self.gradients = self.page.backward(d_output, self.zeros, self.tape, xp=self.xp)
        del self.tape
        return d_x, d_state


def rungs(dtype: str, device: str) -> list[Contestant]:
    """The ladder from below: NumPy and the core on the CPU, then PyTorch on the device.

    Without a GPU, where one is asked for, those who need one still stand on it, and can say so.
    """
    forms = [*ON_TORCH, LOOP]
    ladder = [Contestant("scratch", dtype, form=form) for form in (*ON_NUMPY, MODULE)]
    if device == "cpu":
        return ladder + [Contestant("PyTorch", dtype, form=form) for form in (*forms, MODULE)]
    ladder += [
        Contestant("PyTorch", dtype, "cuda", cudnn=False, form=form) for form in forms
    ]  # cuDNN has no part in them
    ladder += [Contestant("PyTorch", dtype, "cuda", cudnn=cudnn) for cudnn in (False, True)]
    half = [Contestant("PyTorch", "float32", "cuda", "tf32"), Contestant("PyTorch", "float16", "cuda")]
    return ladder + (half if dtype == "float32" else [])
