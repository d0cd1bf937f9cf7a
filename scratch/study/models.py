"""What is studied: recurrences drawn in several ways, a network that learns to answer with one, and trials of it."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from .. import nn, optim
from ..nn.recurrent import Recurrent
from ..nn.utils import clip_grad_norm_
from ..processes import shared
from ..types import Array, Seed


def with_radius(radius: float, size: int, rng: np.random.Generator, orthogonal: bool = False) -> Array:
    """A random W_hh (H, H) with this spectral radius, H = size.

    orthogonal: radius times a random orthogonal matrix; else independent normal entries, scaled.
    """
    drawn = rng.standard_normal((size, size))
    if orthogonal:
        Q, R = np.linalg.qr(drawn)
        drawn = Q * np.sign(R.diagonal())  # the signs make it uniform over all orthogonal matrices
    found: Array = drawn * (radius / np.abs(np.linalg.eigvals(drawn)).max())
    return found


class Model(NamedTuple):
    """A kind of recurrence, drawn as the library (and PyTorch) draws it, except for what is set here."""

    name: str
    cell: str  # one of `nn.RECURRENCES`
    forget_bias: float | None = None  # b_f of the forget gate f
    radius: float | None = None  # the spectral radius of W_hh, or of each of its blocks (H, H)
    orthogonal: bool = False  # how W_hh is drawn to have this radius: see `with_radius`

    @property
    def state(self) -> tuple[str, ...]:
        """The names of the parts of its state."""
        return nn.RECURRENCES[self.cell].cell.state

    @property
    def is_bounded(self) -> bool:
        """Whether h = φ(a) with |φ′| ≤ 1, and nothing else, so that the bound (4) of gradients.py holds."""
        return len(nn.RECURRENCES[self.cell].cell.gates) == len(self.state) == 1

    def build(self, input_size: int, hidden_size: int, rng: Seed, dtype: Any = np.float64) -> Recurrent[Any]:
        """The recurrence, one layer. The same seed gives two forget biases or two radii otherwise the same weights.

        Raises ValueError for a forget bias of a cell without forget gate.
        """
        rng = np.random.default_rng(rng)
        kind = nn.RECURRENCES[self.cell]
        module: Recurrent[Any] = kind.module(input_size, hidden_size, dtype=dtype, rng=rng, **kind.options)
        weights, gates = module.state_dict(), module.cell.gates
        if self.radius is not None:
            blocks = [with_radius(self.radius, hidden_size, rng, self.orthogonal) for _ in gates]
            weights["weight_hh_l0"] = np.concatenate(blocks).astype(dtype)
        if self.forget_bias is not None:
            if "f" not in gates:
                raise ValueError(f"expected a cell with a forget gate, got one with the gates {', '.join(gates)}")
            rows = slice(gates.index("f") * hidden_size, (gates.index("f") + 1) * hidden_size)
            weights["bias_ih_l0"][rows], weights["bias_hh_l0"][rows] = self.forget_bias, 0
        module.load_state_dict(weights)
        return module


class Network:
    """A recurrence, and a linear layer that reads answers off its output.

    rnn: one direction, batch_first False. output_size: of an answer. criterion: nn.MSELoss or nn.CrossEntropyLoss.
    answers: at how many steps, the last ones, there is one; None for all steps. rng draws the linear layer.
    """

    def __init__(self, rnn: Recurrent[Any], output_size: int, criterion: Any, answers: int | None, rng: Seed) -> None:
        self.rnn, self.criterion = rnn, criterion
        self.linear = nn.Linear(rnn.hidden_size, output_size, dtype=rnn.dtype, rng=rng)
        self.answered = slice(None if answers is None else -answers, None)

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of both layers."""
        return [*self.rnn.parameters(), *self.linear.parameters()]

    def loss(self, x: Array, y: Array) -> float:
        """The mean loss. x: (T, B, I). y: (answers, B), numbers or classes."""
        output, _ = self.rnn(x)
        self.shape = output.shape
        answers = self.linear(output[self.answered])
        # one row for each answer: (N, 1) beside (N, 1) for numbers, (N, C) beside (N) for classes
        rows = answers.reshape(-1, answers.shape[-1])
        return float(self.criterion(rows, y.reshape(rows.shape if y.dtype.kind == "f" else -1)))

    def d_output(self) -> Array:
        """The gradient of that loss with respect to the output: (T, B, H). Adds to the linear layer's gradients."""
        d_output = np.zeros(self.shape, self.rnn.dtype)
        answered = d_output[self.answered]
        answered[:] = self.linear.backward(self.criterion.backward().reshape(*answered.shape[:2], -1))
        return d_output

    def update(self, optimizer: optim.Optimizer, x: Array, y: Array, max_norm: float = 1.0) -> tuple[float, float]:
        """One step of the optimizer, with gradients clipped to max_norm. Returns the loss and the norm before that."""
        optimizer.zero_grad()
        loss = self.loss(x, y)
        self.rnn.backward(self.d_output(), input_gradient=False)
        norm = float(clip_grad_norm_(self.parameters(), max_norm))
        optimizer.step()
        return loss, norm


def trials(
    measure: Callable[[Any], tuple[Any, ...]],
    *axes: Sequence[Any],
    progress: Callable[[], object] = lambda: None,
    processes: int = 1,
) -> list[Array]:
    """What is measured at each point of a grid: for each thing an array whose first axes are those of the grid.

    measure: takes a point, one value of each axis. progress: is called after each. More than one process: shared work.
    """

    def measured(point: Any) -> tuple[Any, ...]:
        found = measure(point)
        progress()
        return found

    points = list(product(*axes))
    alone = processes == 1
    found = list(map(measured, points)) if alone else shared(measure, points, processes, lambda point: progress())
    shape = [len(axis) for axis in axes]
    return [np.array(column).reshape(*shape, *np.shape(column[0])) for column in zip(*found, strict=True)]
