"""Expressions of the equations, as Python's syntax trees: taken apart, changed, evaluated, and shown as on paper."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, reduce
from types import CodeType
from typing import Any

import numpy as np

Values = dict[str, Any]
"""What a step knows, by name."""


@cache
def expression(text: str) -> ast.expr:
    """An expression from its text."""
    return ast.parse(text, mode="eval").body


# Taken apart.


def terms_of(node: ast.expr) -> list[tuple[int, ast.expr]]:
    """The terms of a sum, each with its sign."""
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return [*terms_of(left), *terms_of(right)]
        case ast.BinOp(left, ast.Sub(), right):
            return [*terms_of(left), *((-sign, term) for sign, term in terms_of(right))]
    return [(1, node)]


def factors_of(node: ast.expr) -> list[ast.expr]:
    """The factors of a product."""
    match node:
        case ast.BinOp(left, ast.Mult(), right):
            return [*factors_of(left), *factors_of(right)]
    return [node]


def parts(node: ast.expr) -> Iterator[ast.expr]:
    """An expression, and everything that it is made of: terms, factors, arguments."""
    yield node
    terms, factors = terms_of(node), factors_of(node)
    if len(terms) > 1:
        inner = [term for _, term in terms]
    elif len(factors) > 1:
        inner = factors
    elif isinstance(node, ast.Call):
        inner = node.args
    else:
        inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    for each in inner:
        yield from parts(each)


def names_in(node: ast.expr) -> list[str]:
    """The names of the values in an expression, each once."""
    return list(dict.fromkeys(part.id for part in parts(node) if isinstance(part, ast.Name)))


def matched(pattern: ast.expr, node: ast.expr) -> dict[str, ast.expr]:
    """What u and v are, in an expression that has the form of the pattern; nothing if it has another."""
    found: dict[str, ast.expr] = {}

    def fits(one: Any, other: Any) -> bool:
        if isinstance(one, ast.Name) and one.id in "uv":
            found[one.id] = other
            return True
        if isinstance(one, list):
            return len(one) == len(other) and all(map(fits, one, other))
        if isinstance(one, ast.AST):
            return type(one) is type(other) and all(fits(getattr(one, f), getattr(other, f)) for f in one._fields)
        return bool(one == other)

    return found if fits(pattern, node) else {}


# Changed.


def rebuilt(node: Any, swap: Callable[[ast.expr], ast.expr | None]) -> Any:
    """A copy of an expression, with what `swap` gives in place of some of its parts."""
    if isinstance(node, list):
        return [rebuilt(each, swap) for each in node]
    if isinstance(node, ast.expr) and (new := swap(node)) is not None:
        return new
    if not isinstance(node, ast.AST):
        return node
    return type(node)(**{field: rebuilt(value, swap) for field, value in ast.iter_fields(node)})


def replaced(node: ast.expr, old: ast.expr, new: ast.expr) -> ast.expr:
    """The expression with one of its parts replaced."""
    result: ast.expr = rebuilt(node, lambda part: new if part is old else None)
    return result


def renamed(node: ast.expr, new: Mapping[str, ast.expr]) -> ast.expr:
    """The expression with others for some of its names, wherever they stand."""
    result: ast.expr = rebuilt(node, lambda part: new.get(part.id) if isinstance(part, ast.Name) else None)
    return result


def made(pattern: str, **named: ast.expr) -> ast.expr:
    """An expression from others: `made("1 - u", u=node)`."""
    return renamed(expression(pattern), named)


def value_of(name: str) -> ast.expr:
    """The value with this name."""
    return ast.Name(name, ast.Load())


def total(terms: Sequence[tuple[int, ast.expr]]) -> ast.expr:
    """The sum of several terms with their signs."""
    sign, result = terms[0]
    if sign < 0:
        result = made("-u", u=result)
    for sign, term in terms[1:]:
        result = made("u + v" if sign > 0 else "u - v", u=result, v=term)
    return result


def product(factors: Sequence[ast.expr]) -> ast.expr:
    """The product of several factors."""
    return reduce(lambda u, v: made("u * v", u=u, v=v), factors) if factors else ast.Constant(1)


# Evaluated.


def turned(W: Any) -> Any:
    """Every square block of a matrix transposed. Raises ValueError if it has none."""
    return np.concatenate([block.T for block in np.split(W, W.shape[0] // W.shape[1])])


def flip(value: Any) -> Any:
    """A sequence from its last step to its first."""
    return value[::-1]


FUNCTIONS: Values = {
    "__builtins__": {},
    "flip": flip,
    "σ": np.errstate(over="ignore")(lambda a: 1 / (1 + np.exp(-a))),
    "tanh": np.tanh,
    "relu": lambda a: np.where(a > 0, a, 0 * a),
    "positive": lambda a: 1.0 * (a > 0),
    "sum": lambda d: d.sum(axis=0),
    "total": np.sum,
    "mean": lambda d: d.mean(axis=0),
    "first": lambda d: d[0],
    "last": lambda d: d[-1],
    "side": lambda *blocks: np.concatenate(blocks, axis=1),
    "interleaved": lambda *blocks: np.stack(blocks, 2).reshape(len(blocks[0]), -1),
    "block": lambda a, k, H: a[:, k * H : (k + 1) * H],
    "rows": lambda W, k, H: W[k * H : (k + 1) * H],
    "turned": turned,
    "reshaped": lambda W: W.reshape(W.shape[::-1]),
    "range": range,
    "reversed": reversed,
    "min": min,
    "clip": lambda value, limit: np.clip(value, -limit, limit),
}
"""What an expression may call, and nothing else."""
PYTHON: Values = FUNCTIONS | {"__builtins__": vars(builtins), "xp": np, "Any": Any}
"""What a function may call whose lines are slots."""


@cache
def compiled(node: ast.expr) -> CodeType:
    """What evaluates an expression."""
    return compile(ast.fix_missing_locations(ast.Expression(node)), "<equation>", "eval")


def evaluate(node: ast.expr, values: Values, known: Values = FUNCTIONS) -> Any:
    """The value of an expression. known: the functions that it may call."""
    return eval(compiled(node), known, values)


# Shown.

STRENGTH = {ast.Add: 1, ast.Sub: 1, ast.Mult: 2, ast.Div: 2, ast.MatMult: 3, ast.Pow: 5}
SIGNS = {ast.Add: " + ", ast.Sub: " − ", ast.Mult: " ⊙ ", ast.Div: " / ", ast.MatMult: " @ "}
OF_STEP = {"_before": " of the step before", "_later": " of the step after", "_end": " after the last step"}
CALLS = {
    "block": "block {1} of {0}",
    "rows": "{0}[block {1}]",
    "interleaved": "[{0}] with their columns interleaved",
    "sum": "the sum of {} over the batch",
    "mean": "the mean of {} over the batch",
    "total": "the sum of {} over everything",
    "first": "{} of the first sequence alone",
    "last": "{} of the last sequence alone",
    "turned": "{} with each block transposed",
    "reshaped": "{}.reshape(…)",
    "positive": "[{} > 0]",
}


def shown(node: ast.expr, outer: int = 0, leaf: Callable[[ast.expr], str | None] | None = None) -> str:
    """An expression as on paper. outer: how strongly what is around it binds. leaf: the text of some parts, if other
    than their own.
    """
    if leaf and (text := leaf(node)) is not None:
        return f"({text})" if outer > 1 and (" " in text or text.startswith("−")) else text
    match node:
        case ast.BinOp(left, ast.Pow(), _):  # no other power than a square is there
            return f"{shown(left, 5, leaf)}²"
        case ast.BinOp(left, op, right):
            strength, sign = STRENGTH[type(op)], SIGNS[type(op)]
            product = isinstance(op, ast.Mult)
            if product and (leaf or is_number(left) or is_number(right)):
                sign = " · "
            chained = product and isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult)
            text = f"{shown(left, strength, leaf)}{sign}{shown(right, strength + (not chained), leaf)}"
            return f"({text})" if strength < outer else text
        case ast.UnaryOp(ast.USub(), operand):
            text = f"−{shown(operand, 2, leaf)}"
            return f"({text})" if outer > 1 else text
        case ast.Call(ast.Name("side"), arguments):
            return f"[{', '.join(shown(argument, 0, leaf) for argument in arguments)}]"
        case ast.Call(ast.Name(name), arguments):
            texts = [shown(argument, 0, leaf) for argument in arguments]
            return CALLS[name].format(*texts) if name in CALLS else f"{name}({', '.join(texts)})"
        case ast.Subscript(value, columns):
            return f"{shown(value, 5, leaf)}[{ast.unparse(columns).strip('()')}]"
        case ast.Attribute(value, "T"):
            return f"{shown(value, 5, leaf)}.T"
        case ast.Name(name):
            for ending, words in OF_STEP.items():
                if name.endswith(ending):
                    return f"({name.removesuffix(ending)}{words})"
            return "tanh(c)" if name == "tanh_c" else name
    return ast.unparse(node)


def is_number(node: ast.expr) -> bool:
    """Whether it is a constant."""
    return isinstance(node, ast.Constant) or (isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant))


def number(value: Any, places: int = 4) -> str:
    """A number in print."""
    return f"{float(value):.{places}g}".replace("-", "−")


def with_numbers(node: ast.expr, values: Values, index: tuple[int, ...]) -> str:
    """One entry of an expression, with numbers in place of the names."""

    def leaf(part: ast.expr) -> str | None:
        match part:
            case ast.BinOp(left, ast.MatMult(), right):
                row, column = evaluate(left, values)[index[0]], evaluate(right, values)[:, index[-1]]
                return " + ".join(f"{number(u)}·{number(v)}" for u, v in zip(row, column, strict=True))
            case ast.Name() | ast.Call(ast.Name("block")):
                array = np.asarray(evaluate(part, values))
                return number(array[index[-array.ndim :]] if array.ndim else array)
        return None

    return shown(node, 0, leaf)
