"""One layer, one direction, one step: what `LSTMCell` and the like are made of."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Array, Seed
from . import checks, recomputation
from .cell import State
from .checks import without_warnings
from .pile import tape_is_on
from .recurrence import Recurrence, StateT


class RecurrentCell(Recurrence[StateT]):
    """One layer, one direction, one step: what `LSTMCell` and the like are made of.

    A cell can be called for many steps; each backward undoes the newest call (module.py says how).

    Construction raises TypeError for a size that is not an int and a flag that is not a bool, ValueError for a size
    below 1, RuntimeError for a dtype without gradients.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, rng)
        self._names = self._add_parameters(self.input_size, self.hidden_size, projected=False)
        self.reset_parameters()
        self._seal()

    @without_warnings
    def forward(self, input: Array, hx: Any = None) -> StateT:
        """Take one step. input: (B, I) or (I). hx: h (B, H) or (H), or the tuple (h, c); zeros if left out.

        Returns the new state, shaped like hx. Raises TypeError for anything but an array (or a tuple of two),
        ValueError for an array neither 1-D nor 2-D, RuntimeError for a wrong width, batch or dtype.
        """
        self._check_rank("input", checks.array("input", input))
        checks.floats("input", input, self.dtype)
        if input.shape[-1] != self.input_size:
            raise RuntimeError(f"expected input of width {self.input_size} (input_size), got {input.shape[-1]}")
        batched = input.ndim == 2
        x = np.array(input, order="C").reshape(-1 if input.size else len(input), self.input_size)
        initial = self._state_columns("hx", "{}", hx, len(x), batched)
        weights = self._weights(self._names)

        output, keep = np.empty((len(x), self.hidden_size), self.dtype), tape_is_on()
        final, segments = recomputation.forward(
            self.cell, weights, x, initial, (len(x),), output, self._spent_tapes, keep=keep
        )
        self._keep(x, batched, segments)
        return self._state(final, batched)

    @without_warnings
    def backward(self, d_state: Any = None, *, retain_graph: bool = False) -> tuple[Array, StateT]:
        """The gradients of the newest call; adds to the `grad` of every parameter that is not frozen.

        d_state: the gradient with respect to the new state, shaped like it; None, or None within the tuple: zeros.
        retain_graph: the call is taken off the pile of those to be undone, unless this is True. Returns the gradients
        with respect to the input and to the state before.

        Raises RuntimeError if there is no call to undo, if a parameter has been assigned, loaded or updated since, and
        for a gradient of another shape or dtype; TypeError for one of another kind, and if retain_graph is not a bool.
        """
        x, batched, segments = self._newest(retain_graph)
        d_final = self._state_columns("d_state", "d_{}", d_state, len(x), batched)

        weights, d_x = self._weights(self._names), np.empty_like(x)
        d_initial, gradients = recomputation.backward(
            self.cell, weights, x, None, d_final, segments, d_x, self._wanted(self._names), self._spent_tapes
        )
        self._spend(retain_graph, segments)
        self._add_gradients(self._names, gradients)
        return d_x if batched else d_x[0], self._state(d_initial, batched)

    def _check_rank(self, name: str, value: Array) -> None:
        if value.ndim not in (1, 2):
            raise ValueError(f"expected {name} to be 1-D or 2-D, got {value.ndim}-D of shape {value.shape}")

    def _state_columns(self, name: str, part_name: str, state: Any, batch: int, batched: bool) -> State:
        """A state of the caller as columns (H, B), zeros where none is given; checked."""
        shape = (batch, self.hidden_size) if batched else (self.hidden_size,)
        columns = []
        for part, value in zip(self.cell.state, self._split(name, state), strict=True):
            if value is None and (state is None or name == "d_state"):
                columns.append(np.zeros((self.hidden_size, batch), self.dtype))
            else:
                self._check_rank(part_name.format(part), checks.array(part_name.format(part), value))
                checks.floats(part_name.format(part), value, self.dtype, shape)
                columns.append(np.array(value.reshape(batch, self.hidden_size).T, order="C"))
        return tuple(columns)

    def _state(self, columns: State, batched: bool) -> StateT:
        return self._join(tuple(np.array(part.T if batched else part[:, 0], order="C") for part in columns))

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
