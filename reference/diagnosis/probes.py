"""Where to look: the plainest problems at which a subject still fails, and variations of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..candidates import Implementation
from ..problems import Configuration
from .look import Look, take

Options = dict[str, dict[str, Any]]
"""What a configuration has and the plainest does not, as it is written, and what is changed for it."""


def options_of(c: Configuration) -> Options:
    """What the configuration has besides the plainest, made rich enough to tell faults apart."""
    plain = ("seed", "input_size", "hidden_size", "lengths")
    rich: Options = {"num_layers": {"num_layers": max(3, c.num_layers)}, "proj_size": {"proj_size": 2}}
    rich["layout"] = {"layout": c.layout, "lengths": (5, 3, 4) if c.layout == "packed" else (5,)}
    rich["dropout"] = {"dropout": c.dropout, "training": c.training} | rich["num_layers"]
    told = {"num_layers": "several layers", "proj_size": "a projection", "dropout": "dropout"}
    options = {told.get(n, f"{n}={v!r}"): rich.get(n, {n: v}) for n, v in c.changes().items() if n not in plain}
    sizes: dict[str, tuple[bool, dict[str, Any]]] = {
        "a batch of one": (len(c.lengths) == 1 and c.layout == "batched", {"lengths": (5,)}),
        "a single step": (max(c.lengths, default=0) == 1, {"lengths": (1,) * len(c.lengths)}),
        "hidden_size=1": (c.hidden_size == 1, {"hidden_size": 1, "input_size": 1}),
        "input_size=1": (c.input_size == 1, {"input_size": 1}),
    }
    return options | {name: changes for name, (given, changes) in sizes.items() if given}


def with_options(c: Configuration, options: Iterable[dict[str, Any]]) -> Configuration:
    """A problem in which most faults can be told apart, with these options alone.

    There are as many input features as each layer puts out.
    """
    plainest = Configuration(c.cell, input_size=4, hidden_size=4, lengths=(5, 5, 5))
    changes = {name: value for option in options for name, value in option.items()}
    base = replace(plainest, **changes)
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
        if look is not None and (look.raised or look.wrong):
            if not look.raised and look.offered:
                return look
            raised = raised or look
    return raised


def simplest_kind(subject: Implementation, c: Configuration, dtype: str) -> tuple[Look | None, Sequence[str]]:
    """Where to look: a rich problem with as few options as are needed to fail, and the names of these options."""
    options = options_of(c)

    def fails_with(names: Iterable[str]) -> Look | None:
        return failing(subject, variations(with_options(c, [options[name] for name in names])), dtype)

    for names in ([], *([name] for name in options), list(options)):
        if (look := fails_with(names)) is not None:
            for name in names if len(names) > 1 else ():
                fewer = [other for other in names if other != name]
                if (simpler := fails_with(fewer)) is not None:
                    names, look = fewer, simpler
            return look, names
    return None, ()
