"""The stack: layers, directions and dropout between layers, around one loop over time (bptt.py, recomputation.py).

Layer k reads what layer k − 1 put out. With two directions each layer runs once forward and once backward in time and
puts out both results side by side, 2·P features. In training mode dropout acts on what one layer hands to the next; the
states are never dropped.

The loop over time knows one direction. The reverse one is given the rows of its input in the opposite order of steps,
and what it puts out is turned back.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..types import Array, Seed
from . import checks, dropout, recomputation
from .bptt import Gradients
from .cell import State, Weights
from .checks import without_warnings
from .layout import Layout
from .pile import nbytes, tape_is_on
from .recomputation import Segment
from .recurrence import Names, Recurrence, StateT
from .utils.rnn import PackedSequence


@dataclass(frozen=True)
class Pass:
    """The tape of a forward pass of the stack."""

    layout: Layout
    inputs: list[Array]
    """Of each layer, as rows."""
    weights: list[Weights]
    """Of each layer and direction."""
    masks: list[Array]
    """Between the layers; empty when nothing is dropped."""
    segments: list[list[Segment]]
    """What each layer and direction kept."""

    @property
    def nbytes(self) -> int:
        """The bytes that it takes."""
        return nbytes((self.inputs, self.masks, self.segments))


class Recurrent(Recurrence[StateT]):
    """The stack that `LSTM` and the like are made of.

    Letters: T steps, B sequences, I input_size, H hidden_size, P proj_size if given, else H; L layers, D = 2 if
    bidirectional, else 1.

    dropout: the probability with which, in training mode, each value that passes from one layer to the next is set to
    zero (the others are scaled by 1/(1 − dropout)). dtype: float32, float64, longdouble; complex for complex-step
    derivatives, whose gradients are those of a holomorphic function, without conjugation. rng: a generator, a seed or
    None; it draws the parameters and the dropout. checkpoint_every: keep only the state of every so many steps, and
    compute the steps between again on the way back (recomputation.py); None keeps every step.

    Construction raises TypeError for a size that is not an int and a flag that is not a bool, ValueError for a size or
    a checkpoint_every below 1, a proj_size outside 0 … hidden_size − 1 or of a recurrence without projection, and a
    dropout outside [0, 1], RuntimeError for a dtype without gradients.
    """

    _changeable: ClassVar = {
        **Recurrence._changeable,
        "batch_first": checks.flag,
        "dropout": lambda name, value: checks.fraction(name, value, outside=ValueError, wrong_type=ValueError),
        "checkpoint_every": lambda name, value: None if value is None else checks.integer(name, value, least=1),
    }

    projects: ClassVar[bool] = False
    """Whether it takes a proj_size."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
        *,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, rng)
        self.num_layers = checks.integer("num_layers", num_layers, least=1)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dropout = checks.fraction("dropout", dropout, outside=ValueError, wrong_type=ValueError)
        self.bidirectional = checks.flag("bidirectional", bidirectional)
        self.proj_size = checks.integer("proj_size", proj_size, least=0)
        if self.proj_size > 0 and not self.projects:
            raise ValueError(f"expected proj_size 0 ({type(self).__name__} has no projection), got {proj_size}")
        if self.proj_size >= self.hidden_size:
            raise ValueError(f"expected proj_size below hidden_size ({self.hidden_size}), got {proj_size}")
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(f"dropout={dropout} has no effect: it acts between layers, and num_layers is 1", stacklevel=3)
        self.checkpoint_every = self._changeable["checkpoint_every"]("checkpoint_every", checkpoint_every)
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
        self.reset_parameters()
        self._seal()

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

        Raises TypeError for anything but an array (or a tuple of two), ValueError for an input neither 2-D nor 3-D or
        of another dtype than the parameters, RuntimeError for a wrong width, no step, a wrong state, wrong packing.
        """
        layout = Layout.of(input, self.batch_first)
        data = input.data if isinstance(input, PackedSequence) else input
        checks.floats("input", data, self.dtype, wrong_dtype=ValueError)
        if data.shape[-1] != self.input_size:
            raise RuntimeError(f"expected input of width {self.input_size} (input_size), got {data.shape[-1]}")
        initial = self._state_columns("hx", "{}_0", hx, layout)
        weights = [self._weights(names) for names in self._names]

        keep, spent, sizes = tape_is_on(), self._spent_tapes, layout.batch_sizes
        inputs, masks = [layout.rows(input, copy=keep)], []
        final: list[State] = []
        segments: list[list[Segment]] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.training and self.dropout > 0:
                masks.append(dropout.draw(self.dropout, inputs[-1], self.rng))
                inputs[-1] = inputs[-1] * masks[-1]
            output = np.empty((len(inputs[-1]), self._directions * self._output_size), self.dtype)
            for k, half in self._directions_of(layer):
                order = layout.opposite if k % self._directions == 1 else None
                x, made = inputs[-1], output[:, half]
                if order is not None:
                    x, made = x[order], np.empty_like(made)
                state, kept = recomputation.forward(
                    self.cell,
                    weights[k],
                    x,
                    initial[k],
                    sizes if order is None else sizes[::-1],
                    made,
                    spent,
                    every=self.checkpoint_every,
                    keep=keep,
                )
                if order is not None:
                    output[order, half] = made
                final.append(state)
                segments.append(kept)
            inputs = [*inputs, output] if keep else [output]
        output = inputs.pop()
        self._keep(Pass(layout, inputs, weights, masks, segments))
        self._pile.masks = [layout.sequence(mask.copy()) for mask in masks] if keep else []
        return layout.sequence(output), self._state(final, layout)

    @without_warnings
    def backward(
        self,
        d_output: Array | PackedSequence | None = None,
        d_state: Any = None,
        *,
        input_gradient: bool = True,
        retain_graph: bool = False,
    ) -> tuple[Any, StateT]:
        """The gradients of the newest forward pass; adds to the `grad` of every parameter that is not frozen.

        d_output, d_state: the gradients of the loss with respect to output and to the final state (d_h_n, or for an
        LSTM (d_h_n, d_c_n)), laid out like these. Each may be None: zeros.
        input_gradient: with False the gradient with respect to the input is not computed, and None is returned in its
        place, as in PyTorch with an input that does not require a gradient.
        retain_graph: with True the same forward pass can be undone again.

        Returns the gradients with respect to the input and to the initial state, laid out like these. Raises
        RuntimeError if there is no forward pass to undo, if a parameter has changed since, and for a gradient of
        another shape or dtype; TypeError for one of another kind, and if input_gradient or retain_graph is not a bool.
        """
        checks.flag("input_gradient", input_gradient)
        (kept,) = self._newest(retain_graph)
        layout: Layout = kept.layout
        if d_output is not None:
            layout.check_sequence("d_output", d_output, self._directions * self._output_size, self.dtype)
        d_final = self._state_columns("d_state", "d_{}_n", d_state, layout)

        d_rows = None if d_output is None else layout.rows(d_output, copy=False)
        d_initial: list[State] = [()] * len(d_final)
        gradients: list[tuple[Names, Gradients]] = []
        for layer in reversed(range(self.num_layers)):
            x, d_input = kept.inputs[layer], None
            wants_input = layer > 0 or input_gradient
            for k, half in self._directions_of(layer):
                order = layout.opposite if k % self._directions == 1 else None
                d_half = None if d_rows is None else d_rows[:, half]
                d_x = np.empty_like(x, order="C") if wants_input else None
                d_initial[k], terms = recomputation.backward(
                    self.cell,
                    kept.weights[k],
                    x if order is None else x[order],
                    d_half if order is None or d_half is None else d_half[order],
                    d_final[k],
                    kept.segments[k],
                    d_x,
                    self._wanted(self._names[k]),
                    self._spent_tapes,
                )
                gradients.append((self._names[k], terms))
                if d_x is None or d_input is None:
                    d_input = d_x
                elif order is not None:
                    d_input[order] += d_x
            d_rows = d_input
            if d_rows is not None and kept.masks and layer > 0:
                d_rows *= kept.masks[layer - 1]
        self._spend(retain_graph, *kept.segments)
        for names, terms in gradients:
            self._add_gradients(names, terms)
        return None if d_rows is None else layout.sequence(d_rows), self._state(d_initial, layout)

    @property
    def dropout_masks(self) -> list[Any]:
        """What the last forward pass multiplied the output of each layer but the last with.

        Empty if nothing dropped, and after a pass that keeps nothing for backward. Each mask is laid out like the
        output, with values 0 and 1/(1 − dropout).
        """
        return [
            mask._replace(data=mask.data.copy()) if isinstance(mask, PackedSequence) else mask.copy()
            for mask in self._pile.masks or []
        ]

    def flatten_parameters(self) -> None:
        """Do nothing: in PyTorch it arranges weights for cuDNN, and code written for PyTorch may call it."""

    def _directions_of(self, layer: int) -> Iterator[tuple[int, slice]]:
        """For each direction of a layer: its index k among all (layer by layer, as in `_names`), and its features in
        the layer's output.
        """
        for direction in range(self._directions):
            yield (
                layer * self._directions + direction,
                slice(direction * self._output_size, (direction + 1) * self._output_size),
            )

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
