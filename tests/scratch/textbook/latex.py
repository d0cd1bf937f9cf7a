"""LaTeX equations, read and computed: `d_h \\odot (1 - z)` becomes a number from the values of its names.

A name is written as in the code: `d_{h_{\\mathrm{prev}}}` is d_h_prev, `\\mathbf{x}` is "bold x". The derivative ∂h/∂a
is a name, too. What names stand for comes in a dict. It may have `steps`, a dict for each step 1 to T: a name without
an index is that of step `t`, `a_{t+1}` that of the next one, and `h_0` is a name of its own. Where a step is not there,
OutOfTime is raised. M_{jk} is an entry of M, which count from 1.

Vectors are columns. Side by side means a product of matrices (of numbers where one factor is one), or the call of a
function; ⊙ and · act on each entry.
"""

import re
from collections.abc import Iterator
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

Values = dict[str, Any]
Tokens = list[str]
Statement = tuple[list[tuple[str, Tokens]], list[Tokens]]
"""u = v ≤ w: each side with the relation before it; and the conditions under which it is said."""

LETTERS = {"\\varphi": "φ", "\\sigma": "σ", "\\varepsilon": "ε", "\\tanh": "tanh", "\\dots": "…"}
PREFIXES = {f"\\{command}": word for command, word in (
    ("mathbf", "bold"), ("dot", "dot"), ("delta", "delta"), ("overrightarrow", "right"), ("overleftarrow", "left")
)}  # fmt: skip
RELATIONS: dict[str, Any] = {"=": np.equal, "\\lt": np.less, "\\le": np.less_equal, "\\gt": np.greater}
OPENING = {"(", "[", "{", "\\langle", "\\lVert", "\\begin"}
CLOSING = {")", "]", "}", "\\rangle", "\\rVert", "\\end"}
TOKEN = re.compile(r"\\[a-zA-Z]+|\d+|\S")
NOTHING = re.compile(r"\\q?quad|\\[,; ]|\\[bB]ig\b|\\(begin|end)\{aligned\}|\\\\|&")


class OutOfTime(IndexError):
    """There is no such step."""


def statements(latex: str) -> list[Statement]:
    """An equation's statements, between which there are commas; behind each of them its condition, if it has one."""
    latex = re.sub(r"(?s)\\text\{for \}.*|\\text\{\w+ward:.*?\}", "", latex)
    latex = re.sub(r"(?s)\\text\{paths through.*", r"\\text{paths}", latex)
    latex = re.sub(r"(?s)\\text\{the derivative .*(\\dot a),.*", r"\\text{derivative} \1", latex)
    latex = re.sub(r"(?s),\s*\\qquad\s*\\dots\s*\\qquad\s*$", "", latex)
    matrix = r"(?s)\\begin\{(pmatrix|cases)\}(.*?)\\end\{\1\}"
    latex = re.sub(matrix, lambda found: re.sub(r"\\\\(\[2pt\])?", r"\\row ", found[0]).replace("&", r"\col "), latex)
    latex = re.sub(r"\((t \\lt T)\)", r", \1", NOTHING.sub(" ", latex)).strip().rstrip("., ")
    found: list[Statement] = []
    for _, tokens in split(TOKEN.findall(latex), ","):
        sides = split(tokens, *RELATIONS)
        if not found or sides[-1][0] in ("", "="):
            found.append((sides, []))
        else:
            found[-1][1].append(tokens)
    return found


def split(tokens: Tokens, *separators: str) -> list[tuple[str, Tokens]]:
    """The parts between separators that stand in no bracket, each with the separator before it."""
    found: list[tuple[str, Tokens]] = [("", [])]
    depth = 0
    for token in tokens:
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0 and token in separators:
            found.append((token, []))
        else:
            found[-1][1].append(token)
    assert depth == 0, f"cannot read {' '.join(tokens)}"
    return found


def expression(tokens: Tokens, values: Values) -> Any:
    """The value of u + v − w."""
    first, *others = split(tokens, "+", "-")
    terms = [first, *others] if first[1] else others
    return reduce(np.add, [(-1 if sign == "-" else 1) * term(part, values) for sign, part in terms])


def term(tokens: Tokens, values: Values) -> Any:
    """u v ⊙ w; a sum takes all that follows."""
    head, *sums = split(tokens, "\\sum", "\\prod")
    if not sums:
        return reduce(
            np.multiply, [multiplied(atoms(part, values), values) for _, part in split(tokens, "\\odot", "\\cdot")]
        )
    before, total = head[1], repeated(tokens[len(head[1]) :], values)
    if before[-1:] in (["\\odot"], ["\\cdot"]):
        return term(before[:-1], values) * total
    return multiplied([term(before, values), total], values) if before else total


def repeated(tokens: Tokens, values: Values) -> Any:
    """Σ_{t=1}^{T} u, Σ_{j,k} u or Σ_{s ≤ t} u: without an end, up to what `values["ranges"]` says."""
    operation, underscore, *rest = tokens
    assert underscore == "_"
    reader = Reader(rest, values)
    below = reader.group()
    end = reader.group() if reader.took("^") else ""
    names, _, start = below.partition("=")
    letters = re.findall(r"(?<!\\)\b[a-z]\b", names)
    ends = [integer(end, values)] if end else [values["ranges"][letter] for letter in letters]

    def places() -> Iterator[Values]:
        for numbers in product(*(range(integer(start, values) if start else 1, last + 1) for last in ends)):
            inside = values | dict(zip(letters, numbers, strict=True))
            if "\\le" not in below or holds(TOKEN.findall(below), inside):
                yield inside

    return reduce(np.matmul if operation == "\\prod" else np.add, (term(reader.tokens, inside) for inside in places()))


def atoms(tokens: Tokens, values: Values) -> list[Any]:
    """What stands side by side: values, names and brackets. J_T ⋯ J_1 is one value."""
    reader, found = Reader(tokens, values), []
    while reader.tokens:
        if reader.took("\\cdots"):
            shown = [found.pop(), reader.factor()]
            while found and isinstance(found[-1], Name) and found[-1].parts[:-1] == shown[0].parts[:-1]:
                shown.insert(0, found.pop())
            found.append(descending([name.parts for name in shown], values))
        else:
            found.append(reader.factor())
    return found


class Name:
    """A name, and perhaps an index behind it."""

    def __init__(self, parts: list[str]) -> None:
        self.parts = parts


class Bracket(list[Any]):
    """(u), or the arguments of a function. Several in a row are put one below the other."""


def value(atom: Any, values: Values) -> Any:
    if isinstance(atom, Bracket):
        return atom[0] if len(atom) == 1 else np.concatenate(atom)
    return valued(atom.parts, values) if isinstance(atom, Name) else atom


def multiplied(factors: list[Any], values: Values) -> Any:
    """The product of what stands side by side; a function takes the bracket behind it, or all that follows."""
    first, *rest = factors
    found = value(first, values)
    if callable(found):
        if not isinstance(rest[0], Bracket):
            return found(multiplied(rest, values))
        found, rest = found(*rest[0]), rest[1:]
    if not rest:
        return found
    other = multiplied(rest, values)
    return found @ other if np.ndim(found) and np.ndim(other) else found * other


def descending(shown: list[list[str]], values: Values) -> Any:
    """J_T J_{T−1} ⋯ J_1: nothing but the identity, if the first number is below the last."""
    first, *between, last = (integer(parts[-1], values) for parts in shown)
    assert between == [first - 1 - place for place in range(len(between))]
    factors = [valued([*shown[0][:-1], str(index)], values) for index in range(first, last - 1, -1)]
    return reduce(np.matmul, factors) if factors else np.eye(values["H"])


class Reader:
    """Takes one token after another of what stands side by side."""

    def __init__(self, tokens: Tokens, values: Values) -> None:
        self.tokens, self.values = list(tokens), values

    def took(self, *tokens: str) -> str:
        """The next token, if it is one of these."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in tokens else ""

    def inside(self) -> Tokens:
        """What stands up to the end of a bracket that has been opened."""
        found, depth = [], 1
        while depth := depth + (self.tokens[0] in OPENING) - (self.tokens[0] in CLOSING):
            found.append(self.tokens.pop(0))
        del self.tokens[0]
        return found

    def group(self) -> str:
        """What stands in the braces that come next, or the next token, as it is written."""
        token = self.tokens.pop(0)
        if token.startswith("\\math"):
            return self.group()
        return " ".join(self.inside()) if token == "{" else token

    def part(self) -> Any:
        """The value of what stands in the braces that come next."""
        return expression(TOKEN.findall(self.group()), self.values)

    def factor(self) -> Any:
        """Something with its superscript, or with the subscript that chooses an entry."""
        found = self.bare()
        while mark := self.took("^", "_"):
            base, script = value(found, self.values), self.group()
            if mark == "_":
                found = chosen(base, written(script)[0], self.values)
            elif script == "\\top":
                found = base.T
            else:  # tanh²(c) is tanh(c)²
                power = expression(TOKEN.findall(script), self.values)
                found = (lambda *u, base=base, power=power: base(*u) ** power) if callable(base) else base**power
        return found

    def bare(self) -> Any:
        """A number, a bracket, a fraction and so on, or a name."""
        token = self.tokens.pop(0)
        if token.isdigit():
            return int(token)
        if token == "\\tfrac":
            digits = self.tokens.pop(0)
            return int(digits[0]) / int(digits[1])
        if token == "\\frac" and self.tokens[1] == "\\partial":
            above, below = ("_".join(written(self.group().replace("\\partial", "∂"))) for _ in range(2))
            return Name(f"{above}/{below}".replace("_)", ")").replace("∂_", "∂").split("_"))
        if token == "\\frac":
            return self.part() / self.part()
        if token == "\\begin":
            return self.matrix()
        if token not in OPENING:
            return self.name(token)
        inside = self.inside()
        if token == "[":  # u > v, as a number
            return np.where(holds(inside, self.values), 1, 0)
        found = Bracket(expression(part, self.values) for _, part in split(inside, ","))
        if token == "\\langle":
            return np.sum(found[0] * found[1])
        return np.linalg.norm(found[0], 2) if token == "\\lVert" else found

    def matrix(self) -> Any:
        """Blocks, or in each line a value with its condition. A number stands for a block of the others' shape."""
        kind, inside = self.group().replace(" ", ""), self.inside()
        self.group()
        rows = [[cell for _, cell in split(row, "\\col")] for _, row in split(inside, "\\row")]
        if kind == "cases":
            return expression(next(cell for cell, when in rows if holds(when, self.values)), self.values)
        found = [[expression(cell, self.values) for cell in row] for row in rows]
        shape = max(np.shape(block) for row in found for block in row)
        return np.block([[np.full(shape, each) if np.ndim(each) == 0 else each for each in row] for row in found])

    def name(self, token: str) -> Name:
        """d_{a_{t+1}} and the like; superscripts in words are of the name, others are powers."""
        prefix = PREFIXES.get(token, "")
        head = self.group() if prefix or token in ("\\mathrm", "\\mathcal", "\\text") else token
        parts = [head.replace(" ", "")] if token == "\\text" else written(head)
        while self.took("'"):
            parts[0] += "'"
        while self.tokens and self.tokens[0] in "_^":
            group = Reader(self.tokens[1:], self.values).group()
            is_word = re.search(r"\\mathrm|^[a-zA-Z]$|^\(", group) and head != "e"
            if self.tokens[0] == "^" and not is_word:
                break
            del self.tokens[0]
            parts += written(self.group())
        return Name([f"{prefix} {parts[0]}".strip(), *parts[1:]])


def written(latex: str) -> list[str]:
    """The parts of a name, as in the code: of `d_{h_{\\mathrm{prev}}, t+1}` d, h, prev and t+1."""
    plain = re.sub(r"\\(mathrm|mathcal)|\s", "", latex)
    for command, letter in LETTERS.items():
        plain = plain.replace(command, letter)
    return [part for part in re.split(r"[_^{},]+", plain) if part]


def chosen(found: Any, letters: str, values: Values) -> Any:
    """The entry of an array, or of a list of arrays, that letters name, which count from 1."""
    numbers = [values[letter] - 1 for letter in letters]
    return found[numbers[0]] if isinstance(found, list) else found[(*numbers, 0)[:2]]


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


def holds(tokens: Tokens, values: Values) -> Any:
    """Whether u > v, entry by entry; nothing to compare holds."""
    (_, first), *others = split(tokens, *RELATIONS)
    pairs = ((RELATIONS[relation], expression(other, values)) for relation, other in others)
    return reduce(np.logical_and, (is_so(expression(first, values), other) for is_so, other in pairs), True)
