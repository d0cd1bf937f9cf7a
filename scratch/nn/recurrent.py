"""The stack: layers, directions and dropout between layers, around one loop over time (bptt.py, recomputation.py).

Layer k reads what layer k − 1 put out. With two directions each layer runs once forward and once backward in time and
puts out both results side by side, 2·P features. In training mode dropout acts on what goes from one layer to the next;
the states are never dropped.

At the end of the file the stack's smallest relative: one layer, one direction, one step, for `LSTMCell` and the like.
"""

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ..types import Array, Seed
from . import bptt, checks, recomputation
from .cell import Cell, State, Weights
from .dropout import Dropout
from .layout import Layout
from .module import Module, Parameter, tape_is_on, without_warnings
from .recomputation import Checkpoints
from .tape import Tape
from .utils.rnn import PackedSequence

StateT = TypeVar("StateT")
"""The state as the caller sees it: the array h for an RNN, the tuple (h, c) for an LSTM."""

Names = tuple[str | None, ...]
"""The attribute names of one layer's parameters in one direction, in the order of `Weights`; None for none."""


class Recurrence(Module, Generic[StateT]):
    """What whole recurrent modules and single-step cells share: a cell, its parameters, and the form of its state."""

    def __init__(
        self, cell: Cell, input_size: int, hidden_size: int, bias: bool, dtype: npt.DTypeLike, rng: Seed
    ) -> None:
        self.cell = cell
        self.input_size = checks.integer("input_size", input_size, least=1)
        self.hidden_size = checks.integer("hidden_size", hidden_size, least=1)
        self.bias = checks.flag("bias", bias)
        self.dtype = checks.dtype(dtype)
        self.rng = np.random.default_rng(rng)
        self._shapes: dict[str, tuple[int, ...]] = {}  # of the parameters, by name

    def reset_parameters(self) -> None:
        """Draw every parameter anew, uniform in ±1/√hidden_size, as PyTorch does (the forget bias included)."""
        bound = 1 / np.sqrt(self.hidden_size)
        for parameter in self.parameters():
            parameter.data = self.rng.uniform(-bound, bound, parameter.shape).astype(self.dtype)

    def _add_parameters(self, input_size: int, output_size: int, projected: bool, suffix: str = "") -> Names:
        """Make the parameters of one layer in one direction, in PyTorch's order, and return their names."""
        rows = len(self.cell.gates) * self.hidden_size
        shapes: dict[str, tuple[int, ...] | None] = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, output_size),
            "bias_ih": (rows,) if self.bias else None,
            "bias_hh": (rows,) if self.bias else None,
            "weight_hr": (output_size, self.hidden_size) if projected else None,
        }
        for name, shape in shapes.items():
            if shape is not None:
                self._shapes[name + suffix] = shape
                setattr(self, name + suffix, Parameter(np.zeros(shape, self.dtype)))
        return tuple(None if shape is None else name + suffix for name, shape in shapes.items())

    def _weights(self, names: Names) -> Weights:
        """The data of these parameters. A caller may have replaced one: raises RuntimeError if it does not fit."""
        data: list[Any] = [None if name is None else getattr(self, name).data for name in names]
        for name, value in zip(names, data, strict=True):
            if name is not None:
                checks.floats(name, value, self.dtype, self._shapes[name])
        return Weights(*data)

    def _add_gradients(self, names: Names, d_weights: Weights) -> None:
        for name, gradient in zip(names, d_weights, strict=True):
            if name is not None:
                getattr(self, name).add_grad(gradient)

    def _versions(self) -> list[tuple[Parameter, int]]:
        parameters = (getattr(self, name) for name in self._shapes)
        return [(parameter, parameter.version) for parameter in parameters]

    def _check_unchanged(self, versions: list[tuple[Parameter, int]]) -> None:
        if versions != self._versions():
            raise RuntimeError("expected the parameters of the last forward pass, got some that have changed since")

    def _split(self, name: str, state: Any) -> tuple[Any, ...]:
        """The parts of a state that the caller gave, or None for each if it gave none."""
        parts = self.cell.state
        if state is None:
            return (None,) * len(parts)
        if len(parts) == 1:
            return (state,)
        form = f"a tuple ({', '.join(parts)})"
        if not isinstance(state, (tuple, list)):
            raise TypeError(f"expected {name} to be {form}, got {type(state).__name__}")
        if len(state) != len(parts):
            raise RuntimeError(f"expected {name} to be {form}, got {len(state)} parts")
        return tuple(state)

    def _join(self, parts: State) -> StateT:
        return cast(StateT, parts if len(parts) > 1 else parts[0])


class Pass(NamedTuple):
    """What a forward pass of the stack leaves for backward, besides the tapes."""

    layout: Layout
    inputs: list[Array]  # of each layer, as rows
    dropouts: list[Dropout]  # between the layers; empty when nothing is dropped
    versions: list[tuple[Parameter, int]]


class Recurrent(Recurrence[StateT]):
    """The stack that `LSTM` and the like are made of.

    Letters: T steps, B sequences, I input_size, H hidden_size, P proj_size if given, else H; L layers, D = 2 if
    bidirectional, else 1.

    dropout: the probability with which, in training mode, each value that passes from one layer to the next is set to
    zero (the others are scaled by 1/(1 − dropout)). dtype: float32, float64, longdouble; complex for complex-step
    derivatives, whose gradients are those of a holomorphic function, without conjugation. rng: a generator, a seed or
    None; it draws the parameters and the dropout. checkpoint_every: keep the state every so many steps alone, and
    compute the steps between again on the way back (recomputation.py); None keeps every step.

    Construction raises TypeError for a size that is no int and a flag that is no bool, ValueError for a size or a
    checkpoint_every below 1, a proj_size outside 0 … hidden_size − 1 and a dropout outside [0, 1], RuntimeError for a
    dtype without gradients.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        dtype: npt.DTypeLike,
        rng: Seed,
        *,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(cell, input_size, hidden_size, bias, dtype, rng)
        self.num_layers = checks.integer("num_layers", num_layers, least=1)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dropout = checks.fraction("dropout", dropout, outside=ValueError, wrong_type=ValueError)
        self.bidirectional = checks.flag("bidirectional", bidirectional)
        self.proj_size = checks.integer("proj_size", proj_size, least=0)
        if self.proj_size >= self.hidden_size:
            raise ValueError(f"expected proj_size below hidden_size ({self.hidden_size}), got {proj_size}")
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(f"dropout={dropout} has no effect: it acts between layers, and num_layers is 1", stacklevel=3)
        self.checkpoint_every = (
            None if checkpoint_every is None else checks.integer("checkpoint_every", checkpoint_every, least=1)
        )
        self._directions = 2 if self.bidirectional else 1
        self._output_size = self.proj_size or self.hidden_size
        self._names = [
            self._add_parameters(
                self._output_size * self._directions if layer else self.input_size,
                self._output_size,
                self.proj_size > 0,
                f"_l{layer}" + ("_reverse" if direction else ""),
            )
            for layer in range(self.num_layers)
            for direction in range(self._directions)
        ]
        # One for each layer and direction, kept for the next pass of the same shape.
        self._tapes: list[Tape | Checkpoints] = []
        self._pass: Pass | None = None
        self.reset_parameters()

    @without_warnings
    def forward(self, input: Array | PackedSequence, hx: Any = None) -> tuple[Any, StateT]:
        """Run all layers over all steps.

        input: (T, B, I); (B, T, I) with batch_first; (T, I) for one sequence alone; or a PackedSequence of (N, I).
        hx: the initial state, zeros if left out: h_0 (L·D, B, P) for an RNN, (h_0, c_0) for an LSTM with c_0
        (L·D, B, H); without B for one sequence alone; in the order of layers, in each forward, then reverse; for a
        PackedSequence in the order in which its sequences were given.

        Returns output, laid out like the input with D·P features, and the final state, shaped like the initial one.
        output holds h of the last layer at every step; its reverse half ends at step 0, so with two directions the
        last step of output is not h_n.

        Raises TypeError for what is no array (or tuple of two), ValueError for an input neither 2-D nor 3-D or of
        another dtype than the parameters, RuntimeError for a wrong width, no step, a wrong state, wrong packing.
        """
        layout = Layout.of(input, self.batch_first)
        data = input.data if isinstance(input, PackedSequence) else input
        checks.floats("input", data, self.dtype, wrong_dtype=ValueError)
        if data.shape[-1] != self.input_size:
            raise RuntimeError(f"expected input of width {self.input_size} (input_size), got {data.shape[-1]}")
        initial = self._state_columns("hx", "{}_0", hx, layout)
        weights = [self._weights(names) for names in self._names]

        self._pass = None  # the tapes are written over from here on
        if not self._tapes or self._tapes[0].batch_sizes != layout.batch_sizes:
            self._tapes = []  # before the new ones are there
            self._tapes = [self._new_tape(k, weights[k], layout.batch_sizes) for k in range(len(weights))]
        inputs, dropouts, final = [layout.rows(input, copy=tape_is_on())], [], []
        for layer in range(self.num_layers):
            if layer > 0 and self.training and self.dropout > 0:
                dropouts.append(Dropout(self.dropout, rng=self.rng))
                inputs[-1] = dropouts[-1](inputs[-1])
            output = np.empty((len(inputs[-1]), self._directions * self._output_size), self.dtype)
            for k, half in self._directions_of(layer):
                final.append(
                    recomputation.forward(
                        self.cell, weights[k], inputs[-1], initial[k], self._tapes[k], output[:, half]
                    )
                )
            inputs.append(output)
        output = inputs.pop()
        if tape_is_on():
            self._pass = Pass(layout, inputs, dropouts, self._versions())
        return layout.sequence(output), self._state(final, layout)

    @without_warnings
    def backward(
        self, d_output: Array | PackedSequence | None = None, d_state: Any = None, *, input_gradient: bool = True
    ) -> tuple[Any, StateT]:
        """The gradients of the last forward pass; adds to every parameter's `grad`.

        d_output: the gradient of the loss with respect to output, like output. d_state: with respect to the final
        state, like the final state: d_h_n for an RNN, (d_h_n, d_c_n) for an LSTM. Each may be None: zeros.
        input_gradient: False spares the product that makes the gradient with respect to the input; None comes in its
        place. So it is in PyTorch with an input that requires no gradient.

        Returns the gradients with respect to the input and to the initial state, in the same forms. The tape stays:
        a second call gives the same answer and adds to `grad` again.

        Raises RuntimeError before any forward pass, after one inside `no_grad()`, when a parameter has been assigned,
        loaded or updated since, and for a gradient of another shape or dtype; TypeError for one of another kind, and if
        input_gradient is no bool.
        """
        checks.flag("input_gradient", input_gradient)
        layout, inputs, dropouts, versions = checks.kept(self._pass)
        self._check_unchanged(versions)
        if d_output is not None:
            layout.check_sequence("d_output", d_output, self._directions * self._output_size, self.dtype)
        d_final = self._state_columns("d_state", "d_{}_n", d_state, layout)

        d_rows = None if d_output is None else layout.rows(d_output, copy=False)
        d_initial: list[State] = [()] * len(d_final)
        gradients = {}
        for layer in reversed(range(self.num_layers)):
            d_input: Array | None = None
            for k, half in self._directions_of(layer):
                d_x = np.empty_like(inputs[layer], order="C") if layer > 0 or input_gradient else None
                d_initial[k], gradients[self._names[k]] = recomputation.backward(
                    self.cell,
                    self._weights(self._names[k]),
                    inputs[layer],
                    None if d_rows is None else d_rows[:, half],
                    d_final[k],
                    self._tapes[k],
                    d_x,
                )
                if d_x is not None:
                    d_input = d_x if d_input is None else d_input + d_x
            d_rows = d_input if d_input is None or not dropouts or layer == 0 else dropouts[layer - 1].backward(d_input)
        for names, d_weights in gradients.items():
            self._add_gradients(names, d_weights)
        return None if d_rows is None else layout.sequence(d_rows), self._state(d_initial, layout)

    @property
    def dropout_masks(self) -> list[Any]:
        """What the last forward pass multiplied the output of each layer but the last with; empty if nothing dropped.

        Each mask is laid out like the output, with values 0 and 1/(1 − dropout).
        """
        if self._pass is None:
            return []
        masks = (dropout.mask for dropout in self._pass.dropouts)
        return [self._pass.layout.sequence(mask.copy()) for mask in masks if mask is not None]

    def flatten_parameters(self) -> None:
        """Do nothing: in PyTorch it arranges weights for cuDNN, and code written for PyTorch may call it."""

    def _new_tape(self, k: int, weights: Weights, batch_sizes: tuple[int, ...]) -> Tape | Checkpoints:
        """The memory of a pass through layer and direction k."""
        reverse = k % self._directions == 1
        if self.checkpoint_every is None:
            return Tape(self.cell, weights, batch_sizes, reverse)
        return Checkpoints(self.cell, weights, batch_sizes, reverse, every=self.checkpoint_every)

    def _directions_of(self, layer: int) -> list[tuple[int, slice]]:
        """For each direction of a layer: its index k among all (layer by layer, as in `_names` and `_tapes`), and its
        features in the layer's output.
        """
        size = self._output_size
        return [
            (layer * self._directions + direction, slice(direction * size, (direction + 1) * size))
            for direction in range(self._directions)
        ]

    def _state_columns(self, name: str, part_name: str, state: Any, layout: Layout) -> list[State]:
        """A state of the caller as columns for each layer and direction, zeros where none is given; checked."""
        layers = len(self._names)
        parts = []
        for part, value in zip(self.cell.state, self._split(name, state), strict=True):
            features = self._output_size if part == "h" else self.hidden_size
            if value is None and (state is None or name == "d_state"):
                parts.append(list(np.zeros((layers, features, layout.batch), self.dtype)))
            else:
                checks.floats(part_name.format(part), value, self.dtype, layout.state_shape(layers, features))
                parts.append(layout.state_columns(value))
        return list(zip(*parts, strict=True))

    def _state(self, columns: list[State], layout: Layout) -> StateT:
        return self._join(tuple(layout.state(part) for part in zip(*columns, strict=True)))

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        shown = [str(self.input_size), str(self.hidden_size)]
        defaults: dict[str, Any] = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        defaults |= {"dropout": 0.0, "bidirectional": False, "checkpoint_every": None}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                shown.append(f"{name}={getattr(self, name)}")
        return ", ".join(shown)


class CellPass(NamedTuple):
    """What one call of a cell leaves for backward."""

    x: Array
    tape: Tape
    batched: bool
    versions: list[tuple[Parameter, int]]


class RecurrentCell(Recurrence[StateT]):
    """One layer, one direction, one step: what `LSTMCell` and the like are made of.

    A cell can be called for many steps; each call lays its tape on a pile, and each backward takes the last one off.
    Calls that no backward will follow belong into `no_grad()`, or their tapes pile up (`clear_tape` drops them).

    Construction raises TypeError for a size that is no int and a flag that is no bool, ValueError for a size below 1,
    RuntimeError for a dtype without gradients.
    """

    def __init__(
        self, cell: Cell, input_size: int, hidden_size: int, bias: bool, dtype: npt.DTypeLike, rng: Seed
    ) -> None:
        super().__init__(cell, input_size, hidden_size, bias, dtype, rng)
        self._names = self._add_parameters(self.input_size, self.hidden_size, projected=False)
        self._passes: list[CellPass] = []
        self.reset_parameters()

    @without_warnings
    def forward(self, input: Array, hx: Any = None) -> StateT:
        """Take one step. input: (B, I) or (I). hx: h (B, H) or (H), or the tuple (h, c); zeros if left out.

        Returns the new state, shaped like hx. Raises TypeError for what is no array (or tuple of two), ValueError for
        an array neither 1-D nor 2-D, RuntimeError for a wrong width, batch or dtype.
        """
        self._check_rank("input", checks.array("input", input))
        checks.floats("input", input, self.dtype)
        if input.shape[-1] != self.input_size:
            raise RuntimeError(f"expected input of width {self.input_size} (input_size), got {input.shape[-1]}")
        batched = input.ndim == 2
        x = np.array(input, order="C").reshape(-1 if input.size else len(input), self.input_size)
        initial = self._state_columns("hx", "{}", hx, len(x), batched)
        weights = self._weights(self._names)

        tape = Tape(self.cell, weights, (len(x),))
        final = bptt.forward(
            self.cell, weights, x, initial, tape, output=np.empty((len(x), self.hidden_size), self.dtype)
        )
        if tape_is_on():
            self._passes.append(CellPass(x, tape, batched, self._versions()))
        return self._state(final, batched)

    @without_warnings
    def backward(self, d_state: Any = None) -> tuple[Array, StateT]:
        """The gradients of the last call that has not been taken back yet; adds to every parameter's `grad`.

        d_state: the gradient with respect to the new state, shaped like it; None, or None within the tuple: zeros.
        Returns the gradients with respect to the input and to the state before.

        Raises RuntimeError if no call is left, if a parameter has been assigned, loaded or updated since, and for a
        gradient of another shape or dtype; TypeError for one of another kind.
        """
        x, tape, batched, versions = checks.kept(self._passes[-1] if self._passes else None)
        self._check_unchanged(versions)
        d_final = self._state_columns("d_state", "d_{}", d_state, len(x), batched)

        d_x = np.empty_like(x)
        d_initial, d_weights = bptt.backward(self.cell, self._weights(self._names), x, None, d_final, tape, d_x)
        self._add_gradients(self._names, d_weights)
        self._passes.pop()
        return d_x if batched else d_x[0], self._state(d_initial, batched)

    def clear_tape(self) -> None:
        """Forget all calls that backward has not taken back."""
        self._passes.clear()

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


class Kind(NamedTuple):
    """A kind of recurrence, as the list in `nn/__init__.py` has it."""

    module: type[Any]
    """A `Recurrent`, and no more than that, since each has arguments of its own."""
    single: type[Any]
    """The class of its single steps, a `RecurrentCell`."""
    keras: str | None = None
    """The order of its gates in Keras, in PyTorch's letters; None if Keras does not have it."""
    onnx: str | None = None
    """The same in ONNX."""
    options: Mapping[str, Any] = MappingProxyType({})
    """What tells it from others of the same classes: arguments of both constructors."""

    @property
    def cell(self) -> Cell:
        """Its equations."""
        found: Cell = self.module(1, 1, **self.options).cell
        return found
