"""The equations of a cell as its file writes them (`Equations` in nn/cell.py), read and computed.

The right side of "name = " is an expression of numbers, names and brackets with +, −, ⊙ and ², the functions σ, tanh
and relu, and [u > v], which is 1 where that holds and 0 elsewhere. Everything acts on each entry for itself.
tanh²(c) is tanh(c)². Python's own parser reads it, after ⊙, − and ² have become *, - and **2.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..nn import activations
from ..nn.cell import Cell, Equation
from ..types import Array


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

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
}


def sides(equation: Equation) -> tuple[str, str]:
    """The name that an equation gives a value, and the text behind its =."""
    name, _, right = equation.text.partition(" = ")
    return name, right


def blocks(cell: Cell) -> tuple[str, ...]:
    """The names of the blocks of `a`: a_i and so on, or a if it is the only one; a_n_h and a_n_x of a gate n apart."""
    return ("a",) if len(cell.blocks) == 1 else tuple(f"a_{block}" for block in cell.blocks)


def evaluate(text: str, values: Mapping[str, Array]) -> Array:
    """The value of the right side of an equation. values: of each name that may stand in it, all of one shape.

    Raises ValueError for a name without a value and for anything but an equation.
    """
    result: Array = value(parsed(text), values, text)
    return result


def parsed(text: str) -> ast.expr:
    """The right side of an equation as Python's syntax tree. Raises ValueError for anything but an equation."""
    python = re.sub(r"(\w+)²\(", r"squared_\1(", text)
    for sign, as_python in (("⊙", " * "), ("−", " - "), ("²", "**2 ")):
        python = python.replace(sign, as_python)
    try:
        if foreign := re.search(r"[^\w\s.()\[\]+−⊙²>]", text):
            raise ValueError(repr(foreign[0]))
        return ast.parse(python.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"expected an equation in {text!r}, got {error}") from None


def value(node: ast.expr, values: Mapping[str, Array], text: str) -> Any:
    """The value of a part of an equation. Raises ValueError for what the grammar does not have."""
    match node:
        case ast.Constant(float() | int() as number) if not isinstance(number, bool):
            return float(number)  # which does not widen float32, as an array would
        case ast.Name(name) if name in values:
            return values[name]
        case ast.UnaryOp(ast.USub(), part):
            return -value(part, values, text)
        case ast.BinOp(part, ast.Pow(), ast.Constant(2)):
            squared = value(part, values, text)
            return squared * squared
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            return OPERATORS[type(operator)](value(left, values, text), value(right, values, text))
        case ast.List([ast.Compare(left, [ast.Gt()], [right])]):
            one, other = value(left, values, text), value(right, values, text)
            return np.where(one > other, np.ones_like(one), 0)
        case ast.Call(ast.Name(name), [argument], []) if name.removeprefix("squared_") in FUNCTIONS:
            result = FUNCTIONS[name.removeprefix("squared_")](value(argument, values, text))
            return result * result if name.startswith("squared_") else result
    raise ValueError(f"expected a number or a name with a value in {text!r}, got {ast.unparse(node)!r}")


def outermost(text: str) -> str | None:
    """The function, if a text is one function of something: tanh in tanh(a + b), None in tanh(a) ⊙ (1 − b)."""
    match parsed(text):
        case ast.Call(ast.Name(name)) if name in FUNCTIONS:
            return name
    return None


def of_names(text: str) -> tuple[str, dict[str, str]]:
    """The text with names for the functions of a name, tanh_c for tanh(c), and what each of them stands for."""
    function_of_name = rf"({'|'.join(FUNCTIONS)})(²?)\(([A-Za-z]\w*)\)"
    stands_for = {
        f"{function}_{name}": f"{function}({name})" for function, _, name in re.findall(function_of_name, text)
    }
    return re.sub(function_of_name, r"\1_\3\2", text), stands_for
