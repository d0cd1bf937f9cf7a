"""Second order (Pearlmutter 1994): how outputs and gradients change along a direction, exactly and without a Hessian.

A direction is a change of the input, the initial state and the parameters, all at once. A dot is the derivative along
it: h_dot = ∂h/∂r when everything that is given changes by r times its dot. Two by two blocks know the product rule:

    ┌ W      0 ┐ ┌ h     ┐   ┌ W h               ┐
    │          │ │       │ = │                   │                                                  (D1)
    └ W_dot  W ┘ └ h_dot ┘   └ W h_dot + W_dot h ┘

So a recurrence of twice the size, with such blocks for weights, carries the dots beside the values, through the
library's own loop over time (T1, T3). Only its cell is new: it makes the state, and by `step_tangent` the dot of that
(T2). This gives the Jacobian-vector product.

For the Hessian-vector product let this network compute ⟨d_y, y_dot⟩, how the loss changes along the direction. Its
gradient with respect to what is given is the gradient's own change, H v, and with respect to the dots it is the
gradient. So the library's backward pass finds both, if the cell makes

    slopes_dot = linearize_tangent(…)                                                               (H1)
    d_a_dot, … = step_backward_tangent(d_state, d_state_dot, slopes, slopes_dot)                    (H2)

which each cell has for itself: second_derivatives.py. The derivation is in second_order.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..nn.cell import Cell, State
from ..nn.checks import floats, without_warnings
from ..nn.layout import Layout, Order
from ..nn.pile import no_grad, tape_is_on
from ..nn.recurrent import Recurrent
from ..types import Array
from .rtrl import Gradients, checked
from .second_derivatives import SECOND_DERIVATIVES, SecondDerivatives

Loss = Callable[[Any, Any, Any, Any], tuple[Any, Any, Any, Any]]
"""A loss of output and final state, described by its derivatives alone.

`loss(output, state, output_dot, state_dot)` returns `d_output, d_state, d_output_dot, d_state_dot`: the gradient at
this output and state, and how it changes along their tangents (the loss's own Hessian times the tangents). Each has the
form that `module.backward` takes; None, also within a tuple, stands for zeros. curvature.py has some.
"""


class Outputs(NamedTuple):
    """What a module computes, and how that changes along a direction, in the forms of the module."""

    output: Any
    state: Any  # the final state
    output_dot: Any
    state_dot: Any


class HessianProduct(NamedTuple):
    """The gradients of a loss, and how they change along a direction: the Hessian times that direction."""

    gradients: Gradients  # with output and final state, as from `rtrl`
    d_input_dot: Any
    d_initial_dot: Any
    d_parameters_dot: dict[str, Array]


@without_warnings
def jvp(
    module: Recurrent[Any],
    input: Any,
    hx: Any = None,
    input_dot: Any = None,
    hx_dot: Any = None,
    parameters_dot: Mapping[str, Array] | None = None,
    dropout_masks: Sequence[Any] = (),
) -> Outputs:
    """Output and final state of a recurrent module, and their change along a direction: the Jacobian times a vector.

    input, hx: as `module.forward` takes them. input_dot, hx_dot, parameters_dot: the direction. The first two are like
    input and hx; the last has arrays of the parameters' shapes by name. What is left out does not change.
    dropout_masks: as `rtrl` takes them. The module is only read. It takes the operations of four forward passes, and
    memory for four times the weights. The zeros of (D1) are multiplied, too: a dot that is infinite, or too large for
    the dtype, makes the values NaN.

    Raises what `module.forward` raises for such arguments, for hx_dot as for hx; RuntimeError for an input_dot of
    another shape or dtype than input's, for unknown names, shapes or dtypes in parameters_dot, and unless there is a
    mask for each layer but the last, or none.
    """
    with no_grad():
        return Network(module, None, input, hx, input_dot, hx_dot, parameters_dot, dropout_masks).outputs


@without_warnings
def hvp(
    module: Recurrent[Any],
    loss: Loss,
    input: Any,
    hx: Any = None,
    input_dot: Any = None,
    hx_dot: Any = None,
    parameters_dot: Mapping[str, Array] | None = None,
    dropout_masks: Sequence[Any] = (),
) -> HessianProduct:
    """The Hessian of a loss, with respect to input, initial state and parameters together, times a direction.

    loss: see `Loss`. The other arguments are those of `jvp`. With parameters_dot alone, `d_parameters_dot` is the
    Hessian with respect to the parameters times parameters_dot; `d_input_dot` and `d_initial_dot` are the mixed second
    derivatives times it. The gradients come along. Neither the module's tape nor any `grad` changes.

    The product is exact up to rounding. It takes the operations of four passes forward and four backward. A relu's
    second derivative counts as 0 at its kink.

    Source: Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural Computation 6; and second_order.md.

    Raises what `jvp` raises; NotImplementedError for a cell without second derivatives (second_derivatives.py); what
    `module.backward` raises if the loss returns such gradients; and RuntimeError inside `no_grad()`.
    """
    if not tape_is_on():
        raise RuntimeError("expected hvp outside no_grad(), as it makes a backward pass of its own, got it inside")
    second = SECOND_DERIVATIVES.get(module.cell.linearize)
    if second is None:
        raise NotImplementedError(f"expected a cell with second derivatives, got one without, {module!r}")
    return Network(module, second, input, hx, input_dot, hx_dot, parameters_dot, dropout_masks).backward(loss)


def halves(array: Array) -> tuple[Array, Array]:
    """The values, and the dots below them: two of (…, F, B), of (…, 2F, B)."""
    F = array.shape[-2] // 2
    return array[..., :F, :], array[..., F:, :]


def halves_of_each(parts: State) -> tuple[State, State]:
    """The same for each part of a state."""
    return tuple(halves(part)[0] for part in parts), tuple(halves(part)[1] for part in parts)


def doubled_cell(cell: Cell, second: SecondDerivatives | None) -> Cell:
    """The cell with the dots below the values. Without second derivatives it only goes forward."""

    def step(a: Array, state_prev: State, state: State, kept: State) -> None:
        (a, a_dot), (prev, prev_dot) = halves(a), halves_of_each(state_prev)
        (made, made_dot), (kept, _) = halves_of_each(state), halves_of_each(kept)
        slopes = np.empty((cell.slopes, *a.shape[1:]), a.dtype)
        cell.step(a, prev, made, kept)  # (T2)
        cell.linearize(a, prev, made, kept, slopes)  # (T2)
        for part_dot, found in zip(made_dot, cell.step_tangent(a_dot, prev_dot, slopes), strict=True):  # (T2)
            part_dot[...] = found

    if second is None:
        return cell._replace(step=step)

    def linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
        (a, a_dot), (prev, prev_dot), (made, made_dot) = halves(a), halves_of_each(state_prev), halves_of_each(state)
        (kept, _), (slopes, slopes_dot) = halves_of_each(kept), halves(slopes)
        cell.linearize(a, prev, made, kept, slopes)  # (T2)
        slopes_dot[...] = second.linearize_tangent(a, a_dot, prev, prev_dot, made, made_dot, kept)  # (H1)

    def step_backward(d_doubled: State, slopes: Array, d_a: Array) -> tuple[Array | None, State]:
        (d_state_dot, d_state), (slopes, slopes_dot) = halves_of_each(d_doubled), halves(slopes)
        d_a_dot, d_a = halves(d_a)
        found, direct_dot, rest_dot = second.step_backward_tangent(d_state, d_state_dot, slopes, slopes_dot)  # (H2)
        d_a_dot[...] = found
        direct, rest = cell.step_backward(d_state, slopes, d_a)  # (T2)  last: it overwrites what it reads
        d_rest = tuple(map(np.concatenate, zip(rest_dot, rest, strict=True)))
        return None if direct is None or direct_dot is None else np.concatenate([direct_dot, direct]), d_rest

    return cell._replace(step=step, linearize=linearize, step_backward=step_backward, keeps_a=True)


def paired(value: Array, dot: Array, groups: int = 1) -> Array:
    """In each of the groups of features on the last axis the values, then their dots."""
    *shape, width = value.shape
    both = np.stack([each.reshape(*shape, groups, width // groups) for each in (value, dot)], axis=-2)
    return both.reshape(*shape, 2 * width)


def unpaired(pairs: Array, groups: int = 1) -> tuple[Array, Array]:
    """The values and their dots, of `paired`."""
    *shape, width = pairs.shape
    both = pairs.reshape(*shape, groups, 2, width // groups // 2)
    return both[..., 0, :].reshape(*shape, width // 2), both[..., 1, :].reshape(*shape, width // 2)


def doubled(W: Array, W_dot: Array, rows: int, columns: int) -> Array:
    """(D1), for each block of a matrix that has so many rows and columns of them; for a bias its first column."""
    if W.ndim == 1:
        return paired(W, W_dot, rows)
    upper, lower = paired(W, np.zeros_like(W), columns), paired(W_dot, W, columns)
    return paired(upper.T, lower.T, rows).T


def undoubled(d_W: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """What `doubled` hands back: the gradient of W_dot, which is d_W, and that of W, which is d_W_dot."""
    if d_W.ndim == 1:
        return unpaired(d_W, rows)[::-1]
    (diagonal, _), (below, same) = (unpaired(part.T, columns) for part in unpaired(d_W.T, rows))
    return below, diagonal + same


class Layer(Recurrent[Any]):
    """One layer of a module, doubled."""

    projects: ClassVar[bool] = True

    def __init__(self, module: Recurrent[Any], cell: Cell, layer: int, parameters_dot: Mapping[str, Array]) -> None:
        self.cell = cell
        D, G = module._directions, len(cell.gates)
        width, groups = (D * module._output_size, D) if layer else (module.input_size, 1)
        sizes = 2 * width, 2 * module.hidden_size, 1, module.bias, False, 0.0, module.bidirectional
        super().__init__(*sizes, 2 * module.proj_size, module.dtype)
        blocks = {"weight_ih": (G, groups), "weight_hr": (1, 1)}  # the rows and columns of them; else G and 1
        theirs = module._names[layer * D : (layer + 1) * D]
        self.places = [
            (name, getattr(self, mine[kind]), *blocks.get(kind, (G, 1)))
            for mine, its in zip(self._names, theirs, strict=True)
            for kind, name in its.items()
        ]
        """Of each parameter its name in the module, the doubled one, and its blocks."""
        for name, parameter, *shape in self.places:
            value = getattr(module, name).data
            parameter.data = doubled(value, parameters_dot.get(name, np.zeros_like(value)), *shape)

    def gradients(self) -> Iterator[tuple[str, Array, Array]]:
        """The name of each of the module's parameters, its gradient and the dot of that."""
        for name, parameter, *shape in self.places:
            yield name, *undoubled(parameter.grad, *shape)


class Network:
    """All layers, doubled, after a forward pass."""

    def __init__(self, module: Recurrent[Any], second: SecondDerivatives | None, *arguments: Any) -> None:
        """arguments: those of `jvp`, from input on."""
        input, hx, input_dot, hx_dot, parameters_dot, dropout_masks = arguments
        self.layout, _ = checked(module, input, hx, None, None, dropout_masks)
        self.module, D, parameters_dot = module, module._directions, parameters_dot or {}
        order = self.layout.order and Order(self.layout.order.batch_sizes, None, None)
        self.plain = Layout(self.layout.batch_sizes, order=order)  # of the layers, whatever the module's may be
        if unknown := parameters_dot.keys() - module._shapes.keys():
            raise RuntimeError(f"expected parameters_dot for names of parameters, got {', '.join(sorted(unknown))}")
        for name, value in parameters_dot.items():
            floats(f"parameters_dot[{name!r}]", value, module.dtype, module._shapes[name])
        x = paired(self.rows("input", input, module.input_size), self.rows("input_dot", input_dot, module.input_size))
        state = self.states(("hx", "{}_0", hx), ("hx_dot", "{}_0_dot", hx_dot))

        masks = [self.layout.rows(mask, copy=False) for mask in dropout_masks]
        self.factors = [1, *(paired(mask, mask, D) for mask in masks)] if masks else [1] * module.num_layers
        cell = doubled_cell(module.cell, second)
        self.layers = [Layer(module, cell, layer, parameters_dot) for layer in range(module.num_layers)]
        final: list[State] = []
        for layer, factor in zip(self.layers, self.factors, strict=True):
            before = layer._state(state[len(final) : len(final) + D], self.plain)
            output, after = layer(self.plain.sequence(factor * x), before)
            x = self.plain.rows(output, copy=False)
            final += layer._state_columns("hx", "{}_n", after, self.plain)
        values, dots = self.in_form(x, final, D)
        self.outputs = Outputs(*values, *dots)

    def backward(self, loss: Loss) -> HessianProduct:
        """The gradients of a loss of what came out, and their dots. In the pairs these come first."""
        module, D = self.module, self.module._directions
        d_output, d_state, d_output_dot, d_state_dot = loss(*self.outputs)
        width = D * module._output_size
        d_x = paired(self.rows("d_output_dot", d_output_dot, width), self.rows("d_output", d_output, width), D)
        d_final = self.states(("d_state", "d_{}_n_dot", d_state_dot), ("d_state", "d_{}_n", d_state))
        d_initial: list[State] = []
        for k, (layer, factor) in reversed(list(enumerate(zip(self.layers, self.factors, strict=True)))):
            d_after = layer._state(d_final[k * D : (k + 1) * D], self.plain)
            d_input, d_before = layer.backward(self.plain.sequence(d_x), d_after)
            d_x = factor * self.plain.rows(d_input, copy=False)
            d_initial = layer._state_columns("hx", "{}_0", d_before, self.plain) + d_initial
        dots, values = self.in_form(d_x, d_initial, 1)
        names, gradients, changes = zip(*(each for layer in self.layers for each in layer.gradients()), strict=True)
        found = Gradients(*self.outputs[:2], *values, dict(zip(names, gradients, strict=True)))
        return HessianProduct(found, *dots, dict(zip(names, changes, strict=True)))

    def rows(self, name: str, value: Any, width: int) -> Array:
        """A sequence as rows, (N, width); zeros for None."""
        if value is None:
            return np.zeros((sum(self.layout.batch_sizes), width), self.module.dtype)
        self.layout.check_sequence(name, value, width, self.module.dtype)
        return self.layout.rows(value, copy=False)

    def states(self, *pair: tuple[str, str, Any]) -> list[State]:
        """Two states as one of each layer and direction, in columns, the first above the second."""
        columns = (self.module._state_columns(*each, self.layout) for each in pair)
        return [tuple(map(np.concatenate, zip(*both, strict=True))) for both in zip(*columns, strict=True)]

    def in_form(self, pairs: Array, states: Sequence[State], groups: int) -> Iterator[tuple[Any, Any]]:
        """Rows and states in the form of the module, the first of each pair and then the second."""
        for n, rows in enumerate(unpaired(pairs, groups)):
            columns = [tuple(halves(part)[n] for part in state) for state in states]
            yield self.layout.sequence(rows), self.module._state(columns, self.layout)
