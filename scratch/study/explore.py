"""One text, forward and backward through time, with every number in between: as arrays, and as a page to look at.

A model's `forward` and `backward` give what they are asked for and keep the rest to themselves. `trace_text` has them
trace every step (trace.py), and lays down everything. For each layer, from the first step to the last,

    a      = (W_ih x + b_ih + b_hh) + W_hh h_prev        (T1)
    state  = step(a, state_prev)                         (T2)   the cell's own equations

(of gates that a cell wants apart, W_ih x + b_ih and W_hh h_prev + b_hh instead of the sum), then the loss, which is the
mean over the T steps of the cross-entropy of the next character; and for each layer, the last first, from the last step
to the first,

    d_h           = d_output + d_h_after                 what the layer above or the loss says, and the step after
    d_a, d_c_prev = step_backward(d_state)               (T2)
    d_h_prev      = W_hhᵀ d_a                            (T1)   which is d_h_after one step earlier; plus d_h_direct,
                                                                if step_backward hands h_prev something as well
    d_W_hh       += d_a h_prevᵀ                          (T1)
    d_x           = W_ihᵀ d_a                            (T1)   which is d_output of the layer below

The numbers are those of nn/bptt.py. What the cell computes in between, and how it says so, are its own equations, which
it brings as data (`Equations` in nn/cell.py): nothing here knows which cell it is. `page` puts such traces into one
HTML file, explore.html with the equations and the numbers as JSON in it; the page computes nothing, it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..nn.cell import Cell, Equations, Weights
from ..nn.checks import without_warnings
from ..nn.recurrent import Recurrent
from ..text import CharacterModel, Vocabulary, probabilities
from ..types import Array
from .equations import BOUNDED, blocks, evaluate, of_names, outermost, sides
from .pages import filled
from .trace import Step, trace

SHOWN_UNITS = 16
"""So many hidden units stand side by side on the page; of a larger layer the reader chooses which."""

MOST_NUMBERS = 600_000
"""About so many numbers of a model are on the page, some five megabytes; if there are more, only of its first units."""

LIKELIEST = 5
"""So many predictions are named at each step."""

DIGITS = 6
"""Significant digits of a number on the page."""


class LayerTrace(NamedTuple):
    """Everything that one layer computes on its way forward and backward. Row t of each array is step t."""

    cell: Cell
    x: Array
    """What the layer reads: (T, I)."""
    from_input: Array
    """W_ih x + b_ih + b_hh: (T, G, H). Of gates that are apart without b_hh."""
    from_state: Array
    """W_hh h_prev: (T, G, H). Of gates that are apart with b_hh."""
    a: Array
    """The pre-activations, the sum of both, or both where they stay apart: (T, G + apart, H)."""
    state: dict[str, Array]
    """h, c, …: (T + 1, H). Row 0 is the initial state, row t + 1 what step t makes of row t."""
    d_output: Array
    """The gradient of h that comes from above, the loss or the next layer: (T, H)."""
    d_state: dict[str, Array]
    """The whole gradient of h, c, … after step t: (T, H). That of c includes the path through h."""
    d_state_prev: dict[str, Array]
    """What step t hands back to each part of the state before it: (T, H). Row 0 is of the initial state."""
    d_a: Array
    """The gradient of the pre-activations: (T, G + apart, H)."""
    d_x: Array
    """The gradient of what the layer reads: (T, I)."""
    values: dict[str, Array]
    """What the cell's equations speak of, by the names they use, from a_i to d_c_prev: (T, H) each.

    A function of a name has one too, as in the code: tanh_c. What `step` and `step_backward` give is theirs; the rest,
    like a gate or the whole d_c, is what its equation comes to.
    """

    def d_state_after(self, name: str) -> Array:
        """The part of the gradient of h, c, … after step t that comes from the step after: (T, H), at last zero."""
        return from_after(self.d_state_prev[name])

    def d_W_hh(self, units: slice = slice(None)) -> Array:
        """The sum that becomes d_W_hh, as it grows: (T, G, U, U), rows and columns of these hidden units.

        On the way back step T − 1 is the first that adds to it; row t holds what steps t to T − 1 have added. Row 0 is
        the gradient: as (G·H, H), if all units are asked for, it is `weight_hh_l…grad`.
        """
        h_prev = self.state["h"][:-1, units]
        d_a = self.d_a[:, : len(self.cell.gates), units, None]
        added = d_a * h_prev[:, None, None, :]  # (T1)  T, G, U, U
        growing: Array = np.cumsum(added[::-1], axis=0)[::-1]
        return growing


class TextTrace(NamedTuple):
    """Everything that a character model computes for one text, forward and backward."""

    indices: Array
    """The characters: (T + 1,). The first T are read, the last T are to be predicted."""
    layers: list[LayerTrace]
    logits: Array
    """Of the next character: (T, V)."""
    probabilities: Array
    """Softmax of the logits: (T, V) float64."""
    losses: Array
    """−log of the probability of the character that came: (T,)."""
    loss: float
    """Their mean."""
    d_logits: Array
    """The gradient of that mean: (T, V)."""


@without_warnings
def trace_text(model: CharacterModel, indices: Array) -> TextTrace:
    """All that a character model computes when it reads a text and is told, at each step, which character comes next.

    model: a character model; it is only read, nothing is left in it, and nothing is dropped out. indices: (T + 1,)
    characters as integers, at least two. The initial states are zero.

    Raises ValueError for a recurrence in two directions, with a projection or with a cell that brings no equations and
    for fewer than two characters, and what the embedding and the loss raise for indices that are none.
    """
    rnn = model.rnn
    if not isinstance(rnn, Recurrent) or rnn.bidirectional or rnn.proj_size:
        raise ValueError(f"expected a recurrence in one direction and without a projection, got {rnn!r}")
    equations = rnn.cell.equations
    if equations is None:
        raise ValueError(f"expected a cell with equations, which say what it computes, got {rnn!r} without")
    indices = np.asarray(indices)
    if indices.ndim != 1 or len(indices) < 2:
        raise ValueError(f"expected at least 2 characters, (T + 1,), got {indices.shape}")
    read, following = indices[:-1], indices[1:]
    criteria = nn.CrossEntropyLoss(reduction="none"), nn.CrossEntropyLoss()

    rnn = deepcopy(rnn).eval()  # in which nothing is dropped out
    x = model.embed.weight.data[read] if isinstance(model.embed, nn.Embedding) else model.embed(read)  # T, I
    W, b = model.fc.weight.data, model.fc.bias
    logits = trace(rnn, x).output @ W.T + (0 if b is None else b.data)  # T, V
    losses, loss = (criterion(logits, following) for criterion in criteria)
    d_logits = criteria[1].backward()
    d_output = d_logits @ W  # T, H
    all_steps = trace(rnn, x, None, d_output).steps  # once more, now that the loss is known
    inputs = [x, *(in_rows(step.state[0] for step in steps) for steps in all_steps)]
    layers: list[LayerTrace] = []
    for k in reversed(range(rnn.num_layers)):
        weights = rnn._weights(rnn._names[k])
        layers.insert(0, layer_trace(rnn.cell, equations, weights, inputs[k], all_steps[k], d_output))
        d_output = layers[0].d_x
    chances = np.stack([probabilities(row) for row in logits])
    return TextTrace(indices, layers, logits, chances, losses, float(loss), d_logits)


def layer_trace(
    cell: Cell, equations: Equations, weights: Weights, x: Array, steps: Sequence[Step], d_output: Array
) -> LayerTrace:
    """One layer over all steps. x: (T, I). d_output: (T, H), what comes from above."""
    W_ih, W_hh, b_ih, b_hh, _ = weights
    T, G, H, summed = len(x), len(cell.gates), len(W_hh) // len(cell.gates), len(cell.summed)
    state: dict[str, Array] = {}
    for n, name in enumerate(cell.state):
        before, after = in_rows(step.state_prev[n] for step in steps), in_rows(step.state[n] for step in steps)
        state[name] = np.concatenate([before[:1], after])
    from_input, from_state = (x @ W_ih.T).reshape(T, G, H), (state["h"][:-1] @ W_hh.T).reshape(T, G, H)  # (T1)
    if b_ih is not None and b_hh is not None:
        from_input += b_ih.reshape(G, H)  # (T1)
        from_input[:, :summed] += b_hh.reshape(G, H)[:summed]  # (T1)
        from_state[:, summed:] += b_hh.reshape(G, H)[summed:]  # (T1)
    a, d_a = in_rows(step.a for step in steps), in_rows(step.d_a for step in steps)

    d_h = in_rows(step.d_state[0] for step in steps)
    nothing = np.zeros((H, 1), d_h.dtype)
    d_h_direct = in_rows(nothing if step.d_h_direct is None else step.d_h_direct for step in steps)
    d_of_input, d_of_state = (half.swapaxes(0, 1).reshape(T, G * H) for half in cell.halves(d_a.swapaxes(0, 1)))
    d_state_prev = {"h": d_of_state @ W_hh + d_h_direct}  # (T1)
    d_state_prev |= {name: in_rows(step.d_rest[n] for step in steps) for n, name in enumerate(cell.state[1:])}
    d_after = {name: from_after(part) for name, part in d_state_prev.items()}

    values = {name: a[:, n] for n, name in enumerate(blocks(cell))}
    values |= {f"{name}_prev": part[:-1] for name, part in state.items()}
    for name, right in map(sides, equations.forward):
        values[name] = state[name][1:] if name in state else evaluate(right, values)
    values |= {name: part[1:] for name, part in state.items()}
    given = {f"d_{name}": d_a[:, n] for n, name in enumerate(blocks(cell))}
    given |= {f"d_{name}_prev": part for name, part in d_state_prev.items()} | {"d_h_direct": d_h_direct}
    values |= {"d_output": d_output, "d_h": d_h} | {f"d_{name}_after": part for name, part in d_after.items()}
    for name, right in map(sides, equations.backward):
        right, functions = of_names(right)
        values |= {function: evaluate(text, values) for function, text in functions.items()}
        values[name] = given[name] if name in given else evaluate(right, values)
    values["d_h_prev"] = d_state_prev["h"]
    d_state = {name: values.get(f"d_{name}", d_after[name]) for name in cell.state}
    values |= {f"d_{name}": part for name, part in d_state.items()}
    return LayerTrace(
        cell, x, from_input, from_state, a, state, d_output, d_state, d_state_prev, d_a, d_of_input @ W_ih, values
    )


def from_after(d_prev: Array) -> Array:
    """What each step gets from the step after it: (T, H). d_prev: (T, H), what each step hands back."""
    return np.concatenate([d_prev[1:], np.zeros_like(d_prev[:1])])


def in_rows(columns: Iterable[Array]) -> Array:
    """What one sequence has at each step, (…, 1), as row t of one array: (T, …)."""
    return np.stack([column[..., 0] for column in columns])


class Shown(NamedTuple):
    """A model as the page shows it."""

    model: CharacterModel
    characters: str
    """Its vocabulary, in the order of its indices."""
    origin: str
    """Where its parameters come from, in a few words."""


def page(text: str, models: Sequence[Shown]) -> str:
    """The page for a text, read by one model or several side by side: an HTML file that needs nothing but a browser.

    text: at least two characters. The keys and what is to be seen are told on the page itself.

    Raises what `trace_text` raises, and ValueError for a character that a model does not know or for numbers that are
    not finite.
    """
    data = {"text": text, "models": [described(text, shown) for shown in models]}
    return filled(Path(__file__).with_suffix(".html"), data)


def described(text: str, shown: Shown) -> dict[str, Any]:
    """What the page has to know of a model, for JSON."""
    model, characters, origin = shown
    found = trace_text(model, Vocabulary(characters).encode(text))
    arrays = [array for layer in found.layers for array in layer.values.values()]
    if not all(np.isfinite(array).all() for array in (*arrays, found.losses, found.d_logits)):
        raise ValueError("expected a model that computes finite numbers from this text, got one that does not")
    units, cell = units_on_page(found), model.rnn.cell
    forward, backward = rows(cell)
    return {
        "cell": type(model.rnn).__name__,
        "a_cell": with_article(type(model.rnn).__name__),
        "file": type(model.rnn).__module__.replace(".", "/") + ".py",
        "origin": origin,
        "hidden_size": model.rnn.hidden_size,
        "units": units,
        "shown": min(units, SHOWN_UNITS),
        "vocabulary_size": len(characters),
        "embedded": isinstance(model.embed, nn.Embedding),
        "gates": cell.gates,
        "state": cell.state,
        "d_a": [f"d_{name}" for name in blocks(cell)[: len(cell.gates)]],
        "forward": [row._asdict() for row in forward],
        "backward": [row._asdict() for row in backward],
        "loss": rounded(np.array(found.loss)),
        "losses": rounded(found.losses),
        "predictions": [
            predictions(found, step, characters, model.fc.weight.data.shape[0]) for step in range(len(found.losses))
        ],
        "layers": [layer_described(layer, units) for layer in found.layers],
    }


def with_article(name: str) -> str:
    """An RNN, a GRU: as the letters of an abbreviation are spoken, or the word."""
    return f"{'an' if name[0] in ('AEFHILMNORSX' if name.isupper() else 'AEIOU') else 'a'} {name}"


class Row(NamedTuple):
    """An equation on the page."""

    number: str
    """Where it comes from, as the files number it; empty for what the page says between them."""
    name: str
    """What it gives a value."""
    text: str
    """The equation."""
    numbers: str
    """Its right side as it is to be filled in: names become the values of the chosen unit, {unit} its number."""


def rows(cell: Cell) -> tuple[list[Row], list[Row]]:
    """The equations of a step, forward and backward, in the order of computation: those of time and the cell's own."""
    assert cell.equations is not None
    G, names = len(cell.gates), blocks(cell)
    forward, backward = [], []
    for n, gate in enumerate(cell.gates):
        a, of_gate = names[n], "" if G == 1 else f"_{gate}"
        if n < len(cell.summed):
            forward.append(
                Row("T1", a, f"{a} = W_ih x + b + W_hh h_prev", f"from_input{of_gate} + from_state{of_gate}")
            )
        else:
            a_x, row = names[n + cell.apart], "" if G == 1 else f"{gate} "
            of_state, of_input = (f"Σⱼ {W}[{row}{{unit}}, j] · {y}[j]" for W, y in (("W_hh", "h_prev"), ("W_ih", "x")))
            forward.append(Row("T1", a, f"{a} = W_hh h_prev + b_hh", f"{of_state} + b_hh[{row}{{unit}}]"))
            forward.append(Row("T1", a_x, f"{a_x} = W_ih x + b_ih", f"{of_input} + b_ih[{row}{{unit}}]"))
    for equation in cell.equations.forward:
        name, right = sides(equation)
        forward.append(Row(equation.number, name, equation.text, right))

    backward.append(Row("", "d_h", "d_h = d_output + d_h_after", "d_output + d_h_after"))
    for equation in cell.equations.backward:
        name, right = sides(equation)
        backward.append(Row(equation.number, name, equation.text, of_names(right)[0]))  # tanh(c) is known by now
    direct = " + d_h_direct" if any(row.name == "d_h_direct" for row in backward) else ""
    product = "Σⱼ W_hh[j, {unit}] · d_a[j]"
    backward.append(Row("T1", "d_h_prev", f"d_h_prev = W_hhᵀ d_a{direct}", f"{product}{direct}"))
    return forward, backward


def predictions(found: TextTrace, step: int, characters: str, count: int) -> list[dict[str, Any]]:
    """The likeliest characters at a step and the one that came, with their probabilities and gradients."""
    p, target = found.probabilities[step], int(found.indices[step + 1])
    named = np.argsort(-p, kind="stable")[: min(LIKELIEST, count)].tolist()
    if target not in named:
        named.append(target)
    return [
        {
            "character": characters[index],
            "p": rounded(p[index]),
            "d": rounded(found.d_logits[step, index]),
            "came": index == target,
        }
        for index in named
    ]


def units_on_page(found: TextTrace) -> int:
    """How many hidden units of each layer are on the page: all, or as many groups as there is room for."""
    T, G, H = found.layers[0].from_input.shape
    of_a_unit = len(found.layers) * T * (G * SHOWN_UNITS + len(numbers_of(found.layers[0])))
    return int(min(H, max(1, MOST_NUMBERS // of_a_unit // SHOWN_UNITS) * SHOWN_UNITS))


def numbers_of(layer: LayerTrace) -> dict[str, Array]:
    """What the page shows of each unit at each step, by the names in its rows: (T, H) each."""
    found = dict(layer.values)
    for n, gate in enumerate(layer.cell.summed):
        of_gate = "" if len(layer.cell.gates) == 1 else f"_{gate}"
        found |= {f"from_input{of_gate}": layer.from_input[:, n], f"from_state{of_gate}": layer.from_state[:, n]}
    return found


def layer_described(layer: LayerTrace, units: int) -> dict[str, Any]:
    """The numbers of a layer's first units, and the ends of the colour scales, for JSON.

    `values` are nested lists by name, by step and by unit; `d_W_hh` by step, by group of units that are shown together,
    by gate, by row and by column.
    """
    together = min(units, SHOWN_UNITS)
    groups = [slice(first, min(first + together, units)) for first in range(0, units, together)]
    sums = [layer.d_W_hh(group) for group in groups]
    scales, legend = scales_of(layer)
    return {
        "values": {name: rounded(array[:, :units]) for name, array in numbers_of(layer).items()},
        "d_W_hh": [[rounded(growing[t]) for growing in sums] for t in range(len(layer.a))],
        "scales": scales | {"d_W_hh": [largest(growing) for growing in sums]},
        "legend": legend,
    }


def scales_of(layer: LayerTrace) -> tuple[dict[str, Any], dict[str, list[tuple[str, list[float]]]]]:
    """The end of the scale of colours of each row by its name, and by phase what a legend says about them.

    Forward, the pre-activations share one, and what is σ or tanh of something reaches to 1; h does at least, so that
    models compare. Backward, each block of d_a has its own, because gates differ by orders of magnitude, and all other
    gradients share one, which shows how they shrink and grow.
    """
    assert layer.cell.equations is not None
    names, state = blocks(layer.cell), layer.cell.state
    scales = dict.fromkeys(names, largest(layer.a))
    bounded: list[str] = []
    others: list[str] = []
    for name, right in map(sides, layer.cell.equations.forward):
        if name == "h":
            continue
        is_bounded = outermost(right) in BOUNDED
        (bounded if is_bounded else others).append(name)
        scales[name] = 1.0 if is_bounded else largest(layer.values[name])
    scales["h"] = max(1.0, largest(layer.state["h"]))

    of_a = [f"d_{name}" for name in names]
    shared = {f"d_{name}" for name in state} | {f"d_{name}_prev" for name in state}
    shared |= {name for name, _ in map(sides, layer.cell.equations.backward)} - set(of_a)
    scales |= dict.fromkeys(shared, largest(*(layer.values[name] for name in shared)))
    scales |= {name: largest(layer.values[name]) for name in of_a}

    short = ", ".join(name.removeprefix("a_") for name in names)
    return scales, {
        "forward": [
            ("a", [scales[names[0]]]),
            *([(", ".join(bounded), [1.0])] if bounded else []),
            *((name, [scales[name]]) for name in (*others, "h")),
        ],
        "backward": [
            (", ".join(f"d_{name}" for name in state), [scales["d_h"]]),
            ("d_a" if len(names) == 1 else f"d_a of {short}", [scales[name] for name in of_a]),
        ],
    }


def largest(*arrays: Array) -> float:
    """The largest magnitude in some arrays, with two digits, upwards: the end of a scale of colours."""
    found = max(float(np.abs(array).max()) for array in arrays)
    if found == 0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(found)) - 1)
    return float(f"{np.ceil(found / unit) * unit:.2g}")


def rounded(array: Any) -> Any:
    """An array as nested lists of numbers with a few significant digits; a scalar as a number."""
    if np.ndim(array) > 0:
        return [rounded(part) for part in array] if np.ndim(array) > 1 else [rounded(x) for x in array.tolist()]
    return float(f"{float(array):.{DIGITS}g}")
