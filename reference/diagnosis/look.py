"""The subject on one problem, beside the truth and beside what known faults give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from scratch.types import Array

from ..candidates import Implementation, NotOffered, Raised
from ..equivalence import relative_error
from ..faults import Fault, Machine, Tap, drawn
from ..problems import Configuration
from ..runs import Masks, Run, run_scratch

EXACT = {"float64": 1e-10, "float32": 3e-5}
"""Up to which relative error two runs are the same but for rounding, on the benign problems that are looked at."""


Frozen = frozenset[tuple[str, Tap]]
"""Taps that can be a key."""


Explanation = tuple[Fault, ...]
"""Faults that together explain everything."""


class Look:
    """The subject on one configuration, beside the truth."""

    def __init__(self, subject: Implementation, configuration: Configuration, dtype: str) -> None:
        self.subject, self.c, self.dtype = subject, configuration, np.dtype(dtype)
        self.problem = drawn(configuration).astype(self.dtype)
        self.raised = ""
        self.run: Run = {}
        self.masks: Masks | None = None
        try:
            given, masks = subject.run(self.problem)
            self.run = {name: None if value is None else as_array(value) for name, value in given.items()}
            if masks is not None:  # as they should be scaled
                kept = 1 / (1 - configuration.dropout)
                self.masks = [np.where(mask != 0, kept, 0.0) for mask in masks]
        except Raised as error:
            self.raised = str(error)
        self.truth = truth_of(configuration, dtype) if self.masks is None else self.truth_with(self.masks)
        self.exact = EXACT[dtype]

    def truth_with(self, masks: Masks) -> Run:
        """The right values with the dropout that the subject drew."""
        return run_scratch(self.problem.astype(np.longdouble), masks)[0]

    @cached_property
    def offered(self) -> dict[str, Array]:
        """What the subject gave that can be compared: the numbers, whatever their dtype."""
        found = {name: numbers(self.run.get(name)) for name in self.truth}
        return {
            name: value for name, value in found.items() if value is not None and value.shape == self.truth[name].shape
        }

    @cached_property
    def errors(self) -> dict[str, float]:
        """How far each tensor is from the truth, relatively; infinite for one of another shape, or without numbers."""
        return {
            name: relative_error(self.offered[name], right) if name in self.offered else float("inf")
            for name, right in self.truth.items()
            if self.run.get(name, right) is not None
        }

    @cached_property
    def norms(self) -> dict[str, float]:
        """The size of each tensor that the subject gave in the dtype that is expected."""
        return {
            name: norm(value) for name, value in self.run.items() if value is not None and value.dtype == self.dtype
        }

    @cached_property
    def wrong_in_value(self) -> list[str]:
        """The names of the tensors whose numbers are wrong, or cannot be compared."""
        return [name for name, error in self.errors.items() if not error <= self.exact]

    @cached_property
    def wrong(self) -> list[str]:
        """The names of the tensors that are wrong, in value or in dtype."""
        return [
            name
            for name in self.errors
            if name in self.wrong_in_value or (name in self.run and self.run[name].dtype != self.dtype)
        ]

    @property
    def fails(self) -> bool:
        """Whether there is anything to explain."""
        return bool(self.raised or self.wrong)

    @property
    def forward_wrong(self) -> list[str]:
        """Those of the tensors with wrong values that the forward pass makes."""
        return [name for name in self.wrong_in_value if not name.startswith("d_")]

    @cached_property
    def first_is_right(self) -> bool:
        """Whether the first call is right, and only the second wrong."""
        if self.raised or self.masks is not None:
            return False
        try:
            first = self.subject.first_run(self.problem)
        except (Raised, NotOffered):
            return False
        return all(
            value is None or self.is_right(as_array(value), right)
            for name, right in self.truth.items()
            for value in [first.get(name, None if self.run.get(name, right) is None else np.empty(0))]
        )

    def is_right(self, value: Array, right: Array) -> bool:
        """Whether a tensor is right, in shape, dtype and value."""
        return bool(
            value.shape == right.shape and value.dtype == self.dtype and relative_error(value, right) <= self.exact
        )

    @cached_property
    def first_runs(self) -> tuple[Run, Run] | None:
        """The first runs of two new objects, or None if they cannot be compared."""
        if self.raised or self.masks is not None:
            return None
        if not self.c.initial_state:  # a state of another shape that is left from elsewhere is replaced
            with suppress(Raised, NotOffered):
                self.subject.first_run(drawn(replace(self.c, initial_state=True)).astype(self.dtype))
        try:
            given = [self.subject.first_run(self.problem) for _ in range(2)]
        except (Raised, NotOffered):
            return None
        one, other = ({name: numbers(value) for name, value in run.items() if value is not None} for run in given)
        if one.keys() != other.keys() or not all(
            value is not None and name in self.truth and value.shape == self.truth[name].shape
            for run in (one, other)
            for name, value in run.items()
        ):
            return None
        return one, other

    @np.errstate(all="ignore")
    def fits(self, model: Run | None) -> bool:
        """Whether the subject gave what the model gives, in each tensor that it offers; or raised as the model does.

        A model that gives the truth explains nothing where something is wrong, and two infinities are not equal.
        """
        if model is None or self.raised:
            return model is None and bool(self.raised)
        for name, value in reversed(model.items()):  # the gradients of the parameters tell most models apart
            own = self.run.get(name)
            if own is None:
                if name in self.run:
                    continue  # not offered
                own = np.zeros_like(value)  # the gradient of a parameter that got none
            elif own.shape != value.shape or own.dtype != self.dtype:
                return False
            elif abs(own.flat[0] - value.flat[0]) > 2 * self.exact * self.norms[name]:
                return False  # most models are told apart by a single number
            if not alike(own, value, self.exact):
                return False
        return not (self.wrong_in_value and self.is_true(model))

    def is_true(self, model: Run) -> bool:
        """Whether a model gives the truth, as a fault does that makes no difference on this problem."""
        return all(alike(value, self.truth[name], self.exact) for name, value in model.items())


def as_array(value: Any) -> Array:
    """Whatever the subject gave as an array; one of objects, if it is nothing of the kind."""
    try:
        return np.asarray(value)
    except Exception:  # whatever the subject's object does
        return np.empty((), object)


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
    scale = max(size := norm(one), norm(other), 1e-30)
    return bool(np.isfinite(size) and np.isfinite(scale) and norm(one - other) <= exact * scale)


@lru_cache(maxsize=512)
def truth_of(configuration: Configuration, dtype: str) -> Run:
    """The right values, in longdouble, of the numbers rounded to the dtype."""
    return run_scratch(drawn(configuration).astype(dtype).astype(np.longdouble))[0]


@lru_cache(maxsize=4096)
def model_of(configuration: Configuration, taps: tuple[Frozen, ...], forward_only: bool) -> Run | None:
    """What an implementation with these faults gives; None if it raises an error, as shapes do not fit."""
    return model_with(configuration, taps, None, forward_only)


def model_with(
    configuration: Configuration, taps: tuple[Frozen, ...], masks: Masks | None, forward_only: bool
) -> Run | None:
    """The same with given masks of dropout."""
    forward_taps = tuple(frozenset((place, tap) for place, tap in each if not is_backward(place)) for each in taps)
    try:
        if masks is None:
            forward, machine = after_forward(configuration, forward_taps)
        else:
            forward, machine = run_forward(configuration, forward_taps, masks)
        if forward_only:
            return forward
        machine.taps = [dict(each) for each in taps]
        with np.errstate(all="ignore"):
            return forward | machine.backward()
    except (ValueError, IndexError):  # the shapes do not fit
        return None


def run_forward(configuration: Configuration, taps: tuple[Frozen, ...], masks: Masks | None) -> tuple[Run, Machine]:
    """A machine that has run forward with these taps, and what it computed."""
    machine = Machine(drawn(configuration), [dict(each) for each in taps], masks)
    with np.errstate(all="ignore"):
        return machine.forward(), machine


@lru_cache(maxsize=1024)
def after_forward(configuration: Configuration, taps: tuple[Frozen, ...]) -> tuple[Run, Machine]:
    """The same, kept: many faults of the backward pass have the same forward pass."""
    return run_forward(configuration, taps, None)


def is_backward(place: str) -> bool:
    """Whether a tap is passed on the way back only."""
    return place.startswith("d_") or place in ("carry", "term", "terms", "weights_backward", "backward_run")


def models(look: Look, faults: Explanation, forward_only: bool = False) -> Iterator[Run | None]:
    """What implementations with these faults give, for each way in which the faults are made."""
    seen: set[tuple[Frozen, ...]] = set()
    for variants in every_variant(faults):
        chosen = [fault.variants[variant] for fault, variant in zip(faults, variants, strict=True)]
        frozen: tuple[Frozen, ...] = tuple(
            frozenset(item for item in taps.items() if not (forward_only and is_backward(item[0]))) for taps in chosen
        )
        if frozen not in seen:
            seen.add(frozen)
            if look.masks is None:
                yield model_of(look.c, frozen, forward_only)
            else:
                yield model_with(look.c, frozen, look.masks, forward_only)


def every_variant(faults: Explanation) -> Iterator[tuple[int, ...]]:
    """Every choice of one variant for each fault."""
    yield from (tuple(map(int, choice)) for choice in np.ndindex(*(len(fault.variants) for fault in faults)))


def fitting(look: Look, faults: Explanation) -> bool:
    """Whether these faults together give what the subject gave."""
    return any(look.fits(model) for model in models(look, faults))


def fitting_forward(look: Look, faults: Explanation) -> bool:
    """Whether they give what the subject's forward pass gave."""
    return any(look.fits(model) for model in models(look, faults, forward_only=True))


def fitting_both(look: Look, explanation: Explanation, other: Fault) -> bool:
    """Whether an explanation of the forward pass gives, with another fault in its usual form, what the subject gave."""
    second = frozenset(other.variants[0].items())
    return any(
        model is not None and look.fits(model)
        for variants in every_variant(explanation)
        for firsts in [[fault.variants[variant] for fault, variant in zip(explanation, variants, strict=True)]]
        for model in [model_with(look.c, (*(frozenset(first.items()) for first in firsts), second), look.masks, False)]
    )


def take(subject: Implementation, configuration: Configuration, dtype: str) -> Look | None:
    """The subject on the configuration, without what it does not offer; None if that is not possible."""
    for _ in range(4):
        try:
            return Look(subject, configuration, dtype)
        except NotOffered as missing:
            options: dict[str, dict[str, Any]] = {
                "initial state": {"initial_state": False},
                "upstream gradient of the final state": {"upstream": ("output",)},
                "bias": {"bias": True},
            }
            without = options.get(str(missing.args[0]))
            if without is None:
                return None
            changed = replace(configuration, **without)
            if changed == configuration:
                return None
            configuration = changed
    return None


def has_gates(name: str) -> bool:
    """Whether a tensor has a block of rows for each gate."""
    return name.startswith(("d_weight_ih", "d_weight_hh", "d_bias"))


def by_step(c: Configuration, value: Array) -> Array:
    """A sequence with time as its first axis: (T, B, features)."""
    if c.layout == "unbatched":
        return value[:, None]
    return value.swapaxes(0, 1) if c.batch_first and c.layout == "batched" else value
