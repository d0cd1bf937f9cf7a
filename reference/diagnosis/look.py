"""The subject on one problem, beside the truth and beside what known faults give."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from scratch.types import Array

from ..candidates import Implementation, NotOffered, Raised, Unfit
from ..equivalence import relative_error
from ..faults import Fault, Setting, by_step, cell_of, right_run, setting_of
from ..problems import Configuration
from ..runs import Run

EXACT = {"float64": 1e-10, "float32": 3e-5}
"""Up to which relative error two runs are the same but for rounding, on the benign problems that are looked at."""

Explanation = tuple[Fault, ...]
"""Faults that together explain everything."""


class Look:
    """The subject on one configuration, beside the truth: the first of its two calls, or if that is right the second.

    Raises NotOffered if the subject does not have what the configuration needs.
    """

    def __init__(self, subject: Implementation, configuration: Configuration, dtype: str) -> None:
        self.subject, self.c, self.dtype = subject, configuration, np.dtype(dtype)
        self.form = subject.cell_form
        self.setting = setting_of(configuration, self.form)
        self.problem = self.setting.problem.astype(self.dtype)
        self.raised, self.exact = "", EXACT[dtype]
        self.run: Run = {}
        try:
            given, masks = subject.run(self.problem)
        except Raised as error:
            self.raised, masks = str(error), None
            if not isinstance(error, Unfit):
                self.raised = f"it raises an error: {error}"
        else:
            self.run = as_arrays(given)
        self.drops = masks is not None
        if masks is not None:  # as they should be scaled
            scaled = [np.where(mask != 0, 1 / (1 - configuration.dropout), 0.0) for mask in masks]
            self.setting = Setting(self.setting.problem, scaled, self.form)
            self.truth = right_run(self.problem.astype(np.longdouble), scaled, self.form)
        else:
            self.truth = truth_of(configuration, dtype, self.form)
        if self.wrong and not self.first_is_right and self.first_run:
            self.run = self.first_run  # what is wrong there is not mixed with what it leaves for the second
            for name in ("offered", "errors", "wrong_in_value", "wrong"):
                self.__dict__.pop(name, None)

    @cached_property
    def first_run(self) -> Run:
        """What a new object's first call gives; nothing if that cannot be compared."""
        if self.raised or self.drops:
            return {}
        try:
            return as_arrays(self.subject.first_run(self.problem))
        except (Raised, NotOffered):
            return {}

    @cached_property
    def first_is_right(self) -> bool:
        """Whether the first call is right, and only the second wrong."""
        first = self.first_run
        return bool(first) and all(
            value is None or self.is_right(value, right)
            for name, right in self.truth.items()
            for value in [first.get(name, None if self.run.get(name, right) is None else np.empty(0))]
        )

    def is_right(self, value: Array, right: Array) -> bool:
        """Whether a tensor is right, in shape, dtype and value."""
        same = value.shape == right.shape and value.dtype == self.dtype
        return same and relative_error(value, right) <= self.exact

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
    def fails(self) -> bool:
        """Whether there is anything to explain."""
        return bool(self.raised or self.wrong)

    @property
    def forward_wrong(self) -> list[str]:
        """Those of the tensors with wrong values that the forward pass makes."""
        return [name for name in self.wrong_in_value if not name.startswith("d_")]

    @np.errstate(all="ignore")
    def fits(self, model: Run) -> bool:
        """Whether the subject gave what the model gives, in each tensor that it offers.

        A model that gives the truth explains nothing where something is wrong.
        """
        if self.raised:
            return False
        for name, value in reversed(model.items()):  # the gradients of the parameters tell most models apart
            own = self.run.get(name)
            if own is None:
                if name in self.run:
                    continue  # not offered
                if not name.startswith("d_"):
                    return False
                own = np.zeros_like(value)  # the gradient of a parameter that got none
            elif own.shape != value.shape or own.dtype != self.dtype:
                return False
            if not alike(own, value, self.exact):
                return False
        return not (self.wrong_in_value and all(alike(v, self.truth[n], self.exact) for n, v in model.items()))

    def explains(self, *faults: Fault, forward_only: bool = False) -> bool:
        """Whether these faults together give what the subject gave."""
        return any(map(self.fits, self.setting.runs(faults, forward_only)))


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
    scale = max(size := norm(one), norm(other), 1e-30)
    return bool(np.isfinite(size) and np.isfinite(scale) and norm(one - other) <= exact * scale)


@lru_cache(maxsize=512)
def truth_of(configuration: Configuration, dtype: str, form: str) -> Run:
    """The right values, in longdouble, of the numbers rounded to the dtype."""
    problem = setting_of(configuration, form).problem.astype(dtype).astype(np.longdouble)
    return right_run(problem, form=form)


def take(subject: Implementation, configuration: Configuration, dtype: str) -> Look | None:
    """The subject on the configuration, without what it does not offer; None if that is not possible."""
    options: dict[str, dict[str, Any]] = {
        "initial state": {"initial_state": False},
        "upstream gradient of the final state": {"upstream": ("output",)},
        "bias": {"bias": True},
    }
    for _ in range(len(options) + 1):
        try:
            return Look(subject, configuration, dtype)
        except NotOffered as missing:
            changed = replace(configuration, **options.get(str(missing.args[0]), {}))
            if changed == configuration:
                return None
            configuration = changed
    return None


def has_gates(name: str) -> bool:
    """Whether a tensor has a block of rows for each gate."""
    return name.startswith(("d_weight_ih", "d_weight_hh", "d_bias"))


def pieces(c: Configuration, name: str, value: Array) -> dict[str, Array]:
    """A tensor in pieces: a sequence by steps, the gradient of weights by gates; any other is a single piece."""
    gates = cell_of(c).gates
    if name in ("d_input", "output"):
        return {str(t): step for t, step in enumerate(by_step(c, value))}
    return dict(zip(gates, value.reshape(len(gates), -1), strict=True)) if has_gates(name) else {"": value}
