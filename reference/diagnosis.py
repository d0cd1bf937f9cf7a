"""What is wrong with an implementation that fails, told as a teacher would tell it.

Two things are told. **Patterns**: known faults (faults.py), found not by their symptoms but by computing what an
implementation with the fault gives; where that is equal to rounding to what the subject gave, in every tensor, there is
no doubt. If no single fault fits, two together are tried. **Observations**: what can be read off the tensors whatever
the pattern is: which are wrong, from which step on, in which gates, layers and directions.

Both are looked for at the simplest kind of problem at which the subject still fails, made rich enough that faults can
be told apart: several sequences, several steps, more features than one, everything random.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from scratch.types import Array

from .candidates import Implementation, NotOffered, Raised
from .conditioning import tolerances
from .equivalence import relative_error
from .faults import Fault, Machine, Tap, catalogue, cell_of, drawn, listed
from .problems import Configuration
from .runs import Masks, Run, run_scratch

EXACT = {"float64": 1e-10, "float32": 3e-5}
"""Up to which relative error two runs are the same but for rounding, on the benign problems that are looked at."""

MOST = 12
"""How many faults that show somewhere alone are tried together with every other."""

Frozen = frozenset[tuple[str, Tap]]
"""Taps that can be a key."""

Explanation = tuple[Fault, ...]
"""Faults that together explain everything."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about a failure."""

    configuration: Configuration
    """Where it was looked at."""
    explanations: tuple[Explanation, ...]
    """Known faults that give exactly what the subject gave. Several if they cannot be told apart."""
    observations: tuple[str, ...]
    """What the tensors show, in sentences."""

    @property
    def patterns(self) -> tuple[Fault, ...]:
        """The known faults that were found."""
        return tuple(dict.fromkeys(fault for explanation in self.explanations for fault in explanation))

    def __str__(self) -> str:
        lines = []
        if len(self.explanations) == 1:
            (explanation,) = self.explanations
            if len(explanation) > 1:
                lines.append("Two known faults together give exactly these numbers:")
                lines += [f"  {number}. {fault.explanation}" for number, fault in enumerate(explanation, 1)]
            else:
                lines.append(explanation[0].explanation)
        elif self.explanations:
            lines.append("These faults give exactly these numbers, and cannot be told apart here:")
            lines += [f"  - {' '.join(fault.explanation for fault in each)}" for each in self.explanations]
        elif any(told.startswith("Wrong: ") for told in self.observations):
            lines.append("No known fault gives these numbers. What they show:")
        return "\n".join([*lines, *self.observations])


class Look:
    """The subject on one configuration, beside the truth."""

    def __init__(self, subject: Implementation, configuration: Configuration, dtype: str) -> None:
        self.subject, self.c, self.dtype = subject, configuration, np.dtype(dtype)
        self.problem = drawn(configuration).astype(self.dtype)
        self.raised = ""
        self.run: Run = {}
        self.masks: Masks | None = None
        try:
            self.run, masks = subject.run(self.problem)
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
        """What the subject gave that can be compared."""
        return {
            name: value
            for name, value in self.run.items()
            if value is not None and name in self.truth and value.shape == self.truth[name].shape
        }

    @cached_property
    def errors(self) -> dict[str, float]:
        """How far each tensor is from the truth, relatively; infinite for one of another shape."""
        return {
            name: relative_error(self.offered[name], right) if name in self.offered else float("inf")
            for name, right in self.truth.items()
            if self.run.get(name, right) is not None
        }

    @cached_property
    def norms(self) -> dict[str, float]:
        """The size of each tensor that the subject gave."""
        return {name: float(np.linalg.norm(value)) for name, value in self.run.items() if value is not None}

    @cached_property
    def wrong(self) -> list[str]:
        """The names of the tensors that are wrong."""
        return [
            name
            for name, error in self.errors.items()
            if not error <= self.exact or (name in self.run and self.run[name].dtype != self.dtype)
        ]

    @property
    def fails(self) -> bool:
        """Whether there is anything to explain."""
        return bool(self.raised or self.wrong)

    @property
    def forward_wrong(self) -> list[str]:
        """Those of the wrong tensors that the forward pass makes."""
        return [name for name in self.wrong if not name.startswith("d_")]

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
            value is None or (value.shape == right.shape and relative_error(value, right) <= self.exact)
            for name, right in self.truth.items()
            for value in [first.get(name, None if self.run.get(name, right) is None else np.empty(0))]
        )

    def fits(self, model: Run | None) -> bool:
        """Whether the subject gave what the model gives, in each tensor that it offers; or raised as the model does."""
        if model is None or self.raised:
            return model is None and bool(self.raised)
        for name, value in reversed(model.items()):  # the gradients of the parameters tell most models apart
            own = self.run.get(name)
            if own is None:
                if name in self.run:
                    continue  # not offered
                own = np.zeros_like(value)  # the gradient of a parameter that got none
            elif own.shape == value.shape and abs(own.flat[0] - value.flat[0]) > 2 * self.exact * self.norms[name]:
                return False  # most models are told apart by a single number
            if own.shape != value.shape:
                return False
            scale = max(float(np.linalg.norm(value)), float(np.linalg.norm(own)), 1e-30)
            if not np.linalg.norm(own - value) <= self.exact * scale:
                return False
        return True


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


# --- Patterns --------------------------------------------------------------------------------------------------------


def explain(look: Look) -> list[Explanation]:
    """The known faults, each alone or two together, that give what the subject gave."""
    known = [fault for fault in catalogue(look.c) if fault.leftover == look.first_is_right]
    if look.forward_wrong:
        return explain_forward(look, [fault for fault in known if fault.forward], known)
    backward = [fault for fault in known if not fault.forward]
    alone: list[Explanation] = [(fault,) for fault in backward if fitting(look, (fault,))]
    return alone or explain_by_two(look, backward)


def explain_forward(look: Look, forward: list[Fault], known: list[Fault]) -> list[Explanation]:
    """Faults of the forward pass. If that is equal, there is no doubt, whatever the backward pass makes of it; if the
    backward pass is not equal as well, perhaps it has a fault of its own.
    """
    found: list[Explanation] = [(fault,) for fault in forward if fitting_forward(look, (fault,))]
    if not found:
        pairs = [pair for pair in forward_pairs(look, forward) if fitting_forward(look, pair)]
        return [pair for pair in pairs if fitting(look, pair)] or pairs
    whole = [explanation for explanation in found if fitting(look, explanation)]
    if whole or len(look.wrong) == len(look.forward_wrong):
        return whole or found
    with_another = [
        (*explanation, fault)
        for explanation in found
        for fault in known
        if not fault.forward and fault.common and fault.variants and fitting_both(look, explanation, fault)
    ]
    return with_another or found


def forward_pairs(look: Look, forward: list[Fault]) -> list[Explanation]:
    """Pairs of faults of the forward pass that are not excluded by a short problem."""
    if look.masks is not None or look.raised:
        return []
    most = 1 if look.c.initial_state else 2
    short = replace(look.c, lengths=tuple(min(length, most) for length in look.c.lengths))
    there = take(look.subject, short, str(look.dtype))
    if there is None or there.raised:
        return []
    return [pair for pair, run in pair_models(short, tuple(forward)) if run is not None and there.fits(run)]


@lru_cache(maxsize=16)
def pair_models(configuration: Configuration, forward: tuple[Fault, ...]) -> list[tuple[Explanation, Run | None]]:
    """What every two faults of the forward pass give together."""
    pairs = [(a, b) for a, b in combinations(forward, 2) if a.common or b.common]
    return [
        (pair, model_with(configuration, tuple(frozenset(fault.variants[0].items()) for fault in pair), None, True))
        for pair in pairs
        if all(fault.variants for fault in pair)
    ]


def explain_by_two(look: Look, backward: list[Fault]) -> list[Explanation]:
    """Two faults of the backward pass that together give what the subject gave.

    One of them must show somewhere alone, in a gate, at a step or in a tensor: only such are tried with every other.
    """
    if look.masks is not None:
        return []
    shows = {name for there in (look, single_step(look)) if there is not None for name in visible(there)}
    known = {fault.name: fault for fault in backward}
    candidates = [known[name] for name in shows if name in known][:MOST]
    found: dict[frozenset[str], Explanation] = {}
    for one in candidates:
        for other in backward:
            key = frozenset((one.name, other.name))
            if one is other or not other.common or key in found:
                continue
            for variants in every_variant((one, other)):
                taps = [fault.variants[variant] for fault, variant in zip((one, other), variants, strict=True)]
                model = model_with(look.c, tuple(frozenset(each.items()) for each in taps), None, False)
                if model is not None and look.fits(model):
                    found[key] = (one, other)
                    break
    return list(found.values())


def visible(look: Look) -> list[str]:
    """The names of the faults of the backward pass that alone give some wrong piece exactly as the subject has it."""
    if look.raised or look.forward_wrong:
        return []
    right = pieces(look.c, look.truth)
    own = {name: piece for name, piece in pieces(look.c, look.offered).items() if not close(look, piece, right[name])}
    return [
        fault.name
        for fault in catalogue(look.c)
        if not fault.forward
        and fault.leftover == look.first_is_right
        and any(
            close(look, piece, theirs[name])
            for model in models(look, (fault,))
            if model is not None
            for theirs in [pieces(look.c, model)]
            for name, piece in own.items()
            if name in theirs
        )
    ]


def single_step(look: Look) -> Look | None:
    """The subject on the same kind of problem with a single step, where nothing is carried yet."""
    if max(look.c.lengths, default=1) == 1:
        return None
    there = take(look.subject, replace(look.c, lengths=(1,) * len(look.c.lengths)), str(look.dtype))
    return there if there is not None and not there.raised else None


def close(look: Look, one: Array, other: Array) -> bool:
    """Whether two pieces are equal but for rounding."""
    scale = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    return one.shape == other.shape and bool(np.linalg.norm(one - other) <= look.exact * scale)


def pieces(c: Configuration, run: Run) -> dict[str, Array]:
    """The gradients in pieces: d_input by steps, those of the weights by gates."""
    found: dict[str, Array] = {}
    gates = cell_of(c).gates
    for name, value in run.items():
        if name == "d_input":
            found |= {f"{name}[{t}]": step for t, step in enumerate(by_step(c, value))}
        elif has_gates(name):
            blocks = value.reshape(len(gates), -1)
            found |= {f"{name}[{gate}]": block for gate, block in zip(gates, blocks, strict=True)}
        elif name.startswith("d_"):
            found[name] = value
    return found


def has_gates(name: str) -> bool:
    """Whether a tensor has a block of rows for each gate."""
    return name.startswith(("d_weight_ih", "d_weight_hh", "d_bias"))


def by_step(c: Configuration, value: Array) -> Array:
    """A sequence with time as its first axis: (T, B, features)."""
    if c.layout == "unbatched":
        return value[:, None]
    return value.swapaxes(0, 1) if c.batch_first and c.layout == "batched" else value


# --- Where to look ---------------------------------------------------------------------------------------------------


class Option(NamedTuple):
    """Something that a configuration has and the plainest does not."""

    name: str
    changes: dict[str, Any]


def options_of(c: Configuration) -> list[Option]:
    """What the configuration has besides the plainest."""
    lengths = (5, 3, 4) if len(set(c.lengths)) > 1 or c.layout == "packed" else (5, 5, 5)
    given: list[tuple[Any, Option]] = [
        (c.num_layers > 1, Option("several layers", {"num_layers": max(3, c.num_layers)})),
        (c.bidirectional, Option("two directions", {"bidirectional": True})),
        (c.proj_size, Option("a projection", {"proj_size": 2})),
        (not c.bias, Option("no bias", {"bias": False})),
        (c.batch_first and c.layout == "batched", Option("batch_first", {"batch_first": True})),
        (c.layout == "packed", Option("packed input", {"layout": "packed", "lengths": lengths})),
        (
            c.layout == "unbatched",
            Option("a single sequence without a batch", {"layout": "unbatched", "lengths": (5,)}),
        ),
        (not c.initial_state, Option("the initial state left out", {"initial_state": False})),
        (
            "output" not in c.upstream,
            Option("no gradient of the output", {"upstream": tuple(f"{p}_n" for p in c.parts)}),
        ),
        (
            not {f"{part}_n" for part in c.parts} & set(c.upstream),
            Option("no gradient of the final state", {"upstream": ("output",)}),
        ),
        (
            c.dropout and c.num_layers > 1,
            Option(
                "dropout" if c.training else "dropout in eval()",
                {"num_layers": max(3, c.num_layers), "dropout": c.dropout, "training": c.training},
            ),
        ),
        (c.weight_scale > 1, Option("large weights", {"weight_scale": c.weight_scale})),
        (c.bias_shift, Option("gates shut by their biases", {"bias_shift": c.bias_shift})),
        (c.lengths and max(c.lengths) == 1, Option("a single step", {"lengths": (1,) * len(c.lengths)})),
        (c.lengths and len(c.lengths) == 1 and c.layout == "batched", Option("a batch of one", {"lengths": (5,)})),
        (c.hidden_size == 1, Option("hidden_size 1", {"hidden_size": 1, "input_size": 1})),
        (c.input_size == 1, Option("input_size 1", {"input_size": 1})),
    ]
    return [option for is_given, option in given if is_given]


def plainest(c: Configuration) -> Configuration:
    """A problem without options, in which most faults can be told apart."""
    return Configuration(c.cell, input_size=4, hidden_size=4, lengths=(5, 5, 5))


def with_options(c: Configuration, options: Iterable[Option]) -> Configuration:
    """The plainest problem with these options, and as many input features as each layer puts out."""
    changes: dict[str, Any] = {}
    for option in options:
        changes |= option.changes
    base = replace(plainest(c), **{name: value for name, value in changes.items() if name != "input_size"})
    width = (1 + base.bidirectional) * (base.proj_size or base.hidden_size)
    return replace(base, input_size=changes.get("input_size", width if base.num_layers > 1 else base.hidden_size))


def variations(c: Configuration) -> list[Configuration]:
    """The same kind of problem with other sizes and numbers."""
    found = [c, replace(c, seed=c.seed + 1)]
    if c.layout == "batched" and len(c.lengths) > 1:
        found.append(replace(c, lengths=(4,) * 4, seed=c.seed + 2))  # as many steps as sequences
        found.append(replace(c, lengths=(6,) * 4, seed=c.seed + 3))
    if c.input_size > 1 and c.hidden_size > 1:
        found.insert(1, replace(c, input_size=2 if c.input_size != 2 else 3, seed=c.seed + 4))
    return found


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


def failing(subject: Implementation, configurations: Iterable[Configuration], dtype: str) -> Look | None:
    """The first of the configurations at which the subject fails, rather by numbers than by an error."""
    raised = None
    for configuration in configurations:
        look = take(subject, configuration, dtype)
        if look is not None and look.fails:
            if not look.raised and look.offered:
                return look
            raised = raised or look
    return raised


def simplest_kind(
    subject: Implementation, configuration: Configuration, dtype: str
) -> tuple[Look | None, tuple[Option, ...]]:
    """Where to look: a rich problem with as few options as are needed to fail, and these options."""
    options = options_of(configuration)
    kinds: list[tuple[Option, ...]] = [(), *((option,) for option in options), tuple(options)]
    for kind in kinds:
        looked = failing(subject, variations(with_options(configuration, kind)), dtype)
        if looked is None:
            continue
        needed = list(kind)
        for option in kind if len(kind) > 1 else ():
            fewer = [other for other in needed if other is not option]
            simpler = failing(subject, variations(with_options(configuration, fewer)), dtype)
            if simpler is not None:
                needed, looked = fewer, simpler
        return looked, tuple(needed)
    return None, ()


def diagnose(subject: Implementation, configuration: Configuration) -> Diagnosis:
    """What is wrong with the subject, which fails at this configuration.

    Raises nothing of what the subject raises.
    """
    dtypes = [dtype for dtype in ("float64", "float32") if dtype in subject.dtypes]
    for dtype in dtypes:
        look, options = simplest_kind(subject, configuration, dtype)
        if look is None:  # then it is something about these sizes or numbers
            alone = take(subject, configuration, dtype)
            if alone is not None and not alone.raised:
                allowed = tolerances(alone.problem, alone.errors, alone.masks)
                alone.exact = max(allowed.values())
            look = alone if alone is not None and alone.fails else None
            found = () if look is None or look.raised or not configuration.lengths else tuple(explain(look))
            special: tuple[str, ...] = (
                "It is right at other sizes: something about these sizes or numbers makes the difference.",
            )
        else:
            found = () if look.raised else tuple(told_apart(look, explain(look)))
            special = tuple(of_options(subject, configuration, options))
        if look is None:
            continue
        only = ("In float64 everything is right: this is about the accuracy of float32.",) if dtype != dtypes[0] else ()
        return Diagnosis(look.c, found, (*only, *special, *observe(look, found)))
    told = (
        "The deviation is no more than a few roundings above what is allowed: the accuracy falls short, not a formula."
    )
    if all(take(subject, configuration, dtype) is None for dtype in dtypes):
        told = "This is not offered, so there is nothing to compare."
    return Diagnosis(configuration, (), (told,))


def told_apart(look: Look, found: list[Explanation]) -> list[Explanation]:
    """Those of several explanations that fit at other problems of the kind too."""
    for configuration in variations(look.c):
        if len(found) <= 1:
            break
        if configuration == look.c:
            continue
        other = take(look.subject, configuration, str(look.dtype))
        if other is None:
            continue
        known = {fault.name: fault for fault in catalogue(other.c)}
        here = [tuple(known.get(fault.name) for fault in explanation) for explanation in found]
        fits = fitting_forward if look.forward_wrong and not any(fitting(look, each) for each in found) else fitting
        still = [
            explanation
            for explanation, faults in zip(found, here, strict=True)
            if not all(faults) or fits(other, faults)  # type: ignore[arg-type]
        ]
        found = still or found
    return found


# --- Observations ----------------------------------------------------------------------------------------------------


def of_options(subject: Implementation, configuration: Configuration, options: Sequence[Option]) -> Iterator[str]:
    """With which options it is wrong, if not always."""
    if options:
        yield f"It is wrong only with {listed([option.name for option in options])}; without, everything is right."


def observe(look: Look, found: Sequence[Explanation]) -> Iterator[str]:
    """What the tensors show."""
    if look.raised:
        instead = look.raised.removeprefix("no error, but ")
        yield f"It {instead}." if instead != look.raised else f"It raises an error: {look.raised}."
        return
    if look.first_is_right:
        yield "The first call is right and the second wrong: something is left over from the first."
    yield from of_forms(look)
    if not look.wrong:
        return
    right = [name for name in look.errors if name not in look.wrong]
    yield f"Wrong: {shortened(look.wrong)}. Right: {shortened(right) or 'nothing'}."
    if not look.c.lengths:
        return
    comparable = [name for name in look.wrong if name in look.offered]
    if look.forward_wrong:
        yield from of_steps_forward(look)
        yield from of_halves(look, [name for name in comparable if not name.startswith("d_")])
        yield from of_layers(look, [name for name in comparable if not name.startswith("d_")])
        gradients = len(look.wrong) > len(look.forward_wrong)
        if gradients and not found:
            yield "The gradients follow from the forward pass and can be judged once that is right."
        elif gradients and not any(fitting(look, explanation) for explanation in found):
            yield (
                "The gradients are not those of this forward pass either, as far as is known; they can be judged "
                "once the forward pass is right."
            )
    else:
        yield from of_steps_backward(look)
        yield from of_gates(look, comparable)
        yield from of_single_step(look)
        yield from of_halves(look, comparable)
        yield from of_layers(look, comparable)
    yield from of_values(look, comparable)


def shortened(names: Sequence[str]) -> str:
    """Names of tensors in a list; those of several layers together."""
    stems: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)_(l\d+(?:_reverse)?)", name)
        stems.setdefault(match[1] if match else name, []).extend([match[2]] if match else [])
    if all(len(places) <= 1 and places in ([], ["l0"]) for places in stems.values()):
        return ", ".join(stems)
    return ", ".join(f"{stem} ({', '.join(places)})" if places else stem for stem, places in stems.items())


def of_forms(look: Look) -> Iterator[str]:
    """Shapes, dtypes and what is missing."""
    for name, right in look.truth.items():
        value = look.run.get(name)
        if value is None:
            if name not in look.run:
                yield f"{name} is missing."
        elif value.shape != right.shape:
            turned = " (the first two axes are exchanged)" if value.shape[:2] == right.shape[1::-1] else ""
            yield f"{name} has the shape {value.shape}, expected {right.shape}{turned}."
        elif value.dtype != look.dtype:
            yield f"{name} is {value.dtype}, expected {look.dtype} as the input is."


def step_errors(look: Look, name: str) -> list[list[bool]]:
    """For each sequence and each of its steps whether the tensor is right there."""
    value, right = by_step(look.c, look.offered[name]), by_step(look.c, look.truth[name])
    scale = float(np.abs(right).max(initial=0)) or 1.0
    distance = np.abs(value - right).max(axis=2)
    lengths = look.c.lengths
    return [[bool(distance[t, b] <= 10 * look.exact * scale) for t in range(lengths[b])] for b in range(len(lengths))]


def of_steps_forward(look: Look) -> Iterator[str]:
    """From which step on the output is wrong."""
    if "output" not in look.offered or "output" not in look.wrong:
        return
    steps = step_errors(look, "output")
    if look.c.bidirectional:
        halves = np.split(by_step(look.c, look.offered["output"]) - by_step(look.c, look.truth["output"]), 2, axis=2)
        scale = 10 * look.exact * float(np.abs(look.truth["output"]).max())
        for half, told in zip(halves, ("forward", "reverse"), strict=True):
            wrong = [t + 1 for t in range(len(half)) if np.abs(half[t]).max() > scale]
            if wrong and len(wrong) < len(half):
                at = listed([str(t) for t in wrong])
                yield f"The {told} half of the output is wrong at step {at} of {len(half)}."
        return
    total = max(map(len, steps))
    wrong = [t + 1 for t in range(total) if not all(right[t] for right in steps if t < len(right))]
    if wrong == list(range(wrong[0], total + 1)):
        if wrong[0] == 1:
            yield f"The output is wrong from the first step on (of {total})."
        else:
            yield (
                f"The output is right until step {wrong[0] - 1} and wrong from step {wrong[0]} (of {total}) on"
                + (
                    ": the first step is right, so what is wrong has to do with the state that it hands on."
                    if wrong[0] == 2
                    else "."
                )
            )
    else:
        yield f"The output is wrong at step {listed([str(t) for t in wrong])} of {total}, and right at the others."
    if len(set(look.c.lengths)) > 1:
        sequences = [str(b + 1) for b, right in enumerate(steps) if not all(right)]
        if len(sequences) < len(steps):
            yield f"Only sequence {listed(sequences)} of {len(steps)} is wrong (their lengths are {look.c.lengths})."


def of_steps_backward(look: Look) -> Iterator[str]:
    """At which steps the gradient of the input is wrong, seen from the end."""
    if "d_input" not in look.offered or "d_input" not in look.wrong:
        return
    steps = step_errors(look, "d_input")
    total = max(map(len, steps))
    if look.c.bidirectional:
        return
    from_end = [right[::-1] for right in steps]
    wrong = [k for k in range(total) if not all(right[k] for right in from_end if k < len(right))]
    own = " (each sequence counted from its own end)" if len(set(look.c.lengths)) > 1 else ""
    if wrong == list(range(wrong[0], total)):
        if wrong[0] == 0:
            yield f"d_input is wrong from the last step on{own}: the fault is in the step itself or in what comes in."
        else:
            last = "the last step" if wrong[0] == 1 else f"the last {wrong[0]} steps"
            yield (
                f"d_input is right at {last} and wrong at every earlier one{own}: what is wrong is carried from step "
                "to step on the way back."
            )
    elif wrong == [0]:
        yield f"d_input is wrong at the last step alone{own}."
    else:
        told = listed([str(total - k) for k in reversed(wrong)])
        yield f"d_input is wrong at step {told} of {total}{own}, and right at the others."


def of_gates(look: Look, given: Sequence[str]) -> Iterator[str]:
    """Which gates are wrong in the gradients of weights and biases."""
    names = [name for name in given if name in look.offered]
    gates = cell_of(look.c).gates
    if len(gates) == 1:
        return
    seen: dict[tuple[str, ...], list[str]] = {}
    for name in filter(has_gates, names):
        value, right = (v.reshape(len(gates), -1) for v in (look.offered[name], look.truth[name]))
        scale = float(np.linalg.norm(right)) or 1.0
        distance = np.linalg.norm(np.asarray(value - right, float), axis=1)
        wrong = tuple(gate for gate, d in zip(gates, distance, strict=True) if not d <= look.exact * scale)
        seen.setdefault(wrong, []).append(name)
    for wrong, where in seen.items():
        if wrong and len(wrong) < len(gates):
            others = [gate for gate in gates if gate not in wrong]
            yield (
                f"In {shortened(where)} the rows of gate {listed(wrong)} are wrong and those of {listed(others)} right."
            )


def of_single_step(look: Look) -> Iterator[str]:
    """What is wrong where there is only one step, so that nothing is carried from one to another."""
    there = single_step(look)
    if there is None or there.forward_wrong or look.first_is_right:
        return
    if not there.wrong:
        yield "With a single step everything is right: the fault is in what goes from step to step, or adds up."
        return
    if len(there.wrong) < len(look.wrong):
        yield f"With a single step only {shortened(there.wrong)} {'is' if len(there.wrong) == 1 else 'are'} wrong."
    told = list(of_gates(there, there.wrong))
    if told and not list(of_gates(look, look.wrong)):
        yield f"With a single step, it can be told where: {told[0][0].lower()}{told[0][1:]}"


def of_halves(look: Look, names: Sequence[str]) -> Iterator[str]:
    """Whether only one direction is wrong."""
    if not look.c.bidirectional:
        return
    if "output" in names:
        difference = by_step(look.c, look.offered["output"]) - by_step(look.c, look.truth["output"])
        forward, reverse = (float(np.abs(half).max()) for half in np.split(difference, 2, axis=2))
        scale = 10 * look.exact * float(np.abs(look.truth["output"]).max())
        if (forward > scale) != (reverse > scale):
            told = "forward" if forward > scale else "reverse"
            yield f"Only the {told} half of the output is wrong."
    parameters = [name for name in names if re.search(r"_l\d", name)]
    reverse_names = [name for name in parameters if name.endswith("_reverse")]
    if parameters and len(reverse_names) in (0, len(parameters)):
        told = "reverse" if reverse_names else "forward"
        yield f"Of the parameters' gradients only those of the {told} direction are wrong."


def of_layers(look: Look, names: Sequence[str]) -> Iterator[str]:
    """How the error changes with the layer."""
    layers, directions = look.c.num_layers, 1 + look.c.bidirectional
    if layers == 1:
        return
    sizes: list[float] = [0.0] * layers
    told = "the parameters' gradients"
    states = [f"{part}_n" for part in look.c.parts if f"{part}_n" in look.offered]
    if any(name in names for name in states):
        told = "the final state"
        for name in states:
            for k, (value, right) in enumerate(zip(look.offered[name], look.truth[name], strict=True)):
                layer = k // directions
                sizes[layer] = max(sizes[layer], relative_error(value, right))
    elif any(re.search(r"_l\d", name) for name in names):
        for name, error in look.errors.items():
            match = re.search(r"_l(\d+)", name)
            if match and np.isfinite(error):
                sizes[int(match[1])] = max(sizes[int(match[1])], error)
    else:
        return
    wrong = [layer for layer, size in enumerate(sizes) if not size <= look.exact]
    if not wrong:
        return
    listing = ", ".join(f"{size:.0e} in layer {layer}" for layer, size in enumerate(sizes))
    if len(wrong) == layers:
        where = "in every layer"
    elif wrong == list(range(wrong[0], layers)):
        where = f"from layer {wrong[0]} on"
    elif wrong == list(range(wrong[-1] + 1)):
        where = f"from layer {wrong[-1]} down"
    else:
        where = f"in layer {listed([str(layer) for layer in wrong])} only"
    yield f"The error of {told}, layer by layer: {listing}; wrong {where}."


def of_values(look: Look, names: Sequence[str]) -> Iterator[str]:
    """What the numbers of a wrong tensor are, if they are anything simple."""
    simple: dict[str, list[str]] = {}
    for name in names:
        value, right = look.offered[name].astype(float), look.truth[name].astype(float)
        simple.setdefault(in_simple_terms(look, value, right), []).append(name)
    for told, where in simple.items():
        if told:
            are, it = ("are", "they") if len(where) > 1 else ("is", "it")
            yield f"{shortened(where)} {are} {told.replace('it should', it + ' should')}."
    errors = [look.errors[name] for name in look.wrong]
    if look.dtype == np.float64 and errors and 1e-9 < max(errors) < 1e-5:
        yield f"The deviation is small, {max(errors):.0e} relative: as if float32 were used somewhere."


def in_simple_terms(look: Look, value: Array, right: Array) -> str:
    """What one tensor is in terms of what it should be, or nothing."""
    if not np.isfinite(value).all():
        return "not a number (NaN or infinite) " + ("everywhere" if not np.isfinite(value).any() else "in places")
    if not value.any():
        return "zero throughout"
    size = float((right * right).sum())
    if size and value.size > 3:
        factor = float((value * right).sum()) / size
        if np.linalg.norm(value - factor * right) <= look.exact * np.linalg.norm(value) and factor:
            return f"exactly {in_words(factor)} times what it should be"
    for axes, told in (((1, 0), "the transpose of what it should be"),):
        if value.ndim == 2 and value.shape[0] == value.shape[1] and close(look, value, right.transpose(axes)):
            return told
    if value.ndim == 3 and close(look, value, right[::-1]):
        return "in the opposite order along the first axis"
    limit = float(np.abs(value).max())
    if (
        value.size > 3
        and np.abs(right).max() > limit * (1 + 1e-6)
        and close(look, value, np.clip(right, -limit, limit))
    ):
        return f"right but cut off at ±{limit:g} (clipping belongs outside the backward pass)"
    return ""


def in_words(factor: float) -> str:
    """A factor as a whole number or a simple fraction, where it is one."""
    for denominator in range(1, 33):
        numerator = factor * denominator
        if abs(numerator - round(numerator)) < 1e-4 * denominator:
            whole = round(numerator)
            sign = "−" if whole < 0 else ""
            return f"{sign}{abs(whole)}" if denominator == 1 else f"{sign}{abs(whole)}/{denominator}"
    return f"{factor:.6g}"
