"""What people write by mistake in a step: every small change of an equation.

The changes are made from the equation itself, whatever it says: a term left out, doubled, its sign turned; a factor
left out or doubled; a value replaced by another of the same shape, of this step or of the one before or after; a
derivative for another; a matrix transposed; gates in another order; a sum over everything, or a mean.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import permutations
from typing import NamedTuple

import numpy as np

from .equations import Cell, Equation
from .expressions import expression, made, matched, names_in, rebuilt, renamed, shown, value_of
from .problems import problems, values


class Mistake(NamedTuple):
    """What is written where something else belongs: in equations of a step, or in slots of a loop (loops.py).

    name: what it makes wrong, the first equation or slot that it changes. right: what belongs there, as it is shown.
    words: what kind of mistake it is. changes: equations, by name, and what they are instead; slots: the same for a
    loop. number: the equation's. rank: how far-fetched it is.
    """

    function: str
    name: str
    right: str
    yours: str
    words: str
    changes: Mapping[str, ast.expr] = {}
    slots: Mapping[str, str] = {}
    number: str = ""
    rank: int = 0


COMPLEMENT = "a value and one minus that value are confused"
DERIVATIVE = "the derivative of another function is there"
INTERLEAVED = "the rows of the gates are interleaved, where each gate has a block of rows"
KEPT = "what is kept for the way back is another value"
ORDER = "the gates are in another order"
OTHER_VALUE = "one variable stands where another belongs"
SCALED = "there is a constant factor"
SIGN = "a sign is turned"
SUMMED = "what is summed, or over which axis, is another"
TOO_MANY = "there is a term too many"
TRANSPOSED = "a matrix is transposed that should not be, or the other way"

RULES = f"""
u + v            | 0 | a term is missing        | u | v
u + v            | 1 | a term counts twice      | 2 * u + v | u + 2 * v
u + v            | 1 | {SIGN}                   | -u + v | u - v
u - v            | 0 | a term is missing        | u | -v
u - v            | 1 | a term counts twice      | 2 * u - v | u - 2 * v
u - v            | 1 | {SIGN}                   | -u - v | u + v
u * v            | 0 | a factor is missing      | u | v
u * v            | 1 | a factor is there twice  | u**2 * v | u * v**2
u * v * (1 - v)  | 0 | a factor is missing      | u
u * v * (1 - v)  | 1 | {DERIVATIVE}             | u * (1 - v**2)
u * v * (1 - v)  | 2 | {DERIVATIVE}             | u * σ(v) * (1 - σ(v))
1 - u            | 1 | {COMPLEMENT}             | u
1 - u            | 2 | {DERIVATIVE}             | 1 - u**2
u * v            | 3 | a sum is there for a product | u + v
u + v            | 3 | a product is there for a sum | u * v
1 - u**2         | 1 | {DERIVATIVE}             | u * (1 - u)
1 - u**2         | 2 | {DERIVATIVE}             | 1 - tanh(u)**2
1 - u**2         | 2 | a square is missing      | (1 - u)**2
u**2             | 1 | a square is missing      | u
u.T @ v          | 1 | {SUMMED}                 | u.T @ v / B
u.T @ v          | 2 | {SUMMED}                 | u[0:1].T @ v[0:1] | u[-1:].T @ v[-1:]
u.T @ v          | 1 | {TRANSPOSED}             | v.T @ u
u.T @ v          | 2 | {TRANSPOSED}             | reshaped(v.T @ u)
u @ v.T          | 1 | {TRANSPOSED}             | u @ v | u @ turned(v).T | u @ reshaped(v)
u @ v            | 1 | {TRANSPOSED}             | u @ v.T | u @ turned(v) | u @ reshaped(v).T
positive(u)      | 0 | a factor is missing      | 1
positive(u)      | 1 | {DERIVATIVE}             | u | 1 - u**2
positive(u)      | 2 | {SIGN}                   | positive(-u)
sum(u)           | 1 | {SUMMED}                 | total(u) | mean(u) | first(u) | last(u)
"""
for name in ("σ", "tanh", "relu"):
    RULES += f"""
{name}(u) | 1 | another function is applied | σ(u) | tanh(u) | relu(u) | u | {name}({name}(u))
{name}(u) | 2 | {SCALED} | {name}(2 * u) | {name}(u / 2)
{name}(u) | 2 | {SIGN} | {name}(-u)
{name}(u) | 2 | a constant is added | {name}(u + 1)
"""
"""A part of an equation, how far-fetched a change of it is, what kind it is, and what is there instead."""
WHOLE = f"""
u | 2 | {SIGN} | -u
u | 2 | {SCALED} | 2 * u | u / 2
u | 2 | {SUMMED} | u / B
u | 2 | it is zero | 0 * u
u | 4 | it is clipped | clip(u, 1)
"""
"""The same for the right side of an equation as a whole."""
Change = tuple[int, str, ast.expr]
"""How far-fetched a change is, what kind it is, and the changed expression."""


def by_rules(node: ast.expr, rules: str) -> Iterator[Change]:
    """What a table makes of an expression."""
    for row in filter(None, rules.splitlines()):
        pattern, rank, words, *others = map(str.strip, row.split(" | "))
        if found := matched(expression(pattern), node):
            yield from ((int(rank), words, made(other, **found)) for other in others)


def changes_of(equation: Equation, others: Callable[[str], Sequence[str]]) -> Iterator[Change]:
    """Every small change of an equation. `others` gives what might stand for a name."""
    right = equation.right
    yield from by_rules(right, WHOLE)
    for part in [each for each in ast.walk(right) if isinstance(each, ast.expr)]:
        changes = list(by_rules(part, RULES))
        match part:
            case ast.Name(name):
                changes += [(3, OTHER_VALUE, value_of(other)) for other in others(name)]
                factors = [made("u * v", u=part, v=value_of(other)) for other in others(name)]
                changes += [(4, "there is a factor too many", product) for product in factors]
                changes += [(4, COMPLEMENT, made("1 - u", u=part))]
            case ast.Call(ast.Name("side"), blocks):
                for k, block in enumerate(blocks):
                    zero = [*blocks[:k], made("0 * u", u=block), *blocks[k + 1 :]]
                    changes += [(1, "the block of a gate is zero", ast.Call(part.func, zero, []))]
                orders = list(permutations(blocks))[1:]
                changes += [(2, ORDER, ast.Call(part.func, list(order), [])) for order in orders]
                changes += [(2, INTERLEAVED, ast.Call(value_of("interleaved"), blocks, []))]
        for rank, words, new in changes:
            yield rank, words, replaced(right, part, new)
    for name in names_in(right):  # everywhere at once
        for other in others(name):
            yield 3, OTHER_VALUE, renamed(right, {name: value_of(other)})
        for pattern in ("2 * u", "u / 2", "-u"):
            yield 4, "a value is scaled", renamed(right, {name: made(pattern, u=value_of(name))})
    inside = right.args[0] if isinstance(right, ast.Call) else right
    for name in [other for other in others(equation.name) if other not in names_in(right)]:
        for pattern in ("u + v", "u - v"):
            yield 4, TOO_MANY, made(pattern, u=right, v=value_of(name))
        yield 4, TOO_MANY, replaced(right, inside, made("u + v", u=inside, v=value_of(name)))


def replaced(node: ast.expr, old: ast.expr, new: ast.expr) -> ast.expr:
    """The expression with one of its parts replaced."""
    result: ast.expr = rebuilt(node, lambda part: new if part is old else None)
    return result


# All of a function's.


@cache
def mutations(cell: Cell, function: str) -> tuple[Mistake, ...]:
    """Every small change of a function's equations, the least far-fetched first."""
    example = values(problems(cell)[0], "step_backward")
    known = {name: np.shape(value) for name, value in example.items() if np.ndim(value)}
    there = ["x", *(f"{part}_prev" for part in cell.parts), "W_ih", "W_hh", "b_ih", "b_hh"]
    back = [*cell.known_forward, "d_h", *["d_c_after"] * ("c" in cell.parts), "W_ih", "W_hh"]
    scope = there if function == "step" else back

    def others(name: str) -> list[str]:
        return [other for other in scope if name in known and known[other] == known[name] and other != name]

    own = {equation.name for equation in cell.equations(function)}
    found = []
    for text, words in cell.alternatives:
        changes = {name: expression(right) for name, right in (line.split(" = ", 1) for line in text.split("; "))}
        found += [mistake(cell, function, changes, words, 0)] if changes.keys() <= own else []
    found += orders(cell) if function == "step" else []
    for equation in cell.equations(function):
        if not ast.unparse(equation.right).startswith("block("):
            changed = changes_of(equation, others)
            found += [mistake(cell, function, {equation.name: new}, words, rank) for rank, words, new in changed]
        scope.append(equation.name)
    if function == "step_backward":
        for name, other in permutations(cell.known_forward, 2):
            if known[name] == known[other] and len(users(cell, name)) > 1:
                found.append(kept_as(cell, {name: other}))
        found += changed_in_place(cell)
    unique: dict[object, Mistake] = {}
    for one in sorted(found, key=lambda one: one.rank):
        if one.yours != one.right:
            unique.setdefault((one.name, *one.changes, one.yours), one)
    return tuple(unique.values())


@cache
def mutations_across_steps(cell: Cell) -> tuple[Mistake, ...]:
    """Values of other steps on the way back, which only a loop has."""
    found = []
    for name in cell.known_forward:
        for other in (f"{name}_before", f"{name}_later") if users(cell, name) else ():
            for equation in users(cell, name):
                changes = {equation.name: renamed(equation.right, {name: value_of(other)})}
                found.append(mistake(cell, "step_backward", changes, OTHER_VALUE, 3))
            found.append(kept_as(cell, {name: other}))
    for changed in dict.fromkeys((cell.parts, *cell.parts)):
        words = f"{KEPT}: it has been changed in place, by the steps that came later"
        found.append(kept_as(cell, {f"{part}_prev": f"{part}_end" for part in changed}, words))
    return tuple(found)


def users(cell: Cell, name: str) -> list[Equation]:
    """The equations of the way back that use a value."""
    return [equation for equation in cell.step_backward if name in names_in(equation.right)]


def mistake(cell: Cell, function: str, changes: Mapping[str, ast.expr], words: str, rank: int, **told: str) -> Mistake:
    """A mistake in a step, told of the first equation that it changes."""
    first = next(equation for equation in cell.equations(function) if equation.name in changes)
    told = {"name": first.name, "right": shown(first.right), "yours": shown(changes[first.name])} | told
    return Mistake(function, told["name"], told["right"], told["yours"], words, changes, {}, first.number, rank)


def kept_as(cell: Cell, other: Mapping[str, str], words: str = KEPT) -> Mistake:
    """Values of the step that are others everywhere on the way back, as if the wrong ones had been kept."""
    new = {name: value_of(text) for name, text in other.items()}
    changes = {e.name: renamed(e.right, new) for e in cell.step_backward if {*new} & {*names_in(e.right)}}
    right, yours = " and ".join(new), " and ".join(map(shown, new.values()))
    return mistake(cell, "step_backward", changes, words, 5, name=right, right=right, yours=yours)


def changed_in_place(cell: Cell) -> Iterator[Mistake]:
    """Values that the step kept, and that an equation of the way back finds changed, with all that come after it."""
    for index, (_, right, _) in enumerate(cell.step_backward):
        for name in names_in(right) if not isinstance(right, ast.Name) else ():
            for text in ("1 - u", "u * (1 - u)", "1 - u**2", "u**2") if name in cell.known_forward else ():
                new = made(text, u=value_of(name))
                later = [each for each in cell.step_backward[index:] if name in names_in(each.right)]
                changes = {each.name: renamed(each.right, {name: new}) for each in later}
                if later != users(cell, name):
                    words = f"{name} has been changed in place before, to {shown(new)}"
                    yield mistake(cell, "step_backward", changes, words, 5)
                else:  # it may have been so from the beginning
                    told = {"name": name, "right": name, "yours": shown(new)}
                    yield mistake(cell, "step_backward", changes, f"{KEPT}, or changed in place", 5, **told)


def orders(cell: Cell) -> Iterator[Mistake]:
    """The blocks of the pre-activations in another order; in all sums, or, where there are two, in one."""
    gates, places = cell.gates, range(len(cell.gates))
    rows = [f"{gate}{row}" for row in "01" for gate in gates]
    ways = [(INTERLEAVED, [*rows, "…"], [f"u[:, {k}::{len(gates)}]" for k in places])]
    for order in list(permutations(places))[1:]:
        ways.append((ORDER, [gates[k] for k in order], [f"block(u, {order.index(k)}, H)" for k in places]))
    sums = [equation for equation in cell.step if equation.name in ("a", "a_x", "a_h")]
    for group in [sums, *([each] for each in sums if len(sums) > 1)]:
        for words, own, blocks in ways if len(gates) > 1 else ():
            changes = {equation.name: made(f"side({', '.join(blocks)})", u=equation.right) for equation in group}
            told = {"name": " and ".join(changes), "right": f"[{', '.join(gates)}]", "yours": f"[{', '.join(own)}]"}
            yield mistake(cell, "step", changes, words, 2, **told)
