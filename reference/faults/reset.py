"""Faults of cells in which a gate acts on the state's half of another's pre-activation, as a GRU's r on that of n."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from scratch.nn.cell import Cell, Weights
from scratch.types import Array

from ..problems import Configuration
from .machine import Fault, Machine, Tap, Taps
from .taps import listed, sigmoid


def halves_apart(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The halves W_ih x + b_ih and W_hh h_prev + b_hh of a pre-activation, where they have to be kept apart."""
    apart = cell.gates[len(cell.summed) :]
    if not apart:
        return
    are, H = listed(apart), c.hidden_size
    rows = slice(len(cell.summed) * H, len(cell.gates) * H)  # of the weights and biases

    def halves(d_a: Array) -> tuple[Array, Array, Array]:
        """What is summed, and of the gates that are apart the state's halves and the input's."""
        summed, of_state, of_input = np.split(d_a, [rows.start, rows.stop])
        return summed, of_state, of_input

    def of_one(which: int) -> Tap:
        def tap(d_a: Array, m: Machine) -> Array:
            summed, *both = halves(d_a)
            return np.concatenate([summed, both[which], both[which]])

        return tap

    def of_one_bias(name: str, other: str) -> Tap:
        def tap(weights: Weights, m: Machine) -> Weights:
            value = np.array(getattr(weights, name))
            value[rows] = getattr(weights, other)[rows]
            return weights._replace(**{name: value})

        return tap

    def at_the_input(weights: Weights, m: Machine) -> Weights:
        b_ih, b_hh = np.array(weights.b_ih), np.array(weights.b_hh)
        b_ih[rows] += b_hh[rows]
        b_hh[rows] = 0
        return weights._replace(b_ih=b_ih, b_hh=b_hh)

    yield Fault(
        f"the input's d_a of {are} also for the state's half",
        f"The two halves of the pre-activation of {are} have different gradients, for a gate acts on the state's half "
        "alone; that of the input's half is there for both, in d_h_prev and in the gradients of W_hh and b_hh.",
        ({"d_a": of_one(1)},),
    )
    yield Fault(
        f"the state's d_a of {are} also for the input's half",
        f"The two halves of the pre-activation of {are} have different gradients, for a gate acts on the state's half "
        "alone; that of the state's half is there for both, in d_x and in the gradients of W_ih and b_ih.",
        ({"d_a": of_one(0)},),
    )
    if not c.bias:
        return
    for name, other in (("b_hh", "b_ih"), ("b_ih", "b_hh")):
        yield Fault(
            f"the gradient of {other} for that of {name} in {are}",
            f"The biases b_ih and b_hh of {are} stand in different halves of the pre-activation. A gate acts on the "
            f"state's alone, so their gradients differ; that of {other} is there for both.",
            ({"d_weights": of_one_bias(name, other)},),
        )
    yield Fault(
        f"b_hh of {are} in the input's half",
        f"The bias b_hh of {are} is added to the input's half of the pre-activation; it belongs to the state's half, "
        "W_hh h_prev + b_hh, on which a gate acts.",
        (
            {"weights": at_the_input, "d_weights": of_one_bias("b_hh", "b_ih")},
            {"weights_forward": at_the_input},
            {"weights": at_the_input},
        ),
        forward=True,
    )


MISSING = "missing"


def inside_with_reset(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Through n = tanh(n_x + r ⊙ n_h) and h = (1 − z) ⊙ n + z ⊙ h_prev, for cells that have these."""
    if not (cell.blocks == ("r", "z", "n_h", "n_x") and cell.state == ("h",)):
        return

    def values(m: Machine) -> Any:
        """What the step has computed, by name."""
        r, z, n_h, n_x = (m.step.a[m.gate(name)] for name in cell.blocks)
        v = SimpleNamespace(r=sigmoid(r), z=sigmoid(z), n_h=n_h, n_x=n_x, h_prev=m.step.prev[0], one=np.ones_like(r))
        v.a = n_x + v.r * n_h
        v.n = np.tanh(v.a)
        v.h = v.n + v.z * (v.h_prev - v.n)
        return v

    Factor = Callable[[Any], Array]

    def backward(
        n: Factor = lambda v: 1 - v.z,
        tanh: Factor = lambda v: 1 - v.n * v.n,
        n_h: Factor = lambda v: v.r,
        r: Factor = lambda v: v.n_h,
        z: Factor = lambda v: v.h_prev - v.n,
        h_prev: Factor = lambda v: v.z,
    ) -> tuple[Taps]:
        """The way back with these factors."""

        def d_a(_: Array, m: Machine) -> Array:
            v, d_h = values(m), m.step.d_h
            d_n_x = d_h * n(v) * tanh(v)
            d_r, d_z = d_n_x * r(v), d_h * z(v)
            return np.concatenate([d_r * v.r * (1 - v.r), d_z * v.z * (1 - v.z), d_n_x * n_h(v), d_n_x])

        return ({"d_a": d_a, "d_h_direct": lambda _, m: m.step.d_h * h_prev(values(m))},)

    step = "h = (1 − z) ⊙ n + z ⊙ h_prev"
    inner = "n = tanh(n_x + r ⊙ n_h)"
    wrongs: list[tuple[str, str, dict[str, Factor]]] = [
        (f"{step}: d_n is d_h ⊙ (1 − z)", "z for 1 − z", {"n": lambda v: v.z}),
        (f"{step}: d_n is d_h ⊙ (1 − z)", MISSING, {"n": lambda v: v.one}),
        (f"{inner}: tanh′ is 1 − n²", MISSING, {"tanh": lambda v: v.one}),
        (f"{inner}: tanh′ is 1 − n²", "1 − n", {"tanh": lambda v: 1 - v.n}),
        (f"{inner}: tanh′ is 1 − n²", "n(1 − n), which is σ′,", {"tanh": lambda v: v.n * (1 - v.n)}),
        (f"{inner}: tanh′ is 1 − n²", "1 − a² of the pre-activation", {"tanh": lambda v: 1 - v.a * v.a}),
        (f"{inner}: tanh′ is 1 − n²", "tanh′ taken at n", {"tanh": lambda v: 1 - np.tanh(v.n) ** 2}),
        (f"{inner}: the gradient of n_h has the factor r", "1 − r", {"n_h": lambda v: 1 - v.r}),
        (f"{inner}: the gradient of n_h has the factor r", "z", {"n_h": lambda v: v.z}),
        (f"{inner}: the gradient of r has the factor n_h", MISSING, {"r": lambda v: v.one}),
        (f"{inner}: the gradient of r has the factor n_h", "h_prev", {"r": lambda v: v.h_prev}),
        (f"{inner}: the gradient of r has the factor n_h", "n_x", {"r": lambda v: v.n_x}),
        (f"{inner}: the gradient of r has the factor n_h", "n", {"r": lambda v: v.n}),
        (f"{inner}: the gradient of r has the factor n_h", "zero", {"r": lambda v: 0 * v.one}),
        (f"{step}: d_z is d_h ⊙ (h_prev − n)", "n − h_prev", {"z": lambda v: v.n - v.h_prev}),
        (f"{step}: d_z is d_h ⊙ (h_prev − n)", "h_prev", {"z": lambda v: v.h_prev}),
        (f"{step}: d_z is d_h ⊙ (h_prev − n)", "−n", {"z": lambda v: -v.n}),
        (f"{step}: d_z is d_h ⊙ (h_prev − n)", "h_prev + n", {"z": lambda v: v.h_prev + v.n}),
        (f"{step}: d_z is d_h ⊙ (h_prev − n)", "h − n", {"z": lambda v: v.h - v.n}),
        (f"{step}: directly h_prev gets d_h ⊙ z", "1 − z", {"h_prev": lambda v: 1 - v.z}),
        (f"{step}: directly h_prev gets d_h ⊙ z", MISSING, {"h_prev": lambda v: v.one}),
        (f"{step}: directly h_prev gets d_h ⊙ z", "r", {"h_prev": lambda v: v.r}),
    ]
    for right, wrong, change in wrongs:
        (of,) = change
        yield Fault(
            f"the factor of {'h_prev, directly' if of == 'h_prev' else of}: {wrong.removesuffix(',')}",
            f"{right}, and it is missing." if wrong == MISSING else f"{right}, and {wrong} is there.",
            backward(**change),
        )

    def reset_first(a: Array, m: Machine) -> Array:
        """W_hh (r ⊙ h_prev) + b_hh in the place of r ⊙ (W_hh h_prev + b_hh), as what the cell multiplies by r."""
        a = a.copy()
        n, r = m.gate("n_h"), sigmoid(a[m.gate("r")])
        weights = m.weights(m.layer * m.D + m.direction)
        b = 0 if weights.b_hh is None else weights.b_hh[n][:, None]
        a[n] = (weights.W_hh[n] @ (r * m.step.before[0]) + b) / r
        return a

    yield Fault(
        "r before the recurrent product",
        "The reset gate acts before the recurrent product, W_hh (r ⊙ h_prev), as in the paper (Cho et al. 2014); "
        "PyTorch's, like cuDNN's, acts after it, r ⊙ (W_hh h_prev + b_hh).",
        ({"a": reset_first},),
        forward=True,
    )
