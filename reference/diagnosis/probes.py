"""Where to look: the plainest problems at which a subject still fails, and variations of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from ..candidates import Implementation
from ..problems import Configuration
from .look import Look, take


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
