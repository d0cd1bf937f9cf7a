"""What the tensors show, whatever the fault is: which are wrong, from which step on, in which gates and layers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from scratch.types import Array

from ..equivalence import relative_error
from ..faults import by_step
from ..stages.findings import listed
from .explain import Explanation, changed
from .look import Look, alike, take


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
    if look.differing and not found:
        where = f"in {shortened(look.differing)}: something is kept outside of the {look.outlives}, or drawn at random."
        objects = "calls" if look.outlives.startswith("call") else "new objects"
        yield f"Two {objects} give different numbers for the same problem, {where}"
    comparable = [name for name in look.wrong_in_value if name in look.offered]
    if look.forward_wrong:
        yield from of_steps(look, "output")
        yield from of_layers(look, [name for name in comparable if not name.startswith("d_")])
        if len(look.wrong_in_value) > len(look.forward_wrong) and not any(look.explains(*each) for each in found):
            told = {True: "are those of this forward pass", False: "are not those of this forward pass"}
            yield f"The gradients {told.get(look.is_consistent, 'can be judged once the forward pass is right')}."
    else:
        yield from of_steps(look, "d_input")
        yield from of_gates(look)
        yield from of_single_step(look)
        yield from of_layers(look, comparable)
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
    total, forward = len(off), name == "output"
    if look.c.bidirectional:
        halves = dict(zip(("forward", "reverse"), np.split(off, 2, axis=2), strict=True)) if forward else {}
        wrong_halves = {told: np.flatnonzero(half.any(axis=(1, 2))) for told, half in halves.items() if half.any()}
        for told, at in wrong_halves.items():
            if len(at) < total:
                yield f"The {told} half of the output is wrong at step {listed([str(t + 1) for t in at])} of {total}."
        if len(wrong_halves) == 1:
            yield f"Only the {next(iter(wrong_halves))} half of the output is wrong."
        return
    ends = [off[:length, b].any(axis=1)[:: 1 if forward else -1] for b, length in enumerate(look.c.lengths)]
    wrong = [t for t in range(total) if any(t < len(steps) and steps[t] for steps in ends)]
    own = ""
    if len(set(look.c.lengths)) > 1:
        sequences = [str(b + 1) for b in range(off.shape[1]) if off[:, b].any()]
        if len(sequences) < off.shape[1]:
            which = f"sequences {listed(sequences)}" if len(sequences) > 1 else f"sequence {sequences[0]}"
            be = "are" if len(sequences) > 1 else "is"
            yield f"Only {which} of {off.shape[1]} {be} wrong (their lengths are {look.c.lengths})."
        own = "" if forward else " (each sequence counted from its own end)"
    if wrong and wrong != list(range(wrong[0], total)):
        steps = listed([str(t + 1) for t in wrong] if forward else [str(total - t) for t in reversed(wrong)])
        yield f"{'The output' if forward else name} is wrong at step {steps} of {total}{own}, and right at the others."
    elif wrong and forward:
        first = wrong[0]
        told = f"right until step {first} and wrong from step {first + 1}" if first else "wrong from the first step"
        why = ": what is wrong has to do with the state that the first step hands on" if first == 1 else ""
        yield f"The output is {told} (of {total}) on{why}."
    elif wrong == list(range(total)):
        yield f"d_input is wrong from the last step on{own}: the fault is in the step itself or in what comes in."
    elif wrong:
        last = "the last step" if wrong[0] == 1 else f"the last {wrong[0]} steps"
        carried = "what is wrong is carried from step to step"
        yield f"d_input is right at {last} and wrong at every earlier one{own}: {carried}."


def of_gates(look: Look) -> Iterator[str]:
    """Which gates are wrong in the gradients of weights and biases."""
    gates, rows, seen = look.setting.cell.gates, dict[str, str](), dict[str, list[str]]()
    for key in changed(look.c, look.truth, look.offered, False, look.exact):
        name, _, gate = key[:-1].partition("[")
        rows[name] = rows.get(name, "") + gate * (gate in gates)
    for name, which in rows.items():
        seen.setdefault(which, []).append(name)
    for which, names in seen.items():
        if 0 < len(which) < len(gates):
            rest = listed([gate for gate in gates if gate not in which])
            yield f"In {shortened(names)} the rows of gate {listed([*which])} are wrong and those of {rest} right."


def of_single_step(look: Look) -> Iterator[str]:
    """What is wrong where there is only one step, so that nothing is carried from one to another."""
    there = take(look.subject, replace(look.c, lengths=(1,) * len(look.c.lengths)), str(look.dtype))
    if max(look.c.lengths) == 1 or look.first_is_right or there is None or there.raised:
        return
    if not there.wrong_in_value:
        yield "With a single step everything is right: the fault is in what goes from step to step, or adds up."
    elif len(there.wrong_in_value) < len(look.wrong_in_value):
        several = len(there.wrong_in_value) > 1
        yield f"With a single step only {shortened(there.wrong_in_value)} {'are' if several else 'is'} wrong."
    if not list(of_gates(look)):
        yield from (f"With a single step: {told[0].lower()}{told[1:]}" for told in of_gates(there))


def of_layers(look: Look, names: Sequence[str]) -> Iterator[str]:
    """Whether only one direction is wrong, and how the error changes with the layer."""
    parameters = [name for name in names if re.search(r"_l\d", name)]
    reverse = [name for name in parameters if name.endswith("_reverse")]
    if look.c.bidirectional and parameters and len(reverse) in (0, len(parameters)):
        direction = "reverse" if reverse else "forward"
        yield f"Of the parameters' gradients only those of the {direction} direction are wrong."
    layers: list[list[float]] = [[0.0] for _ in range(look.c.num_layers)]
    for name in parameters:
        layers[int(re.findall(r"_l(\d+)", name)[0])].append(look.errors[name])
    for name in {"h_n", "c_n"} & {*names}:
        for k, (own, right) in enumerate(zip(look.offered[name], look.truth[name], strict=True)):
            layers[k // (1 + look.c.bidirectional)].append(relative_error(own, right))
    if len(layers) > 1 and any(map(any, layers)):
        listing = ", ".join(f"{max(errors):.0e} in layer {layer}" for layer, errors in enumerate(layers))
        yield f"The error of {'the gradients of the parameters' if parameters else 'the final state'}: {listing}."


def of_values(look: Look, names: Sequence[str]) -> Iterator[str]:
    """What the numbers of a wrong tensor are, if they are anything simple."""
    simple: dict[str, list[str]] = {}
    for name in names:
        told = in_simple_terms(look.offered[name].astype(float), look.truth[name].astype(float), look.exact)
        simple.setdefault(told, []).append(name)
    for told, where in simple.items():
        if told:
            are, it = ("are", "they") if len(where) > 1 else ("is", "it")
            yield f"{shortened(where)} {are} {told.replace('it should', it + ' should')}."
    largest = max(look.errors[name] for name in look.wrong_in_value)
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
    if value.size <= 3 or not factor or not alike(part, factor * right, exact):
        return ""
    near, factor = Fraction(factor * largest).limit_denominator(32), factor * largest
    simple = abs(near.numerator) <= 1000 and abs(float(near) - factor) < 2 * exact * abs(factor)
    told = f"exactly {near}" if simple else f"{factor:.4g}"
    return "" if told in ("exactly 1", "1") else f"{told.replace('-', '−')} times what it should be"
