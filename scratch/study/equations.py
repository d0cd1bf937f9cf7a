"""The equations of a cell as its file writes them (`Equations` in nn/cell.py), read and computed.

The right side of "name = " is an expression of numbers, names and brackets with +, −, ⊙ and ², the functions σ, tanh
and relu, and [u > v], which is 1 where that holds and 0 elsewhere. Everything acts on each entry for itself.
tanh²(c) is tanh(c)². Python computes it, once these signs are Python's.
"""

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


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"σ": sigmoid, "tanh": np.tanh, "relu": lambda a: np.maximum(a, 0)}
SIGNS = {"squared": lambda function: lambda a: function(a) ** 2, "positive": lambda a: np.heaviside(a, 0)}
BOUNDED = ("σ", "tanh")  # the functions that stay between −1 and 1


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
    try:
        result: Array = eval(as_python(text), FUNCTIONS | SIGNS | {"__builtins__": {}}, dict(values))
    except (SyntaxError, NameError, TypeError) as error:
        raise ValueError(f"expected an equation of names with a value in {text!r}, got {error}") from None
    return result


def as_python(text: str) -> str:
    """The right side of an equation in Python. Raises ValueError for a sign that no equation has."""
    python = re.sub(r"\[([^][>]+)>([^][>]+)\]", r"positive(\1 − (\2))", text)
    if foreign := re.search(r"[^\w\s.()+−⊙²]|\.(?!\d)", python):
        raise ValueError(f"expected an equation in {text!r}, got {foreign[0]!r}")
    python = re.sub(r"(\w+)²\(", r"squared(\1)(", python)
    for sign, pythons in (("⊙", " * "), ("−", " - "), ("²", "**2 ")):
        python = python.replace(sign, pythons)
    return python.strip()


def outermost(text: str) -> str | None:
    """The function, if a text is one function of something: tanh in tanh(a + b), None in tanh(a) ⊙ (1 − b)."""
    match ast.parse(as_python(text), mode="eval").body:
        case ast.Call(ast.Name(name)) if name in FUNCTIONS:
            return name
    return None


def of_names(text: str) -> tuple[str, dict[str, str]]:
    """The text with names for the functions of a name, tanh_c for tanh(c), and what each of them stands for."""
    function_of_name = rf"({'|'.join(FUNCTIONS)})(²?)\(([A-Za-z]\w*)\)"
    found = re.findall(function_of_name, text)
    stands_for = {f"{function}_{name}": f"{function}({name})" for function, _, name in found}
    return re.sub(function_of_name, r"\1_\3\2", text), stands_for
