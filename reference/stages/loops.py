"""The two loops over time, in which every value that people get wrong is a slot (slots.py), and what they put there.

`step` and `step_backward` stand for the equations, and are put in, as is `xp`: NumPy, or PyTorch where the exact way
back of a changed way forward is wanted (reference/faults).
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as xp

from .equations import Cell
from .expressions import Values
from .mutations import SCALED, SIGN, Mistake, mutations
from .slots import slots_of

Array = Any


def step(known: Values) -> Values:
    """Everything that a step's equations give, besides what is known. Put in."""
    raise NotImplementedError


right_step = step_backward = step


def loop_forward(x: Array, h_0: Array, c_0: Array, weights: Values) -> tuple[Any, ...]:
    """One layer in one direction over sequences of one length."""
    T, B = x.shape[:2]
    h = h_0
    c = c_0
    tape: list[Any] = [None] * T
    outputs: list[Any] = [None] * T
    times = range(T)
    for t in times:
        x_t = x[t]
        h_prev = h
        c_prev = c
        used = weights
        taken = step
        made = taken({**used, "x": x_t, "h_prev": h_prev, "c_prev": c_prev, "B": B})
        h, c = made["h"], made.get("c")
        output_t = h
        outputs[t] = output_t
        tape[t] = made
    output = xp.stack([h * 0 if row is None else row for row in outputs])
    h_n = h
    c_n = c
    return output, h_n, c_n, tape


def loop_backward(d_output: Array, d_h_n: Array, d_c_n: Array, tape: list[Any], weights: Values) -> tuple[Any, ...]:
    """The same on the way back: the gradients of x, of the state before, and of the parameters."""
    T, B = d_output.shape[:2]
    inner: Values = {}
    d_h_after, d_c_after = d_h_n, d_c_n
    rows: list[Any] = [None] * T
    totals = {name: xp.zeros(value.shape) for name, value in weights.items() if name[:2] in ("W_", "b_")}
    times = reversed(range(T))
    for t in times:
        d_h = d_output[t] + d_h_after
        d_c = d_c_after
        kept = t
        used = weights
        inner = step_backward({**tape[kept], **used, "d_h": d_h, "d_c_after": d_c, "B": B})
        d_h_prev, d_c_prev = inner["d_h_prev"], inner.get("d_c_prev")
        d_h_after = d_h_prev
        d_c_after = d_c_prev
        d_x_t = inner["d_x"]
        rows[t] = d_x_t
        for name, total in totals.items():
            d_step = inner[f"d_{name}"]
            total = total + d_step
            totals[name] = total
    for name, total in totals.items():
        gradient = total
        totals[name] = gradient
    d_h_0 = d_h_after
    d_c_0 = d_c_after
    d_x = xp.stack([0 * inner["d_x"] if row is None else row for row in rows])
    return d_x, d_h_0, d_c_0, totals


LOOPS = {"forward": loop_forward, "backward": loop_backward}

FORWARD_SLIPS = """
    times: range(T - 1) | the loop stops one step early
    times: range(1, T) | the loop starts one step late
    times: reversed(range(T)) | the loop goes from the last step to the first
    x_t: x[0] | every step reads the first input
    x_t: x[t - 1] | each step reads the input of the step before
    x_t: x[T - 1 - t] | the inputs are read from the last to the first
    S: 0 * S_0 | nothing reads S_0: the first step begins with zeros
    S_prev: S_0 | S is not carried: each step begins with the initial one
    S_prev: 0 * S | S is not carried: each step begins with zeros
    h_prev: c; c_prev: h | h and c are exchanged from step to step
    h: c_0; c: h_0 | h_0 and c_0 are exchanged
    output_t: c | c is put into the output
    output_t: tanh(h) | tanh is applied once more to what is put into the output
    output_t: h_prev | the output holds the state before each step, not after it
    output: output[-1] + 0 * output | every row of the output is the last (one array, appended again?)
    output: output[::-1] | the output is in reverse order
    S_n: S_0 | the initial S is returned as the last
    S_n: tape[0]['S'] | S after the first step is returned as the last
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
    d_h: (t < T - 1) * d_output[t] + d_h_after | d_output of the last step is not used: d_h_n is added to it
    d_h: (t == 0) * d_output[t] + d_h_after | d_output is used at the first step alone
    d_S: D 2 * d_S_after | d_S from the step after is added twice
    d_S: D -d_S_after | {SIGN}
    d_S: D (t < T - 1) * d_S_after | nothing reads d_S_n, the gradient of the last state
    d_S: D (t == T - 1) * d_S_after | d_S is not carried from step to step
    d_S: D d_S_n | d_S_n stands for what comes from the step after
    d_S: D d_S_n; d_S_0: d_S_n | d_S_n stands for what comes from the step after, and for the gradient of S_0
    d_S: D d_S_after + (t < T - 1) * d_S_n | d_S_n is added at every step; it belongs to the last
    d_S: D 0 * d_S_after; d_S_0: 0 * d_S_after | what comes from the step after is never read, and d_S_0 is zero
    d_S: D 0 * d_S_after | what comes from the step after is not added to d_S
    d_c: d_c_after + d_output[t] | d_output is added to d_c, too
    d_h: d_output[t] + d_c_after; d_c: d_h_after | d_h and d_c are exchanged as they come
    kept: t - 1 | what the step before kept is read
    kept: T - 1 - t | what the steps kept is read from the first to the last
    kept: T - 1 | what the last step kept is read at every step
    d_S_after: d_S | d_S is handed on as it came
    d_S_after: 0 * d_S_prev | d_S is not carried from step to step
    d_S_after: -d_S_prev | {SIGN}
    d_S_after: d_S_prev / 2 | d_S is halved from step to step
    d_S_after: 2 * d_S_prev | d_S is doubled from step to step
    d_S_after: d_S_after + d_S_prev | d_S_prev is added to what is carried, where it replaces it
    d_h_after: d_h + d_h_prev | d_h_prev is added to d_h, where it replaces it
    d_h_after: d_c_prev | d_c_prev is handed on as d_h
    d_c_after: d_h_prev | d_h_prev is handed on as d_c
    d_h_after: d_c_prev; d_c_after: d_h_prev | d_h and d_c are exchanged when carried on
    d_c_after: inner['d_c'] | d_c is handed on without its factor
    d_S_after: (t != 1) * d_S_prev | the gradient is cut on its way: the loop forgets it at one step
    d_S_after: (t != 2) * d_S_prev | the gradient is cut on its way: the loop forgets it at one step
    d_S_after: (t > T - 3) * d_S_prev | the gradient is cut on its way: the last steps alone are walked back
    d_S_after: (t > T - 4) * d_S_prev | the gradient is cut on its way: the last steps alone are walked back
    total: d_step | what each step adds overwrites the sum: only the first step is left
    total: d_step + (name[0] == 'b') * total | what each step adds overwrites the sum, of the weights alone
    total: d_step + (name[0] == 'W') * total | what each step adds overwrites the sum, of the biases alone
    total: total + (t == T - 1) * d_step | only the last step is in the sum
    total: total + (t > 0) * d_step | the first step is not in the sum
    total: total + (t < T - 1) * d_step | the last step is not in the sum
    total: total + d_step / T | the mean over the steps is there for their sum
    total: total + d_step / B | the mean over the batch is there for the sum
    total: total - d_step | {SIGN}
    total: total + 2 * d_step | each step is added twice
    d_S_0: d_S_n | the gradient of the first S is that of the last
    d_S_0: 0 * d_S_after | zeros are returned for d_S_0
    d_S_0: d_S | d_S of the first step is returned: it is the gradient of the state after that step
    d_c_0: inner['d_c'] | d_c_0 lacks its factor: d_c of the first step is returned as it is
    d_h_0: d_c_after | d_c_0 is returned as d_h_0
    d_c_0: d_h_after | d_h_0 is returned as d_c_0
    d_x: d_x[::-1] | d_x is in reverse order
    d_x: d_x[-1] + 0 * d_x | every row of d_x is the last
"""
"""What people put in a slot, or in several. S is h, c, or both at once; D is what d_h has besides: d_output[t] +."""

CLIPS = """
    d_h: clip(d_output[t] + d_h_after, LIMIT)
    d_S_after: clip(d_S_prev, LIMIT)
    d_h_after: clip(d_h_prev, LIMIT); total: total + clip(d_step, LIMIT)
    total: total + clip(d_step, LIMIT)
    total: clip(total + d_step, LIMIT)
    gradient: clip(total, LIMIT)
    d_x: clip(d_x, LIMIT)
"""
STATE = re.compile(r"(?<![A-Za-z])S(?![A-Za-z])")
ABOUT_C = re.compile(r"\b(d_)?c(_|\b)|'c'")


@cache
def slips(cell: Cell, function: str) -> tuple[Mistake, ...]:
    """What people put in the slots of `forward` or `backward`, as far as it can be done with this cell."""
    return tuple(rows(cell, function, FORWARD_SLIPS if function == "forward" else BACKWARD_SLIPS))


def at_some_steps(cell: Cell) -> Iterator[Mistake]:
    """Mistakes of the step that are not made at every step."""
    for told, when in (
        ("after the first step only; at the first it is right", "t > 0"),
        ("at the first step only", "t == 0"),
    ):
        for one in mutations(cell, "step"):
            yield one._replace(words=f"{one.words} ({told})", slots={"taken": f"step if {when} else right_step"})


def clips(cell: Cell, gradients: Iterable[Array]) -> Iterator[Mistake]:
    """Where `backward` may clip the gradients: at round limits, and at those that the gradients suggest."""
    limits = {0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 25.0, 50.0, 100.0}
    for limit in sorted(limits | {float(abs(value).max()) for value in gradients if value.size}):
        words = f"the gradient is clipped at ±{limit:g}, which belongs outside the backward pass"
        table = CLIPS.replace(" LIMIT)\n", f" LIMIT) | {words}\n").replace("LIMIT", repr(limit))
        yield from rows(cell, "backward", table)


def rows(cell: Cell, function: str, table: str) -> Iterator[Mistake]:
    """The rows of a table, for each part of the state, and for all at once."""
    belongs = slots_of(LOOPS[function])
    for row in filter(None, map(str.strip, table.splitlines())):
        slots, words = row.split(" | ")
        for parts in choices(cell.parts, slots):
            pairs = [
                STATE.sub(part, slot.replace("D ", "d_output[t] + " if part == "h" else "")).split(": ")
                for part in parts
                for slot in slots.split("; ")
            ]
            if "c" in cell.parts or not any(ABOUT_C.search(text) for pair in pairs for text in pair):
                name, text = pairs[0]
                own = re.compile(rf"\b{name}\b")
                right = name if own.search(text) and not own.search(belongs[name]) else belongs[name]
                yield Mistake(function, name, right, text, of_parts(words, parts), slots=dict(pairs))


def choices(parts: str, slots: str) -> list[str]:
    """The parts of the state that a row may be about: each, and all at once."""
    return list(dict.fromkeys((*parts, parts))) if STATE.search(slots) else [" "]


def of_parts(words: str, parts: str) -> str:
    """Words about some parts of the state: of h and c, d_S_n is d_h_n and d_c_n."""
    plural = {"is": "are", "stands": "stand"} if len(parts) > 1 else {}

    def named(found: re.Match[str]) -> str:
        several = " and ".join(found["name"].replace("S", part) for part in parts)
        return f"{several} {plural.get(found['verb'], found['verb'])}" if found["verb"] else several

    return re.sub(r"(?P<name>\b(d_)?S(_n|_0)?\b)( (?P<verb>is|stands)\b)?", named, words)


def beside(cell: Cell, tape: list[Any]) -> list[Any]:
    """Each step's values, with those of the steps beside it and the last state, for mistakes that mix them up."""
    if any(made is None for made in tape):
        return tape
    last = len(tape) - 1
    return [
        made
        | {f"{name}_before": tape[t - 1][name] for name in cell.known_forward}
        | {f"{name}_later": tape[min(t + 1, last)][name] for name in cell.known_forward}
        | {f"{part}_end": tape[last][part] for part in cell.parts}
        for t, made in enumerate(tape)
    ]
