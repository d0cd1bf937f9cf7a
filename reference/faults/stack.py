"""Faults around the loop over time: layers, directions, layouts and dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from scratch.nn.cell import Cell, State, Weights
from scratch.types import Array

from ..problems import Configuration, Problem
from ..runs import Run
from .machine import Fault, Machine, Tap, Taps
from .taps import (
    ALL_WEIGHTS,
    BIASES,
    zeros,
)


def layers(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """What goes from layer to layer."""
    if c.num_layers < 2:
        return
    outputs, D = c.proj_size or c.hidden_size, 1 + c.bidirectional
    yield Fault(
        "the gradient not passed to the layer below",
        "The gradient of a layer's input is the gradient of the output of the layer below, and it is not passed on.",
        ({"d_below": zeros}, {"d_below": zeros, "d_input": zeros}),
    )
    yield Fault(
        "each layer given the output's gradient",
        "The gradient of the output enters at the last layer; the layers below get the gradient of the input of the "
        "layer above them, and here they get that of the output itself.",
        ({"d_below": lambda d, m: m.in_steps(m.problem.upstream["output"])},)
        if "output" in c.upstream and len(set(c.lengths)) == 1
        else (),
    )

    def zeroth(weights: Weights, m: Machine) -> Weights:
        first = m.weights(m.direction)
        return first if first.W_ih.shape == weights.W_ih.shape else first._replace(W_ih=weights.W_ih)

    def zeroth_of(name: str) -> Tap:
        def tap(weights: Weights, m: Machine) -> Weights:
            value = getattr(m.weights(m.direction), name)
            right = getattr(weights, name)
            return weights if value is None or value.shape != right.shape else weights._replace(**{name: value})

        return tap

    def shared(run: Run, m: Machine) -> Run:
        run = dict(run)
        for name in list(run):
            stem, _, layer = name.removesuffix("_reverse").rpartition("_l")
            if stem and layer.isdigit() and int(layer) > 0:
                first = name.replace(f"_l{layer}", "_l0")
                run[first] = run[first] + run[name]
                run[name] = 0 * run[name]
        return run

    if c.input_size == D * outputs:
        yield Fault(
            "the layers above read the input",
            "Each layer reads the output of the layer below; here every layer reads the input x itself.",
            ({"layer_input": lambda value, m: m.x, "d_below": zeros}, {"layer_input": lambda value, m: m.x}),
            forward=True,
        )
        yield Fault(
            "the weights of layer 0 in every layer",
            "Every layer has weights of its own; here every layer uses those of layer 0.",
            ({"weights": zeroth, "backward_run": shared}, {"weights": zeroth}, {"weights_forward": zeroth}),
            forward=True,
        )
    else:
        yield Fault(
            "W_hh and biases of layer 0 in every layer",
            "Every layer has weights of its own; here every layer uses W_hh and the biases of layer 0.",
            ({"weights": zeroth}, {"weights_forward": zeroth}),
            forward=True,
        )
    for name in ALL_WEIGHTS:
        if (name == "W_hr" and not c.proj_size) or (name in BIASES and not c.bias):
            continue
        yield Fault(
            f"{name} of layer 0 in every layer",
            f"Every layer has weights of its own; here every layer uses {name} of layer 0.",
            ({"weights": zeroth_of(name)}, {"weights_forward": zeroth_of(name)}),
            forward=True,
        )
        if name not in BIASES:  # which the way back does not need
            yield Fault(
                f"{name} of layer 0 in every layer backward",
                f"Backward every layer uses {name} of layer 0; forward each uses its own.",
                ({"weights_backward": zeroth_of(name)},),
            )

    def with_x(d_weights: Weights, m: Machine) -> Weights:
        if m.layer == 0 or m.x.shape[2] != d_weights.W_ih.shape[1]:
            return d_weights
        records = m.records[m.layer * m.D + m.direction]
        return d_weights._replace(W_ih=sum(s.d_a_x @ m.x[s.read, s.on] for s in records))

    yield Fault(
        "the gradient of W_ih formed with the input in every layer",
        "The gradient of W_ih is Σ d_a xᵀ with x the layer's own input: the output of the layer below, not the "
        "input of the whole stack.",
        ({"d_weights": with_x},),
    )


def directions(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Two directions, and the order of things in the state."""
    D, L = 1 + c.bidirectional, c.num_layers

    def reordered(order: list[int]) -> tuple[Taps, ...]:
        back = [order.index(n) for n in range(len(order))]
        put: Tap = lambda states, m: [states[n] for n in order]  # noqa: E731
        take: Tap = lambda states, m: [states[n] for n in back]  # noqa: E731
        finals, initials = {"finals": put, "d_finals": take}, {"initials": take, "d_initials": put}
        return (finals | initials, finals, initials, {"finals": put}, {"finals": put, "initials": take})

    if L > 1 and c.bidirectional:
        yield Fault(
            "the states ordered by direction, then layer",
            "The states of layers and directions are in the wrong order: layer 0 forward, layer 0 reverse, layer 1 "
            "forward, and so on; here first all forward, then all reverse.",
            reordered([layer * D + direction for direction in range(D) for layer in range(L)]),
            forward=True,
        )
    if L > 1:
        yield Fault(
            "the states of the layers in the opposite order",
            "The states of the layers are in the opposite order: the first layer's belongs first.",
            reordered([(L - 1 - layer) * D + direction for layer in range(L) for direction in range(D)]),
            forward=True,
        )
        yield Fault(
            "the final state of the last layer for every layer",
            "Every layer has a final state of its own; the last layer's is given for all.",
            ({"finals": lambda f, m: [f[(m.L - 1) * m.D + k % m.D] for k in range(len(f))]},),
            forward=True,
        )
        first_for_all: Tap = lambda s, m: [s[k % m.D] for k in range(len(s))]  # noqa: E731
        yield Fault(
            "the initial state of layer 0 in every layer",
            "Every layer has an initial state of its own; all layers begin with that of layer 0.",
            ({"initials": first_for_all},),
            forward=True,
        )
    if not c.bidirectional:
        return

    def own_count(here: Array, m: Machine) -> Array:
        return m.lengths[m.step.on] - 1 - here if m.direction else here

    def turned(d_x: Array, m: Machine) -> Array:
        if not m.direction:
            return d_x
        d_x = d_x.copy()
        for b, length in enumerate(m.lengths):
            d_x[:length, b] = d_x[:length, b][::-1].copy()
        return d_x

    def reversed_half(halves: Sequence[Array], m: Machine) -> list[Array]:
        half = halves[1].copy()
        for b, length in enumerate(m.lengths):
            half[:length, b] = half[:length, b][::-1].copy()
        return [halves[0], half]

    def swap(halves: Sequence[Array], m: Machine) -> list[Array]:
        return list(halves)[::-1]

    def last_output(finals: list[State], m: Machine) -> list[State]:
        width = m.outputs[0].shape[2] // 2
        last = m.lengths - 1, np.arange(m.B)
        return [
            (np.ascontiguousarray(m.outputs[k // 2][last][:, width:].T), *final[1:]) if k % 2 else final
            for k, final in enumerate(finals)
        ]

    yield Fault(
        "the states of the two directions exchanged",
        "In the states each layer's forward direction comes first, then its reverse; they are exchanged.",
        reordered([k ^ 1 for k in range(L * D)]),
        forward=True,
    )
    yield Fault(
        "the reverse direction not turned back",
        "The output of the reverse direction is not turned back: its results are put out in the order in which it "
        "makes them, but what it computed at step t belongs to step t of the output.",
        ({"place": own_count}, {"place": own_count, "d_halves": reversed_half}),
        forward=True,
    )
    yield Fault(
        "the reverse direction not reversed",
        "The reverse direction reads the sequence from the first step on, as the forward direction does.",
        ({"read": own_count, "place": own_count},),
        forward=True,
    )
    yield Fault(
        "the reverse input not turned around",
        "The reverse direction reads the sequence from the first step on, and its output is turned around all the "
        "same.",
        ({"read": own_count}, {"read": own_count, "d_x": turned}),
        forward=True,
    )
    yield Fault(
        "the two directions exchanged in the output",
        "The two halves of the output are exchanged: the forward direction belongs first, then the reverse.",
        ({"halves": swap, "d_halves": swap}, {"halves": swap}),
        forward=True,
    )
    yield Fault(
        "the last step of the reverse output for its final state",
        "The reverse direction ends at step 0, and its final state is that of step 0; here it is the last step of "
        "its output, where it has seen a single step.",
        ({"finals": last_output},),
        forward=True,
    )
    forward_for_both: Tap = lambda s, m: [s[k - k % 2] for k in range(len(s))]  # noqa: E731
    yield Fault(
        "the initial state of the forward direction for both",
        "The reverse direction has an initial state of its own; it begins with that of the forward direction.",
        ({"initials": forward_for_both},),
        forward=True,
    )

    def forward_weights(weights: Weights, m: Machine) -> Weights:
        return m.weights(m.layer * m.D)

    yield Fault(
        "the weights of the forward direction for both",
        "The reverse direction has weights of its own; it uses those of the forward direction.",
        ({"weights": forward_weights},),
        forward=True,
    )

    yield Fault(
        "the reverse direction's gradient of the input not turned back",
        "The reverse direction's part of the gradient of its input is in the order in which the reverse direction "
        "reads: it has to be turned back before the two directions' parts are added.",
        ({"d_x": turned},),
    )
    yield Fault(
        "the reverse direction's gradient of the input lost",
        "Both directions read the same input, so its gradient is the sum of both parts; the reverse part is lost.",
        ({"d_x": lambda d, m: 0 * d if m.direction else d},),
    )
    yield Fault(
        "the forward direction's gradient of the input lost",
        "Both directions read the same input, so its gradient is the sum of both parts; the forward part is lost.",
        ({"d_x": lambda d, m: d if m.direction else 0 * d},),
    )
    yield Fault(
        "the two directions exchanged in the output's gradient",
        "The two halves of the output's gradient are exchanged: the forward direction's belongs first.",
        ({"d_halves": swap},),
    )

    yield Fault(
        "the reverse direction's gradient of the output not turned around",
        "The reverse direction runs from the last step to the first, and the gradient of its output has to be "
        "turned around with it.",
        ({"d_halves": reversed_half},),
    )


def layouts(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """batch_first, padding and sorting."""
    if c.batch_first and c.layout == "batched":

        def as_steps(problem: Problem, m: Machine) -> Problem:
            steps, batch = len(c.lengths), max(c.lengths)
            return replace(problem, configuration=replace(c, batch_first=False, lengths=(steps,) * batch))

        def exchanged(run: Run, m: Machine) -> Run:
            return {name: value.swapaxes(0, 1) if name != "output" else value for name, value in run.items()}

        yield Fault(
            "batch_first ignored",
            "batch_first is ignored: the first axis of the input, the batch, is taken for time.",
            ({"problem": as_steps},),
            forward=True,
            common=False,
        )
        yield Fault(
            "the state batch-first too",
            "batch_first is for input and output only; h_n (and the rest of the state) stays (layers, batch, "
            "features).",
            ({"forward_run": exchanged},),
            forward=True,
            common=False,
        )
        yield Fault(
            "the output not batch-first",
            "With batch_first the output is (batch, steps, features) too; it is given as (steps, batch, features).",
            ({"forward_run": lambda run, m: run | {"output": run["output"].swapaxes(0, 1)}},),
            forward=True,
            common=False,
        )
        yield Fault(
            "the gradient of the input not batch-first",
            "With batch_first the gradient of the input is (batch, steps, features) too.",
            ({"backward_run": lambda run, m: run | {"d_input": run["d_input"].swapaxes(0, 1)}},),
            common=False,
        )
    if len(set(c.lengths)) > 1:
        order = np.argsort(-np.array(c.lengths), kind="stable")

        def sorted_states(states: list[State], m: Machine) -> list[State]:
            return [tuple(part[:, order] for part in state) for state in states]

        back = np.argsort(order)

        def unsorted_states(states: list[State], m: Machine) -> list[State]:
            return [tuple(part[:, back] for part in state) for state in states]

        finals = {"finals": sorted_states, "d_finals": unsorted_states}
        initials = {"initials": unsorted_states, "d_initials": sorted_states}
        masked: Tap = lambda halves, m: [np.where(m.alive, half, 0) for half in halves]  # noqa: E731
        everywhere = {"lengths": lambda lengths, m: (max(lengths),) * len(lengths)}

        yield Fault(
            "padding not masked",
            "The padding is taken for part of the sequence: the steps after a sequence's own end change its state "
            "(and in the reverse direction, the steps before its beginning). A sequence that has ended keeps its "
            "state.",
            (everywhere, everywhere | {"halves": masked, "d_halves": masked}),
            forward=True,
        )
        yield Fault(
            "the state of packed sequences in sorted order",
            "The sequences of a packed batch are sorted by length inside; the state comes in and goes out in the "
            "order in which they were given, and here it is not put back (sorted_indices, unsorted_indices).",
            (finals | initials, finals, initials, {"finals": sorted_states}),
            forward=True,
        )

        def last_of_longest(finals: list[State], m: Machine) -> list[State]:
            ended = m.lengths < m.T
            return [
                tuple(np.where(ended, 0, part) if n == 0 else part for n, part in enumerate(state)) for state in finals
            ]

        yield Fault(
            "the last padded step for the final state",
            "The final state h_n is read from the last step of the padded output, which is zero for the sequences "
            "that have ended before; each has its own last step.",
            ({"finals": last_of_longest},),
            forward=True,
        )


def dropouts(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Dropout between the layers."""
    if not c.dropout or c.num_layers < 2:
        return
    if c.training:
        unscaled: Tap = lambda mask, m: (mask != 0).astype(mask.dtype)  # noqa: E731
        yield Fault(
            "dropout not scaled",
            "What dropout keeps is to be scaled by 1/(1 − p), so that evaluation needs no scaling; it is not.",
            ({"mask": unscaled},),
            forward=True,
        )
        yield Fault(
            "the dropout mask not applied backward",
            "The mask of dropout is not applied on the way back: what was dropped forward gets no gradient, and "
            "what was kept is scaled.",
            ({"d_mask": lambda mask, m: np.ones_like(mask)},),
        )
        yield Fault(
            "the dropout mask not scaled backward",
            "On the way back the mask of dropout is applied without its scale, 1/(1 − p).",
            ({"d_mask": unscaled},),
        )
        yield Fault(
            "no dropout in training",
            "In training mode dropout between the layers does nothing.",
            ({"mask": lambda mask, m: np.ones_like(mask)},),
            forward=True,
        )
        if c.dropout == 1:
            gone: Tap = lambda output, m: 0 * output  # noqa: E731
            yield Fault(
                "dropout on the last layer's output too",
                "Dropout acts on what goes from one layer to the next; the last layer's output is not dropped.",
                ({"output": gone, "d_output": gone},),
                forward=True,
            )
            yield Fault(
                "dropout on the input too",
                "Dropout acts on what goes from one layer to the next; the input of the first layer is not dropped.",
                ({"layer_input": lambda x, m: 0 * x, "d_input": gone},),
                forward=True,
            )
    else:

        def training(problem: Problem, m: Machine) -> Problem:
            return replace(problem, configuration=replace(problem.configuration, training=True, dropout=1.0))

        yield Fault(
            "dropout after eval()",
            "After eval() dropout does nothing; here it still drops.",
            ({"problem": training},) if c.dropout == 1 else (),
            forward=True,
        )
