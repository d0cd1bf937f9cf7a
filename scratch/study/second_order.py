"""Second order (Pearlmutter 1994): how outputs and gradients change along a direction, exactly and without a Hessian.

A direction is a change of the input, the initial state and the parameters, all at once. A dot is the derivative along
it: h_dot = ∂h/∂r where everything that is given changes by r times its dot; Pearlmutter writes R{h}. Of the forward
pass that makes the Jacobian-vector product:

    a_dot      = W_ih x_dot + W_hh h_prev_dot                (T1)
               + W_ih_dot x + W_hh_dot h_prev + b_ih_dot + b_hh_dot
    state_dot  = step_tangent(a_dot, state_prev_dot, slopes) (T2)   the cell's own equations, differentiated
    slopes_dot = linearize_tangent(…)                        (H1)   and once more
    h_dot      = W_hr m_dot + W_hr_dot m                     (T3)   only with a projection

The backward pass computes the gradient by equations like any other. The dot of all of them is the Hessian-vector
product, since the gradient changes by r H v when the arguments change by r v:

    d_m_dot      = W_hrᵀ d_h_dot + W_hr_dotᵀ d_h                                             (T3)
    d_a_dot, …   = step_backward_tangent(d_state, d_state_dot, slopes, slopes_dot)           (H2)
    d_h_prev_dot = W_hhᵀ d_a_dot + W_hh_dotᵀ d_a             (T1)   plus what the cell passes on directly

and, summed over all steps and sequences,

    d_x_dot    = W_ihᵀ d_a_dot + W_ih_dotᵀ d_a                                               (T1)
    d_W_ih_dot = Σ d_a_dot xᵀ + d_a x_dotᵀ,   d_W_hh_dot = Σ d_a_dot h_prevᵀ + d_a h_prev_dotᵀ,   d_b_dot = Σ d_a_dot
    d_W_hr_dot = Σ d_h_dot mᵀ + d_h m_dotᵀ                                                   (T3)

The numbers are those of the equations (nn/bptt.py) that these differentiate; (H1) and (H2) are new, and each
cell's own: second_derivatives.py. The derivation is in second_order.md.

Layout. As in nn/bptt.py: rows for sequences, columns for states, longest sequence first. A state and its tangent are
resized together. No tape is used, and nothing is reused: each step leaves a `Step`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..nn.bptt import resize
from ..nn.cell import Cell, State, Weights
from ..nn.checks import floats, without_warnings
from ..nn.layout import Layout
from ..nn.recurrent import Recurrent
from ..types import Array
from .rtrl import Gradients, checked
from .second_derivatives import SECOND_DERIVATIVES, SecondDerivatives

Loss = Callable[[Any, Any, Any, Any], tuple[Any, Any, Any, Any]]
"""A loss of output and final state, told by its derivatives alone.

`loss(output, state, output_dot, state_dot)` returns `d_output, d_state, d_output_dot, d_state_dot`: the gradient at
this output and state, and how it changes along their tangents, which is the loss's own Hessian times the tangents. Each
is in the form in which `module.backward` takes it; None, also within a tuple, for zeros. For some see curvature.py.
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
    """Output and final state of a recurrent module, and their change along a direction: the Jacobian times the latter.

    input, hx: as `module.forward` takes them. input_dot, hx_dot, parameters_dot: the direction; the first two like
    input and hx, the last an array of the parameter's shape for some of the names; what is left out does not change.
    dropout_masks: what to multiply the output of each layer but the last with, laid out like the output, as
    `module.dropout_masks` are after a forward pass; without them nothing is dropped. The module is read and left as it
    is. Any cell will do.

    It takes the operations of three forward passes.

    Raises what `module.forward` raises for such arguments, for hx_dot as for hx, also when only hx_dot is given;
    RuntimeError for an input_dot of another shape or dtype than input's, a name in parameters_dot that there is none of
    and a shape or dtype that differs from the parameter's, and for another number of masks than of layers but the last.
    """
    forward_pass = ForwardPass(module, None, input, hx, input_dot, hx_dot, parameters_dot, dropout_masks)
    return forward_pass.outputs


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
    Hessian with respect to the parameters times parameters_dot, and `d_input_dot`, `d_initial_dot` are the mixed second
    derivatives times it. The gradients come along. Neither the module's tape nor any `grad` changes.

    No Hessian is built, and no difference is taken: the product is exact up to rounding, for the operations of three
    passes forward and three backward. A relu's second derivative is taken as 0 at its kink.

    Source: Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural Computation 6, section 3; for
    recurrences, and cells and stacks of any kind, see second_order.md.

    Raises what `jvp` raises; NotImplementedError for a cell without second derivatives (second_derivatives.py); and
    what `module.backward` raises if the loss returns such gradients.
    """
    second = SECOND_DERIVATIVES.get(module.cell.linearize)
    if second is None:
        raise NotImplementedError(f"expected a cell with second derivatives, got one without, {module!r}")
    forward_pass = ForwardPass(module, second, input, hx, input_dot, hx_dot, parameters_dot, dropout_masks)
    return forward_pass.backward(second, loss)


class Step(NamedTuple):
    """What one step leaves for the way back: each with its tangent beside it."""

    rows: slice
    h_prev: Array  # P or H, B
    h_prev_dot: Array
    m: Array  # H, B  the h that the cell makes; without a projection h itself
    m_dot: Array
    slopes: Array  # n, H, B
    slopes_dot: Array


def forward(
    cell: Cell,
    second: SecondDerivatives | None,
    weights: Weights,
    weights_dot: Weights,
    x: Array,
    x_dot: Array,
    initial: State,
    initial_dot: State,
    steps: Sequence[slice],
    output: Array,
    output_dot: Array,
) -> tuple[State, State, list[Step]]:
    """One layer in one direction over all steps, with tangents.

    x, x_dot: (N, I). initial, initial_dot: a state of columns each. steps: the rows of each step, in the order in which
    they are taken. Fills output and output_dot: (N, P or H). Returns the final state, its tangent, and what the steps
    left; nothing without `second`.
    """
    (W_ih, W_hh, b_ih, b_hh, W_hr), (W_ih_dot, W_hh_dot, b_ih_dot, b_hh_dot, W_hr_dot) = weights, weights_dot
    G, parts, dtype = len(cell.gates), len(cell.state), x.dtype
    H = len(W_hh) // G
    entering = (*initial, *initial_dot)  # a state and its tangent: one tuple of twice as many parts
    leaving = tuple(np.empty_like(part) for part in entering)
    both, left = entering, []
    for rows in steps:
        x_t, x_t_dot = x[rows].T, x_dot[rows].T
        B = x_t.shape[1]
        both = resize(both, B, entering, leaving)
        state_prev, state_prev_dot = both[:parts], both[parts:]
        h_prev, h_prev_dot = state_prev[0], state_prev_dot[0]
        from_input, from_state = W_ih @ x_t, W_hh @ h_prev  # (T1)  G·H, B
        from_input_dot = W_ih @ x_t_dot + W_ih_dot @ x_t  # (T1)
        from_state_dot = W_hh @ h_prev_dot + W_hh_dot @ h_prev  # (T1)
        if b_ih is not None and b_hh is not None and b_ih_dot is not None and b_hh_dot is not None:
            from_input += b_ih[:, None]  # (T1)
            from_state += b_hh[:, None]  # (T1)
            from_input_dot += b_ih_dot[:, None]  # (T1)
            from_state_dot += b_hh_dot[:, None]  # (T1)
        a = cell.joined(from_input.reshape(G, H, B), from_state.reshape(G, H, B))
        a_dot = cell.joined(from_input_dot.reshape(G, H, B), from_state_dot.reshape(G, H, B))
        state = tuple(np.empty((H, B), dtype) for _ in cell.state)
        kept = tuple(np.empty((H, B), dtype) for _ in range(cell.kept))
        slopes = np.empty((cell.slopes, H, B), dtype)
        cell.step(a, state_prev, state, kept)  # (T2)
        cell.linearize(a, state_prev, state, kept, slopes)  # (T2)
        state_dot = cell.step_tangent(a_dot, state_prev_dot, slopes)  # (T2)
        (m, *rest), (m_dot, *rest_dot) = state, state_dot
        if second is not None:
            states = state_prev, state_prev_dot, state, state_dot
            slopes_dot = second.linearize_tangent(a, a_dot, *states, kept)  # (H1)  n, H, B
            left.append(Step(rows, h_prev, h_prev_dot, m, m_dot, slopes, slopes_dot))
        h, h_dot = m, m_dot
        if W_hr is not None and W_hr_dot is not None:
            h = W_hr @ m  # (T3)  P, B
            h_dot = W_hr @ m_dot + W_hr_dot @ m  # (T3)
        output[rows], output_dot[rows] = h.T, h_dot.T
        both = (h, *rest, h_dot, *rest_dot)
    resize(both, 0, entering, leaving)
    return leaving[:parts], leaving[parts:], left


def backward(
    cell: Cell,
    second: SecondDerivatives,
    weights: Weights,
    weights_dot: Weights,
    x: Array,
    x_dot: Array,
    d_output: Array,
    d_output_dot: Array,
    d_final: State,
    d_final_dot: State,
    left: Sequence[Step],
) -> tuple[Array, Array, State, State, Weights, Weights]:
    """The gradients of what `forward` computed, and their tangents, from what its steps left.

    d_output, d_output_dot: (N, P or H). d_final, d_final_dot: like the final state. Returns the gradients of x, of the
    initial state and of the weights, each with its tangent after it.
    """
    (W_ih, W_hh, _, _, W_hr), (W_ih_dot, W_hh_dot, _, _, W_hr_dot) = weights, weights_dot
    parts = len(cell.state)
    d_x, d_x_dot = np.empty_like(x), np.empty_like(x)
    d_weights, d_weights_dot = weights.map(np.zeros_like), weights.map(np.zeros_like)
    d_W_ih, d_W_hh, d_b_ih, d_b_hh, d_W_hr = d_weights
    d_W_ih_dot, d_W_hh_dot, d_b_ih_dot, d_b_hh_dot, d_W_hr_dot = d_weights_dot
    d_entering = (*d_final, *d_final_dot)
    d_leaving = tuple(np.empty_like(part) for part in d_entering)
    d_both = d_entering
    for rows, h_prev, h_prev_dot, m, m_dot, slopes, slopes_dot in reversed(left):
        x_t, x_t_dot = x[rows].T, x_dot[rows].T
        d_both = resize(d_both, x_t.shape[1], d_entering, d_leaving)
        (d_h, *d_rest), (d_h_dot, *d_rest_dot) = d_both[:parts], d_both[parts:]
        d_h = d_h + d_output[rows].T
        d_h_dot = d_h_dot + d_output_dot[rows].T
        if W_hr is not None and W_hr_dot is not None and d_W_hr is not None and d_W_hr_dot is not None:
            d_W_hr += d_h @ m.T  # (T3)  P, H
            d_W_hr_dot += d_h_dot @ m.T + d_h @ m_dot.T  # (T3)
            d_h_dot = W_hr.T @ d_h_dot + W_hr_dot.T @ d_h  # (T3)  now d_m_dot: H, B
            d_h = W_hr.T @ d_h  # (T3)  now d_m
        d_state, d_state_dot = (d_h, *d_rest), (d_h_dot, *d_rest_dot)
        tangents = second.step_backward_tangent(d_state, d_state_dot, slopes, slopes_dot)  # (H2)
        d_a_dot, d_h_direct_dot, d_rest_prev_dot = tangents  # G, H, B and so on
        d_a = np.empty_like(d_a_dot)
        d_h_direct, d_rest_prev = cell.step_backward(d_state, slopes, d_a)  # (T2)  last: it overwrites what it reads
        # The two halves of a, which have the same gradient unless the cell wants them apart: G·H, B each.
        (d_a_x, d_a_h), (d_a_x_dot, d_a_h_dot) = (
            (half.reshape(W_hh.shape[0], -1) for half in cell.halves(d)) for d in (d_a, d_a_dot)
        )
        d_x[rows] = d_a_x.T @ W_ih  # (T1)  B, I
        d_x_dot[rows] = d_a_x_dot.T @ W_ih + d_a_x.T @ W_ih_dot  # (T1)
        d_W_ih += d_a_x @ x_t.T  # (T1)  G·H, I
        d_W_ih_dot += d_a_x_dot @ x_t.T + d_a_x @ x_t_dot.T  # (T1)
        d_W_hh += d_a_h @ h_prev.T  # (T1)  G·H, P or H
        d_W_hh_dot += d_a_h_dot @ h_prev.T + d_a_h @ h_prev_dot.T  # (T1)
        if d_b_ih is not None and d_b_hh is not None and d_b_ih_dot is not None and d_b_hh_dot is not None:
            d_b_ih += d_a_x.sum(axis=1)  # (T1)  G·H
            d_b_hh += d_a_h.sum(axis=1)  # (T1)
            d_b_ih_dot += d_a_x_dot.sum(axis=1)  # (T1)
            d_b_hh_dot += d_a_h_dot.sum(axis=1)  # (T1)
        d_h_prev = W_hh.T @ d_a_h  # (T1)  P or H, B
        d_h_prev_dot = W_hh.T @ d_a_h_dot + W_hh_dot.T @ d_a_h  # (T1)
        if d_h_direct is not None and d_h_direct_dot is not None:
            d_h_prev += d_h_direct
            d_h_prev_dot += d_h_direct_dot
        d_both = (d_h_prev, *d_rest_prev, d_h_prev_dot, *d_rest_prev_dot)
    resize(d_both, 0, d_entering, d_leaving)
    return d_x, d_x_dot, d_leaving[:parts], d_leaving[parts:], d_weights, d_weights_dot


class ForwardPass:
    """All layers forward with tangents, and, with second derivatives, what the way back needs."""

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
        self.module, self.layout, self.weights = module, layout, weights
        self.weights_dot = directions_of(module, weights, parameters_dot or {})
        self.masks = [layout.rows(mask, copy=False) for mask in dropout_masks]
        self.inputs: list[tuple[Array, Array]] = []  # of each layer, with their tangents
        self.left: list[list[Step]] = []  # of each layer and direction

        x = layout.rows(input, copy=False)
        x_dot = np.zeros_like(x) if input_dot is None else layout.rows(input_dot, copy=False)
        final, final_dot = [], []
        for layer in range(module.num_layers):
            if layer > 0 and self.masks:
                mask = self.masks[layer - 1]
                x, x_dot = mask * x, mask * x_dot
            self.inputs.append((x, x_dot))
            shape = len(x), module._directions * module._output_size
            output, output_dot = np.empty(shape, module.dtype), np.empty(shape, module.dtype)
            for k, half in module._directions_of(layer):
                state, state_dot, left = forward(
                    module.cell,
                    second,
                    weights[k],
                    self.weights_dot[k],
                    x,
                    x_dot,
                    initial[k],
                    initial_dot[k],
                    steps_of(layout, reverse=k % module._directions == 1),
                    output[:, half],
                    output_dot[:, half],
                )
                final.append(state)
                final_dot.append(state_dot)
                self.left.append(left)
            x, x_dot = output, output_dot
        self.outputs = Outputs(
            layout.sequence(x), module._state(final, layout), layout.sequence(x_dot), module._state(final_dot, layout)
        )

    def backward(self, second: SecondDerivatives, loss: Loss) -> HessianProduct:
        """All layers backward with tangents, after a forward pass with the same second derivatives."""
        module, layout = self.module, self.layout
        d_output, d_state, d_output_dot, d_state_dot = loss(*self.outputs)
        d_rows, d_rows_dot = (self.rows(*pair) for pair in (("d_output", d_output), ("d_output_dot", d_output_dot)))
        d_final = module._state_columns("d_state", "d_{}_n", d_state, layout)
        d_final_dot = module._state_columns("d_state", "d_{}_n_dot", d_state_dot, layout)

        d_initial: list[State] = [()] * len(d_final)
        d_initial_dot: list[State] = [()] * len(d_final)
        d_parameters: dict[str, Array] = {}
        d_parameters_dot: dict[str, Array] = {}
        for layer in reversed(range(module.num_layers)):
            x, x_dot = self.inputs[layer]
            d_x, d_x_dot = np.zeros_like(x), np.zeros_like(x)
            for k, half in module._directions_of(layer):
                d_half, d_half_dot, d_initial[k], d_initial_dot[k], d_weights, d_weights_dot = backward(
                    module.cell,
                    second,
                    self.weights[k],
                    self.weights_dot[k],
                    x,
                    x_dot,
                    d_rows[:, half],
                    d_rows_dot[:, half],
                    d_final[k],
                    d_final_dot[k],
                    self.left[k],
                )
                d_x += d_half
                d_x_dot += d_half_dot
                d_parameters |= named(module, k, d_weights)
                d_parameters_dot |= named(module, k, d_weights_dot)
            if layer > 0 and self.masks:
                mask = self.masks[layer - 1]
                d_x, d_x_dot = mask * d_x, mask * d_x_dot
            d_rows, d_rows_dot = d_x, d_x_dot
        in_order = [name for names in module._names for name in names.values()]
        gradients = Gradients(
            self.outputs.output,
            self.outputs.state,
            layout.sequence(d_rows),
            module._state(d_initial, layout),
            {name: d_parameters[name] for name in in_order},
        )
        return HessianProduct(
            gradients,
            layout.sequence(d_rows_dot),
            module._state(d_initial_dot, layout),
            {name: d_parameters_dot[name] for name in in_order},
        )

    def rows(self, name: str, value: Any) -> Array:
        """A gradient of the output as rows: (N, D·P); zeros for None."""
        module, layout = self.module, self.layout
        shape = len(self.inputs[0][0]), module._directions * module._output_size
        if value is None:
            return np.zeros(shape, module.dtype)
        layout.check_sequence(name, value, shape[1], module.dtype)
        return layout.rows(value, copy=False)


def steps_of(layout: Layout, reverse: bool) -> list[slice]:
    """The rows of each step, in the order in which the direction takes them."""
    stops = np.cumsum(layout.batch_sizes).tolist()
    steps = [slice(stop - width, stop) for stop, width in zip(stops, layout.batch_sizes, strict=True)]
    return steps[::-1] if reverse else steps


def directions_of(
    module: Recurrent[Any], weights: Sequence[Weights], parameters_dot: Mapping[str, Array]
) -> list[Weights]:
    """The changes of the parameters, for each layer and direction; zeros for what is not there. Checked."""
    unknown = parameters_dot.keys() - module._shapes.keys()
    if unknown:
        raise RuntimeError(f"expected parameters_dot for names of parameters, got {', '.join(sorted(unknown))}")
    for name, value in parameters_dot.items():
        floats(f"parameters_dot[{name!r}]", value, module.dtype, module._shapes[name])

    def changes(k: int) -> Iterator[Any]:
        names = iter(module._names[k].values())
        for data in weights[k]:
            yield None if data is None else parameters_dot.get(next(names), np.zeros_like(data))

    return [Weights(*changes(k)) for k in range(len(weights))]


def named(module: Recurrent[Any], k: int, weights: Weights) -> dict[str, Array]:
    """The arrays for layer and direction k by the names of its parameters."""
    there = (value for value in weights if value is not None)
    return dict(zip(module._names[k].values(), there, strict=True))
