"""The check: an implementation over many configurations, every tensor against the truth, and who else agrees.

The truth of a problem is `scratch` run in longdouble on the same numbers. The implementation, PyTorch on the CPU and,
where there is one, on a GPU (devices.py) are measured against it, in float64 and in float32. Whether the truth is true
is for the witnesses of the gradient to say (witnesses.py). A recurrence that PyTorch does not have is left to those
among them that need no PyTorch. All of it comes out as `Row`s: who, on which tensor of which configuration in which
dtype, is how far off, and how far off may it be.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from scratch.processes import shared

from .candidates import DTYPES, Implementation, NotOffered, Raised, Scratch, Unfit
from .conditioning import tolerances
from .devices import MODES, Mode
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
    error: float
    """Normwise and relative to the truth."""
    ulps: float
    """See `equivalence.largest_ulps`; NaN for a witness, which does not compute the tensor but testifies to it."""
    tolerance: float
    what: str = ""
    """In words, if it cannot be compared at all."""

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
    configurations: list[Configuration] = field(default_factory=list)
    """Those that the subject was checked on."""
    rows: list[Row] = field(default_factory=list)
    not_offered: dict[str, str] = field(default_factory=dict)
    """What the subject does not have, and how that was seen."""
    witnessed: bool = True
    """Whether PyTorch and the witnesses were heard."""
    dtypes: tuple[str, ...] = DTYPES
    """Those that were asked for."""
    asked: int = 0
    """On how many configurations the subject was to be checked."""

    @property
    def in_torch(self) -> bool:
        """Whether PyTorch was heard on anything."""
        return any(row.who == PYTORCH for row in self.rows)

    @property
    def not_in_torch(self) -> list[str]:
        """The names of the recurrences that it could not be heard on, because it does not have them."""
        names = dict.fromkeys(configuration.module for configuration in self.configurations)
        return [name for name in names if self.witnessed and not is_in_torch(name)]

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

    def extend(self, other: Found) -> None:
        """Add what another check of the same subject has found."""
        self.configurations += other.configurations
        self.rows += other.rows
        self.not_offered |= other.not_offered


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
    dtypes = tuple(dtypes)
    found = Found(subject or Scratch(), witnessed=witnesses, dtypes=dtypes, asked=len(configurations))
    found.subject.ask(dtypes)
    configurations = [found.subject.nearest(c) for c in configurations if c.cell in found.subject.cells]
    found.not_offered |= {dtype: why for dtype, why in found.subject.reasons.items() if dtype in dtypes}
    task = partial(found_at, found.subject, dtypes, witnesses)
    if jobs == 1 or not can_be_sent(task):
        for configuration in configurations:
            found.extend(task([configuration]))
            advance(1)
        return found
    chunk = max(1, min(16, len(configurations) // (4 * jobs)))
    parts = [configurations[start : start + chunk] for start in range(0, len(configurations), chunk)]
    for result in shared(work, parts, jobs, lambda part: advance(len(part)), prepare, (task,)):
        found.extend(result)
    return found


def found_at(
    subject: Implementation, dtypes: Sequence[str], witnesses: bool, configurations: Sequence[Configuration]
) -> Found:
    """What there is to be found at some configurations."""
    found = Found(subject)
    for configuration in configurations:
        rows: list[Row] = []
        with suppress(NotOffered):
            rows = list(examine(configuration, subject, dtypes, witnesses))
        found.rows += rows
        if any(row.who == subject.name for row in rows):
            found.configurations.append(configuration)
        found.not_offered.update(subject.lacking)
    return found


Task = Callable[[Sequence[Configuration]], Found]
_task: Task
"""What this process is to do, if it shares the work of another. It keeps what it finds out about the subject."""


def prepare(task: Task) -> None:
    """Make this a process that shares the work. The problems are small: threads would only hinder each other."""
    global _task
    _task = task
    torch.set_num_threads(1)


def work(configurations: Sequence[Configuration]) -> Found:
    """The task on several configurations."""
    return _task(configurations)


def can_be_sent(task: Task) -> bool:
    """Whether another process can be given the task."""
    try:
        pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def examine(
    configuration: Configuration, subject: Implementation, dtypes: Sequence[str] = DTYPES, witnesses: bool = True
) -> Iterator[Row]:
    """Every row of one configuration. Raises NotOffered if the subject does not have what it needs."""
    drawn, form = subject.adapted(draw(configuration)), subject.cell_form
    witnesses = witnesses and not form  # they have PyTorch's form of the cell
    for dtype in dtypes:
        if dtype not in subject.dtypes:
            continue
        problem = drawn.astype(dtype)
        try:
            run, masks = subject.run(problem)
        except Raised as error:
            yield raised(subject.name, dtype, configuration, error)
            continue
        judged = with_zeros(problem) if subject.unasked else problem
        truth, masks = truth_of(judged, masks, form)
        zeros = {
            f"d_{name}": subject.unasked.get(f"d_{name}") for name in judged.initial.keys() - problem.initial.keys()
        }
        rows = list(measure(subject.name, judged, run | zeros, truth, masks, plain=subject.tolerance))
        if subject.first is not None and all(row.agrees for row in rows):
            first = measure(subject.name, judged, subject.first | zeros, truth, masks, plain=subject.tolerance)
            rows += [row._replace(what=row.what or "right at the second call only") for row in first if not row.agrees]
        yield from (row._replace(configuration=configuration) for row in rows)
        if witnesses and dtype in DTYPES and is_in_torch(configuration.module):
            own_masks = [mask.astype(dtype) for mask in masks]
            if judged is not problem:
                truth, _ = truth_of(problem, masks)
            yield from measure(PYTORCH, problem, run_torch(problem, own_masks), truth, masks)
            for mode in MODES if torch.cuda.is_available() else ():
                if mode.dtype == dtype:
                    try:
                        yield from measure(mode.name, problem, mode.run(problem, own_masks), truth, masks, mode)
                    except RuntimeError as error:
                        yield raised(mode.name, dtype, configuration, error)
    if witnesses:
        yield from testify(drawn)


def beside_torch(configurations: Iterable[Configuration], advance: Callable[[], object] = lambda: None) -> Found:
    """`scratch` on every configuration held to PyTorch itself, in float64: to 1e-12, whatever rounding explains.

    `advance` is called after each.
    """
    found = Found(Scratch())
    for configuration in configurations:
        problem = draw(configuration)
        ours, masks = run_scratch(problem)
        for name, error, what, ulps in compare(ours, run_torch(problem, masks)):
            row = Row(found.subject.name, problem.dtype, name, configuration, error, ulps, TOLERANCE, what)
            found.rows.append(row)
        found.configurations.append(configuration)
        advance()
    return found


def with_zeros(problem: Problem) -> Problem:
    """The problem with the initial state that stands for one that is not given, since its gradient is given too."""
    configuration = replace(problem.configuration, initial_state=True)
    zeros = {name: 0 * value for name, value in draw(configuration).initial.items()}
    return replace(problem, configuration=configuration, initial=zeros).astype(problem.dtype)


def truth_of(problem: Problem, masks: Masks | None = None, form: str = "") -> tuple[Run, Masks]:
    """What follows from the problem's numbers in longdouble, and the masks that dropout drew.

    form: the form of the cell that the subject is held to, if it is not PyTorch's (faults/forms.py).
    """
    if form:
        return right_run(problem.astype(np.longdouble), masks, form), masks or []
    return run_scratch(problem.astype(np.longdouble), masks)


def measure(
    who: str,
    problem: Problem,
    run: Run,
    truth: Run,
    masks: Masks,
    mode: Mode | None = None,
    plain: float | None = None,
) -> Iterator[Row]:
    """How far each tensor of a run is from the truth. plain: how far it may be, unless as far as the dtype promises."""
    differences = compare(run, truth, problem.input.dtype)
    errors = {one.name: one.error for one in differences if not one.what}
    allowed = tolerances(problem, errors, masks, mode and mode.eps, plain)
    own = float(np.finfo(problem.input.dtype).eps) / problem.eps  # ULP of bfloat16, which is held in float32
    for name, error, what, ulps in differences:
        tolerance = 0.0 if what else allowed[name]
        yield Row(who, problem.dtype, name, problem.configuration, error, own * ulps, tolerance, what)


def testify(drawn: Problem) -> Iterator[Row]:
    """What the witnesses that do not need PyTorch say about the truth."""
    exact = drawn.astype(np.longdouble)
    truth, masks = run_scratch(exact)
    for name, witness in WITNESSES.items():
        for tensor, (error, tolerance) in witness(exact, masks, truth).items():
            yield Row(name, "longdouble", tensor, drawn.configuration, error, float("nan"), tolerance)


def raised(who: str, dtype: str, configuration: Configuration, error: Exception) -> Row:
    """The row of a party that has nothing but an error to show."""
    inf = float("inf")
    what = str(error) if isinstance(error, Unfit) else f"raises {error}"
    return Row(who, dtype, EVERYTHING, configuration, inf, inf, 0.0, what)
