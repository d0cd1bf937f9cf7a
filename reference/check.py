"""The check: an implementation over many configurations, every tensor against the truth, and who else agrees.

The truth of a problem is `scratch` run in longdouble on the same numbers. The implementation, PyTorch on the CPU and,
where there is one, on a GPU (devices.py) are measured against it, in float64 and in float32. Whether the truth is true
is for the witnesses of the gradient to say (witnesses.py). A recurrence that PyTorch does not have is left to those
among them that need no PyTorch. All of it comes out as `Row`s: who, on which tensor of which configuration in which
dtype, is how far off, and how far off may it be.
"""

import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from scratch.processes import shared

from .candidates import DTYPES, Implementation, NotOffered, Raised, Scratch, Unfit
from .conditioning import tolerances
from .devices import MODES
from .equivalence import TOLERANCE, compare
from .faults import right_run
from .problems import Configuration, Problem, draw
from .runs import Masks, Run, is_in_torch, run_scratch, run_torch
from .witnesses import WITNESSES

PYTORCH = "PyTorch"
EVERYTHING = "everything"
"""The tensor of a row that is about an error."""


class Row(NamedTuple):
    """One tensor of one configuration in one dtype, as one of the parties has it."""

    who: str
    dtype: str
    tensor: str
    configuration: Configuration
    error: float  # normwise and relative to the truth
    ulps: float
    """See `equivalence.largest_ulps`; NaN for a witness, which does not compute the tensor but testifies to it."""
    tolerance: float
    what: str = ""  # in words, if it cannot be compared at all

    @property
    def agrees(self) -> bool:
        """Whether the error is within its tolerance."""
        return self.error <= self.tolerance

    @property
    def judged(self) -> bool:
        """Whether that says anything: rounding alone may move a tensor by more than an error could tell."""
        return self.tolerance < float("inf")

    @property
    def unfit(self) -> bool:
        """Whether there is no mathematics to judge, because the call does not fit, or something is written over."""
        return self.tensor == EVERYTHING and not self.what.startswith("raises ")

    @property
    def kind(self) -> str:
        """The tensor without the number of its layer and its direction."""
        return re.sub(r"_l\d+(_reverse)?$", "", self.tensor)

    def __str__(self) -> str:
        wrong = self.what or f"error {self.error:.1e}, expected at most {self.tolerance:.1e}"
        return f"{self.who}, {self.dtype}, {self.tensor}: {wrong} in {self.configuration}"


@dataclass
class Found:
    """What a check has found."""

    subject: Implementation
    configurations: list[Configuration] = field(default_factory=list)  # those that the subject was checked on
    rows: list[Row] = field(default_factory=list)
    not_offered: dict[str, str] = field(default_factory=dict)  # what the subject does not have, and how that was seen
    witnessed: bool = True  # whether PyTorch and the witnesses were heard
    asked: int = 0  # on how many configurations the subject was to be checked

    @property
    def in_torch(self) -> bool:
        """Whether PyTorch was heard on anything."""
        return any(row.who == PYTORCH for row in self.rows)

    @property
    def disagreements(self) -> list[Row]:
        """The rows that are outside their tolerance."""
        return [row for row in self.rows if not row.agrees]

    @property
    def failures(self) -> list[Row]:
        """Those among them that are the subject's."""
        return [row for row in self.disagreements if row.who == self.subject.name]

    @property
    def others(self) -> list[Row]:
        """Those that are not: a witness, or PyTorch, denies the truth."""
        return [row for row in self.disagreements if row.who != self.subject.name]


def check(
    configurations: Sequence[Configuration],
    subject: Implementation | None = None,
    dtypes: Iterable[str] = DTYPES,
    witnesses: bool = True,
    jobs: int = 1,
    advance: Callable[[int], object] = lambda done: None,
) -> Found:
    """Check the subject, `scratch` by default, on every configuration whose cell it has.

    witnesses: whether PyTorch, if it has the cell, and the other witnesses are heard as well. jobs: how many processes
    share the work; a subject that cannot be sent to another process is checked in this one. `advance` is called with
    how many configurations have been done since it was last called.
    """
    dtypes, subject = tuple(dtypes), subject or Scratch()
    subject.ask(dtypes)
    found = Found(subject, witnessed=witnesses, asked=len(configurations))
    configurations = [subject.nearest(each) for each in configurations if each.cell in subject.cells]
    found.not_offered |= {dtype: why for dtype, why in subject.reasons.items() if dtype in dtypes}
    task = partial(found_at, subject, dtypes, witnesses)
    try:
        pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError):
        jobs = 1
    if jobs > 1:
        chunk = max(1, min(16, len(configurations) // (4 * jobs)))
        parts = [configurations[start : start + chunk] for start in range(0, len(configurations), chunk)]
        # The problems are small: threads would only hinder each other.
        results = shared(task, parts, jobs, lambda part: advance(len(part)), torch.set_num_threads, (1,))
    else:
        results = []
        for each in configurations:
            results.append(task([each]))
            advance(1)
    for checked, rows, lacking in results:
        found.configurations += checked
        found.rows += rows
        found.not_offered |= lacking
    return found


def found_at(
    subject: Implementation, dtypes: Sequence[str], witnesses: bool, configurations: Sequence[Configuration]
) -> tuple[list[Configuration], list[Row], dict[str, str]]:
    """What there is to be found at some configurations: those that were checked, the rows, and what is not offered."""
    checked, found = [], []
    for configuration in configurations:
        try:
            rows = list(examine(configuration, subject, dtypes, witnesses))
        except NotOffered:
            continue
        found += rows
        checked += [configuration] * any(row.who == subject.name for row in rows)
    return checked, found, dict(subject.lacking)


def examine(
    configuration: Configuration, subject: Implementation, dtypes: Sequence[str] = DTYPES, witnesses: bool = True
) -> Iterator[Row]:
    """Every row of one configuration. Raises NotOffered if the subject does not have what it needs."""
    drawn, form = subject.adapted(draw(configuration)), subject.cell_form
    witnesses = witnesses and not form  # they have PyTorch's form of the cell
    for dtype in [dtype for dtype in dtypes if dtype in subject.dtypes]:
        problem = drawn.astype(dtype)
        try:
            run, masks = subject.run(problem)
        except Raised as error:
            yield raised(subject.name, problem, error)
            continue
        judged = with_zeros(problem) if any(f"d_{part}_0" in run for part in configuration.parts) else problem
        truth, masks = truth_of(judged, masks, form)
        of_state = {f"d_{name}": None for name in judged.initial}  # those that it does not give
        rows = list(measure(subject.name, judged, of_state | run, truth, masks, plain=subject.tolerance))
        if subject.first is not None and all(row.agrees for row in rows):
            first = measure(subject.name, judged, of_state | subject.first, truth, masks, plain=subject.tolerance)
            rows += [row._replace(what=row.what or "right at the second call only") for row in first if not row.agrees]
        yield from (row._replace(configuration=configuration) for row in rows)
        if witnesses and dtype in DTYPES and is_in_torch(configuration.module):
            yield from of_torch(problem, truth if judged is problem else truth_of(problem, masks)[0], masks)
    if witnesses:
        yield from testify(drawn)


def of_torch(problem: Problem, truth: Run, masks: Masks) -> Iterator[Row]:
    """PyTorch on the CPU and, where there is a GPU, in each of its modes there."""
    own_masks = [mask.astype(problem.dtype) for mask in masks]
    yield from measure(PYTORCH, problem, run_torch(problem, own_masks), truth, masks)
    for mode in MODES if torch.cuda.is_available() else ():
        if mode.dtype == problem.dtype:
            try:
                yield from measure(mode.name, problem, mode.run(problem, own_masks), truth, masks, mode.eps)
            except RuntimeError as error:
                yield raised(mode.name, problem, error)


def beside_torch(configurations: Iterable[Configuration], advance: Callable[[], object] = lambda: None) -> Found:
    """`scratch` on every configuration held to PyTorch itself, in float64: to 1e-12, whatever rounding explains.

    `advance` is called after each.
    """
    found = Found(Scratch())
    for configuration in configurations:
        problem = draw(configuration)
        ours, masks = run_scratch(problem)
        found.rows += [
            Row(
                found.subject.name, problem.dtype, each.name, configuration, each.error, each.ulps, TOLERANCE, each.what
            )
            for each in compare(ours, run_torch(problem, masks))
        ]
        found.configurations.append(configuration)
        advance()
    return found


def with_zeros(problem: Problem) -> Problem:
    """The problem with zeros for an initial state that is not given."""
    if problem.initial:
        return problem
    configuration = replace(problem.configuration, initial_state=True)
    zeros = {name: 0 * value for name, value in draw(configuration).initial.items()}
    return replace(problem, configuration=configuration, initial=zeros).astype(problem.dtype)


def truth_of(problem: Problem, masks: Masks | None = None, form: str = "") -> tuple[Run, Masks]:
    """What follows from the problem's numbers in longdouble, and the masks that dropout drew.

    form: the form of the cell that the subject is held to, if it is not PyTorch's (faults/forms.py).
    """
    exact = problem.astype(np.longdouble)
    return (right_run(exact, masks, form), masks or []) if form else run_scratch(exact, masks)


def measure(
    who: str,
    problem: Problem,
    run: Mapping[str, Any],
    truth: Run,
    masks: Masks,
    eps: float | None = None,
    plain: float | None = None,
) -> Iterator[Row]:
    """How far each tensor of a run is from the truth. eps, plain: see `tolerances`."""
    differences = compare(run, truth, problem.input.dtype)
    allowed = tolerances(problem, {one.name: one.error for one in differences if not one.what}, masks, eps, plain)
    own = float(np.finfo(problem.input.dtype).eps) / problem.eps  # ULP of bfloat16, which is held in float32
    for name, error, what, ulps in differences:
        yield Row(who, problem.dtype, name, problem.configuration, error, own * ulps, allowed.get(name, 0.0), what)


def testify(drawn: Problem) -> Iterator[Row]:
    """What the witnesses that do not need PyTorch say about the truth."""
    exact = drawn.astype(np.longdouble)
    truth, masks = run_scratch(exact)
    for name, witness in WITNESSES.items():
        for tensor, (error, tolerance) in witness(exact, masks, truth).items():
            yield Row(name, "longdouble", tensor, drawn.configuration, error, float("nan"), tolerance)


def raised(who: str, problem: Problem, error: Exception) -> Row:
    """The row of a party that has nothing but an error to show."""
    inf = float("inf")
    what = str(error) if isinstance(error, Unfit) else f"raises {error}"
    return Row(who, problem.dtype, EVERYTHING, problem.configuration, inf, inf, 0.0, what)
