"""Real-time recurrent learning (Williams and Zipser 1989): the gradient of a recurrence, carried forward in time.

Let p be any number that should have a gradient: an entry of a parameter, of the initial state or of the input. A dot is
the derivative with respect to p. All p are treated at once: h_dot is (P or H, K), one column for each p. It is carried
along with the state itself, from the first step to the last:

    a_dot      = W_ih x_dot + W_hh h_prev_dot + ∂a/∂p               (T1)
    state_dot  = step_tangent(a_dot, state_prev_dot, slopes)        (T2)   the cell's own equations, differentiated
    h_dot      = W_hr m_dot + ∂h/∂p                                 (T3)   only with a projection
    d_p       += d_outputᵀ h_dot                                    (R1)
    d_p       += d_h_nᵀ h_dot + …                                   (R2)   after the last step; every part of the state

∂a/∂p is what p does to this step directly: zero, unless p is an entry of this layer's W_ih, W_hh, b_ih or b_hh (for
∂h/∂p: of W_hr). Row j of a matrix acts on a_j alone, as much as the factor that it is multiplied with.

The numbers are those of nn/bptt.py; (R1) and (R2) are new. The derivation is in rtrl.md. In a stack, the h_dot of one
layer are the x_dot of the next: a layer has columns for the input, for the layers below and for itself. There are no
batches here: every sequence runs alone, and its states are columns (features, 1).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..nn import checks
from ..nn.cell import Cell, State, Weights
from ..nn.checks import without_warnings
from ..nn.layout import Layout, Order
from ..nn.recurrent import Recurrent
from ..nn.utils.rnn import PackedSequence, unpack_sequence
from ..types import Array


class Gradients(NamedTuple):
    """What a module computes on its way forward, and the gradients, in the forms of the module."""

    output: Any
    state: Any  # the final state
    d_input: Any
    d_initial: Any  # the gradient with respect to the initial state, also where that was left out
    d_parameters: dict[str, Array]


@without_warnings
def rtrl(
    module: Recurrent[Any],
    input: Any,
    hx: Any = None,
    d_output: Any = None,
    d_state: Any = None,
    dropout_masks: Sequence[Any] = (),
) -> Gradients:
    """Output, final state and all gradients of a recurrent module, by real-time recurrent learning.

    input, hx: as `module.forward` takes them. d_output, d_state: the gradients of the loss with respect to output and
    final state, as `module.backward` takes them; None, also within a tuple, for zeros. dropout_masks: the factors of
    the output of each layer but the last, laid out like it, as `module.dropout_masks` are; without them nothing is
    dropped. The module is only read: neither its tape nor any `grad` changes.

    The numbers are those of `module.forward` and `module.backward` up to rounding. A step takes H² times the number of
    parameters, where backpropagation takes that number alone; in return nothing is kept of past steps.

    Source: Williams and Zipser (1989), A learning algorithm for continually running fully recurrent neural networks,
    Neural Computation 1, for one layer of one kind of unit; for any cell and stack see rtrl.md.

    Raises what `module.forward` and `module.backward` raise for such arguments; RuntimeError unless there is a mask for
    each layer but the last, or none.
    """
    layout, weights = checked(module, input, hx, d_output, d_state, dropout_masks)
    initial, d_final = (parts_of(state, module, (len(weights), layout.batch)) for state in (hx, d_state))
    x, masks = rows_of(input), [rows_of(mask) for mask in dropout_masks]
    directions = len(weights) // module.num_layers
    output = np.empty((len(x), directions * initial[0].shape[-1]), module.dtype)
    d_rows = np.zeros_like(output) if d_output is None else rows_of(d_output)
    stack = [weights[k : k + directions] for k in range(0, len(weights), directions)]

    d_x, final, d_initial = np.empty_like(x), *([np.empty_like(part) for part in initial] for _ in range(2))
    names_of = [list(names.values()) for names in module._names]
    d_parameters = {name: np.zeros_like(getattr(module, name).data) for names in names_of for name in names}
    for b, rows in enumerate(rows_of_each_sequence(input, layout)):
        states, d_states = columns_of(initial, b), columns_of(d_final, b)
        output[rows], states_n, d_p = one_sequence(
            module.cell, stack, x[rows], states, d_rows[rows], d_states, [mask[rows] for mask in masks]
        )
        tensors = [x[rows], *(p for each, state in zip(weights, states, strict=True) for p in own(each, state))]
        places = zip(tensors, columns_after(0, tensors), strict=True)
        d_x[rows], *d_own = (d_p[columns].reshape(tensor.shape) for tensor, columns in places)
        gradients = iter(d_own)
        for k, names in enumerate(names_of):
            for name in names:
                d_parameters[name] += next(gradients)
            for part, d_part, state_n in zip(final, d_initial, states_n[k], strict=True):
                part[k, b], d_part[k, b] = state_n[:, 0], next(gradients)[:, 0]
    in_form = (tuple(p if layout.batched else p[:, 0] for p in parts) for parts in (final, d_initial))
    state, d_state_0 = map(module._join, in_form)
    return Gradients(laid_out(output, input), state, laid_out(d_x, input), d_state_0, d_parameters)


def one_sequence(
    cell: Cell,
    stack: list[list[Weights]],
    x: Array,
    initial: list[State],
    d_output: Array,
    d_final: list[State],
    masks: list[Array],
) -> tuple[Array, list[State], Array]:
    """All layers over one sequence.

    stack: the weights of each layer in each direction. x: (T, I). initial, d_final: for each layer and direction a
    state of columns (features, 1). d_output, and each of the masks: (T, D·P).

    Returns output: (T, D·P), the final states, and d_p: (K,) for all p in a row. These are the entries of x, and then,
    layer by layer and in each forward, then reverse, those of the parameters and of the initial state.
    """
    every = [weights for directions in stack for weights in directions]
    sizes = [sum(p.size for p in own(*pair)) for pair in zip(every, initial, strict=True)]
    bounds = np.cumsum([x.size, *sizes]).tolist()  # the columns of layer and direction k: bounds[k] to bounds[k + 1]
    d_p = np.zeros(bounds[-1], x.dtype)
    x_dot = np.eye(x.size, dtype=x.dtype).reshape(*x.shape, x.size)  # T, I, K  an entry of x depends on itself alone
    final: list[State] = []
    for layer, directions in enumerate(stack):
        if layer > 0 and masks:
            x, x_dot = masks[layer - 1] * x, masks[layer - 1][..., None] * x_dot
        below, K = bounds[len(final)], bounds[len(final) + len(directions)]
        output, output_dot = np.empty(d_output.shape, x.dtype), np.zeros((*d_output.shape, K), x.dtype)
        for direction, weights in enumerate(directions):
            k, P = len(final), len(initial[0][0])
            half = slice(direction * P, (direction + 1) * P)
            columns = np.r_[:below, bounds[k] : bounds[k + 1]]  # one direction does not depend on the other
            for t, state, state_dot in walk(cell, weights, x, x_dot, initial[k], reverse=direction == 1):
                output[t, half] = state[0][:, 0]
                if layer == len(stack) - 1:
                    d_p[columns] += d_output[t, half] @ state_dot[0]  # (R1)
                else:
                    output_dot[t, half][:, columns] = state_dot[0]
            for d_part, part_dot in zip(d_final[k], state_dot, strict=True):
                d_p[columns] += d_part[:, 0] @ part_dot  # (R2)
            final.append(state)
        x, x_dot = output, output_dot
    return x, final, d_p


def walk(
    cell: Cell, weights: Weights, x: Array, x_dot: Array, state: State, reverse: bool
) -> Iterator[tuple[int, State, State]]:
    """One layer in one direction over one sequence: after each step its number t, the state and its sensitivities.

    x: (T, I). x_dot: (T, I, K_below). state: the initial one, (features, 1) for each part. Its sensitivities are
    (features, K), with the columns of x_dot first, then one for each number in `own(weights, state)`.
    """
    W_ih, W_hh, b_ih, b_hh, W_hr = weights
    below, G, dtype = x_dot.shape[-1], len(cell.gates), x.dtype
    H = len(W_hh) // G
    places = columns_after(below, own(weights, state))
    K = places[-1].stop
    of_tensor: Iterator[Any] = iter(places)
    at = Weights._make(None if each is None else next(of_tensor) for each in weights)  # columns of their entries
    each_row = np.eye(len(W_hh), dtype=dtype)

    state_dot = tuple(np.zeros((len(part), K), dtype) for part in state)
    for part_dot, at_part in zip(state_dot, of_tensor, strict=True):
        part_dot[:, at_part] = np.eye(len(part_dot))  # the initial state depends on itself alone
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        state_prev, state_prev_dot, x_t = state, state_dot, x[t][:, None]
        h_prev, h_prev_dot = state_prev[0], state_prev_dot[0]
        from_input, from_state = W_ih @ x_t, W_hh @ h_prev  # (T1)  G·H, 1
        from_input_dot, from_state_dot = np.zeros((len(W_hh), K), dtype), W_hh @ h_prev_dot  # (T1)  G·H, K
        from_input_dot[:, :below] = W_ih @ x_dot[t]  # (T1)
        from_input_dot[:, at.W_ih] += np.kron(each_row, x_t.T)  # (T1)  ∂a/∂p
        from_state_dot[:, at.W_hh] += np.kron(each_row, h_prev.T)  # (T1)  ∂a/∂p
        if b_ih is not None and b_hh is not None:
            from_input += b_ih[:, None]  # (T1)
            from_state += b_hh[:, None]  # (T1)
            from_input_dot[:, at.b_ih] += each_row  # (T1)  ∂a/∂p
            from_state_dot[:, at.b_hh] += each_row  # (T1)  ∂a/∂p
        state = tuple(np.empty((H, 1), dtype) for _ in cell.state)
        kept = tuple(np.empty((H, 1), dtype) for _ in range(cell.kept))
        slopes = np.empty((cell.slopes, H, 1), dtype)
        a = cell.joined(from_input.reshape(G, H, 1), from_state.reshape(G, H, 1))
        a_dot = cell.joined(from_input_dot.reshape(G, H, K), from_state_dot.reshape(G, H, K))
        cell.step(a, state_prev, state, kept)  # (T2)
        cell.linearize(a, state_prev, state, kept, slopes)  # (T2)
        state_dot = cell.step_tangent(a_dot, state_prev_dot, slopes)  # (T2)  H, K
        if W_hr is not None:
            (m, *rest), (m_dot, *rest_dot) = state, state_dot
            h = W_hr @ m  # (T3)  P, 1
            h_dot = W_hr @ m_dot  # (T3)  P, K
            h_dot[:, at.W_hr] += np.kron(np.eye(len(h)), m.T)  # (T3)  ∂h/∂p
            state, state_dot = (h, *rest), (h_dot, *rest_dot)
        yield t, state, state_dot


def own(weights: Weights, state: State) -> list[Array]:
    """The tensors of one layer in one direction that have a gradient: parameters and initial state."""
    return [*(p for p in weights if p is not None), *state]


def columns_after(first: int, tensors: list[Array]) -> list[slice]:
    """The columns of each tensor's entries: as many for each as it has entries, counted on from the first."""
    ends = np.cumsum([first, *(tensor.size for tensor in tensors)]).tolist()
    return [slice(*pair) for pair in pairwise(ends)]


def checked(
    module: Recurrent[Any], input: Any, hx: Any, d_output: Any, d_state: Any, dropout_masks: Sequence[Any]
) -> tuple[Layout, list[Weights]]:
    """The layout of the input, and the parameters. Raises what the module would raise."""
    layout, dtype = Layout.of(input, module.batch_first), module.dtype
    checks.floats("input", input.data if isinstance(input, PackedSequence) else input, dtype, wrong_dtype=ValueError)
    layout.check_sequence("input", input, module.input_size, dtype)
    module._state_columns("hx", "{}_0", hx, layout)
    weights = [module._weights(names) for names in module._names]
    width = len(weights) // module.num_layers * weights[0].W_hh.shape[1]
    if d_output is not None:
        layout.check_sequence("d_output", d_output, width, dtype)
    module._state_columns("d_state", "d_{}_n", d_state, layout)
    if len(dropout_masks) not in (0, module.num_layers - 1):
        raise RuntimeError(f"expected {module.num_layers - 1} dropout_masks or none, got {len(dropout_masks)}")
    for number, mask in enumerate(dropout_masks):
        layout.check_sequence(f"dropout_masks[{number}]", mask, width, dtype)
    return layout, weights


def rows_of(sequence: Any) -> Array:
    """A sequence argument as rows (N, features), in the caller's order."""
    data = sequence.data if isinstance(sequence, PackedSequence) else sequence
    return data.reshape(-1, data.shape[-1])


def rows_of_each_sequence(input: Any, layout: Layout) -> list[Array]:
    """For each sequence of the batch, in the caller's order, the numbers of its rows, first step first."""
    if isinstance(input, PackedSequence):
        return unpack_sequence(input._replace(data=np.arange(len(input.data))))
    numbers = np.arange(len(rows_of(input))).reshape(input.shape[:-1])
    if not layout.batched:
        return [numbers]
    return list(numbers if layout.batch_first else numbers.T)


def laid_out(rows: Array, input: Any) -> Any:
    """The inverse of `rows_of`, in the form of the input."""
    if isinstance(input, PackedSequence):
        return PackedSequence(rows, *Order.of(input))
    return rows.reshape(*input.shape[:-1], rows.shape[-1])


def parts_of(state: Any, module: Recurrent[Any], shape: tuple[int, int]) -> list[Array]:
    """The parts of a state argument, each of shape (L·D, B) and its features; zeros where there is none."""
    sizes = [module._output_size if name == "h" else module.hidden_size for name in module.cell.state]
    parts = zip(module._split("state", state), sizes, strict=True)
    return [np.zeros((*shape, n), module.dtype) if part is None else part.reshape(*shape, n) for part, n in parts]


def columns_of(parts: list[Array], b: int) -> list[State]:
    """The states of sequence b for each layer and direction, as columns (features, 1)."""
    return [tuple(part[k, b][:, None] for part in parts) for k in range(len(parts[0]))]
