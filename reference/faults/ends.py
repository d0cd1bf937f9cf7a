"""Faults at both ends: what comes in from outside, what goes out, and what is left over for the next call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scratch.nn.cell import Cell, State
from scratch.types import Array

from ..problems import Configuration
from ..runs import Run
from .machine import Fault, Machine, Tap
from .taps import (
    listed,
    zeros,
)


def upstreams(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The gradients that come in and those that go out at the two ends."""
    groups = [(part,) for part in cell.state] + ([cell.state] if len(cell.state) > 1 else [])
    for parts in groups:
        at = [cell.state.index(part) for part in parts]

        def dropped(state: State, m: Machine, at: list[int] = at) -> State:
            return tuple(np.zeros_like(v) if n in at else v for n, v in enumerate(state))

        def dropped_below(state: State, m: Machine, dropped: Any = dropped) -> State:
            return state if m.layer == m.L - 1 else dropped(state, m)

        finals = listed([f"{part}_n" for part in parts])
        initials = listed([f"{part}_0" for part in parts])
        yield Fault(
            f"the gradient of {finals} ignored",
            f"The gradient that comes in from the final state, d_{' and d_'.join(f'{p}_n' for p in parts)}, is "
            "ignored: it is where the way back begins, before the last step.",
            ({"d_final": dropped},),
        )
        if c.num_layers > 1:
            yield Fault(
                f"the gradient of {finals} ignored below the last layer",
                f"The gradient of {finals} is taken in at the last layer only; each layer has a final state.",
                ({"d_final": dropped_below},),
            )
        yield Fault(
            f"the gradient of {initials} lost",
            f"The gradient of the initial state is left at zero for {initials}: it is what is left after the first "
            "step on the way back.",
            ({"d_initial": dropped},),
        )
        yield Fault(
            f"{initials} ignored",
            f"The initial state is ignored: the first step begins with zeros where {initials} should be.",
            ({"initial": dropped}, {"initial": dropped, "d_initial": dropped}),
            forward=True,
        )

        def twice(state: State, m: Machine, at: list[int] = at) -> State:
            first = m.step is m.records[m.layer * m.D + m.direction][-1]
            return tuple(v + m.d_final[n] if n in at and not first else v for n, v in enumerate(state))

        yield Fault(
            f"the gradient of {finals} added at every step",
            f"The gradient of the final state, {finals}, is added at every step; it belongs to the last step alone.",
            ({"carry": twice},),
        )

    def only_last(d_output: Array, m: Machine) -> Array:
        kept = np.zeros_like(d_output)
        last = m.lengths - 1, np.arange(m.B)
        kept[last] = d_output[last]
        return kept

    def only_first(d_output: Array, m: Machine) -> Array:
        kept = np.zeros_like(d_output)
        kept[0] = d_output[0]
        return kept

    def but_last(d_output: Array, m: Machine) -> Array:
        return d_output - only_last(d_output, m)

    yield Fault(
        "the gradient of the output ignored",
        "The gradient that comes in from the output is ignored: it enters at every step.",
        ({"d_output": zeros},),
    )
    yield Fault(
        "only the last step's gradient of the output used",
        "Of the gradient of the output only the last step is used: it enters at every step.",
        ({"d_output": only_last},),
    )
    yield Fault(
        "the gradient of the output ignored at the last step",
        "The gradient of the output is ignored at the last step (overwritten by that of the final state): both are "
        "added.",
        ({"d_output": but_last},),
    )
    yield Fault(
        "only the first step's gradient of the output used",
        "Of the gradient of the output only the first step is used: it enters at every step.",
        ({"d_output": only_first},),
    )
    yield Fault(
        "the gradient of the output taken in the wrong order of time",
        "The gradient of the output is taken in the opposite order of time: step t's belongs to step t.",
        ({"d_output": lambda d, m: d[::-1]},),
    )
    yield Fault(
        "the gradient of the input lost",
        "The gradient of the input is left at zero: it is W_ihᵀ d_a.",
        ({"d_input": zeros},),
    )
    yield Fault(
        "the gradient of the input in the wrong order of time",
        "The steps of d_input are in the opposite order of time (collected on the way back and not turned around).",
        ({"d_input": lambda d, m: d[::-1]},),
    )
    if len(cell.state) > 1:
        exchange: Tap = lambda states, m: [each[::-1] for each in states]  # noqa: E731
        exchanged_initials, exchanged_finals = {"initials": exchange}, {"finals": exchange}
        for name, told, variants in (
            (
                "the state",
                "the state",
                (
                    exchanged_initials | exchanged_finals | {"d_initials": exchange, "d_finals": exchange},
                    exchanged_initials | exchanged_finals,
                ),
            ),
            (
                "the initial state",
                "the initial state that is given",
                (exchanged_initials | {"d_initials": exchange}, exchanged_initials),
            ),
            ("the final state", "the final state", (exchanged_finals | {"d_finals": exchange}, exchanged_finals)),
        ):
            yield Fault(
                f"the parts of {name} exchanged",
                f"The parts of {told} are exchanged: the state is the tuple ({', '.join(cell.state)}), in this order.",
                variants if not c.proj_size else (),
                forward=True,
            )
        yield Fault(
            "the parts of the initial state's gradient exchanged",
            "The parts of the gradient of the initial state are exchanged: "
            f"({', '.join(f'd_{p}_0' for p in cell.state)}).",
            ({"d_initials": exchange},) if not c.proj_size else (),
        )
        yield Fault(
            "the parts of the final state's gradient exchanged",
            "The parts of the gradient of the final state are exchanged: "
            f"({', '.join(f'd_{p}_n' for p in cell.state)}).",
            ({"d_finals": exchange},) if not c.proj_size else (),
        )
    elsewhere = "The final state is that of the last step, after it"

    def of_step(index: int) -> Tap:
        return lambda finals, m: [records[index].after for records in m.records]

    if len(set(c.lengths)) == 1 and max(c.lengths) > 1:
        yield Fault(
            "the final state taken one step too early",
            f"{elsewhere}; here it is the state before the last step.",
            ({"finals": of_step(-2)},),
            forward=True,
        )
        yield Fault(
            "the first step's state for the final state",
            f"{elsewhere}; here it is the state after the first step.",
            ({"finals": of_step(0)},),
            forward=True,
        )


def state_kept_outside(parts: Sequence[str], of_functions: bool) -> Fault:
    """A state that outlives the object, which is seen by running the same problem in two new objects."""
    a_new, outside = in_new(of_functions)
    return Fault(
        f"{listed(parts)} kept outside the {'functions' if of_functions else 'object'}",
        f"{a_new} starts where another ended, with its {listed(parts)}: the state is kept {outside}. Without an "
        "initial state every call begins with zeros.",
        (),
        forward=True,
        leftover=True,
    )


def gradients_kept_outside(of_functions: bool) -> Fault:
    """Gradients that outlive the object, which is seen in the same way."""
    a_new, outside = in_new(of_functions)
    return Fault(
        f"gradients kept outside the {'functions' if of_functions else 'object'}",
        f"{a_new} adds to the gradients that another left: they are kept {outside}.",
        (),
        leftover=True,
    )


def in_new(of_functions: bool) -> tuple[str, str]:
    """What it is that begins anew, and where things are that outlive it."""
    if of_functions:
        return "A new call", "outside the functions (a mutable default argument, a global variable)"
    return "A new object", "outside the object (a class attribute, a mutable default argument)"


def leftovers(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """What one call leaves for the next."""
    groups = [(part,) for part in cell.state] + ([cell.state] if len(cell.state) > 1 else [])
    for parts in groups if not c.initial_state else ():
        at = [cell.state.index(part) for part in parts]

        def of_last_call(initials: list[State], m: Machine, at: list[int] = at) -> list[State]:
            first = Machine(m.problem, [{k: v for k, v in taps.items() if k != "initials"} for taps in m.taps], m.masks)
            final = first.states(first.forward(), "{}_n")
            return [
                tuple(new if n in at else old for n, (old, new) in enumerate(zip(before, after, strict=True)))
                for before, after in zip(initials, final, strict=True)
            ]

        yield Fault(
            f"{listed(parts)} not reset between calls",
            "The state is not reset: without an initial state every call begins with zeros, and here "
            f"{listed(parts)} of the second call {'go' if len(parts) > 1 else 'goes'} on where the first ended.",
            ({"initials": of_last_call},),
            forward=True,
            leftover=True,
        )

    def doubled(names: Callable[[str], bool]) -> Tap:
        def tap(run: Run, m: Machine) -> Run:
            return {
                name: 2 * value if name.removeprefix("d_") in m.problem.parameters and names(name) else value
                for name, value in run.items()
            }

        return tap

    yield Fault(
        "gradients not reset between calls",
        "The gradients of the parameters are not reset: the second call adds to what the first left.",
        ({"backward_run": doubled(lambda name: True)},),
        leftover=True,
    )
    kinds = ("weight_ih", "weight_hh", *(("weight_hr",) if c.proj_size else ()))
    for kind in (*kinds, *(("bias_ih", "bias_hh", "bias") if c.bias else ())):
        yield Fault(
            f"the gradient of {'both biases' if kind == 'bias' else kind} not reset between calls",
            ("The gradients of both biases are" if kind == "bias" else f"The gradient of {kind} is")
            + " not reset: the second call adds to what the first left.",
            ({"backward_run": doubled(lambda name, kind=kind: kind in name)},),
            leftover=True,
        )
    for parts in groups:
        at = [cell.state.index(part) for part in parts]

        def of_last_way_back(d_finals: list[State], m: Machine, at: list[int] = at) -> list[State]:
            taps = [{k: v for k, v in taps.items() if k != "d_finals"} for taps in m.taps]
            problem = m.problem
            if not m.c.initial_state:  # so that the gradient of the initial state is given
                problem = replace(problem, configuration=replace(problem.configuration, initial_state=True))
            first = Machine(problem, taps, m.masks)
            first.forward()
            left = first.states(first.backward(), "d_{}_0")
            return [
                tuple(d + new if n in at else d for n, (d, new) in enumerate(zip(given, more, strict=True)))
                for given, more in zip(d_finals, left, strict=True)
            ]

        yield Fault(
            f"{listed([f'd_{part}' for part in parts])} not reset between calls",
            f"What is carried back through time, {listed([f'd_{part}' for part in parts])}, is not reset: the way "
            "back of the second call begins with what the first left.",
            ({"d_finals": of_last_way_back},),
            leftover=True,
        )
