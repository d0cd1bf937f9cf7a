"""The subject on one problem, beside the truth and beside what known faults give."""

from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from scratch.types import Array

from ..candidates import FunctionsCandidate, Implementation, NotOffered, Raised, Unfit
from ..candidates.base import halved
from ..equivalence import relative_error
from ..faults import Fault, Setting, by_step, cell_of, right_run, setting_of
from ..problems import Configuration, Problem
from ..runs import Run

EXACT = {"float64": 1e-10, "float32": 3e-5}
"""Up to which relative error two runs are the same but for rounding, on the benign problems that are looked at."""


class Look:
    """The subject on one configuration, beside the truth: the first of two calls, or what only a later one shows.

    Raises NotOffered if the subject does not have what the configuration needs.
    """

    def __init__(self, subject: Implementation, configuration: Configuration, dtype: str) -> None:
        self.subject, self.c, self.dtype, self.form = subject, configuration, np.dtype(dtype), subject.cell_form
        self.setting, self.exact = setting_of(configuration, self.form), EXACT[dtype]
        self.problem = self.setting.problem.astype(self.dtype)
        self.raised, run, masks = "", Run(), None
        self.first_is_right, self.outlives = False, ""
        self.differing: list[str] = []
        """The tensors in which two new objects or calls differ: something is kept outside of what `outlives` says."""
        try:
            run, masks = subject.run(self.problem)
        except Raised as error:
            self.raised = str(error) if isinstance(error, Unfit) else f"it raises an error: {error}"
        self.drops = masks is not None
        self.truth = truth_of(configuration, dtype, self.form)
        if masks is not None:  # as they should be scaled
            masks = [np.where(mask != 0, 1 / (1 - configuration.dropout), 0.0) for mask in masks]
            self.setting = Setting(self.setting.problem, masks, self.form)
            self.truth = right_run(self.problem.astype(np.longdouble), masks, self.form)
        self.judge(run)
        if self.wrong and not self.raised and not self.drops:
            with suppress(Raised, NotOffered):  # a state of another shape that is left from elsewhere is replaced
                other = replace(configuration, initial_state=True, seed=configuration.seed + 1)
                subject.first_run(setting_of(other).problem.astype(dtype))
            with suppress(Raised, NotOffered):
                self.compare_calls(subject.first_run(self.problem), subject.first_run(self.problem))

    def judge(self, run: Run) -> None:
        """Compare a run with the truth: the numbers, whatever their dtype, and the dtypes."""
        self.run: Run = {name: None if value is None else np.asarray(value) for name, value in run.items()}
        found = {name: numbers(self.run.get(name)) for name in self.truth}
        self.offered = {name: v for name, v in found.items() if v is not None and v.shape == self.truth[name].shape}
        self.errors = {
            name: relative_error(self.offered[name], right) if name in self.offered else float("inf")
            for name, right in self.truth.items()
            if self.run.get(name, right) is not None
        }
        self.wrong_in_value = [name for name, error in self.errors.items() if not error <= self.exact]
        self.forward_wrong = [name for name in self.wrong_in_value if not name.startswith("d_")]
        dtypes = {name: value.dtype for name, value in self.run.items() if value is not None}
        right = [n for n in self.errors if n not in self.wrong_in_value and dtypes.get(n, self.dtype) == self.dtype]
        self.wrong = [name for name in self.errors if name not in right]

    def compare_calls(self, one: Run, other: Run) -> None:
        """See whether what is wrong is left over from another call, by what two new objects give at their first."""
        second = self.run
        self.judge(one)
        self.first_is_right = not self.wrong
        for name, value in self.run.items():
            u, v = numbers(value), numbers(np.asarray(other.get(name)))
            if u is not None and v is not None and u.shape == v.shape and np.isfinite([u, v]).all():
                self.differing += [name] * (not relative_error(v, u) <= self.exact)
        if self.differing:
            self.outlives = "object (a class attribute, a mutable default argument)"
            if isinstance(self.subject, FunctionsCandidate):
                self.outlives = "call (a mutable default argument, a global variable)"
        if self.differing or self.first_is_right:
            before = self.run if self.differing else self.subject.first_run(halved(self.problem))
            self.setting = Setting(self.setting.problem, None, self.form, before)
            self.judge(other if self.differing else second)

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
        ahead = any(fault.forward for fault in faults)
        if self.raised or (ahead and not forward_only and not self.explains(*faults, forward_only=True)):
            return False
        exact = not forward_only and ahead and all(fault.forward for fault in faults)
        return any(map(self.fits, self.setting.runs(faults, forward_only))) or (exact and self.is_consistent is True)

    @cached_property
    def is_consistent(self) -> bool | None:
        """Whether the gradients are those of the subject's own forward pass, by central differences.

        None where these cannot tell: numbers are drawn or left over, or two step sizes give two slopes, as where the
        forward pass is rougher than its dtype.
        """
        if self.drops or self.outlives or self.first_is_right:
            return None
        eps, rng = float(np.finfo(self.dtype).eps), np.random.default_rng(0)
        consistent = True
        for name, value in self.problem.leaves.items():
            if (own := self.offered.get(f"d_{name}")) is not None:
                way = rng.standard_normal(value.shape).astype(self.dtype)
                allowed = eps**0.4 * np.linalg.norm(own) * np.linalg.norm(way)
                try:
                    one, other = (self.slope(value, way, scale * eps ** (1 / 3)) for scale in (1, 4))
                except (NotOffered, Raised, LookupError, TypeError, ValueError):
                    return None
                if not abs(one - other) <= 20 * allowed:
                    return None
                consistent &= bool(abs(one - (own * way).sum()) <= allowed)
        return consistent

    def slope(self, at: Array, way: Array, step: float) -> float:
        """How the loss of the subject's own forward pass changes as one of the problem's arrays goes this way."""
        up, down = (self.subject.first_run(nudged(self.problem, at, sign * step * way)) for sign in (1, -1))
        return float(sum((d * (up[n] - down[n])).sum() for n, d in self.problem.upstream.items()) / (2 * step))


def nudged(problem: Problem, at: Array, step: Array) -> Problem:
    """The problem with one of its arrays moved."""
    return problem.map(lambda value: value + step if value is at else value)


def numbers(value: Any) -> Array | None:
    """The real numbers that an array holds, in whatever dtype, or None if it holds something else."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiubc" or value.imag.any():
        return None
    return value.real if value.dtype.kind in "fc" else value.astype(float)


def alike(one: Array, other: Array, exact: float) -> bool:
    """Whether two tensors are equal but for rounding. None that is infinite, or not a number, is."""
    if one.shape == other.shape and one.size and abs(one.flat[0] - other.flat[0]) > 1e-3 * (1 + abs(one.flat[0])):
        return False  # most are told apart by a single number
    return one.shape == other.shape and relative_error(one, other) <= exact


@lru_cache(maxsize=512)
def truth_of(configuration: Configuration, dtype: str, form: str) -> Run:
    """The right values, in longdouble, of the numbers rounded to the dtype."""
    return right_run(setting_of(configuration, form).problem.astype(dtype).astype(np.longdouble), form=form)


def take(subject: Implementation, configuration: Configuration, dtype: str) -> Look | None:
    """The subject on the configuration, without what it does not offer; None if that is not possible."""
    without: dict[str, dict[str, Any]] = {
        "initial state": {"initial_state": False},
        "upstream gradient of the final state": {"upstream": ("output",)},
        "upstream gradient of the output": {"upstream": ("h_n", "c_n")},
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
