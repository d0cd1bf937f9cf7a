"""LaTeX equations, read and computed: `d_h \\odot (1 - z)` becomes a number from the values of its names.

A name is written as in the code: `d_{h_{\\mathrm{prev}}}` is d_h_prev, `\\mathbf{x}` is "bold x". The derivative ∂h/∂a
is a name, too. What names stand for comes in a dict. It may have `steps`, a dict for each step 1 to T: a name without
an index is that of step `t`, `a_{t+1}` that of the next one, and `h_0` is a name of its own. Where a step is not there,
OutOfTime is raised. M_{jk} is an entry of M, which count from 1.

Vectors are columns. Side by side means a product of matrices (of numbers where one factor is one), or the call of a
function; ⊙ and · act on each entry.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

Values = dict[str, Any]
Node = Callable[[Values], Any]
"""A part of an equation: computes its value from those of the names."""
Chain = list[tuple[str, Node]]
"""u = v ≤ w: each side with the relation before it."""

LETTERS = {"\\varphi": "φ", "\\sigma": "σ", "\\varepsilon": "ε", "\\tanh": "tanh", "\\dots": "…"}
PREFIXES = {f"\\{command}": word for command, word in (
    ("mathbf", "bold"), ("dot", "dot"), ("delta", "delta"), ("overrightarrow", "right"), ("overleftarrow", "left")
)}  # fmt: skip
RELATIONS: dict[str, Any] = {"=": np.equal, "\\lt": np.less, "\\le": np.less_equal, "\\gt": np.greater}
ENDS = {*RELATIONS, *"+-,)]}", "\\odot", "\\cdot", "\\row", "\\col", "\\end", "\\rangle", "\\rVert"}
"""What stands behind a product."""
TOKEN = re.compile(r"\\[a-zA-Z]+|\d+|\S")
NOTHING = re.compile(r"\\q?quad|\\[,; ]|\\[bB]ig\b|\\(begin|end)\{aligned\}|\\\\|&")


class OutOfTime(IndexError):
    """There is no such step."""


def statements(latex: str) -> list[list[Chain]]:
    """An equation's statements, between which there are commas; behind each of them its condition, if it has one."""
    latex = re.sub(r"(?s)\\text\{for \}.*|\\text\{\w+ward:.*?\}", "", latex)
    latex = re.sub(r"(?s)\\text\{paths through.*", r"\\text{paths}", latex)
    latex = re.sub(r"(?s)\\text\{the derivative .*(\\dot a),.*", r"\\text{derivative} \1", latex)
    latex = re.sub(r"(?s),\s*\\qquad\s*\\dots\s*\\qquad\s*$", "", latex)
    matrix = r"(?s)\\begin\{(pmatrix|cases)\}(.*?)\\end\{\1\}"
    latex = re.sub(matrix, lambda found: re.sub(r"\\\\(\[2pt\])?", r"\\row ", found[0]).replace("&", r"\col "), latex)
    latex = re.sub(r"\((t \\lt T)\)", r", \1", NOTHING.sub(" ", latex)).strip().rstrip("., ")
    parser = Parser(TOKEN.findall(latex))
    found = [[parser.chain()]]
    while parser.took(","):
        chain = parser.chain()
        if chain[-1][0] in ("", "="):
            found.append([chain])
        else:
            found[-1].append(chain)
    assert not parser.tokens, f"cannot read {' '.join(parser.tokens)} in {latex}"
    return found


def written(latex: str) -> list[str]:
    """The parts of a name, as in the code: of `d_{h_{\\mathrm{prev}}, t+1}` d, h, prev and t+1."""
    plain = re.sub(r"\\(mathrm|mathcal)|\s", "", latex)
    for command, letter in LETTERS.items():
        plain = plain.replace(command, letter)
    return [part for part in re.split(r"[_^{},]+", plain) if part]


class Parser:
    """Takes one token after another; each method reads one kind of part."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def took(self, *tokens: str) -> str:
        """The next token, if it is one of these."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in tokens else ""

    def group(self) -> str:
        """What stands in the braces that come next, or the next token, as it is written."""
        text, depth = [self.tokens.pop(0)], 0
        if text[0].startswith("\\math"):
            return self.group()
        while (depth := depth + (text[-1] == "{") - (text[-1] == "}")) > 0:
            text.append(self.tokens.pop(0))
        return " ".join(text[1:-1] if text[0] == "{" else text)

    def part(self) -> Node:
        """The expression in the braces that come next."""
        assert self.took("{")
        node = self.expression()
        assert self.took("}")
        return node

    def chain(self) -> Chain:
        """u = v ≤ w"""
        found = [("", self.expression())]
        while relation := self.took(*RELATIONS):
            found.append((relation, self.expression()))
        return found

    def expression(self) -> Node:
        """u + v − w"""
        terms, sign = [], self.took("+", "-") or "+"
        while sign:
            terms.append((1 if sign == "+" else -1, self.term()))
            sign = self.took("+", "-")
        return lambda values: reduce(np.add, [sign * term(values) for sign, term in terms])

    def term(self) -> Node:
        """u v ⊙ w"""
        factors = [self.product()]
        while self.took("\\odot", "\\cdot"):
            factors.append(self.product())
        return (
            factors[0] if len(factors) == 1 else lambda values: reduce(np.multiply, [each(values) for each in factors])
        )

    def product(self) -> Node:
        """u v, f(u), or J_T ⋯ J_1"""
        factors: list[Node] = []
        while self.tokens and self.tokens[0] not in ENDS:
            if self.took("\\cdots"):
                shown = [factors.pop()]
                while factors and isinstance(factors[-1], Name) and factors[-1].parts[:-1] == shown[0].parts[:-1]:
                    shown.insert(0, factors.pop())
                factors.append(Descending([*shown, self.factor()]))
            else:
                factors.append(self.factor())
        return lambda values: multiplied(factors, values)

    def factor(self) -> Node:
        """Something with its superscript, or with the subscript that chooses an entry."""
        node = self.bare()
        while mark := self.took("^", "_"):
            node = raised(node, self.group()) if mark == "^" else Entry(node, self.group())
        return node

    def bare(self) -> Node:
        """A number, a bracket, a fraction, a sum and so on, or a name."""
        token = self.tokens.pop(0)
        if token.isdigit():
            return lambda values: int(token)
        if token == "\\tfrac":
            digits = self.tokens.pop(0)
            return lambda values: int(digits[0]) / int(digits[1])
        if token == "\\frac":
            if self.tokens[:2] == ["{", "\\partial"]:
                above, below = ("_".join(written(self.group().replace("\\partial", "∂"))) for _ in range(2))
                return Name(f"{above}/{below}".replace("_)", ")").replace("∂_", "∂").split("_"))
            numerator, denominator = self.part(), self.part()
            return lambda values: numerator(values) / denominator(values)
        if token in ("(", "[", "\\langle", "\\lVert"):
            return self.bracket(token)
        if token in ("\\sum", "\\prod"):
            return self.repeated(np.matmul if token == "\\prod" else np.add)
        return self.matrix() if token == "\\begin" else self.name(token)

    def bracket(self, token: str) -> Node:
        """(u, v), [u > v], ⟨u, v⟩ or ‖u‖"""
        chains = [self.chain()]
        while self.took(","):
            chains.append(self.chain())
        assert self.took(")", "]", "\\rangle", "\\rVert")
        inside = [chain[0][1] for chain in chains]
        if token == "(":
            return Bracket(inside)
        if token == "[":
            return lambda values: np.where(holds(chains[0], values), 1, 0)
        if token == "\\langle":
            return lambda values: np.sum(inside[0](values) * inside[1](values))
        return lambda values: np.linalg.norm(inside[0](values), 2)

    def repeated(self, operation: Callable[[Any, Any], Any]) -> Node:
        """Σ_{t=1}^{T} u, Σ_{j,k} u or Σ_{s ≤ t} u: without an end, up to what `values["ranges"]` says."""
        assert self.took("_")
        whole = self.group()
        below, _, start = whole.partition("=")
        end = self.group() if self.took("^") else ""
        condition = Parser(TOKEN.findall(whole)).chain() if "\\le" in whole else []
        body, letters = self.term(), re.findall(r"(?<!\\)\b[a-z]\b", below)

        def places(values: Values) -> Iterator[Values]:
            ends = [integer(end, values)] if end else [values["ranges"][letter] for letter in letters]
            first = integer(start, values) if start else 1
            for numbers in product(*(range(first, last + 1) for last in ends)):
                inside = values | dict(zip(letters, numbers, strict=True))
                if holds(condition, inside):
                    yield inside

        return lambda values: reduce(operation, map(body, places(values)))

    def matrix(self) -> Node:
        """Blocks, or a value with a condition in each line."""
        kind, rows = self.group().replace(" ", ""), [[]]
        while not self.took("\\end"):
            rows[-1].append(self.chain())
            if not self.took("\\col") and self.took("\\row"):
                rows.append([])
        self.group()
        if kind == "pmatrix":
            return lambda values: blocks([[part[0][1](values) for part in row] for row in rows])
        return lambda values: next(value[0][1](values) for value, when in rows if holds(when, values))

    def name(self, token: str) -> Node:
        """d_{a_{t+1}} and the like; superscripts in words are of the name, others are powers."""
        prefix = PREFIXES.get(token, "")
        head = self.group() if prefix or token in ("\\mathrm", "\\mathcal", "\\text") else token
        parts = [head.replace(" ", "")] if token == "\\text" else written(head)
        while self.took("'"):
            parts[0] += "'"
        while self.tokens and self.tokens[0] in "_^":
            group = Parser(self.tokens[1:]).group()
            is_word = re.search(r"\\mathrm|^[a-zA-Z]$|^\(", group) and head != "e"
            if self.tokens[0] == "^" and not is_word:
                break
            del self.tokens[0]
            parts += written(self.group())
        return Name([f"{prefix} {parts[0]}".strip(), *parts[1:]])


@dataclass
class Name:
    """A name, and perhaps an index behind it."""

    parts: list[str]

    def __call__(self, values: Values) -> Any:
        return valued(self.parts, values)


@dataclass
class Entry:
    """The entry of something."""

    node: Node
    index: str

    def __call__(self, values: Values) -> Any:
        return chosen(self.node(values), written(self.index)[0], values)


@dataclass
class Bracket:
    """(u), or the arguments of a function. Several in a row are put one below the other."""

    inside: list[Node]

    def __call__(self, values: Values) -> Any:
        found = [node(values) for node in self.inside]
        return found[0] if len(found) == 1 else np.concatenate(found)


@dataclass
class Descending:
    """J_T J_{T−1} ⋯ J_1: nothing but the identity, if the first number is below the last."""

    shown: list[Any]

    def __call__(self, values: Values) -> Any:
        first, *between, last = (integer(name.parts[-1], values) for name in self.shown)
        assert between == [first - 1 - place for place in range(len(between))]
        factors = [valued([*self.shown[0].parts[:-1], str(index)], values) for index in range(first, last - 1, -1)]
        return reduce(np.matmul, factors) if factors else np.eye(values["H"])


def multiplied(factors: list[Node], values: Values) -> Any:
    """The product of what stands side by side; a function takes the bracket behind it, or all that follows."""
    first, *rest = factors
    value = first(values)
    if callable(value):
        arguments = [node(values) for node in rest.pop(0).inside] if isinstance(rest[0], Bracket) else []
        value = value(*arguments) if arguments else value(multiplied(rest, values))
        rest = rest if arguments else []
    if not rest:
        return value
    other = multiplied(rest, values)
    return value @ other if np.ndim(value) and np.ndim(other) else value * other


def raised(node: Node, exponent: str) -> Node:
    """A transpose or a power; tanh²(c) is tanh(c)²."""
    if exponent == "\\top":
        return lambda values: node(values).T
    power = Parser(TOKEN.findall(exponent)).expression()

    def value(values: Values) -> Any:
        base, number = node(values), power(values)
        return (lambda *arguments: base(*arguments) ** number) if callable(base) else base**number

    return value


def chosen(value: Any, letters: str, values: Values) -> Any:
    """The entry of an array, or of a list of arrays, that letters name, which count from 1."""
    numbers = [values[letter] - 1 for letter in letters]
    return value[numbers[0]] if isinstance(value, list) else value[(*numbers, 0)[:2]]


def integer(text: str, values: Values) -> int:
    """The number that t+1 is."""
    found = re.fullmatch(r"(\w+?)([+-]\d+)?", re.sub(r"\s", "", text))
    assert found and (found[1].isdigit() or found[1] in values), f"no value of {text}"
    return (int(found[1]) if found[1].isdigit() else values[found[1]]) + int(found[2] or 0)


def valued(parts: list[str], values: Values) -> Any:
    """What a name stands for: itself, in the step at hand, at the step of its index, or the entry of its index."""
    name, steps = "_".join(parts), values.get("steps", ())
    if name in values:
        return values[name]
    if steps and 0 < values["t"] <= len(steps) and name in steps[values["t"] - 1]:
        return steps[values["t"] - 1][name]
    base, index = "_".join(parts[:-1]), parts[-1]
    if base in values and f"{base}_{values.get(index)}" not in values:
        return chosen(values[base], index, values)
    number = integer(index, values)
    if f"{base}_{number}" in values:
        return values[f"{base}_{number}"]
    assert steps and base in steps[0], f"no value of {name}"
    if not 0 < number <= len(steps):
        raise OutOfTime
    return steps[number - 1][base]


def holds(chain: Chain, values: Values) -> Any:
    """Whether u > v, entry by entry; nothing to compare holds."""
    return reduce(
        np.logical_and, (RELATIONS[relation](chain[0][1](values), other(values)) for relation, other in chain[1:]), True
    )


def blocks(rows: list[list[Any]]) -> Any:
    """The matrix of these blocks. A number stands for a block of the shape of the others."""
    shape = max(np.shape(block) for row in rows for block in row)
    return np.block([[np.full(shape, block) if np.ndim(block) == 0 else block for block in row] for row in rows])
