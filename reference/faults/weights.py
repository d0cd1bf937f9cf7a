"""Faults in how weights and biases are read: gates in another order, matrices on their side, biases forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from scratch.nn.cell import Cell, Weights
from scratch.types import Array

from ..problems import Configuration
from .machine import Fault, Machine
from .taps import (
    BIASES,
    MATRICES,
    in_blocks,
    on_weights,
)


def gate_order(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The blocks of the gates, in another order than PyTorch's."""
    names = cell.gates
    right = ", ".join(names)
    for order in permutations(range(len(names))):
        if list(order) == sorted(order):
            continue
        theirs = ", ".join(names[n] for n in order)
        back = [order.index(n) for n in range(len(order))]  # where PyTorch's n-th gate lies in the candidate's order

        def permuted(value: Array, blocks: Sequence[int], cell: Cell = cell) -> Array:
            return in_blocks(cell, value)[list(blocks)].reshape(value.shape)

        def taken(value: Array, back: list[int] = back, permuted: Any = permuted) -> Array:
            return permuted(value, back)

        def given(value: Array, order: Sequence[int] = order, permuted: Any = permuted) -> Array:
            return permuted(value, order)

        rows = ("W_ih", "W_hh", "b_ih", "b_hh")
        weights = {"weights": on_weights(taken, rows)}
        yield Fault(
            f"the gates in the order {theirs}",
            f"The rows of the weights and biases are read as the gates in another order: your order is {theirs}; "
            f"PyTorch's is {right}.",
            (
                weights | {"d_weights": on_weights(given, rows)},
                {"weights_forward": on_weights(taken, rows)},  # backward in PyTorch's order
                weights,
            ),
            forward=True,
            common=False,
        )
        if not cell.apart:  # halves that are apart cannot change places with gates that are not
            yield Fault(
                f"the gates' gradients put together in the order {theirs}",
                "Backward, the gradients of the gates are put together in another order than forward: your order is "
                f"{theirs}; the weights' is {right}. Everything that is multiplied with d_a is wrong with it.",
                ({"d_a": lambda d_a, m, given=given: given(d_a)},),
                common=False,
            )
        yield Fault(
            f"the weights' gradients in the order {theirs}",
            "The gradients of weights and biases have their row blocks in another order than the weights: your "
            f"order is {theirs}; PyTorch's is {right}.",
            ({"d_weights": on_weights(given, rows)},),
            common=False,
        )


def transposed_weights(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """A matrix on its side."""

    def turned(value: Array) -> Array:
        blocks = in_blocks(cell, value)
        if blocks.shape[1] != blocks.shape[2]:
            raise ValueError(f"a matrix of shape {value.shape} cannot be used on its side")
        return blocks.swapaxes(1, 2).reshape(value.shape)

    def reshaped(value: Array) -> Array:
        return np.ascontiguousarray(value.reshape(value.shape[::-1]).T)

    def reshaped_back(value: Array) -> Array:
        return np.ascontiguousarray(value.T).reshape(value.shape)

    for name in MATRICES if c.proj_size else MATRICES[:2]:
        vector = {"W_ih": "x", "W_hh": "h_prev", "W_hr": "m"}[name]
        d_vector = {"W_ih": "d_x = W_ihᵀ d_a", "W_hh": "d_h_prev = W_hhᵀ d_a", "W_hr": "d_m = W_hrᵀ d_h"}[name]
        d_weight = {"W_ih": "d_a xᵀ", "W_hh": "d_a h_prevᵀ", "W_hr": "d_h mᵀ"}[name]
        one = (name,)
        if name != "W_hr":  # which is never square
            yield Fault(
                f"{name} transposed",
                f"The forward pass multiplies {vector} by {name}ᵀ where it should be by {name} (with rows as vectors: "
                f"by {name} where it should be by its transpose).",
                (
                    {"weights": on_weights(turned, one), "d_weights": on_weights(turned, one)},
                    {"weights_forward": on_weights(turned, one)},
                    {"weights": on_weights(turned, one)},
                ),
                forward=True,
            )
            yield Fault(
                f"{name} not transposed backward",
                f"The transpose is missing on {name} in the backward pass: forward multiplies by {name}, so backward "
                f"multiplies by its transpose, {d_vector}.",
                ({"weights_backward": on_weights(turned, one)},),
            )
            yield Fault(
                f"the gradient of {name} transposed",
                f"The gradient of {name} is transposed: it is {d_weight}, of the shape of {name}.",
                ({"d_weights": on_weights(turned, one)}, {"d_weights": on_weights(reshaped_back, one)}),
            )
        if name == "W_hh" and len(cell.gates) == 1:
            continue  # always square
        yield Fault(
            f"{name} reshaped",
            f"{name} is brought into the shape of its transpose by a reshape, which keeps the numbers in their "
            "order; a transpose (.T) is meant.",
            (
                {"weights": on_weights(reshaped, one), "d_weights": on_weights(reshaped_back, one)},
                {"weights_forward": on_weights(reshaped, one)},
                {"weights": on_weights(reshaped, one)},
            ),
            forward=True,
        )
        yield Fault(
            f"{name} reshaped backward",
            f"Backward {name} is reshaped where its transpose is meant: {d_vector}.",
            ({"weights_backward": on_weights(reshaped, one)},),
        )


def biases(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Two biases, where one would do."""
    if not c.bias:
        return
    told = {"b_ih": "the first bias, b_ih,", "b_hh": "the second bias, b_hh,"}
    zero = {name: on_weights(lambda value: 0 * value, (name,)) for name in BIASES}
    both_zero = on_weights(lambda value: 0 * value, BIASES)
    each = "The two biases are added, so each has the gradient Σ d_a."
    if cell.apart:
        each = "Each has the gradient Σ d_a of its half of the pre-activation."
    half = on_weights(lambda value: value / 2, BIASES)

    def summed(weights: Weights, m: Machine) -> Weights:
        total = weights.b_ih + weights.b_hh  # type: ignore[operator]
        return weights._replace(b_ih=total, b_hh=total)

    for name in BIASES:
        other = BIASES[1 - BIASES.index(name)]

        def other_twice(weights: Weights, m: Machine, name: str = name, other: str = other) -> Weights:
            return weights._replace(**{name: getattr(weights, other)})

        yield Fault(
            f"{name} forgotten",
            f"{told[name].capitalize()} is forgotten: a = W_ih x + b_ih + W_hh h_prev + b_hh.",
            ({"weights": zero[name]}, {"weights": zero[name], "d_weights": zero[name]}),
            forward=True,
        )
        yield Fault(
            f"{other} added twice",
            f"{told[other].capitalize()} is added twice, and {told[name]} not at all.",
            ({"weights": other_twice},),
            forward=True,
        )
        yield Fault(
            f"the gradient of {name} zero",
            f"The gradient of {told[name]} is left at zero, or forgotten. {each}",
            ({"d_weights": zero[name]},),
        )
        yield Fault(
            f"the gradient of {name} doubled",
            f"The gradient of {name} is counted twice. {each}",
            ({"d_weights": on_weights(lambda value: 2 * value, (name,))},),
        )
    yield Fault(
        "no bias added",
        "The biases are not added: a = W_ih x + b_ih + W_hh h_prev + b_hh.",
        ({"weights": both_zero}, {"weights": both_zero, "d_weights": both_zero}),
        forward=True,
    )
    yield Fault(
        "the gradients of both biases zero",
        f"The gradients of both biases are left at zero. {each}",
        ({"d_weights": both_zero},),
    )
    yield Fault(
        "the gradients of the two biases shared out",
        f"The gradient Σ d_a is shared out between the two biases, half to each. {each}",
        ({"d_weights": half},),
    )
    yield Fault(
        "the gradients of the two biases summed",
        f"Each bias gets the sum of both gradients. {each}",
        ({"d_weights": summed},),
    )
