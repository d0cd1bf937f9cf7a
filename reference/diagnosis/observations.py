"""What the tensors show, whatever the pattern is: which are wrong, from which step on, in which gates and layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from scratch.types import Array

from ..candidates import FunctionsCandidate, TorchCandidate
from ..equivalence import relative_error
from ..faults import by_step, cell_of
from ..stages.findings import listed
from .look import Explanation, Look, alike, has_gates, norm, pieces, take
from .patterns import two_first_runs


def single_step(look: Look) -> Look | None:
    """The subject on the same kind of problem with a single step, where nothing is carried yet."""
    if max(look.c.lengths, default=1) == 1:
        return None
    there = take(look.subject, replace(look.c, lengths=(1,) * len(look.c.lengths)), str(look.dtype))
    return there if there is not None and not there.raised else None


def observe(look: Look, found: Sequence[Explanation]) -> Iterator[str]:
    """What the tensors show."""
    if look.raised:
        yield f"{look.raised[0].upper()}{look.raised[1:]}."
        return
    if look.first_is_right:
        yield "The first call is right and the second wrong: something is left over from the first."
    yield from of_forms(look)
    if not look.wrong:
        return
    right = [name for name in look.errors if name not in look.wrong]
    in_dtype = [name for name in look.wrong if name not in look.wrong_in_value]
    told = [f"Wrong: {shortened(look.wrong_in_value)}."] if look.wrong_in_value else []
    told += [f"Wrong in dtype alone: {shortened(in_dtype)}."] if in_dtype else []
    yield " ".join([*told, f"Right: {shortened(right) or 'nothing'}."])
    if not look.c.lengths or not look.wrong_in_value:
        return
    if not found:
        yield from of_objects(look)
    comparable = [name for name in look.wrong_in_value if name in look.offered]
    if look.forward_wrong:
        yield from of_steps_forward(look)
        yield from of_halves(look, [name for name in comparable if not name.startswith("d_")])
        yield from of_layers(look, [name for name in comparable if not name.startswith("d_")])
        gradients = len(look.wrong_in_value) > len(look.forward_wrong)
        modelled = [explanation for explanation in found if all(fault.edits for fault in explanation)]
        if gradients and not found:
            yield "The gradients follow from the forward pass and can be judged once that is right."
        elif isinstance(look.subject, TorchCandidate):
            pass  # the gradients are autograd's, and so those of its forward pass
        elif gradients and modelled and not any(look.explains(*explanation) for explanation in modelled):
            yield (
                "The gradients are none of those that are known to go with such a forward pass: whether they have a "
                "fault of their own can be judged once the forward pass is right."
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
            if value.dtype.kind == "f":
                yield f"{name} is {value.dtype}, expected {look.dtype} as the input is."
            else:
                yield f"{name} is of dtype {value.dtype}, expected {look.dtype}."


def of_objects(look: Look) -> Iterator[str]:
    """Whether two new objects give different numbers."""
    if (runs := two_first_runs(look)) is None:
        return
    one, other = runs
    differing = [name for name in one if not relative_error(one[name], other[name]) <= look.exact]
    finite = all(np.isfinite(run[name]).all() for name in differing for run in (one, other))
    if differing and finite:
        yield (
            f"Two {'calls' if isinstance(look.subject, FunctionsCandidate) else 'new objects'} give different numbers "
            f"for the same problem, in {shortened(differing)}: something is kept outside of them (a class attribute, "
            "a mutable default argument, a global variable), or drawn at random."
        )


def off(look: Look, name: str) -> Array:
    """Where a sequence is wrong: (T, B, features)."""
    value, right = by_step(look.c, look.offered[name]), by_step(look.c, look.truth[name])
    allowed = 10 * look.exact * (float(np.abs(right).max(initial=0)) or 1.0)
    wrong: Array = ~(np.abs(value - right) <= allowed)
    return wrong


def halves_off(look: Look) -> dict[str, Array]:
    """Where the output of either direction is wrong."""
    return dict(zip(("forward", "reverse"), np.split(off(look, "output"), 2, axis=2), strict=True))


def steps_of(look: Look, name: str) -> list[list[bool]]:
    """For each sequence and each of its steps whether the tensor is right there."""
    wrong = off(look, name)
    return [[not wrong[t, b].any() for t in range(length)] for b, length in enumerate(look.c.lengths)]


def wrong_at(steps: list[list[bool]]) -> list[int]:
    """The steps at which any sequence that has them is wrong."""
    return [t for t in range(max(map(len, steps))) if not all(right[t] for right in steps if t < len(right))]


def numbered(steps: Sequence[int]) -> str:
    """Steps in a sentence, counted from 1."""
    return listed([str(t + 1) for t in steps])


def of_steps_forward(look: Look) -> Iterator[str]:
    """From which step on the output is wrong."""
    if "output" not in look.offered or "output" not in look.wrong_in_value:
        return
    if look.c.bidirectional:
        for told, half in halves_off(look).items():
            wrong = [t for t, row in enumerate(half) if row.any()]
            if wrong and len(wrong) < len(half):
                yield f"The {told} half of the output is wrong at step {numbered(wrong)} of {len(half)}."
        return
    steps = steps_of(look, "output")
    total, wrong = max(map(len, steps)), wrong_at(steps)
    if not wrong:  # not by so much at any single step
        return
    first = wrong[0]
    if wrong != list(range(first, total)):
        yield f"The output is wrong at step {numbered(wrong)} of {total}, and right at the others."
    elif first == 0:
        yield f"The output is wrong from the first step on (of {total})."
    else:
        why = ": the first step is right, so what is wrong has to do with the state that it hands on"
        told = f"The output is right until step {first} and wrong from step {first + 1} (of {total}) on"
        yield f"{told}{why if first == 1 else ''}."
    sequences = [b for b, right in enumerate(steps) if not all(right)]
    if len(set(look.c.lengths)) > 1 and len(sequences) < len(steps):
        yield f"Only sequence {numbered(sequences)} of {len(steps)} is wrong (their lengths are {look.c.lengths})."


def of_steps_backward(look: Look) -> Iterator[str]:
    """At which steps the gradient of the input is wrong, seen from the end."""
    if look.c.bidirectional or "d_input" not in look.offered or "d_input" not in look.wrong_in_value:
        return
    steps = [right[::-1] for right in steps_of(look, "d_input")]
    total, wrong = max(map(len, steps)), wrong_at(steps)
    if not wrong:  # not by so much at any single step
        return
    first = wrong[0]
    own = " (each sequence counted from its own end)" if len(set(look.c.lengths)) > 1 else ""
    if wrong != list(range(first, total)):
        at = numbered([total - 1 - k for k in reversed(wrong)])
        yield f"d_input is wrong at step {at} of {total}{own}, and right at the others."
    elif first == 0:
        yield f"d_input is wrong from the last step on{own}: the fault is in the step itself or in what comes in."
    else:
        last = "the last step" if first == 1 else f"the last {first} steps"
        yield (
            f"d_input is right at {last} and wrong at every earlier one{own}: what is wrong is carried from step to "
            "step on the way back."
        )


def of_gates(look: Look, given: Sequence[str]) -> Iterator[str]:
    """Which gates are wrong in the gradients of weights and biases."""
    gates = cell_of(look.c).gates
    seen: dict[tuple[str, ...], list[str]] = {}
    for name in [name for name in given if name in look.offered and has_gates(name)]:
        right, allowed = pieces(look.c, name, look.truth[name]), look.exact * (norm(look.truth[name]) or 1.0)
        own = pieces(look.c, name, look.offered[name])
        wrong = tuple(gate for gate, block in own.items() if not norm(block - right[gate]) <= allowed)
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
    if not there.wrong_in_value:
        yield "With a single step everything is right: the fault is in what goes from step to step, or adds up."
        return
    wrong = there.wrong_in_value
    if len(wrong) < len(look.wrong_in_value):
        yield f"With a single step only {shortened(wrong)} {'is' if len(wrong) == 1 else 'are'} wrong."
    told = list(of_gates(there, wrong))
    if told and not list(of_gates(look, look.wrong_in_value)):
        yield f"With a single step, it can be told where: {told[0][0].lower()}{told[0][1:]}"


def of_halves(look: Look, names: Sequence[str]) -> Iterator[str]:
    """Whether only one direction is wrong."""
    if not look.c.bidirectional:
        return
    if "output" in names:
        wrong = [told for told, half in halves_off(look).items() if half.any()]
        if len(wrong) == 1:
            yield f"Only the {wrong[0]} half of the output is wrong."
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
    sizes = [0.0] * layers
    told = "the parameters' gradients"
    states = [f"{part}_n" for part in look.c.parts if f"{part}_n" in look.offered]
    if any(name in names for name in states):
        told = "the final state"
        for name in states:
            for k, (value, right) in enumerate(zip(look.offered[name], look.truth[name], strict=True)):
                sizes[k // directions] = max(sizes[k // directions], relative_error(value, right))
    else:
        for name, error in look.errors.items():
            if (match := re.search(r"_l(\d+)", name)) and np.isfinite(error):
                sizes[int(match[1])] = max(sizes[int(match[1])], error)
    wrong = [layer for layer, size in enumerate(sizes) if not size <= look.exact]
    if not wrong:
        return
    listing = ", ".join(f"{size:.0e} in layer {layer}" for layer, size in enumerate(sizes))
    where = f"in layer {listed([str(layer) for layer in wrong])} only"
    if len(wrong) == layers:
        where = "in every layer"
    elif wrong == list(range(wrong[0], layers)):
        where = f"from layer {wrong[0]} on"
    elif wrong == list(range(wrong[-1] + 1)):
        where = f"from layer {wrong[-1]} down"
    yield f"The error of {told}, layer by layer: {listing}; wrong {where}."


def of_values(look: Look, names: Sequence[str]) -> Iterator[str]:
    """What the numbers of a wrong tensor are, if they are anything simple."""
    simple: dict[str, list[str]] = {}
    for name in names:
        with np.errstate(over="ignore"):
            value, right = look.offered[name].astype(float), look.truth[name].astype(float)
        simple.setdefault(in_simple_terms(look, value, right), []).append(name)
    for told, where in simple.items():
        if told:
            are, it = ("are", "they") if len(where) > 1 else ("is", "it")
            yield f"{shortened(where)} {are} {told.replace('it should', it + ' should')}."
    errors = [look.errors[name] for name in look.wrong_in_value]
    if look.dtype == np.float64 and errors and 1e-9 < max(errors) < 1e-5:
        yield f"The deviation is small, {max(errors):.0e} relative: as if float32 were used somewhere."


def in_simple_terms(look: Look, value: Array, right: Array) -> str:
    """What one tensor is in terms of what it should be, or nothing."""
    if not np.isfinite(value).all():
        return "not a number (NaN or infinite) " + ("everywhere" if not np.isfinite(value).any() else "in places")
    if not value.any():
        return "zero throughout"
    size, largest = float((right * right).sum()), float(np.abs(value).max())
    if size and value.size > 3:
        part = value / largest  # so that no square is beyond all numbers
        factor = float((part * right).sum()) / size
        if factor and alike(part, factor * right, look.exact):
            told = in_words(largest * factor, 2 * look.exact)
            return f"{told} times what it should be" if told else ""
    if value.ndim == 2 and value.shape[0] == value.shape[1] and alike(value, right.T, look.exact):
        return "the transpose of what it should be"
    if value.ndim == 3 and alike(value, right[::-1], look.exact):
        return "in the opposite order along the first axis"
    limit = float(np.abs(value).max())
    if (
        value.size > 3
        and np.abs(right).max() > limit * (1 + 1e-6)
        and alike(value, np.clip(right, -limit, limit), look.exact)
    ):
        return f"right but cut off at ±{limit:g} (clipping belongs outside the backward pass)"
    return ""


def in_words(factor: float, exact: float) -> str:
    """A factor as a whole number or a simple fraction where it is one, else in a few digits; nothing if that is 1."""
    for denominator in range(1, 33):
        numerator = factor * denominator
        if abs(numerator) <= 1000 and abs(numerator - round(numerator)) < exact * abs(numerator):
            whole = round(numerator)
            sign = "−" if whole < 0 else ""
            told = f"{sign}{abs(whole)}" if denominator == 1 else f"{sign}{abs(whole)}/{denominator}"
            return f"exactly {told}" if told != "1" else ""
    told = f"{factor:.4g}".replace("-", "−")
    return told if told != "1" and np.isfinite(factor) else ""
