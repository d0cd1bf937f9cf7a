"""From the textbook to the core, and on to PyTorch's own: the same training step, rung by rung.

`GAINS` lists the rungs from below: `textbook` is the page in scratch/textbook as it stands, `hoisted` is hoisted.py.
With a GPU the rungs of PyTorch stand on it. Grouping the gates' products, as the textbook does, and taking products out
of the loop are the first of the steps by which cuDNN became fast (Appleyard, Kočiský and Blunsom 2016, arXiv
1604.01946). What is left to it is to fuse the elementwise work into a kernel, and to keep W_hh on the chip.
"""

from types import SimpleNamespace
from typing import Any

from scratch.textbook import gru, lstm, rnn

from . import hoisted
from .contestants import LOOP, MODULE, Contestant, Unavailable
from .problems import Problem

PAGES = {"textbook": {"RNN": rnn, "LSTM": lstm, "GRU": gru}, "hoisted": {"LSTM": hoisted}}
"""The rungs in plain functions, from the lowest, for each recurrence that they have."""

ON_NUMPY = tuple(PAGES)
ON_TORCH = tuple(f"{page}, torch" for page in PAGES)
AS_GRAPH = tuple(f"{page}, CUDA graph" for page in PAGES)

GAINS = {
    "textbook": "on NumPy: all products in the loop",
    "hoisted": "only W_hh h, W_hhᵀ d_a in the loop",
    "scratch": "elementwise work arranged for speed",
    "textbook, torch": "on PyTorch's tensors, no autograd",
    "hoisted, torch": "only W_hh h, W_hhᵀ d_a in the loop",
    "hoisted, CUDA graph": "the launches in one call",
    LOOP: "torch.nn.LSTMCell, with autograd",
    "PyTorch": "the loop over time in one call",
}
"""What is new on each rung, beside the one below."""


class Rung:
    """A rung's pair of functions behind a module's calls, from a first state of zeros.

    parameters: by the module's names, weight_ih_l0 and so on; zeros: (B, H); xp: the library that both are of. Raises
    Unavailable for what the page does not compute: it has one layer in one direction.
    """

    def __init__(self, form: str, problem: Problem, parameters: dict[str, Any], zeros: Any, xp: Any) -> None:
        pages = PAGES[form.split(",")[0]]
        if problem.module not in pages or problem.L > 1 or problem.bidirectional or problem.packed:
            raise Unavailable(f"its page has one layer of {' or '.join(pages)}, in one direction and not packed")
        self.page, self.options, self.xp = pages[problem.module], problem.options, xp
        self.parameters = {name.removesuffix("_l0"): value for name, value in parameters.items()}
        self.zeros = (zeros, zeros) if problem.module == "LSTM" else zeros
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.gradients: dict[str, Any] = {}

    def named_parameters(self) -> list[tuple[str, Any]]:
        """Each name with something that holds the gradient in `grad`."""
        return [(f"{name}_l0", SimpleNamespace(grad=value)) for name, value in self.gradients.items()]

    def __call__(self, x: Any) -> tuple[Any, Any]:
        """x: (T, B, I). Returns output: (T, B, H) and the last state."""
        output, state, self.tape = self.page.forward(x, self.zeros, self.parameters, **self.options, xp=self.xp)
        return output, state

    def backward(self, d_output: Any) -> tuple[Any, Any]:
        """d_output: (T, B, H). Returns d_x: (T, B, I) and the gradient of the first state. The tape is spent."""
        d_x, d_state, self.gradients = self.page.backward(d_output, self.zeros, self.tape, xp=self.xp)
        del self.tape
        return d_x, d_state


def rungs(dtype: str, device: str) -> list[Contestant]:
    """The ladder from below: NumPy and the core on the CPU, then PyTorch on the device."""
    ladder = [Contestant("scratch", dtype, form=form) for form in (*ON_NUMPY, MODULE)]
    if device == "cpu":
        return ladder + [Contestant("PyTorch", dtype, form=form) for form in (*ON_TORCH, LOOP, MODULE)]
    ladder += [Contestant("PyTorch", dtype, "cuda", form=form) for form in (*ON_TORCH, AS_GRAPH[-1], LOOP)]
    ladder += [Contestant("PyTorch", dtype, "cuda", cudnn=cudnn) for cudnn in (False, True)]
    half = [Contestant("PyTorch", "float32", "cuda", "tf32"), Contestant("PyTorch", "float16", "cuda")]
    return ladder + (half if dtype == "float32" else [])
