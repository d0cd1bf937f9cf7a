"""A whole module, written so that a mistake in it is one line changed: the stack around the two loops over time.

The loops are those of reference/stages/loops.py. A line `name = …` is a slot (slots.py there): a fault says what else
its right side is. So every value that people get wrong has a line of its own here.

Everything is (T, B, features) here, whatever the caller's layout; `m` holds the numbers and options (machine.Module).
"""

from typing import Any

import numpy as xp

from ..stages.expressions import Values, flip
from ..stages.loops import beside, loop_backward, loop_forward


def forward(m: Any) -> tuple[Values, Values]:
    """The stack of layers: what it gives in the caller's layout, and what the way back needs."""
    x = m.masked(m.by_step(m.input))
    T, B = x.shape[:2]
    groups = m.groups(T)
    masks = m.masks
    h_0 = m.state("h_0", B)
    c_0 = m.state("c_0", B)
    tapes, values = {}, []
    h_ends, c_ends = {}, {}
    value = x
    for layer in range(m.L):
        if layer and masks:
            mask = masks[layer - 1]
            value = value * mask
        layer_input = value
        halves = []
        for direction in range(m.D):
            k = layer * m.D + direction
            k_in = k
            k_out = k
            weights = m.weights[k]
            half = m.zeros(T, B, m.P)
            h_end, c_end = m.zeros(B, m.P), m.zeros(B, m.H)
            for which, length in groups:
                part = layer_input[:length, which]
                read = flip(part) if direction else part
                h_start = h_0[k_in][which]
                c_start = c_0[k_in][which]
                made, h_last, c_last, tape = loop_forward(read, h_start, c_start, weights)
                placed = flip(made) if direction else made
                half[:length, which] = placed
                h_end[which], c_end[which] = h_last, 0 if c_last is None else c_last
                tapes[k, length] = beside(m.cell, tape)
            done = m.masked(half)
            h_final = h_end
            h_ends[k_out], c_ends[k_out] = h_final, c_end
            halves.append(done)
        output_halves = halves
        layer_output = xp.concatenate(output_halves, axis=2)
        value = layer_output
        values.append(value)
    output = value
    h_n = xp.stack([h_ends[k] for k in range(m.L * m.D)])
    c_n = xp.stack([c_ends[k] for k in range(m.L * m.D)])
    given_output = m.as_given(m.masked(output))
    given_h_n = m.outward(h_n)
    given_c_n = m.outward(c_n)
    run = {"output": given_output, "h_n": given_h_n, "c_n": given_c_n}
    return run, {"tapes": tapes, "values": values, "T": T, "B": B}


def backward(m: Any, kept: Values) -> Values:
    """The gradients, in the caller's layout; those of the parameters by name and k."""
    T, B, tapes = kept["T"], kept["B"], kept["tapes"]
    groups = m.groups(T)
    masks = m.masks
    d_output = m.masked(m.by_step(m.d_output))
    d_h_n = m.state("d_h_n", B)
    d_c_n = m.state("d_c_n", B)
    gradients: dict[tuple[str, int], Any] = {}
    d_h_starts, d_c_starts = {}, {}
    d_value = d_output
    for layer in reversed(range(m.L)):
        d_x = m.zeros(T, B, kept["values"][layer - 1].shape[2] if layer else m.input.shape[-1])
        for direction in range(m.D):
            k = layer * m.D + direction
            k_in = k
            k_out = k
            weights = m.weights[k]
            column = direction
            d_half = d_value[:, :, column * m.P : (column + 1) * m.P]
            totals: Values = {}
            d_h_start, d_c_start = m.zeros(B, m.P), m.zeros(B, m.H)
            for which, length in groups:
                d_part = d_half[:length, which]
                d_made = flip(d_part) if direction else d_part
                d_h_end = d_h_n[k_out][which]
                d_c_end = d_c_n[k_out][which]
                d_read, d_h_first, d_c_first, added = loop_backward(d_made, d_h_end, d_c_end, tapes[k, length], weights)
                d_placed = flip(d_read) if direction else d_read
                d_x[:length, which] += d_placed
                d_h_start[which], d_c_start[which] = d_h_first, 0 if d_c_first is None else d_c_first
                totals = {name: totals.get(name, 0) + total for name, total in added.items()}
            for name, total in totals.items():
                d_parameter = total
                gradients[name, k] = d_parameter
            d_h_starts[k_in], d_c_starts[k_in] = d_h_start, d_c_start
        if layer and masks:
            mask = masks[layer - 1]
            d_mask = mask
            d_x = d_x * d_mask
        d_below = d_x
        d_value = d_below
    d_h_0 = xp.stack([d_h_starts[k] for k in range(m.L * m.D)])
    d_c_0 = xp.stack([d_c_starts[k] for k in range(m.L * m.D)])
    d_input = m.as_given(m.masked(d_value))
    given_d_h_0 = m.outward(d_h_0)
    given_d_c_0 = m.outward(d_c_0)
    return {"d_input": d_input, "d_h_0": given_d_h_0, "d_c_0": given_d_c_0, "gradients": gradients}
