"""The textbook's equations as data: what each result of `step` and of `step_backward` is, with its number.

An equation is a line `name = expression (number)`. The expression is Python over the values that a step knows by name,
so that it can be evaluated and shown (expressions.py), and changed (mutations.py). `W_ih`, `b_ih`, … are the
parameters, `d_W_ih`, … their gradients; `block(a, k, H)` is the k-th block of H columns, and `side` puts columns side
by side. An alternative is what people write by mistake where no small change of the equation gives it.
"""

import ast
import re
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType, ModuleType
from typing import NamedTuple

import numpy as np

from scratch.textbook import gru, lstm, rnn

from .expressions import FUNCTIONS, Values, evaluate, expression


class Equation(NamedTuple):
    """`name` is `right`, by the equation with this number."""

    name: str
    right: ast.expr
    number: str


def equations(text: str) -> tuple[Equation, ...]:
    """The equations that stand one a line."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, rest = line.split(" = ", 1)
        right, number = re.split(r"\s+(?=\(\d\))", rest, maxsplit=1)
        found.append(Equation(name, expression(right), number))
    return tuple(found)


class Cell:
    """One cell: the page it is from, its gates in their order, the parts of its state, and its equations.

    text: the equations of `step`, of `step_backward`, and the alternatives as lines `equation; equation | words`.
    keywords: what `step` and `forward` are called with besides.
    """

    def __init__(self, name: str, page: ModuleType, gates: str, parts: str, text: str, **keywords: str) -> None:
        self.name, self.page, self.gates, self.parts, self.keywords = name, page, gates, parts, keywords
        step, step_backward, alternatives = text.split("---")
        self.step, self.step_backward = equations(step), equations(step_backward)
        self.alternatives = [line.strip().split(" | ") for line in alternatives.splitlines() if line.strip()]

    def equations(self, function: str) -> tuple[Equation, ...]:
        """Those of `step` or of `step_backward`."""
        return self.step if function == "step" else self.step_backward

    @cached_property
    def known_forward(self) -> list[str]:
        """The names of what a step is given and computes, which the way back may use."""
        return ["x", *(f"{part}_prev" for part in self.parts), *(equation.name for equation in self.step)]

    @cached_property
    def stated(self) -> dict[str, list[str]]:
        """The equations as the page's docstring states them, by number."""
        found: dict[str, list[str]] = {}
        for line in (self.page.__doc__ or "").splitlines():
            if match := re.match(r"\(\d\)(?=  )", line):
                found[match[0]] = [line]
            elif line.startswith("     "):
                found[max(found)].append(line)
        return found


def follow(
    cell: Cell,
    function: str,
    given: Values,
    changes: Mapping[str, ast.expr] = MappingProxyType({}),
    like: Values | None = None,
    known: Values = FUNCTIONS,
) -> Values:
    """Everything that the equations give, one after the other, with some of them changed.

    What is given already, and comes before the first change, is not computed again. A change may give a single number
    where an array belongs; `like` has the shapes. Raises ValueError where the shape is another, and whatever the change
    raises.
    """
    values, changed = dict(given), False
    for name, right, _ in cell.equations(function):
        changed = changed or name in changes
        if changed or name not in values:
            value = evaluate(changes.get(name, right), values, known)
            values[name] = np.broadcast_to(value, np.shape(like[name])) if like and name in changes else value
    return values


# The cells.

SUM = "a = x @ W_ih.T + h_prev @ W_hh.T + (b_ih + b_hh) (0)"
BACKWARD = """
    d_x = d_a @ W_ih (0)
    d_h_prev = d_a @ W_hh (0)
    d_W_ih = d_a.T @ x (0)
    d_W_hh = d_a.T @ h_prev (0)
    d_b_ih = sum(d_a) (0)
    d_b_hh = sum(d_a) (0)
"""
OTHER_SUMS = """
    a = x @ W_ih.T + h_prev @ W_hh.T | the biases are missing
    a = side(h_prev, x) @ side(W_ih, W_hh).T + b_ih + b_hh | x and h_prev are exchanged where they are put side by side
    d_W_ih = (d_a.T @ side(h_prev, x))[:, :I] | x and h_prev are exchanged where they are put side by side
    d_W_hh = (d_a.T @ side(h_prev, x))[:, I:] | x and h_prev are exchanged where they are put side by side
    d_x = (d_a @ side(W_ih, W_hh))[:, H:] | the columns of x and of h_prev are exchanged
    d_h_prev = (d_a @ side(W_ih, W_hh))[:, :H] | the columns of x and of h_prev are exchanged
    d_x = (d_a @ side(W_hh, W_ih))[:, :I] | the columns of x and of h_prev are exchanged
    d_h_prev = (d_a @ side(W_hh, W_ih))[:, I:] | the columns of x and of h_prev are exchanged
"""
LEAKY = "h = relu(a) + 0.01 * (a - relu(a)) | a leaky relu is there"


def elman(name: str, derivative: str, alternatives: str) -> Cell:
    """The RNN with one of its nonlinearities."""
    text = f"{SUM}\nh = {name}(a) (1)\n---\nd_a = d_h * {derivative} (1)\n{BACKWARD}\n---\n{OTHER_SUMS}\n{LEAKY}"
    return Cell(f"RNN {name}", rnn, "a", "h", text + alternatives, nonlinearity=name)


RNN_TANH = elman(
    "tanh",
    "(1 - h**2)",
    """
    d_a = d_h * positive(h) | relu′ is there for tanh′
    d_a = d_h * h | h is there for tanh′
    d_a = -2 * d_h * h | the derivative of 1 − h² is there for tanh′
    """,
)
RNN_RELU = elman("relu", "positive(h)", "\nd_a = d_h * (1 - h**2) | tanh′ is there for relu′")
LSTM = Cell(
    "LSTM",
    lstm,
    "ifgo",
    "hc",
    f"""
    {SUM}
    a_i = block(a, 0, H) (0)
    a_f = block(a, 1, H) (0)
    a_g = block(a, 2, H) (0)
    a_o = block(a, 3, H) (0)
    i = σ(a_i) (1)
    f = σ(a_f) (2)
    g = tanh(a_g) (3)
    o = σ(a_o) (4)
    c = f * c_prev + i * g (5)
    tanh_c = tanh(c) (6)
    h = o * tanh_c (6)
    ---
    d_o = d_h * tanh_c (6)
    d_c = d_c_after + d_h * o * (1 - tanh_c**2) (6)
    d_f = d_c * c_prev (5)
    d_i = d_c * g (5)
    d_g = d_c * i (5)
    d_c_prev = d_c * f (5)
    d_a_o = d_o * o * (1 - o) (4)
    d_a_g = d_g * (1 - g**2) (3)
    d_a_f = d_f * f * (1 - f) (2)
    d_a_i = d_i * i * (1 - i) (1)
    d_a = side(d_a_i, d_a_f, d_a_g, d_a_o) (0)
    {BACKWARD}
    ---
    {OTHER_SUMS}
    c = f * c_prev + (1 - f) * g | 1 − f is there for i, as if the two gates were coupled
    d_c = (d_c_after + d_h * o) * (1 - tanh_c**2) | tanh′ is a factor of d_c_after, too
    d_c = d_c_after * o * (1 - tanh_c**2) + d_h | the factors of d_h are at d_c_after
    a = x @ W_ih.T + c_prev @ W_hh.T + (b_ih + b_hh); c = f * h_prev + i * g | h_prev and c_prev are exchanged
    d_c = d_c_after * o * (1 - tanh_c**2) + d_h; d_o = d_c_after * tanh_c | d_h and d_c_after are exchanged
    i = σ(-a_i); f = σ(-a_f); o = σ(-a_o) | σ has a + for the − in its exponent
    c = (1 - i) * c_prev + i * g | 1 − i is there for f, as if the two gates were coupled
    h = tanh(o * c) | tanh is applied to the product
    f = 1 + 0 * a_f | the gate is missing
    d_o = d_h * tanh(c_prev) | tanh(c_prev) is there for tanh(c)
    d_f = d_c * tanh(c_prev) | tanh(c_prev) is there for c_prev
    d_f = d_c_after * c_prev; d_i = d_c_after * g; d_g = d_c_after * i | what comes from h is left out
    d_f = (d_c - d_c_after) * c_prev; d_i = (d_c - d_c_after) * g; d_g = (d_c - d_c_after) * i \
| what comes from the step after is left out
    """,
)
GRU = Cell(
    "GRU",
    gru,
    "rzn",
    "h",
    """
    a_x = x @ W_ih.T + b_ih (0)
    a_h = h_prev @ W_hh.T + b_hh (0)
    a_r_x = block(a_x, 0, H) (0)
    a_z_x = block(a_x, 1, H) (0)
    a_n_x = block(a_x, 2, H) (0)
    a_r_h = block(a_h, 0, H) (0)
    a_z_h = block(a_h, 1, H) (0)
    a_n_h = block(a_h, 2, H) (0)
    r = σ(a_r_x + a_r_h) (1)
    z = σ(a_z_x + a_z_h) (2)
    n = tanh(a_n_x + r * a_n_h) (3)
    h = (1 - z) * n + z * h_prev (4)
    ---
    d_n = d_h * (1 - z) (4)
    d_z = d_h * (h_prev - n) (4)
    d_a_n_x = d_n * (1 - n**2) (3)
    d_a_n_h = d_a_n_x * r (3)
    d_r = d_a_n_x * a_n_h (3)
    d_a_z = d_z * z * (1 - z) (2)
    d_a_r = d_r * r * (1 - r) (1)
    d_a_x = side(d_a_r, d_a_z, d_a_n_x) (0)
    d_a_h = side(d_a_r, d_a_z, d_a_n_h) (0)
    d_x = d_a_x @ W_ih (0)
    d_h_prev = d_h * z + d_a_h @ W_hh (4), (0)
    d_W_ih = d_a_x.T @ x (0)
    d_W_hh = d_a_h.T @ h_prev (0)
    d_b_ih = sum(d_a_x) (0)
    d_b_hh = sum(d_a_h) (0)
    ---
    a_x = x @ W_ih.T; a_h = h_prev @ W_hh.T | the biases are missing
    h = z * n + (1 - z) * h_prev | z and 1 − z are exchanged
    n = tanh(a_n_x + (r * h_prev) @ rows(W_hh, 2, H).T + rows(b_hh, 2, H)) | r acts before the product with W_hh, \
where it belongs after it
    n = tanh(a_n_x + rows(b_hh, 2, H) + r * (a_n_h - rows(b_hh, 2, H))) | the bias b_hh of n is outside the \
product with r
    n = tanh(a_n_x + r * (a_n_h - rows(b_hh, 2, H))) | the bias b_hh of n is missing
    n = tanh(r * (a_n_x + a_n_h)) | r is a factor of both halves
    n = tanh(r * a_n_x + a_n_h) | r is a factor of the other half
    r = σ(-(a_r_x + a_r_h)); z = σ(-(a_z_x + a_z_h)) | σ has a + for the − in its exponent
    d_h_prev = d_h * z + d_a_x @ W_hh | d_a_x is there for d_a_h
    d_a_r = d_r * (a_r_x + a_r_h) * (1 - (a_r_x + a_r_h)) | σ′ is taken of the pre-activation
    d_a_z = d_z * (a_z_x + a_z_h) * (1 - (a_z_x + a_z_h)) | σ′ is taken of the pre-activation
    d_a_z = d_z * (a_z_x + a_z_h) * (1 - (a_z_x + a_z_h)); d_a_r = d_r * (a_r_x + a_r_h) * (1 - (a_r_x + a_r_h)) \
| σ′ is taken of the pre-activation
    d_a_n_x = d_n * (1 - (a_n_x + r * a_n_h)**2) | tanh′ is taken of the pre-activation
    """,
)
CELLS = {cell.name: cell for cell in (RNN_TANH, RNN_RELU, LSTM, GRU)}
