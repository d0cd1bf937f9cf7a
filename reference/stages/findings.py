"""What is found out about a candidate: how each stage stands, and what is told of the first thing that is wrong."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .equations import Cell
from .expressions import names_in, number, shown, with_numbers
from .models import given_by, in_pieces, tape_of
from .mutations import Mistake
from .problems import PARAMETERS, Problem, values
from .subject import Taken, alike, truth

RIGHT, WRONG, TO_DO, NOT_YET = "right", "wrong", "to do", "not yet"


@dataclass
class Finding:
    """Something that is wrong with one function.

    told: what is wrong, without what would be right where that is the exercise. lines: the equation, the shape, and
    one entry by hand; or what the function should take and give. interface: whether it is about how the function is
    called, not about mathematics. named: what gives exactly the candidate's numbers, several if each of them does.
    also: further mistakes that are there besides.
    """

    function: str
    told: str
    lines: Sequence[str] = ()
    interface: bool = False
    named: Sequence[Mistake] = ()
    also: Sequence[Mistake] = ()
    solution: Sequence[str] = ()

    def text(self, solution: bool = False) -> str:
        """All that is told of it."""
        lines = [f"`{self.function}`: {self.told}", *self.lines]
        if self.named:
            lines.append(f"hint: {'; or '.join(map(hint, self.named))}")
            lines += [f"and also: {hint(one)}" for one in self.also]
        elif not self.interface:
            where = {"forward": ": compare step by step, the first one first", "backward": ": the last step first"}
            lines.append(f"No known mistake gives your numbers{where.get(self.function, '')}.")
        if self.solution:
            lines += ["", *self.solution] if solution else ["(--solution shows the textbook's line)"]
        return "\n".join(f"  {line}".rstrip() for line in "\n".join(lines).splitlines()).strip()


@dataclass
class Stage:
    """One function, how it stands, and which share of its results is right."""

    name: str
    status: str
    note: str = ""
    finding: Finding | None = None
    share: float = 0.0

    def __str__(self) -> str:
        return f"{self.name:<14} {self.status}{f': {self.note}' if self.note else ''}"


class Report(list[Stage]):
    """All stages of a candidate. narrow: whether it gave numbers of less than float64."""

    narrow = False

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    @property
    def status(self) -> int:
        """0 if everything is right, 1 if something is wrong, 3 if nothing is wrong and something is still to do."""
        found = {stage.status for stage in self}
        return 1 if WRONG in found else 0 if found == {RIGHT} else 3

    @property
    def first(self) -> Finding | None:
        """The first thing that is wrong."""
        return next((stage.finding for stage in self if stage.finding), None)

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def in_words(one: Mistake) -> str:
    """What is wrong, with its equation."""
    if not one.changes:
        return f"{one.words} (in the loop: {one.name} is `{one.yours}`, where `{one.right}` belongs)"
    be, it_is = ("are", "they are") if " and " in one.name else ("is", "it is")
    return f"{one.name} {be} wrong; {it_is} {one.right} {one.number}; yours {be} {one.yours} ({one.words})"


def hint(one: Mistake) -> str:
    """What kind of mistake it is; the right equation only where the page states it."""
    if not one.changes:
        return one.words
    return in_words(one) if one.function == "step" else f"your {one.name} is exactly {one.yours}: {one.words}"


def tensor(name: str) -> str:
    """A result as the functions name it."""
    return f'd_parameters["{PARAMETERS[name[2:]]}"]' if name[2:] in PARAMETERS else name


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


# Numbers that are wrong.

ORDER = ("c", "h", "output", "h_n", "c_n", "d_c_prev", "d_b_ih", "d_b_hh", "d_W_ih", "d_W_hh", "d_h_prev", "d_x")
"""In which order wrong results are looked at: those first on which others do not depend."""


def wrong_numbers(
    function: str, problem: Problem, taken: Taken, wrong: Mapping[str, float], named: Sequence[Mistake]
) -> Finding:
    """What is told about them: which, how far off, one entry by hand, and what is right."""
    cell, right = problem.cell, truth(problem, function)
    own_equations = cell.equations(function) if "step" in function else ()
    order = [name for name in ORDER if name in wrong] + [name for name in wrong if name not in ORDER]
    one = named[0] if named else None
    name = one.name if one and one.name in wrong else order[0]
    others = [tensor(other) for other in order if other != name]
    also = f", and so {'are' if len(others) > 1 else 'is'} {listed(others)}" if others else ""
    numbers = one.number if one else next((e.number for e in own_equations if e.name == name), "")
    size = f"error {wrong[name]:.1e} of its size" if np.isfinite(wrong[name]) else "not a number"
    lines = [line for each in re.findall(r"\(\d\)", numbers) for line in cell.stated.get(each, ())]
    lines.append(f"{tensor(name)}: shape {' = '.join(map(str, problem.shape(name, function)))} is right; {size}")
    for other in () if named else wrong:  # where they are wrong, if not everywhere
        model, pieces = (in_pieces(cell, {other: each[other]}) for each in (right, taken.results))
        off = [place for (_, place), own in pieces.items() if not alike(own, model[other, place])]
        lines += [f"{tensor(other)} is wrong in {listed(off)} only"] if len(off) < len(model) else []
    own = taken.results[name]
    deviation = np.nan_to_num(np.abs(own - right[name]).astype(float), nan=np.inf)
    if one and one.function == function and (given := given_by(problem, function, [one])):
        deviation *= np.abs(given[name] - right[name]) > 1e-9  # an entry that this mistake makes wrong
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(deviation)), own.shape))
    place = f"{tensor(name)}[{', '.join(map(str, index))}]"
    lines += by_hand(function, problem, name, index, one)
    lines.append(f"{place} should be {number(right[name][index], 6)}; yours is {number(own[index], 6)}")
    told = f"{problem.remark}{tensor(name)} is wrong{also}"
    return Finding(function, told, lines, named=named, solution=solution(cell, function, name, one))


def by_hand(function: str, problem: Problem, name: str, index: tuple[int, ...], one: Mistake | None) -> list[str]:
    """One entry by hand: of a step, from its equations; of the loop, from one step; of a gradient, by nudging."""
    if function.endswith("backward"):
        return nudged(function, problem, name, index)
    if function == "step":
        needed = {name, *one.name.split(" and ")} if one else {name}
        for equation in () if one else reversed(problem.cell.step):
            needed |= set(names_in(equation.right)) if equation.name in needed else set()
        lines, known, place = [], values(problem, "step"), ", ".join(map(str, index))
        for equation in [each for each in problem.cell.step if each.name in needed]:
            value, entry = number(known[equation.name][index]), with_numbers(equation.right, known, index)
            steps = dict.fromkeys((shown(equation.right), entry, value))
            lines.append(f"{equation.number} {equation.name}[{place}] = {' = '.join(steps)}")
        return lines
    tape, row = tape_of(problem), index[-2]
    t, part = (index[0], "h") if name == "output" else (len(tape) - 1, name[0])
    states = {f"{each} before step {t}": tape[t][f"{each}_prev"] for each in problem.cell.parts}
    states[f"{part} after step {t} = step(x[{t}], state, parameters)"] = tape[t][part]
    return [f"{what}, row {row}: {', '.join(map(number, value[row]))}" for what, value in states.items()]


def nudged(function: str, problem: Problem, name: str, index: tuple[int, ...]) -> list[str]:
    """A gradient by hand: nudge one number, and see how the loss changes."""
    step, what, size = function == "step_backward", name[2:].replace("_prev", "_0"), 1e-4
    place = (0, *index) if name == "d_x" and step else index
    ends = {part if step else f"{part}_n": f"d_{part}_n" for part in problem.cell.parts}
    weights = ends if step else {"output": "d_output"} | ends
    losses = []
    for nudge in (size, -size):
        changed = problem.numbers[what].copy()
        changed[place] += nudge
        results = given_by(problem.changed(**{what: changed}), "step" if step else "forward") or {}
        losses.append(sum(float((problem.numbers[d] * results[result]).sum()) for result, d in weights.items()))
    told = " + ".join(f"Σ {d[:-2] if step else d} ⊙ {result}" for result, d in weights.items())
    entry = f"{PARAMETERS.get(name[2:], name[2:])}[{', '.join(map(str, index))}]"
    slope = number((losses[0] - losses[1]) / (2 * size), 6)
    return [
        f"by hand: with {entry} {size:g} larger, {told} is {losses[0]:.10g};",
        f"with it {size:g} smaller, {losses[1]:.10g}: so the slope is {slope}",
    ]


def solution(cell: Cell, function: str, name: str, one: Mistake | None) -> list[str]:
    """The equation and the textbook's line, or its loop."""
    if function in ("forward", "backward") and (one is None or not one.changes):
        source = inspect.getsource(getattr(cell.page, function)).splitlines()
        start = next(k for k, line in enumerate(source) if line.strip().startswith(("output, steps", "steps, param")))
        return [*([in_words(one)] if one else []), "the textbook:", *source[start:]]
    if one:
        return [in_words(one), *(textbook_line(cell, one.function, each) for each in one.name.split(" and "))]
    right = next(f"{name} = {shown(e.right)} {e.number}" for e in cell.equations(function) if e.name == name)
    return [right, textbook_line(cell, function, name)]


def textbook_line(cell: Cell, function: str, name: str) -> str:
    """The line of the textbook that computes a value; of a block without a line of its own, the one that uses it."""
    start = {"d_W": "d_parameters = ", "d_b": "d_parameters |= "}.get(name[:3], f"{name} = ")
    source = inspect.getsource(getattr(cell.page, function)).splitlines()
    lines = [f"the textbook: {line.strip()}" for line in source if line.strip().startswith(start)]
    users = [equation.name for equation in cell.equations(function) if name in names_in(equation.right)]
    return "\n".join(lines) if lines or not users else textbook_line(cell, function, users[0])
