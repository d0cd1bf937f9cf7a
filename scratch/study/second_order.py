"""Second order (Pearlmutter 1994): how outputs and gradients change along a direction, exactly and without a Hessian.

A direction is a change of the input, the initial state and the parameters, all at once. A dot is the derivative along
it: h_dot = ∂h/∂r when everything that is given changes by r times its dot. (Pearlmutter writes R{h}.) The dot of the
forward pass is the Jacobian-vector product:

    a_dot      = W_ih x_dot + W_hh h_prev_dot                (T1)
               + W_ih_dot x + W_hh_dot h_prev + b_ih_dot + b_hh_dot
    state_dot  = step_tangent(a_dot, state_prev_dot, slopes) (T2)   the cell's own equations, differentiated
    slopes_dot = linearize_tangent(…)                        (H1)   and once more
    h_dot      = W_hr m_dot + W_hr_dot m                     (T3)   only with a projection

The backward pass computes the gradient by equations like any other. Their dot is the Hessian-vector product, since the
gradient changes by r H v when the arguments change by r v:

    d_m_dot      = W_hrᵀ d_h_dot + W_hr_dotᵀ d_h                                             (T3)
    d_a_dot, …   = step_backward_tangent(d_state, d_state_dot, slopes, slopes_dot)           (H2)
    d_h_prev_dot = W_hhᵀ d_a_dot + W_hh_dotᵀ d_a             (T1)   plus what the cell passes on directly

and, summed over all steps and sequences,

    d_x_dot    = W_ihᵀ d_a_dot + W_ih_dotᵀ d_a                                               (T1)
    d_W_ih_dot = Σ d_a_dot xᵀ + d_a x_dotᵀ,   d_W_hh_dot = Σ d_a_dot h_prevᵀ + d_a h_prev_dotᵀ,   d_b_dot = Σ d_a_dot
    d_W_hr_dot = Σ d_h_dot mᵀ + d_h m_dotᵀ                                                   (T3)

The numbers are those of nn/bptt.py. (H1) and (H2) are new, and each cell has its own: second_derivatives.py. The
derivation is in second_order.md.

Every array has a leading axis of two, the value and its dot: h is (2, P or H, B), and h[1] is h_dot. So a sum is
written once for both, and a product is `product`. As in nn/bptt.py sequences are rows and states columns, longest
sequence first. The core's loop and tape are not used: each step leaves a `Step`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..nn.cell import Cell, State, Weights
from ..nn.checks import floats, without_warnings
from ..nn.layout import Layout
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
    state: Any
    """The final state."""
    output_dot: Any
    state_dot: Any


class HessianProduct(NamedTuple):
    """The gradients of a loss, and how they change along a direction: the Hessian times that direction."""

    gradients: Gradients
    """With output and final state, as from `rtrl`."""
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
    dropout_masks: the factors of the output of each layer but the last, laid out like it, as `module.dropout_masks` are
    after a forward pass; without them nothing is dropped. The module is only read. Any cell will do. It takes the
    operations of three forward passes.

    Raises what `module.forward` raises for such arguments, for hx_dot as for hx, also when only hx_dot is given;
    RuntimeError for an input_dot of another shape or dtype than input's, for unknown names in parameters_dot and for
    shapes or dtypes other than the parameters', and unless there is a mask for each layer but the last, or none.
    """
    return ForwardPass(module, None, input, hx, input_dot, hx_dot, parameters_dot, dropout_masks).outputs


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

    No Hessian is built and no difference is taken: the product is exact up to rounding. It takes the operations of
    three passes forward and three backward. A relu's second derivative counts as 0 at its kink.

    Source: Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural Computation 6, section 3; for
    recurrences, and cells and stacks of any kind, see second_order.md.

    Raises what `jvp` raises; NotImplementedError for a cell without second derivatives (second_derivatives.py); and
    what `module.backward` raises if the loss returns such gradients.
    """
    second = SECOND_DERIVATIVES.get(module.cell.linearize)
    if second is None:
        raise NotImplementedError(f"expected a cell with second derivatives, got one without, {module!r}")
    return ForwardPass(module, second, input, hx, input_dot, hx_dot, parameters_dot, dropout_masks).backward(loss)


class Step(NamedTuple):
    """What one step leaves for the way back."""

    rows: slice
    x: Array  # 2, I, B
    h_prev: Array  # 2, P or H, B
    m: Array  # 2, H, B  the h that the cell makes; without a projection h itself
    slopes: Array  # n, H, B
    slopes_dot: Array


def product(one: Array, other: Array) -> Array:
    """The matrix product, and its dot by the product rule."""
    return np.stack([one[0] @ other[0], one[0] @ other[1] + one[1] @ other[0]])


def forward(
    cell: Cell,
    second: SecondDerivatives | None,
    weights: Weights,
    x: Array,
    initial: State,
    steps: Sequence[slice],
    output: Array,
) -> tuple[State, list[Step]]:
    """One layer in one direction over all steps.

    x: (2, N, I). initial: a state of columns. steps: the rows of each step, in the order in which they are taken. Fills
    output: (2, N, P or H). Returns the final state and what the steps left, which is nothing without `second`.
    """
    W_ih, W_hh, b_ih, b_hh, W_hr = weights
    G, H = len(cell.gates), W_hh.shape[1] // len(cell.gates)
    final, left = tuple(part.copy() for part in initial), []
    for rows in steps:
        x_t = x[:, rows].mT  # 2, I, B
        B = x_t.shape[-1]  # the other sequences have ended, or not begun: their columns stay as they are
        state_prev = tuple(part[..., :B].copy() for part in final)
        h_prev = state_prev[0]
        from_input, from_state = product(W_ih, x_t), product(W_hh, h_prev)  # (T1)  2, G·H, B
        if b_ih is not None and b_hh is not None:
            from_input += b_ih[..., None]  # (T1)
            from_state += b_hh[..., None]  # (T1)
        a, a_dot = map(cell.joined, from_input.reshape(2, G, H, B), from_state.reshape(2, G, H, B))
        prev, prev_dot = zip(*state_prev, strict=True)
        state = tuple(np.empty((H, B), x.dtype) for _ in cell.state)
        kept = tuple(np.empty((H, B), x.dtype) for _ in range(cell.kept))
        slopes = np.empty((cell.slopes, H, B), x.dtype)
        cell.step(a, prev, state, kept)  # (T2)
        cell.linearize(a, prev, state, kept, slopes)  # (T2)
        state_dot = cell.step_tangent(a_dot, prev_dot, slopes)  # (T2)
        m, *rest = map(np.stack, zip(state, state_dot, strict=True))
        if second is not None:
            slopes_dot = second.linearize_tangent(a, a_dot, prev, prev_dot, state, state_dot, kept)  # (H1)  n, H, B
            left.append(Step(rows, x_t, h_prev, m, slopes, slopes_dot))
        h = m if W_hr is None else product(W_hr, m)  # (T3)  2, P or H, B
        output[:, rows] = h.mT
        for part, made in zip(final, (h, *rest), strict=True):
            part[..., :B] = made
    return final, left


def backward(
    cell: Cell,
    second: SecondDerivatives,
    weights: Weights,
    d_output: Array,
    d_final: State,
    left: Sequence[Step],
) -> tuple[Array, State, Weights]:
    """The gradients of what `forward` computed, from what its steps left.

    d_output: (2, N, P or H). d_final: like the final state. Returns the gradients of x, of the initial state and of the
    weights.
    """
    W_ih, W_hh, _, _, W_hr = weights
    d_x = np.empty((*d_output.shape[:2], W_ih.shape[-1]), d_output.dtype)
    d_weights = weights.map(np.zeros_like)
    d_W_ih, d_W_hh, d_b_ih, d_b_hh, d_W_hr = d_weights
    d_initial = tuple(part.copy() for part in d_final)
    for rows, x_t, h_prev, m, slopes, slopes_dot in reversed(left):
        B = x_t.shape[-1]
        d_h, *d_rest = (part[..., :B].copy() for part in d_initial)
        d_h += d_output[:, rows].mT
        if W_hr is not None and d_W_hr is not None:
            d_W_hr += product(d_h, m.mT)  # (T3)  2, P, H
            d_h = product(W_hr.mT, d_h)  # (T3)  now d_m: 2, H, B
        d_state, d_state_dot = zip(d_h, *d_rest, strict=True)
        tangents = second.step_backward_tangent(d_state, d_state_dot, slopes, slopes_dot)  # (H2)
        d_a_dot, d_h_direct_dot, d_rest_prev_dot = tangents  # G, H, B and so on
        d_a = np.empty_like(d_a_dot)
        d_h_direct, d_rest_prev = cell.step_backward(d_state, slopes, d_a)  # (T2)  last: it overwrites what it reads
        # The two halves of a have the same gradient, unless the cell wants them apart: 2, G·H, B each.
        halves = zip(cell.halves(d_a), cell.halves(d_a_dot), strict=True)
        d_a_x, d_a_h = (np.stack(half).reshape(2, W_hh.shape[1], B) for half in halves)
        d_x[:, rows] = product(d_a_x.mT, W_ih)  # (T1)  2, B, I
        d_W_ih += product(d_a_x, x_t.mT)  # (T1)  2, G·H, I
        d_W_hh += product(d_a_h, h_prev.mT)  # (T1)  2, G·H, P or H
        if d_b_ih is not None and d_b_hh is not None:
            d_b_ih += d_a_x.sum(axis=-1)  # (T1)  2, G·H
            d_b_hh += d_a_h.sum(axis=-1)  # (T1)
        d_h_prev = product(W_hh.mT, d_a_h)  # (T1)  2, P or H, B
        if d_h_direct is not None and d_h_direct_dot is not None:
            d_h_prev += np.stack([d_h_direct, d_h_direct_dot])
        d_prev = (d_h_prev, *map(np.stack, zip(d_rest_prev, d_rest_prev_dot, strict=True)))
        for part, made in zip(d_initial, d_prev, strict=True):
            part[..., :B] = made
    return d_x, d_initial, d_weights


class ForwardPass:
    """All layers forward, and, with second derivatives, what the way back needs."""

    def __init__(
        self,
        module: Recurrent[Any],
        second: SecondDerivatives | None,
        input: Any,
        hx: Any,
        input_dot: Any,
        hx_dot: Any,
        parameters_dot: Mapping[str, Array] | None,
        dropout_masks: Sequence[Any],
    ) -> None:
        layout, weights = checked(module, input, hx, None, None, dropout_masks)
        if input_dot is not None:
            layout.check_sequence("input_dot", input_dot, module.input_size, module.dtype)
        initial = module._state_columns("hx", "{}_0", hx, layout)
        initial_dot = module._state_columns("hx_dot", "{}_0_dot", hx_dot, layout)
        self.module, self.layout, self.second = module, layout, second
        self.weights = with_tangents(module, weights, parameters_dot or {})
        self.masks = [layout.rows(mask, copy=False) for mask in dropout_masks]
        self.left: list[list[Step]] = []  # of each layer and direction

        rows = layout.rows(input, copy=False)
        x = np.stack([rows, np.zeros_like(rows) if input_dot is None else layout.rows(input_dot, copy=False)])
        final = []
        for layer in range(module.num_layers):
            if layer > 0 and self.masks:
                x = self.masks[layer - 1] * x
            output = np.empty((*x.shape[:2], module._directions * module._output_size), module.dtype)
            for k, half in module._directions_of(layer):
                steps = steps_of(layout, reverse=k % module._directions == 1)
                first = together(initial[k], initial_dot[k])
                state, left = forward(module.cell, second, self.weights[k], x, first, steps, output[..., half])
                final.append(state)
                self.left.append(left)
            x = output
        values, dots = self.in_form(x, final)
        self.outputs = Outputs(*values, *dots)

    def backward(self, loss: Loss) -> HessianProduct:
        """All layers backward, after a forward pass with second derivatives."""
        module, layout, second = self.module, self.layout, self.second
        assert second is not None
        d_output, d_state, d_output_dot, d_state_dot = loss(*self.outputs)
        d_rows = np.stack([self.rows("d_output", d_output), self.rows("d_output_dot", d_output_dot)])
        d_final = module._state_columns("d_state", "d_{}_n", d_state, layout)
        d_final_dot = module._state_columns("d_state", "d_{}_n_dot", d_state_dot, layout)

        d_initial: list[State] = [()] * len(d_final)
        d_weights: list[Weights] = self.weights.copy()
        for layer in reversed(range(module.num_layers)):
            d_x: Any = 0
            for k, half in module._directions_of(layer):
                last = together(d_final[k], d_final_dot[k])
                d_half, d_initial[k], d_weights[k] = backward(
                    module.cell, second, self.weights[k], d_rows[..., half], last, self.left[k]
                )
                d_x = d_x + d_half
            d_rows = self.masks[layer - 1] * d_x if layer > 0 and self.masks else d_x
        d_parameters: tuple[dict[str, Array], dict[str, Array]] = {}, {}
        names = (name for names in module._names for name in names.values())
        for d_parameter in (each for d in d_weights for each in d if each is not None):
            name = next(names)
            d_parameters[0][name], d_parameters[1][name] = d_parameter
        values, dots = self.in_form(d_rows, d_initial)
        gradients = Gradients(self.outputs.output, self.outputs.state, *values, d_parameters[0])
        return HessianProduct(gradients, *dots, d_parameters[1])

    def rows(self, name: str, value: Any) -> Array:
        """A gradient of the output as rows: (N, D·P); zeros for None."""
        module, layout = self.module, self.layout
        width = module._directions * module._output_size
        if value is None:
            return np.zeros((sum(layout.batch_sizes), width), module.dtype)
        layout.check_sequence(name, value, width, module.dtype)
        return layout.rows(value, copy=False)

    def in_form(self, rows: Array, states: Sequence[State]) -> Iterator[tuple[Any, Any]]:
        """Rows, and states of all layers and directions, in the form of the module; then their dots."""
        for n in (0, 1):
            columns = [tuple(part[n] for part in state) for state in states]
            yield self.layout.sequence(rows[n]), self.module._state(columns, self.layout)


def together(state: State, state_dot: State) -> State:
    """A state with its dot in the same arrays: (2, features, B) each."""
    return tuple(np.stack(pair) for pair in zip(state, state_dot, strict=True))


def steps_of(layout: Layout, reverse: bool) -> list[slice]:
    """The rows of each step, in the order in which the direction takes them."""
    stops = np.cumsum(layout.batch_sizes).tolist()
    steps = [slice(stop - width, stop) for stop, width in zip(stops, layout.batch_sizes, strict=True)]
    return steps[::-1] if reverse else steps


def with_tangents(
    module: Recurrent[Any], weights: Sequence[Weights], parameters_dot: Mapping[str, Array]
) -> list[Weights]:
    """The parameters of each layer and direction with their dots, zero unless given. Checks parameters_dot."""
    unknown = parameters_dot.keys() - module._shapes.keys()
    if unknown:
        raise RuntimeError(f"expected parameters_dot for names of parameters, got {', '.join(sorted(unknown))}")
    for name, value in parameters_dot.items():
        floats(f"parameters_dot[{name!r}]", value, module.dtype, module._shapes[name])
    names = iter([name for names in module._names for name in names.values()])
    return [each.map(lambda p: np.stack([p, parameters_dot.get(next(names), np.zeros_like(p))])) for each in weights]
