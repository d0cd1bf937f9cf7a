"""The page of `study explore`: a text and what models computed for it, to step through in a browser.

explore.html shows the equations and the numbers, which `page` writes into it as JSON. The page computes nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..nn.cell import Cell
from ..text import CharacterModel, Vocabulary
from ..types import Array
from .equations import BOUNDED, blocks, of_names, outermost, sides
from .explore import LayerTrace, TextTrace, trace_text
from .pages import filled, rounded

SHOWN_UNITS = 16  # so many hidden units stand side by side on the page; in a larger layer the reader chooses which

MOST_NUMBERS = 600_000
"""About so many numbers of a model fit on the page, some five megabytes; of larger models it has only some units."""

LIKELIEST = 5  # the number of predictions that are named at each step


class Shown(NamedTuple):
    """A model as the page shows it."""

    model: CharacterModel
    characters: str  # its vocabulary, in the order of its indices
    origin: str  # where its parameters come from, in a few words


def page(text: str, models: Sequence[Shown]) -> str:
    """The page for a text, read by one model or several side by side: an HTML file that needs nothing but a browser.

    text: at least two characters. The page itself explains what it shows and which keys it knows.

    Raises what `trace_text` raises, and ValueError for a character that a model does not know or for numbers that are
    not finite.
    """
    data = {"text": text, "models": [described(text, shown) for shown in models]}
    return filled(Path(__file__).with_name("explore.html"), data)


def described(text: str, shown: Shown) -> dict[str, Any]:
    """A model for the page, as JSON has it."""
    model, characters, origin = shown
    found = trace_text(model, Vocabulary(characters).encode(text))
    arrays = [array for layer in found.layers for array in layer.values.values()]
    if not all(np.isfinite(array).all() for array in (*arrays, found.losses, found.d_logits)):
        raise ValueError("expected a model that computes finite numbers from this text, got one that does not")
    units, kind, cell = units_on_page(found), type(model.rnn), model.rnn.cell
    forward, backward = rows(cell)
    # the letters that sound as if they began with a vowel
    spoken = "AEFHILMNORSX" if kind.__name__.isupper() else "AEIOU"
    return {
        "cell": kind.__name__,
        "a_cell": f"{'an' if kind.__name__[0] in spoken else 'a'} {kind.__name__}",
        "file": kind.__module__.replace(".", "/") + ".py",
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
        "predictions": [predictions(found, step, characters) for step in range(len(found.losses))],
        "layers": [layer_described(layer, units) for layer in found.layers],
    }


class Row(NamedTuple):
    """An equation on the page."""

    number: str  # its number in the files; empty for what the page says between them
    name: str  # the name that it gives a value
    text: str  # the equation
    numbers: str
    """Its right side, to be filled in: the page puts values of the chosen unit for names, and its number for {unit}."""


def rows(cell: Cell) -> tuple[list[Row], list[Row]]:
    """The equations of a step, forward and backward, in the order of computation: those of time and the cell's own."""
    assert cell.equations is not None
    several, names = len(cell.gates) > 1, blocks(cell)
    forward, backward = [], [Row("", "d_h", "d_h = d_output + d_h_after", "d_output + d_h_after")]
    for n, gate in enumerate(cell.gates):
        a, suffix, row = names[n], f"_{gate}" if several else "", f"{gate} " if several else ""
        if n < len(cell.summed):
            forward.append(Row("T1", a, f"{a} = W_ih x + b + W_hh h_prev", f"from_input{suffix} + from_state{suffix}"))
            continue
        for name, W, y, b in ((a, "W_hh", "h_prev", "b_hh"), (names[n + cell.apart], "W_ih", "x", "b_ih")):
            numbers = f"Σⱼ {W}[{row}{{unit}}, j] · {y}[j] + {b}[{row}{{unit}}]"
            forward.append(Row("T1", name, f"{name} = {W} {y} + {b}", numbers))
    for rows_of, equations in ((forward, cell.equations.forward), (backward, cell.equations.backward)):
        for equation in equations:
            name, right = sides(equation)
            numbers = right if rows_of is forward else of_names(right)[0]  # tanh(c) is known by now
            rows_of.append(Row(equation.number, name, equation.text, numbers))
    direct = " + d_h_direct" if any(row.name == "d_h_direct" for row in backward) else ""
    product = "Σⱼ W_hh[j, {unit}] · d_a[j]"
    backward.append(Row("T1", "d_h_prev", f"d_h_prev = W_hhᵀ d_a{direct}", f"{product}{direct}"))
    return forward, backward


def predictions(found: TextTrace, step: int, characters: str) -> list[dict[str, Any]]:
    """The likeliest characters at a step and the one that came, with their probabilities and gradients."""
    p, d, target = found.probabilities[step], found.d_logits[step], int(found.indices[step + 1])
    named = dict.fromkeys([*np.argsort(-p, kind="stable")[:LIKELIEST].tolist(), target])
    return [{"character": characters[k], "p": rounded(p[k]), "d": rounded(d[k]), "came": k == target} for k in named]


def units_on_page(found: TextTrace) -> int:
    """How many hidden units of each layer are on the page: all, or as many groups as there is room for."""
    layer = found.layers[0]
    T, H = layer.values["h"].shape
    of_a_unit = len(found.layers) * T * (len(layer.cell.gates) * SHOWN_UNITS + len(layer.values))
    return int(min(H, max(1, MOST_NUMBERS // of_a_unit // SHOWN_UNITS) * SHOWN_UNITS))


def layer_described(layer: LayerTrace, units: int) -> dict[str, Any]:
    """The numbers of a layer's first units, and the ends of the colour scales, for JSON.

    `values` are nested lists by name, by step and by unit; `d_W_hh` by step, by group of units that are shown together,
    by gate, by row and by column.
    """
    groups = [slice(first, min(first + SHOWN_UNITS, units)) for first in range(0, units, SHOWN_UNITS)]
    sums = [layer.d_W_hh(group) for group in groups]
    scales, legend = scales_of(layer)
    return {
        "values": {name: rounded(array[:, :units]) for name, array in layer.values.items()},
        "d_W_hh": [[rounded(growing[t]) for growing in sums] for t in range(len(layer.x))],
        "scales": scales | {"d_W_hh": [largest(growing) for growing in sums]},
        "legend": legend,
    }


def scales_of(layer: LayerTrace) -> tuple[dict[str, float], dict[str, list[tuple[str, list[float]]]]]:
    """Where the scale of colours of each row ends, by its name, and what the legend of each phase says about that.

    Forward, the pre-activations share one scale, and σ or tanh of something ends at 1; h at 1 or above, so that models
    compare. Backward, each block of d_a has its own, because gates differ by orders of magnitude. All other gradients
    share one, which shows how they shrink and grow.
    """
    names, state, values = blocks(layer.cell), layer.cell.state, layer.values
    forward, backward = rows(layer.cell)
    pre_activations = largest(*(values[name] for name in names))
    scales = dict.fromkeys(names, pre_activations)
    made = {row.name: row.numbers for row in forward if row.name not in names}
    bounded = [name for name, right in made.items() if outermost(right) in BOUNDED and name != "h"]
    for name in made:
        scales[name] = 1.0 if name in bounded else largest(values[name], *([np.ones(1)] if name == "h" else []))
    of_a, of_state = [f"d_{name}" for name in names], [f"d_{name}" for name in state]
    shared = {*of_state, *(f"{name}_prev" for name in of_state), *(row.name for row in backward)} - set(of_a)
    scales |= dict.fromkeys(sorted(shared), largest(*(values[name] for name in shared)))
    scales |= {name: largest(values[name]) for name in of_a}

    others = [name for name in made if name not in (*bounded, "h")]
    of_gates = "d_a" if len(names) == 1 else f"d_a of {', '.join(name.removeprefix('a_') for name in names)}"
    return scales, {
        "forward": [
            ("a", [pre_activations]),
            *([(", ".join(bounded), [1.0])] if bounded else []),
            *((name, [scales[name]]) for name in (*others, "h")),
        ],
        "backward": [(", ".join(of_state), [scales["d_h"]]), (of_gates, [scales[name] for name in of_a])],
    }


def largest(*arrays: Array) -> float:
    """The largest magnitude in some arrays, rounded up to two digits: where a scale of colours ends."""
    found = max(float(np.abs(array).max()) for array in arrays)
    unit = 10.0 ** (np.floor(np.log10(found)) - 1) if found > 0 else 1.0
    return float(f"{np.ceil(found / unit) * unit:.2g}") or 1.0
