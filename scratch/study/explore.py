"""One text, forward and backward through time, with every number in between: as arrays, and as a page to look at.

A model's `forward` and `backward` give what they are asked for and keep the rest to themselves, on tapes laid out for
speed. `trace` walks the same way with the cell's own functions, one step at a time, and lays down everything. For each
layer, from the first step to the last,

    a      = (W_ih x + b_ih + b_hh) + W_hh h_prev        (T1)
    state  = step(a, state_prev)                         (T2)   the cell's own equations

then the loss, which is the mean over the T steps of the cross-entropy of the next character; and for each layer, the
last first, from the last step to the first,

    d_h           = d_output + d_h_after                 what the layer above or the loss says, and the step after
    d_a, d_c_prev = step_backward(d_state)               (T2)
    d_h_prev      = W_hhᵀ d_a                            (T1)   which is d_h_after one step earlier
    d_W_hh       += d_a h_prevᵀ                          (T1)
    d_x           = W_ihᵀ d_a                            (T1)   which is d_output of the layer below

The numbers are those of nn/bptt.py. `page` puts such traces into one HTML file, explore.html with the numbers as JSON
in it; the page computes nothing, it shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..nn.cell import Cell, State, Weights
from ..nn.module import without_warnings
from ..text import CharacterModel, Vocabulary, probabilities
from ..types import Array

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
    """W_ih x + b_ih + b_hh: (T, G, H)."""
    from_state: Array
    """W_hh h_prev: (T, G, H)."""
    a: Array
    """The pre-activations, the sum of both: (T, G, H)."""
    gates: Array
    """An LSTM's i, f, g, o: (T, 4, H). An RNN has none, and its h is here: (T, 1, H)."""
    tanh_c: Array | None
    """An LSTM's tanh(c): (T, H)."""
    state: dict[str, Array]
    """h, and an LSTM's c: (T + 1, H). Row 0 is the initial state, row t + 1 what step t makes of row t."""
    d_output: Array
    """The gradient of h that comes from above, the loss or the next layer: (T, H)."""
    d_state: dict[str, Array]
    """The whole gradient of h, and of c, after step t: (T, H). That of c includes the path through h."""
    d_state_prev: dict[str, Array]
    """What step t hands back to the state before it: W_hhᵀ d_a, and d_c ⊙ f: (T, H). Row 0 is of the initial state."""
    d_a: Array
    """The gradient of the pre-activations: (T, G, H)."""
    d_x: Array
    """The gradient of what the layer reads: (T, I)."""

    def d_state_after(self, name: str) -> Array:
        """The part of the gradient of h or c after step t that comes from the step after: (T, H), at last zero."""
        return np.concatenate([self.d_state_prev[name][1:], np.zeros_like(self.d_state_prev[name][:1])])

    def d_W_hh(self, units: slice = slice(None)) -> Array:
        """The sum that becomes d_W_hh, as it grows: (T, G, U, U), rows and columns of these hidden units.

        On the way back step T − 1 is the first that adds to it; row t holds what steps t to T − 1 have added. Row 0 is
        the gradient: as (G·H, H), if all units are asked for, it is `weight_hh_l…grad`.
        """
        h_prev = self.state["h"][:-1, units]
        added = self.d_a[:, :, units, None] * h_prev[:, None, None, :]  # (T1)  T, G, U, U
        growing: Array = np.cumsum(added[::-1], axis=0)[::-1]
        return growing


class Trace(NamedTuple):
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
def trace(model: CharacterModel, indices: Array) -> Trace:
    """All that a character model computes when it reads a text and is told, at each step, which character comes next.

    model: a character model with an RNN or an LSTM; it is only read, nothing is left in it, and nothing is dropped out.
    indices: (T + 1,) characters as integers, at least two. The initial states are zero.

    Raises ValueError for another kind of recurrence or fewer than two characters, and what the embedding and the loss
    raise for indices that are none.
    """
    rnn = model.rnn
    if not isinstance(rnn, (nn.RNN, nn.LSTM)) or rnn.bidirectional or rnn.proj_size:
        raise ValueError(f"expected an RNN or an LSTM in one direction and without a projection, got {rnn!r}")
    indices = np.asarray(indices)
    if indices.ndim != 1 or len(indices) < 2:
        raise ValueError(f"expected at least 2 characters, (T + 1,), got {indices.shape}")
    read, following = indices[:-1], indices[1:]
    criteria = nn.CrossEntropyLoss(reduction="none"), nn.CrossEntropyLoss()

    x = model.embed.weight.data[read] if isinstance(model.embed, nn.Embedding) else model.embed(read)  # T, I
    layers: list[LayerTrace] = []
    for names in rnn._names:
        layers.append(forward(rnn.cell, rnn._weights(names), x))
        x = layers[-1].state["h"][1:]
    W, b = model.fc.weight.data, model.fc.bias
    logits = x @ W.T + (0 if b is None else b.data)  # T, V
    losses, loss = (criterion(logits, following) for criterion in criteria)
    d_logits = criteria[1].backward()
    d_output = d_logits @ W  # T, H
    for number in reversed(range(len(layers))):
        layers[number] = backward(rnn._weights(rnn._names[number]), layers[number], d_output)
        d_output = layers[number].d_x
    chances = np.stack([probabilities(row) for row in logits])
    return Trace(indices, layers, logits, chances, losses, float(loss), d_logits)


def forward(cell: Cell, weights: Weights, x: Array) -> LayerTrace:
    """One layer over all steps, its gradients still empty. x: (T, I)."""
    W_ih, W_hh, b_ih, b_hh, _ = weights
    T, G, H = len(x), len(cell.gates), len(W_hh) // len(cell.gates)

    def empty(*shape: int) -> Array:
        return np.empty(shape, x.dtype)

    from_input, from_state, gates = (empty(T, G, H) for _ in range(3))
    state = {name: np.zeros((T + 1, H), x.dtype) for name in cell.state}
    kept = empty(T, cell.kept, H)
    for t in range(T):
        before, after = ([part[step, :, None] for part in state.values()] for step in (t, t + 1))  # H, 1
        columns = W_ih @ x[t][:, None]  # (T1)  G·H, 1
        if b_ih is not None and b_hh is not None:
            columns += (b_ih + b_hh)[:, None]  # (T1)
        from_input[t] = columns.reshape(G, H)
        from_state[t] = (W_hh @ before[0]).reshape(G, H)  # (T1)
        a = (from_input[t] + from_state[t])[:, :, None]  # (T1)  G, H, 1
        cell.step(a, tuple(before), tuple(after), tuple(kept[t, :, :, None]))  # (T2)
        gates[t] = a[:, :, 0] if cell.keeps_a else after[0].T
    return LayerTrace(
        cell,
        x,
        from_input,
        from_state,
        from_input + from_state,
        gates,
        kept[:, 0] if cell.kept else None,
        state,
        empty(T, H),
        {name: empty(T, H) for name in cell.state},
        {name: empty(T, H) for name in cell.state},
        empty(T, G, H),
        np.empty_like(x),
    )


def backward(weights: Weights, layer: LayerTrace, d_output: Array) -> LayerTrace:
    """The same layer with its gradients. d_output: (T, H), what comes from above."""
    cell, (W_ih, W_hh, *_) = layer.cell, weights
    T, G, H = layer.a.shape
    slopes = np.empty((cell.slopes, H, 1), d_output.dtype)
    d_after: State = tuple(np.zeros((H, 1), d_output.dtype) for _ in cell.state)
    for t in reversed(range(T)):
        before, after = (tuple(part[step, :, None] for part in layer.state.values()) for step in (t, t + 1))
        kept = () if layer.tanh_c is None else (layer.tanh_c[t, :, None],)
        cell.linearize(layer.gates[t, :, :, None], before, after, kept, slopes)  # (T2)
        d_h = d_output[t, :, None] + d_after[0]
        d_whole: State = (d_h,)
        if len(cell.state) > 1:
            _, _, _, _, h_by_c, _ = slopes  # of lstm.py
            d_whole = (d_h, d_after[1] + d_h * h_by_c)  # (6)  c acts through h and through the step after
        d_a = np.empty((G, H, 1), d_output.dtype)
        _, d_rest = cell.step_backward((d_h.copy(), *(part.copy() for part in d_after[1:])), slopes, d_a)  # (T2)
        d_after = (W_hh.T @ d_a.reshape(G * H, 1), *d_rest)  # (T1)
        layer.d_a[t] = d_a[:, :, 0]
        for name, d_part, d_part_prev in zip(cell.state, d_whole, d_after, strict=True):
            layer.d_state[name][t], layer.d_state_prev[name][t] = d_part[:, 0], d_part_prev[:, 0]
        layer.d_x[t] = (W_ih.T @ d_a.reshape(G * H, 1))[:, 0]  # (T1)
    return layer._replace(d_output=d_output)


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

    Raises what `trace` raises, and ValueError for a character that a model does not know or for numbers that are not
    finite.
    """
    data = {"text": text, "models": [described(text, shown) for shown in models]}
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    # "<" would be read as markup where "</script" or "<!--" begins.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("{{ data }}", content)


def described(text: str, shown: Shown) -> dict[str, Any]:
    """What the page has to know of a model, for JSON."""
    model, characters, origin = shown
    found = trace(model, Vocabulary(characters).encode(text))
    arrays = [array for layer in found.layers for array in (layer.a, layer.d_a, *layer.state.values())]
    if not all(np.isfinite(array).all() for array in (*arrays, found.losses, found.d_logits)):
        raise ValueError("expected a model that computes finite numbers from this text, got one that does not")
    units = units_on_page(found)
    return {
        "cell": type(model.rnn).__name__,
        "nonlinearity": getattr(model.rnn, "nonlinearity", "tanh"),
        "origin": origin,
        "hidden_size": model.rnn.hidden_size,
        "units": units,
        "shown": min(units, SHOWN_UNITS),
        "vocabulary_size": len(characters),
        "embedded": isinstance(model.embed, nn.Embedding),
        "gates": model.rnn.cell.gates,
        "loss": rounded(np.array(found.loss)),
        "losses": rounded(found.losses),
        "predictions": [
            predictions(found, step, characters, model.fc.weight.data.shape[0]) for step in range(len(found.losses))
        ],
        "layers": [layer_described(layer, units) for layer in found.layers],
    }


def predictions(found: Trace, step: int, characters: str, count: int) -> list[dict[str, Any]]:
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


def units_on_page(found: Trace) -> int:
    """How many hidden units of each layer are on the page: all, or as many groups as there is room for."""
    T, G, H = found.layers[0].a.shape
    of_a_unit = len(found.layers) * T * G * (SHOWN_UNITS + 7)  # G · 16 sums, and some seven other arrays for each gate
    return int(min(H, max(1, MOST_NUMBERS // of_a_unit // SHOWN_UNITS) * SHOWN_UNITS))


def layer_described(layer: LayerTrace, units: int) -> dict[str, Any]:
    """The numbers of a layer's first units, and the ends of the colour scales, for JSON.

    Arrays are nested lists by step, then by gate where there are several, then by unit; `d_W_hh` by step, by group of
    units that are shown together, by gate, by row and by column.
    """
    together = min(units, SHOWN_UNITS)
    groups = [slice(first, min(first + together, units)) for first in range(0, units, together)]
    sums = [layer.d_W_hh(group) for group in groups]
    steps = range(len(layer.a))
    numbers: dict[str, Any] = {
        "from_input": layer.from_input,
        "from_state": layer.from_state,
        "a": layer.a,
        "gates": layer.gates,
        "d_output": layer.d_output,
        "d_a": layer.d_a,
    }
    numbers |= layer.state | ({} if layer.tanh_c is None else {"tanh_c": layer.tanh_c})
    for name in layer.cell.state:
        numbers |= {
            f"d_{name}": layer.d_state[name],
            f"d_{name}_after": layer.d_state_after(name),
            f"d_{name}_prev": layer.d_state_prev[name],
        }
    values = {name: rounded(array[..., :units]) for name, array in numbers.items()}
    values["d_W_hh"] = [[rounded(growing[t]) for growing in sums] for t in steps]
    values["scales"] = {
        "a": largest(layer.a),
        "c": largest(layer.state.get("c", np.zeros(1))),
        "h": max(1.0, largest(layer.state["h"])),
        "d": largest(*layer.d_state.values(), *layer.d_state_prev.values()),
        "d_a": [largest(layer.d_a[:, gate]) for gate in range(len(layer.cell.gates))],
        "d_W_hh": [largest(growing) for growing in sums],
    }
    return values


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
