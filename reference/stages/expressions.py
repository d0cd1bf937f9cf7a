"""Expressions of the equations, as Python's syntax trees: taken apart, changed, evaluated, and shown as on paper."""

import ast
import builtins
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

Values = dict[str, Any]
"""What a step knows, by name."""


@cache
def expression(text: str) -> ast.expr:
    """An expression from its text."""
    return ast.parse(text, mode="eval").body


# Taken apart, and changed.


def names_in(node: ast.expr) -> list[str]:
    """The names of the values in an expression, each once."""
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    return [name for name in dict.fromkeys(names) if name not in FUNCTIONS]


def matched(pattern: Any, node: Any) -> dict[str, ast.expr] | None:
    """What u and v are, in an expression that has the form of the pattern; None if it has another."""
    if isinstance(pattern, ast.Name) and pattern.id in "uv":
        return {pattern.id: node}
    if isinstance(pattern, ast.AST) and type(pattern) is type(node):
        pattern, node = ([getattr(each, field) for field in each._fields] for each in (pattern, node))
    if not isinstance(pattern, list) or not isinstance(node, list) or len(pattern) != len(node):
        return {} if pattern == node else None
    found: dict[str, ast.expr] = {}
    for one, other in zip(pattern, node, strict=True):
        more = matched(one, other)
        if more is None or any(ast.dump(found.get(name, value)) != ast.dump(value) for name, value in more.items()):
            return None
        found |= more
    return found


def rebuilt(node: Any, swap: Callable[[ast.expr], ast.expr | None]) -> Any:
    """A copy of an expression, with what `swap` gives in place of some of its parts."""
    if isinstance(node, list):
        return [rebuilt(each, swap) for each in node]
    if isinstance(node, ast.expr) and (new := swap(node)) is not None:
        return new
    if not isinstance(node, ast.AST):
        return node
    return type(node)(**{field: rebuilt(value, swap) for field, value in ast.iter_fields(node)})


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


# Evaluated.


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
    "turned": lambda W: np.concatenate([block.T for block in np.split(W, W.shape[0] // W.shape[1])]),  # square blocks
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

OF_STEP = {"_before": "({} of the step before)", "_later": "({} of the step after)", "_end": "({} after the last step)"}
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


def shown(node: ast.expr, leaf: Callable[[ast.expr], str | None] = lambda _: None) -> str:
    """An expression as on paper. leaf: the text of some parts, if other than their own."""

    def on_paper(part: ast.expr) -> ast.expr | None:
        if (text := leaf(part)) is not None:
            return value_of(f"({text})" if part is not node and (text[0] == "−" or " " in text) else text)
        match part:
            case ast.Call(ast.Name(name), arguments):
                texts = [shown(argument, leaf) for argument in arguments]
                listed = f"[{', '.join(texts)}]" if name == "side" else f"{name}({', '.join(texts)})"
                return value_of(CALLS[name].format(*texts) if name in CALLS else listed)
            case ast.BinOp(ast.BinOp(_, ast.Mult(), _) as left, ast.MatMult(), right):  # which Python takes for a chain
                return value_of(f"({shown(left, leaf)}) @ {shown(right, leaf)}")
            case ast.BinOp(u, ast.Mult(), ast.BinOp(v, ast.Mult(), w)):  # which is a chain
                return value_of(shown(made("u * v * w", u=u, v=v, w=w), leaf))
            case ast.UnaryOp(ast.USub(), ast.BinOp(u, ast.Mult(), v)):
                return value_of(shown(made("-u * v", u=u, v=v), leaf))
            case ast.Name("tanh_c"):
                return value_of("tanh(c)")
            case ast.Name(name) if ending := next(filter(name.endswith, OF_STEP), ""):
                return value_of(OF_STEP[ending].format(name.removesuffix(ending)))
        return None

    text = ast.unparse(rebuilt(node, on_paper)).replace(" ** 2", "²").replace("-", "−")
    return re.sub(r"((?<![\w.])[\d.]+) \* | \* (?=−?\d)", r"\1 · ", text).replace(" * ", " ⊙ ")


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

    return shown(node, leaf)
