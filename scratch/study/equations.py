"""The equations of a cell as its file writes them (`Equations` in nn/cell.py), read and computed.

What may stand on the right of "name = ":

    sum      product, then any number of  + product  or  − product
    product  factor, then any number of  ⊙ factor
    factor   − factor, or atom, or atom²
    atom     a number, a name, (sum), [sum > sum], function(sum) or function²(sum)

The functions are σ, tanh and relu; [u > v] is 1 where that holds and 0 elsewhere. Each acts on each entry for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..nn import activations
from ..nn.cell import Cell, Equation
from ..types import Array

TOKEN = re.compile(r"\d+(?:\.\d+)?|[A-Za-z]\w*|\S", re.ASCII)
NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
END = ""


def sigmoid(a: Array) -> Array:
    """σ(a), in a new array."""
    result = np.array(a)
    activations.sigmoid(result)
    return result


def relu(a: Array) -> Array:
    """max(a, 0), in a new array."""
    result = np.empty_like(a)
    activations.relu(a, out=result)
    return result


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"σ": sigmoid, "tanh": np.tanh, "relu": relu}

BOUNDED = ("σ", "tanh")
"""The functions that stay between −1 and 1."""


def sides(equation: Equation) -> tuple[str, str]:
    """The name that an equation gives a value, and the text behind its =."""
    name, _, right = equation.text.partition(" = ")
    return name, right


def blocks(cell: Cell) -> tuple[str, ...]:
    """What the blocks of `a` are called: a_i, …, or a if it is the only one; those of a gate apart a_n_h and a_n_x."""
    return ("a",) if len(cell.blocks) == 1 else tuple(f"a_{block}" for block in cell.blocks)


def evaluate(text: str, values: Mapping[str, Array]) -> Array:
    """What the right side of an equation comes to. values: of each name that may stand in it, all of one shape.

    Raises ValueError for a name that has no value and for what is no equation.
    """
    reading = Reading(text, values)
    result: Array = reading.sum()
    reading.take(END)
    return result


class Reading:
    """A text that is read from left to right and computed on the way, with a method for each line of the grammar."""

    def __init__(self, text: str, values: Mapping[str, Array]) -> None:
        self.text, self.values = text, values
        self.tokens: list[str] = [*TOKEN.findall(text), END]
        self.position = 0

    def comes(self, *tokens: str) -> str | None:
        """The next token, passed over, if it is one of these."""
        token = self.tokens[self.position]
        if token not in tokens:
            return None
        self.position += 1
        return token

    def take(self, token: str) -> None:
        """Pass over the next token, which has to be this one."""
        if self.comes(token) is None:
            raise ValueError(
                f"expected {token or 'the end'!r} in {self.text!r}, got {self.tokens[self.position] or 'the end'!r}"
            )

    def sum(self) -> Any:
        """product, then any number of + product or − product."""
        result = self.product()
        while sign := self.comes("+", "−"):
            result = result + self.product() if sign == "+" else result - self.product()
        return result

    def product(self) -> Any:
        """factor, then any number of ⊙ factor."""
        result = self.factor()
        while self.comes("⊙"):
            result = result * self.factor()
        return result

    def factor(self) -> Any:
        """− factor, or atom, or atom²."""
        if self.comes("−"):
            return -self.factor()
        result = self.atom()
        return result * result if self.comes("²") else result

    def atom(self) -> Any:
        """A number, a name, (sum), [sum > sum], function(sum) or function²(sum)."""
        if self.comes("("):
            return self.until(")")
        if self.comes("["):
            left = self.sum()
            self.take(">")
            return np.where(left > self.until("]"), np.ones_like(left), 0)
        if function := self.comes(*FUNCTIONS):
            squared = self.comes("²")
            self.take("(")
            result = FUNCTIONS[function](self.until(")"))
            return result * result if squared else result
        token = self.tokens[self.position]
        self.position += token != END
        if token[:1].isdecimal():
            return float(token)  # which does not widen float32, as an array would
        if token not in self.values:
            raise ValueError(f"expected a number or a name with a value in {self.text!r}, got {token or 'the end'!r}")
        return self.values[token]

    def until(self, bracket: str) -> Any:
        """sum, and the bracket that closes it."""
        result = self.sum()
        self.take(bracket)
        return result


def outermost(text: str) -> str | None:
    """The function, if a text is one function of something: tanh in tanh(a + b), none in tanh(a) ⊙ (1 − b)."""
    function, depth = text.partition("(")[0], 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == ")" and depth == 0:
            return function if function in FUNCTIONS and position == len(text) - 1 else None
    return None


def of_names(text: str) -> tuple[str, dict[str, str]]:
    """The text with names for the functions of a name, tanh_c for tanh(c), and what each of them stands for."""
    stands_for: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        function, square, name = found.groups()
        stands_for[f"{function}_{name}"] = f"{function}({name})"
        return f"{function}_{name}{square}"

    text = re.sub(rf"({'|'.join(FUNCTIONS)})(²?)\(({NAME.pattern})\)", named, text, flags=re.ASCII)
    return text, stands_for
