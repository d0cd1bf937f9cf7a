"""The stages: each function of a candidate is held against the truth on every problem, alone."""

import copy
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations, islice, permutations
from typing import Any

import numpy as np

from .equations import CELLS, Cell
from .findings import NOT_YET, RIGHT, TO_DO, WRONG, Finding, Report, Stage, listed, tensor, wrong_numbers
from .loops import clips
from .models import explained, given_by, matches, together
from .mutations import Mistake
from .problems import PARAMETERS, Problem, problems
from .subject import FLOAT32, TAKES, Empty, Interface, Subject, Taken, alike, described, numbers, truth
from .worker import OF_STEPS, Runner

NEEDS = {"step": (), "step_backward": ("step",), "forward": ("step",), "backward": ("step_backward", "forward")}
"""The functions, and which others must be right before each is taken."""
NONLINEAR = (
    "what it gives does not grow in proportion to the gradients it is given: something clips or rescales them, or"
    " changes the weights on the way"
)


def stages(target: Any, cell: str | None = None, seed: int = 0, limit: float | None = None) -> Report:
    """Take a candidate stage by stage.

    target: anything with some of the functions step, step_backward, forward, backward as attributes, a pair (forward,
    backward), or a submission (remote.py). cell: "RNN tanh", "RNN relu", "LSTM" or "GRU", if its name does not tell.
    An RNN whose functions take `nonlinearity` is taken with both. limit: after how many seconds a call is given up.

    Raises TypeError if it has none of the functions, ValueError if the cell cannot be told.
    """
    if isinstance(target, Runner):
        runner = target
    elif isinstance(target, tuple) and len(target) == 2:
        runner = Runner(dict(zip(("forward", "backward"), target, strict=True)))
    else:
        runner = Runner({name: getattr(target, name) for name in NEEDS if callable(getattr(target, name, None))})
    if not runner.takes:
        raise TypeError(f"expected some of the functions {', '.join(NEEDS)}, got {described(target)}")
    chosen = cell_of(target, cell)
    report = staged(Subject(runner, chosen, limit), seed)
    both = any("nonlinearity" in takes for takes in runner.takes.values())
    if both and chosen.name == "RNN tanh" and "tanh" not in (cell or "").lower() and not report.status:
        return staged(Subject(runner, CELLS["RNN relu"], limit), seed)
    return report


def cell_of(target: Any, cell: str | None) -> Cell:
    """The cell that is asked for, or that the candidate's name tells. Raises ValueError."""
    first = target[0] if isinstance(target, tuple) else target
    names = [str(getattr(first, each, "")) for each in ("__name__", "__module__", "__file__")]
    for name in [cell] if cell else names:  # the nearest name that tells it
        for known in CELLS.values():
            if cell.lower() in known.name.lower() if cell else known.name.split()[0].lower() in name.lower():
                return known
    raise ValueError(f"expected a name that tells the cell (RNN, LSTM, GRU), or to be told, got {cell or names[0]!r}")


@np.errstate(all="ignore")
def staged(subject: Subject, seed: int) -> Report:
    """All stages, one after the other."""
    report = Report(subject.cell)
    standing: dict[str, str] = {}
    pair = not (subject.has("step") or subject.has("step_backward"))
    for name in ("forward", "backward") if pair else NEEDS:
        waits = [f"`{other}`" for other in NEEDS[name] if subject.has(other) and standing.get(other) != RIGHT]
        if not subject.has(name):
            stage = Stage(name, TO_DO, "there is no such function")
        elif waits:
            stage = Stage(name, NOT_YET, f"{' and '.join(waits)} first")
        else:
            stage = Judge(subject, name, problems(subject.cell, seed)).stage()
        standing[name] = stage.status
        report.append(stage)
    report.narrow = subject.narrow
    return report


class Judge:
    """One function of a candidate, on every problem."""

    def __init__(self, subject: Subject, function: str, problems: Sequence[Problem]) -> None:
        self.subject, self.function, self.problems, self.cell = subject, function, problems, subject.cell
        self.two, self.taken = problems[:2], problems[0]
        self.kept = {"step_backward": "kept", "backward": "tape"}.get(function, "")
        self.given: dict[Problem, Taken] = {}

    def stage(self) -> Stage:
        """How the function stands."""
        try:
            taken = self.take(self.problems[0])
            if not taken.results and not taken.misshapen:
                raise Empty
            finding = self.finding()
        except Empty:
            return Stage(self.function, TO_DO, "it returns nothing yet")
        except Interface as told:
            finding = Finding(self.function, str(told), self.expected(), interface=True)
            return Stage(self.function, WRONG, finding=finding)
        if finding:
            return Stage(self.function, WRONG, finding=finding, share=self.share())
        if taken.empty:
            note = f"{', '.join(map(tensor, taken.empty))} (the rest is right)"
            return Stage(self.function, TO_DO, note, share=self.share())
        return Stage(self.function, RIGHT, share=1.0)

    def share(self) -> float:
        """Which share of the results is right in every problem; 0 if all are, as then something else is wrong."""
        wrong: set[str] = set()
        try:
            for problem in self.problems:
                taken, right = self.take(problem), truth(problem, self.function)
                wrong |= right.keys() - taken.results.keys() | taken.wrong(right).keys()
        except (Empty, Interface):
            return 0.0
        return 1 - len(wrong) / len(truth(self.problems[0], self.function)) if wrong else 0.0

    def take(self, problem: Problem) -> Taken:
        """What the function gives for a problem, at the first call. Raises Empty and Interface."""
        self.taken = problem
        try:
            self.given[problem] = self.given.get(problem) or self.subject.take(problem, self.function)
        except Interface as told:
            raise Interface(f"{problem.remark}{told}") from told
        return self.given[problem]

    def expected(self) -> list[str]:
        """What the function was given last and what it should return."""
        problem = self.taken
        x = problem.numbers["x"][0] if "step" in self.function else problem.numbers["x"]
        shapes = [f"{PARAMETERS[name]} {value.shape}" for name, value in problem.parameters.items()]
        state = f"state {problem.state()[0].shape}{' each' * (len(self.cell.parts) > 1)}"
        gives = ", ".join(self.subject.gives(self.function))
        return [
            f"expected: {self.function}({TAKES[self.function]}) → {gives}",
            f"given: x {x.shape}, {state}, {', '.join(shapes)}",
        ]

    def finding(self) -> Finding | None:
        """The first thing that is wrong with it."""
        for problem in self.problems:
            taken = self.take(problem)
            if taken.misshapen:
                return self.of_shape(problem, taken)
            if wrong := taken.wrong(truth(problem, self.function)):
                return self.of_numbers(problem, taken, wrong)
        return self.side_effects()

    def of_shape(self, problem: Problem, taken: Taken) -> Finding:
        """A result in another shape."""
        name, value = next(iter(taken.misshapen.items()))
        letters, expected = problem.shape(name, self.function)
        if numbers(value) is None:
            told = f"{tensor(name)} is {described(value)}, which holds no real numbers; expected {letters} = {expected}"
            return Finding(self.function, told, interface=True)
        told = f"{problem.remark}{tensor(name)} has the shape {value.shape}; expected {letters} = {expected}"
        right = truth(problem, self.function)[name]
        axes = permutations(range(value.ndim)) if value.ndim == len(expected) else ()
        if any(alike(value.transpose(each), right) for each in axes):
            told += ". Its numbers are right: only its axes are in another order"
        elif value.size == np.prod(expected) and alike(value.reshape(expected), right):
            told += ". Its numbers are right: only its shape is another"
        elif value.shape[1:] == expected and len(value) == problem.sizes["B"]:
            told += ": there is one for each sequence, which are to be summed"
        elif len(expected) == 1 and value.shape in ((problem.sizes["B"],), (problem.sizes["T"],)):
            told += ": the sum is to go over the sequences, axis 0, and leave a number for each row of the weights"
        elif letters.startswith("(T") and value.shape == (expected[0] - 1, *expected[1:]):
            told += ": one step is missing"
        elif spread := self.spread():
            chosen, whole = together(self.cell, self.function, self.two, spread)
            if whole:
                return Finding(self.function, told, named=chosen[:1], also=chosen[1:])
        return Finding(self.function, told, interface=True)

    def spread(self) -> list[dict[str, Any]]:
        """The results, with smaller ones in the shape that is expected, which a known mistake may give; or nothing."""
        found = []
        for problem in self.two:
            taken = self.take(problem)
            shapes = {name: problem.shape(name, self.function)[1] for name in taken.misshapen}
            try:
                more = {name: np.broadcast_to(value, shapes[name]) for name, value in taken.misshapen.items()}
            except (ValueError, TypeError):
                return []
            found.append(taken.results | more)
        return found

    def of_numbers(self, problem: Problem, taken: Taken, wrong: dict[str, float]) -> Finding:
        """Results with other numbers than the truth's."""
        if (worst := max(wrong.values())) <= FLOAT32:
            off = f"off by {worst:.0e} of the size at most: is something on the way float32, or a small number added?"
            return Finding(self.function, f"{problem.remark}{listed([*map(tensor, wrong)])}: {off}", interface=True)
        if problem not in self.two:
            return wrong_numbers(self.function, problem, taken, wrong, [])
        owns = [self.take(each).results for each in self.two]
        rights = [truth(each, self.function) for each in self.two]
        for one, other in combinations([name for name in owns[0] if name in owns[1]], 2):
            parts = [{one: own[other], other: own[one]} for own in owns]
            if {one, other} <= wrong.keys() and all(map(matches, parts, rights)):
                told = f"{one} and {other} are right, but exchanged in what is returned"
                return Finding(self.function, told, self.expected(), interface=True)
        named, also, notes = explained(self.cell, self.function, self.two, owns), [], []
        if not named:
            chosen, whole = together(self.cell, self.function, self.two, owns)
            if whole:
                named, also = chosen[:1], chosen[1:]
            elif chosen and all(chosen[0].name in own for own in owns):
                parts = [{chosen[0].name: own[chosen[0].name]} for own in owns]  # which it must give, the whole of it
                if all(map(matches, parts, (given_by(each, self.function, chosen[:1]) for each in self.two))):
                    named, notes = chosen[:1], ["these have causes of their own"]
        if not named and self.nonlinear():
            named = self.clip()
            notes += [] if named else [NONLINEAR]
        if not named and self.kept:  # a loop forward that is wrong keeps other values than the right one
            notes += self.in_place()
        found = wrong_numbers(self.function, problem, taken, wrong, named)
        found.also, found.told = also, "; ".join([found.told, *notes])
        return found

    def nonlinear(self) -> bool:
        """Whether a way back is not linear in the gradients, as it should be: something clips or rescales them."""
        own = self.take(self.problems[0]).results
        for scale in (1e-3, 1e3) if self.kept else ():
            results = self.take(self.problems[0].scaled(scale)).results
            if not all(alike(results[name], scale * own[name]) for name in own.keys() & results.keys()):
                return True
        return False

    def clip(self) -> list[Mistake]:
        """Where the loop clips the gradients, if that is it."""
        large = self.problems[0].scaled(100.0)
        own = self.take(large).results if self.function == "backward" else {}
        fits = (one for one in clips(self.cell, own.values()) if matches(own, given_by(large, "backward", [one])))
        return [*islice(fits, 1)] if own else []

    def in_place(self) -> list[str]:
        """That it changes what is kept for the way back, if it does."""
        with suppress(Empty, Interface):
            self.subject.call(self.function, self.subject.arguments(self.problems[0], self.function), watch=True)
            return [f"it changes what is in `{what}` in place" for what in self.subject.in_place]
        return []

    def side_effects(self) -> Finding | None:
        """Another answer at a second call, something changed in place, or gradients that are clipped when large."""
        problem = self.problems[0]
        given = self.subject.arguments(problem, self.function)
        try:
            for _ in range(2):
                again = {name: value if name == self.kept else copy.deepcopy(value) for name, value in given.items()}
                taken = self.subject.take(problem, self.function, again)
            right = not taken.wrong(truth(problem, self.function))
        except (Empty, Interface):
            right = False
        if not right:
            told = ": ".join(["it is right at the first call only", *self.in_place()])
            return Finding(self.function, told, interface=True)
        if self.function == "forward" and self.in_place():
            told = f"the numbers are right, but {OF_STEPS} is changed afterwards, in place"
            return Finding(self.function, told, interface=True)
        if self.nonlinear():
            return Finding(self.function, f"it is right for these gradients, but {NONLINEAR}", named=self.clip())
        return None
