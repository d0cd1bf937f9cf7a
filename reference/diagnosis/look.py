"""The subject on one problem, beside the truth and beside what known faults give."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from scratch.types import Array

from ..candidates import FunctionsCandidate, Implementation, NotOffered, Raised, Unfit
from ..equivalence import relative_error
from ..faults import Fault, Setting, by_step, cell_of, right_run, setting_of
from ..problems import Configuration
from ..runs import Run

EXACT = {"float64": 1e-10, "float32": 3e-5}
"""Up to which relative error two runs are the same but for rounding, on the benign problems that are looked at."""


class Look:
    """The subject on one configuration, beside the truth: the first of two calls, or what only a later one shows.

    Raises NotOffered if the subject does not have what the configuration needs.
    """

    def __init__(self, subject: Implementation, configuration: Configuration, dtype: str) -> None:
        self.subject, self.c, self.dtype, self.form = subject, configuration, np.dtype(dtype), subject.cell_form
        self.setting = setting_of(configuration, self.form)
        self.problem = self.setting.problem.astype(self.dtype)
        self.raised, self.run, self.exact, masks = "", {}, EXACT[dtype], None
        self.outlives = ""
        """Outside of what something is kept, if two new objects or calls give different numbers."""
        self.differing: list[str] = []
        """The names of the tensors in which they do."""
        self.first_is_right = False
        try:
            run, masks = subject.run(self.problem)
            self.run = as_arrays(run)
        except Raised as error:
            self.raised = str(error) if isinstance(error, Unfit) else f"it raises an error: {error}"
        self.drops = masks is not None
        if masks is not None:  # as they should be scaled
            masks = [np.where(mask != 0, 1 / (1 - configuration.dropout), 0.0) for mask in masks]
            self.setting = Setting(self.setting.problem, masks, self.form)
            self.truth = right_run(self.problem.astype(np.longdouble), masks, self.form)
            return
        self.truth = truth_of(configuration, dtype, self.form)
        if self.wrong and not self.raised:
            with suppress(Raised, NotOffered):  # a state of another shape that is left from elsewhere is replaced
                subject.first_run(setting_of(replace(configuration, initial_state=True)).problem.astype(dtype))
            with suppress(Raised, NotOffered):
                self.judge_calls(*(as_arrays(subject.first_run(self.problem)) for _ in range(2)))

    def judge_calls(self, one: Run, other: Run) -> None:
        """See whether what is wrong is left over from another call, by what two new objects give at their first."""
        second = self.changed_to(one)
        self.first_is_right = not self.wrong and bool(one)
        for name in one:
            u, v = numbers(one[name]), numbers(other.get(name))
            if u is not None and v is not None and u.shape == v.shape and np.isfinite([u, v]).all():
                self.differing += [name] * (not relative_error(v, u) <= self.exact)
        if self.differing:
            self.outlives = "object (a class attribute, a mutable default argument)"
            if isinstance(self.subject, FunctionsCandidate):
                self.outlives = "call (a mutable default argument, a global variable)"
            self.changed_to(other)
        elif self.first_is_right:
            self.changed_to(second)
        if self.outlives or self.first_is_right:
            self.setting = Setting(self.setting.problem, None, self.form, one)

    def changed_to(self, run: Run) -> Run:
        """Look at another run from now on. Returns the one before."""
        before, self.run = self.run, run
        for name in ("offered", "errors", "wrong_in_value", "wrong"):
            self.__dict__.pop(name, None)
        return before

    @cached_property
    def offered(self) -> dict[str, Array]:
        """What the subject gave that can be compared: the numbers, whatever their dtype."""
        found = {name: numbers(self.run.get(name)) for name in self.truth}
        return {name: v for name, v in found.items() if v is not None and v.shape == self.truth[name].shape}

    @cached_property
    def errors(self) -> dict[str, float]:
        """How far each tensor is from the truth, relatively; infinite for one of another shape, or without numbers."""
        return {
            name: relative_error(self.offered[name], right) if name in self.offered else float("inf")
            for name, right in self.truth.items()
            if self.run.get(name, right) is not None
        }

    @cached_property
    def wrong_in_value(self) -> list[str]:
        """The names of the tensors whose numbers are wrong, or cannot be compared."""
        return [name for name, error in self.errors.items() if not error <= self.exact]

    @cached_property
    def wrong(self) -> list[str]:
        """The names of the tensors that are wrong, in value or in dtype."""
        value = self.wrong_in_value
        return [n for n in self.errors if n in value or (n in self.run and self.run[n].dtype != self.dtype)]

    @property
    def forward_wrong(self) -> list[str]:
        """Those of the tensors with wrong values that the forward pass makes."""
        return [name for name in self.wrong_in_value if not name.startswith("d_")]

    @np.errstate(all="ignore")
    def fits(self, model: Run) -> bool:
        """Whether the subject gave what the model gives, in each tensor that it offers.

        A model that gives the truth explains nothing where something is wrong.
        """
        for name, value in reversed(model.items()):  # the gradients of the parameters tell most models apart
            own = self.run.get(name)
            if own is None:
                if name in self.run:
                    continue  # not offered
                if not name.startswith("d_"):
                    return False
                own = np.zeros(value.shape, self.dtype)  # the gradient of a parameter that got none
            if own.dtype != self.dtype or not alike(own, value, self.exact):
                return False
        return not (self.wrong_in_value and all(alike(v, self.truth[n], self.exact) for n, v in model.items()))

    def explains(self, *faults: Fault, forward_only: bool = False) -> bool:
        """Whether these faults together give what the subject gave, with a way back of the page or the exact one."""
        if self.raised:
            return False
        if any(map(self.fits, self.setting.runs(faults, forward_only))):
            return True
        exact = not forward_only and faults and all(fault.forward and not fault.leftover for fault in faults)
        return bool(exact) and self.explains(*faults, forward_only=True) and self.follows(faults)

    @np.errstate(all="ignore")
    def follows(self, faults: tuple[Fault, ...]) -> bool:
        """Whether the gradients are those of a forward pass with these faults."""
        rng, leaves = np.random.default_rng(0), self.problem.leaves
        directions = {n: rng.standard_normal(v.shape) for n, v in leaves.items() if f"d_{n}" in self.offered}
        slopes = self.setting.slopes(faults, directions)
        sizes = {name: norm(self.offered[f"d_{name}"]) * norm(direction) for name, direction in directions.items()}
        return bool(slopes) and all(
            abs((self.offered[f"d_{name}"] * directions[name]).sum() - slope) <= self.exact * max(sizes[name], 1e-30)
            for name, slope in slopes.items()
        )


def as_arrays(given: Run) -> Run:
    """Whatever the subject gave as arrays; one of objects, if it is nothing of the kind."""
    found: Run = {}
    for name, value in given.items():
        try:
            found[name] = None if value is None else np.asarray(value)
        except Exception:  # whatever the subject's object does
            found[name] = np.empty((), object)
    return found


def numbers(value: Any) -> Array | None:
    """The real numbers that an array holds, in whatever dtype, or None if it holds something else."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiubc":
        return None
    if value.dtype.kind == "c":
        return None if value.imag.any() else value.real
    return value if value.dtype.kind == "f" else value.astype(float)


@np.errstate(all="ignore")
def norm(value: Array) -> float:
    """The size of a tensor; infinite if its square is beyond all numbers."""
    return float(np.linalg.norm(value))


@np.errstate(all="ignore")
def alike(one: Array, other: Array, exact: float) -> bool:
    """Whether two tensors are equal but for rounding. None that is infinite, or not a number, is."""
    if one.shape != other.shape:
        return False
    if one.size and abs(one.flat[0] - other.flat[0]) > 2 * exact * max(norm(one), norm(other)):
        return False  # most are told apart by a single number
    size, scale = norm(one), max(norm(one), norm(other), 1e-30)
    return bool(np.isfinite(size) and np.isfinite(scale) and norm(one - other) <= exact * scale)


@lru_cache(maxsize=512)
def truth_of(configuration: Configuration, dtype: str, form: str) -> Run:
    """The right values, in longdouble, of the numbers rounded to the dtype."""
    return right_run(setting_of(configuration, form).problem.astype(dtype).astype(np.longdouble), form=form)


def take(subject: Implementation, configuration: Configuration, dtype: str) -> Look | None:
    """The subject on the configuration, without what it does not offer; None if that is not possible."""
    without: dict[str, dict[str, Any]] = {
        "initial state": {"initial_state": False},
        "upstream gradient of the final state": {"upstream": ("output",)},
        "bias": {"bias": True},
    }
    try:
        return Look(subject, configuration, dtype)
    except NotOffered as missing:
        changed = replace(configuration, **without.get(str(missing.args[0]), {}))
        return take(subject, changed, dtype) if changed != configuration else None


def pieces(c: Configuration, name: str, value: Array) -> dict[str, Array]:
    """A tensor in pieces: a sequence by steps, the gradient of weights by gates; any other is a single piece."""
    gates = cell_of(c).gates
    if name in ("d_input", "output"):
        return {str(t): step for t, step in enumerate(by_step(c, value))}
    if name.startswith(("d_weight_ih", "d_weight_hh", "d_bias")):
        return dict(zip(gates, value.reshape(len(gates), -1), strict=True))
    return {"": value}
