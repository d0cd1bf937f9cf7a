"""The two loops over time, as slots: what belongs in each, and what people put there by mistake.

A slot is an expression over what a loop knows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from .equations import Cell, follow
from .expressions import Values, evaluate, expression
from .mutations import SCALED, SIGN, Mistake
from .problems import Problem, names


def slots_of(text: str) -> dict[str, str]:
    """Slots, and what is in each."""
    return dict(pair.split(": ") for pair in text.strip().split("; "))


FORWARD = slots_of(
    "times: range(T); x_t: x[t]; h_0: h_0; c_0: c_0; h_prev: h; c_prev: c; output_t: h; output: output; h_n: h; c_n: c"
)
"""What belongs in each slot of the loop forward. h and c are the newest there are: those before, or after the step."""

BACKWARD = slots_of(
    "times: reversed(range(T)); d_h: d_output[t] + d_h_after; d_c: d_c_after; kept: t; d_h_after: d_h_prev; "
    "d_c_after: d_c_prev; total: total + d_step; d_h_0: d_h_after; d_c_0: d_c_after; d_x: d_x; d_all: total"
)
"""The same for the loop backward."""

FORWARD_SLIPS = """
    times: range(T - 1) | the loop stops one step early
    times: range(1, T) | the loop starts one step late
    times: reversed(range(T)) | the loop goes from the last step to the first
    x_t: x[0] | every step reads the first input
    x_t: x[t - 1] | each step reads the input of the step before
    x_t: x[T - 1 - t] | the inputs are read from the last to the first
    S_0: 0 * S_0 | the initial S is not used
    S_prev: S_0 | S is not carried: each step begins with the initial one
    S_prev: 0 * S | S is not carried: each step begins with zeros
    h_prev: c; c_prev: h | h and c are exchanged from step to step
    h_0: c_0; c_0: h_0 | h_0 and c_0 are exchanged
    output_t: c | c is put into the output
    output_t: tanh(h) | tanh is applied once more to what is put into the output
    output_t: h_prev | the output holds the state before each step, not after it
    output: output[-1] + 0 * output | every row of the output is the last (one array, appended again?)
    output: output[::-1] | the output is in reverse order
    S_n: S_0 | the initial S is returned as the last
    S_n: first_S | S after the first step is returned as the last
    S_n: S_prev | S before the last step is returned
    h_n: c | c is returned as h
    c_n: h | h is returned as c
"""
BACKWARD_SLIPS = f"""
    times: reversed(range(1, T)) | the loop stops one step early: the first step is left out
    times: reversed(range(T - 1)) | the loop starts one step late: the last step is left out
    times: range(T) | the loop goes from the first step to the last
    d_h: d_output[t] | what comes from the step after is not added to d_h
    d_h: d_h_after | d_output is not used
    d_h: 2 * d_output[t] + d_h_after | d_output is added twice
    d_h: 2 * (d_output[t] + d_h_after) | {SCALED}
    d_h: d_output[t - 1] + d_h_after | d_output of the step before is read
    d_h: d_output[T - 1 - t] + d_h_after | d_output is read from the first step to the last
    d_h: (t == T - 1) * d_output[t] + d_h_after | d_output is used at the last step alone
    d_h: (t > 0) * d_output[t] + d_h_after | d_output of the first step is not used
    d_S: D 2 * d_S_after | d_S from the step after is added twice
    d_S: D -d_S_after | {SIGN}
    d_S: D (t < T - 1) * d_S_after | the gradient of the last S, d_S_n, is not used
    d_S: D (t == T - 1) * d_S_after | d_S is not carried from step to step
    d_S: D d_S_n | d_S_n stands for what comes from the step after
    d_S: D 0 * d_S_after | what comes from the step after is not added to d_S
    d_c: d_c_after + d_output[t] | d_output is added to d_c, too
    d_h: d_output[t] + d_c_after; d_c: d_h_after | d_h and d_c are exchanged as they come
    kept: t - 1 | what the step before kept is read
    kept: T - 1 - t | what the steps kept is read from the first to the last
    kept: T - 1 | what the last step kept is read at every step
    d_S_after: d_S | d_S is handed on as it came
    d_S_after: 0 * d_S_prev | d_S is not carried from step to step
    d_S_after: -d_S_prev | {SIGN}
    d_S_after: d_S_after + d_S_prev | d_S_prev is added to what is carried, where it replaces it
    d_h_after: d_h + d_h_prev | d_h_prev is added to d_h, where it replaces it
    d_h_after: d_c_prev | d_c_prev is handed on as d_h
    d_c_after: d_h_prev | d_h_prev is handed on as d_c
    d_h_after: d_c_prev; d_c_after: d_h_prev | d_h and d_c are exchanged when carried on
    d_c_after: inner['d_c'] | d_c is handed on without its factor
    d_S_after: (t != 1) * d_S_prev | the gradient is cut on its way: the loop forgets it at one step
    d_S_after: (t != 2) * d_S_prev | the gradient is cut on its way: the loop forgets it at one step
    total: d_step | what each step adds overwrites the sum: only the first step is left
    total: total + (t == T - 1) * d_step | only the last step is in the sum
    total: total + (t > 0) * d_step | the first step is not in the sum
    total: total + (t < T - 1) * d_step | the last step is not in the sum
    total: total + d_step / T | the mean over the steps is there for their sum
    total: total + d_step / B | the mean over the batch is there for the sum
    total: total - d_step | {SIGN}
    total: total + 2 * d_step | each step is added twice
    d_S_0: d_S_n | the gradient of the last S is returned for that of the first
    d_S_0: 0 * d_S_after | zeros are returned
    d_S_0: d_S | d_S of the first step is returned: it is the gradient of the state after that step
    d_c_0: inner['d_c'] | d_c_0 lacks its factor: d_c of the first step is returned as it is
    d_h_0: d_c_after | d_c_0 is returned as d_h_0
    d_c_0: d_h_after | d_h_0 is returned as d_c_0
    d_x: d_x[::-1] | d_x is in reverse order
    d_x: d_x[-1] + 0 * d_x | every row of d_x is the last
"""
"""What people put in a slot, or in several. S is h, c, or both at once; D is what d_h has besides: d_output[t] +."""

CLIPS = """
    d_h: clip(d_output[t] + d_h_after, LIMIT) | the gradient is clipped at ±LIMIT
    d_S_after: clip(d_S_prev, LIMIT) | the gradient is clipped at ±LIMIT
    d_h_after: clip(d_h_prev, LIMIT); total: total + clip(d_step, LIMIT) | the gradient is clipped at ±LIMIT
    total: total + clip(d_step, LIMIT) | the gradient is clipped at ±LIMIT
    total: clip(total + d_step, LIMIT) | the gradient is clipped at ±LIMIT
    d_all: clip(total, LIMIT) | the gradient is clipped at ±LIMIT
    d_x: clip(d_x, LIMIT) | the gradient is clipped at ±LIMIT
"""
ABOUT_C = re.compile(r"\b(d_|first_)?c(_|\b)")


@cache
def slips(cell: Cell, function: str) -> tuple[Mistake, ...]:
    """What people put in the slots of `forward` or `backward`, as far as it can be done with this cell."""
    return tuple(rows(cell, function, FORWARD_SLIPS if function == "forward" else BACKWARD_SLIPS))


def clips(cell: Cell, limit: float) -> Iterator[Mistake]:
    """Where `backward` may clip the gradients."""
    return rows(cell, "backward", CLIPS.replace("±LIMIT", f"±{limit:g}").replace("LIMIT", repr(limit)))


def rows(cell: Cell, function: str, table: str) -> Iterator[Mistake]:
    """The rows of a table, for each part of the state, and for all at once."""
    belongs = FORWARD if function == "forward" else BACKWARD
    for row in filter(None, map(str.strip, table.splitlines())):
        slots, words = row.split(" | ")
        every = [*cell.parts, cell.parts] if "S" in slots else [" "]
        for parts in dict.fromkeys(every):
            filled = {
                of_part(slot, part): of_part(text, part) for part in parts for slot, text in slots_of(slots).items()
            }
            if "c" in cell.parts or not any(ABOUT_C.search(text) for pair in filled.items() for text in pair):
                name = next(iter(filled))
                told = words.replace("S", " and ".join(parts))
                yield Mistake(function, name, belongs[name], filled[name], told, slots=filled)


def of_part(text: str, part: str) -> str:
    """The text of a slot for a part of the state."""
    return text.replace("D ", "d_output[t] + " if part == "h" else "").replace("S", part)


def slot(text: str, values: Values) -> Any:
    """The value of a slot."""
    return evaluate(expression(text), values)


def forward_loop(
    problem: Problem, slots: Mapping[str, str], changes: Mapping[int, ast.expr], when: Callable[[int], bool]
) -> tuple[Values, list[Values]]:
    """The loop forward over the equations, changed at some steps. Returns its results, and what each step knows."""
    cell, slots = problem.cell, FORWARD | dict(slots)
    known: Values = {"c_0": problem.numbers["h_0"]} | problem.numbers | problem.sizes | {"t": 0}
    known |= {"h": slot(slots["h_0"], known), "c": slot(slots["c_0"], known)}
    known |= {"h_prev": known["h"], "c_prev": known["c"]}
    output, tape = np.zeros_like(problem.numbers["d_output"]), list[Values]()
    for t in slot(slots["times"], known):
        known["t"] = t
        known |= {name: slot(slots[name], known) for name in ("h_prev", "c_prev")}
        given = problem.values(slot(slots["x_t"], known), [known[name] for name in names(cell, "{}_prev")])
        values = follow(cell, "step", given, changes if when(t) else {}, problem.step_values)
        known |= {part: values[part] for part in cell.parts}
        if not tape:
            known |= {f"first_{part}": values[part] for part in cell.parts}
        output[t] = slot(slots["output_t"], known)
        tape.append(values)
    known["output"] = output
    return {name: slot(slots[name], known) for name in ("output", *names(cell, "{}_n"))}, tape


def backward_loop(
    problem: Problem, slots: Mapping[str, str], changes: Mapping[int, ast.expr], tape: Sequence[Values]
) -> Values:
    """The loop backward over the changed equations. Returns its results. tape: what each step knows."""
    cell, slots = problem.cell, BACKWARD | dict(slots)
    known: Values = {"d_c_n": None} | problem.numbers | problem.sizes | {"t": 0}
    known |= {"d_h_after": known["d_h_n"], "d_c_after": known["d_c_n"]}
    d_x = np.zeros_like(problem.numbers["x"])
    totals = {f"d_{name}": np.zeros_like(value) for name, value in problem.parameters.items()}
    for t in slot(slots["times"], known):
        known["t"] = t
        known |= {name: slot(slots[name], known) for name in ("d_h", "d_c")}
        given = tape[slot(slots["kept"], known)] | {"d_h": known["d_h"], "d_c_after": known["d_c"]}
        values = follow(cell, "step_backward", given, changes, problem.backward_values)
        known |= {"inner": values, "d_h_prev": values["d_h_prev"], "d_c_prev": values.get("d_c_prev")}
        known |= {name: slot(slots[name], known) for name in ("d_h_after", "d_c_after")}
        d_x[t] = values["d_x"]
        for name in totals:
            totals[name] = slot(slots["total"], known | {"total": totals[name], "d_step": values[name]})
    known["d_x"] = d_x
    totals = {name: slot(slots["d_all"], {"total": value}) for name, value in totals.items()}
    return totals | {name: slot(slots[name], known) for name in ("d_x", *names(cell, "d_{}_0"))}
