"""What the tensors show, whatever the fault is: which are wrong, from which step on, in which gates and layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from scratch.types import Array

from ..candidates import TorchCandidate
from ..equivalence import relative_error
from ..faults import by_step, cell_of
from ..stages.findings import listed
from .explain import Explanation
from .look import Look, alike, norm, pieces, take


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
    if look.outlives and not found:
        where = f"in {shortened(look.differing)}: something is kept outside of the {look.outlives}, or drawn at random."
        yield f"Two new {look.outlives.split()[0]}s give different numbers for the same problem, {where}"
    comparable = [name for name in look.wrong_in_value if name in look.offered]
    yield from of_steps(look, "output" if look.forward_wrong else "d_input")
    if not look.forward_wrong:
        yield from of_gates(look)
        yield from of_single_step(look)
        yield from of_layers(look, comparable)
    else:
        yield from of_layers(look, [name for name in comparable if not name.startswith("d_")])
        gradients = len(look.wrong_in_value) > len(look.forward_wrong)
        if gradients and not found:
            yield "The gradients follow from the forward pass and can be judged once that is right."
        elif gradients and not (
            isinstance(look.subject, TorchCandidate) or any(look.explains(*each) for each in found)
        ):
            yield (
                "The gradients are none of those that are known to go with such a forward pass: whether they have a "
                "fault of their own can be judged once the forward pass is right."
            )
    yield from of_values(look, comparable)


def shortened(names: Sequence[str]) -> str:
    """Names of tensors in a list; those of several layers together."""
    stems: dict[str, list[str]] = {}
    for name in names:
        stem, *place = re.split(r"_(?=l\d)", name)
        stems.setdefault(stem, []).extend(place)
    plain = all(places in ([], ["l0"]) for places in stems.values())
    return ", ".join(stem if plain or not places else f"{stem} ({', '.join(places)})" for stem, places in stems.items())


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


def of_steps(look: Look, name: str) -> Iterator[str]:
    """At which steps a sequence is wrong; the gradient of the input is seen from the end, where the way back begins."""
    if name not in look.offered or name not in look.wrong_in_value:
        return
    value, right = by_step(look.c, look.offered[name]), by_step(look.c, look.truth[name])
    off = ~(np.abs(value - right) <= 10 * look.exact * (float(np.abs(right).max()) or 1.0))
    if look.c.bidirectional:
        halves = zip(("forward", "reverse"), np.split(off, 2, axis=2), strict=True)
        wrong_halves = [told for told, half in halves if half.any()] if name == "output" else []
        if len(wrong_halves) == 1:
            yield f"Only the {wrong_halves[0]} half of the output is wrong."
        return
    forward, total = name == "output", len(off)
    ragged = len(set(look.c.lengths)) > 1
    rows = [off[:length, b].any(axis=1)[:: 1 if forward else -1] for b, length in enumerate(look.c.lengths)]
    wrong = sorted({int(t) for row in rows for t in np.flatnonzero(row)})
    own = " (each sequence counted from its own end)" if ragged and not forward else ""
    if not wrong:  # not by so much at any single step
        return
    first = wrong[0]
    if wrong != list(range(first, total)):
        at = listed([str(t + 1 if forward else total - t) for t in (wrong if forward else wrong[::-1])])
        yield f"{'The output' if forward else name} is wrong at step {at} of {total}{own}, and right at the others."
    elif forward:
        until = f"right until step {first} and wrong from step {first + 1} (of {total}) on"
        why = ": the first step is right, so what is wrong has to do with the state that it hands on"
        told = f"{until}{why if first == 1 else ''}" if first else f"wrong from the first step on (of {total})"
        yield f"The output is {told}."
    elif first == 0:
        yield f"d_input is wrong from the last step on{own}: the fault is in the step itself or in what comes in."
    else:
        last = "the last step" if first == 1 else f"the last {first} steps"
        why = "what is wrong is carried from step to step on the way back"
        yield f"d_input is right at {last} and wrong at every earlier one{own}: {why}."
    sequences = [str(b + 1) for b, row in enumerate(rows) if row.any()]
    if ragged and len(sequences) < len(rows):
        yield f"Only sequence {listed(sequences)} of {len(rows)} is wrong (their lengths are {look.c.lengths})."


def of_gates(look: Look) -> Iterator[str]:
    """Which gates are wrong in the gradients of weights and biases."""
    gates = cell_of(look.c).gates
    seen: dict[tuple[str, ...], list[str]] = {}
    for name in [name for name in look.wrong_in_value if name in look.offered]:
        right, allowed = pieces(look.c, name, look.truth[name]), look.exact * (norm(look.truth[name]) or 1.0)
        own = pieces(look.c, name, look.offered[name])
        wrong = tuple(gate for gate, block in own.items() if not norm(block - right[gate]) <= allowed)
        if set(own) == set(gates) and 0 < len(wrong) < len(gates):
            seen.setdefault(wrong, []).append(name)
    for wrong, where in seen.items():
        rest = listed([gate for gate in gates if gate not in wrong])
        yield f"In {shortened(where)} the rows of gate {listed(wrong)} are wrong and those of {rest} right."


def of_single_step(look: Look) -> Iterator[str]:
    """What is wrong where there is only one step, so that nothing is carried from one to another."""
    if max(look.c.lengths) == 1 or look.first_is_right:
        return
    there = take(look.subject, replace(look.c, lengths=(1,) * len(look.c.lengths)), str(look.dtype))
    if there is None or there.raised or there.forward_wrong:
        return
    wrong = there.wrong_in_value
    if not wrong:
        yield "With a single step everything is right: the fault is in what goes from step to step, or adds up."
    elif len(wrong) < len(look.wrong_in_value):
        yield f"With a single step only {shortened(wrong)} {'is' if len(wrong) == 1 else 'are'} wrong."
    if (told := list(of_gates(there))) and not list(of_gates(look)):
        yield f"With a single step, it can be told where: {told[0][0].lower()}{told[0][1:]}"


def of_layers(look: Look, names: Sequence[str]) -> Iterator[str]:
    """Whether only one direction is wrong, and how the error changes with the layer."""
    parameters = [name for name in names if re.search(r"_l\d", name)]
    reverse = [name for name in parameters if name.endswith("_reverse")]
    if look.c.bidirectional and parameters and len(reverse) in (0, len(parameters)):
        direction = "reverse" if reverse else "forward"
        yield f"Of the parameters' gradients only those of the {direction} direction are wrong."
    layers, told = look.c.num_layers, "the parameters' gradients"
    sizes = [0.0] * layers
    errors = [(int(m[1]), e) for name, e in look.errors.items() if (m := re.search(r"_l(\d+)", name))]
    if states := [name for name in ("h_n", "c_n") if name in names]:
        told, errors = "the final state", []
        for name in states:
            pairs = enumerate(zip(look.offered[name], look.truth[name], strict=True))
            errors += [(k // (1 + look.c.bidirectional), relative_error(own, right)) for k, (own, right) in pairs]
    for layer, error in errors:
        sizes[layer] = max(sizes[layer], error if np.isfinite(error) else 0.0)
    wrong = [layer for layer, size in enumerate(sizes) if not size <= look.exact]
    if not wrong or layers == 1:
        return
    where = f"in layer {listed([str(layer) for layer in wrong])} only"
    if len(wrong) == layers:
        where = "in every layer"
    elif wrong == list(range(wrong[0], layers)):
        where = f"from layer {wrong[0]} on"
    elif wrong == list(range(wrong[-1] + 1)):
        where = f"from layer {wrong[-1]} down"
    listing = ", ".join(f"{size:.0e} in layer {layer}" for layer, size in enumerate(sizes))
    yield f"The error of {told}, layer by layer: {listing}; wrong {where}."


def of_values(look: Look, names: Sequence[str]) -> Iterator[str]:
    """What the numbers of a wrong tensor are, if they are anything simple."""
    simple: dict[str, list[str]] = {}
    for name in names:
        with np.errstate(over="ignore"):
            told = in_simple_terms(look.offered[name].astype(float), look.truth[name].astype(float), look.exact)
        simple.setdefault(told, []).append(name)
    for told, where in simple.items():
        if told:
            are, it = ("are", "they") if len(where) > 1 else ("is", "it")
            yield f"{shortened(where)} {are} {told.replace('it should', it + ' should')}."
    largest = max((look.errors[name] for name in look.wrong_in_value), default=0.0)
    if look.dtype == np.float64 and 1e-9 < largest < 1e-5:
        yield f"The deviation is small, {largest:.0e} relative: as if float32 were used somewhere."


def in_simple_terms(value: Array, right: Array, exact: float) -> str:
    """What one tensor is in terms of what it should be, or nothing."""
    if not np.isfinite(value).all():
        return "not a number (NaN or infinite) " + ("everywhere" if not np.isfinite(value).any() else "in places")
    if not value.any():
        return "zero throughout"
    largest = float(np.abs(value).max())
    part = value / largest  # so that no square is beyond all numbers
    factor = float((part * right).sum()) / (float((right * right).sum()) or 1.0)
    if value.size > 3 and factor and alike(part, factor * right, exact):
        near = Fraction(factor * largest).limit_denominator(32)
        simple = abs(near.numerator) <= 1000 and abs(float(near) - factor * largest) < 2 * exact * abs(factor * largest)
        told = f"exactly {near}" if simple else f"{factor * largest:.4g}"
        return "" if told in ("exactly 1", "1") else f"{told.replace('-', '−')} times what it should be"
    if value.ndim == 2 and value.shape[0] == value.shape[1] and alike(value, right.T, exact):
        return "the transpose of what it should be"
    return "in the opposite order along the first axis" if alike(value, right[::-1], exact) else ""
