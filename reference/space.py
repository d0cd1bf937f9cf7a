"""The space of options: every combination at small sizes, random points in it, and the way to its simplest corner."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import Any

import numpy as np

from .problems import CELLS, Configuration, can_project

SIZES = (1, 2, 3, 5, 8)
STEPS = range(1, 10)


def grid(seed: int = 0) -> list[Configuration]:
    """Every combination of options at small sizes, with size 1 among them; dropout where there are three layers.

    seed: of the first configuration; the others have those that follow.
    """
    inputs: list[dict[str, Any]] = [
        {"layout": "batched", "lengths": (5, 5, 5)},
        {"layout": "batched", "lengths": (4, 4), "input_size": 4, "upstream": ("output",)},
        {"layout": "batched", "lengths": (3, 3), "batch_first": True},
        {"layout": "batched", "lengths": (1,), "input_size": 1, "hidden_size": 3},
        {"layout": "unbatched", "lengths": (6,)},
        {"layout": "packed", "lengths": (3, 7, 1, 7)},
    ]
    dropouts: list[dict[str, Any]] = [{}, {"dropout": 0.4}, {"dropout": 0.4, "training": False}]
    options = product(CELLS, (1, 2, 3), (True, False), (False, True), (True, False), dropouts, (0, 2), inputs)
    names = ("cell", "num_layers", "bias", "bidirectional", "initial_state", "proj_size")
    return [
        Configuration(**dict(zip(names, (*chosen, projection), strict=True)), seed=seed + number, **dropout, **given)
        for number, (*chosen, dropout, projection, given) in enumerate(options)
        if not (dropout and chosen[1] < 3) and not (projection and not can_project(CELLS[chosen[0]]["module"]))
    ]


def sized(configuration: Configuration, sizes: Mapping[str, int]) -> Configuration:
    """The configuration with these sizes, by their letters: T steps, B sequences, I input and H hidden features.

    Packed sequences are as long as T, T − 1 and so on; a single sequence and an empty batch stay what they are.
    """
    c = configuration
    steps, batch = sizes.get("T", max(c.lengths, default=0)), sizes.get("B", len(c.lengths))
    if c.layout == "unbatched" or not c.lengths:
        lengths = (steps,) * len(c.lengths)
    elif c.layout == "packed" and sizes.keys() & {"T", "B"}:
        lengths = tuple(max(1, steps - number) for number in range(batch))
    else:
        lengths = (steps,) * batch if c.layout != "packed" else c.lengths
    hidden = sizes.get("H", c.hidden_size)
    projection = min(c.proj_size, hidden - 1)
    return replace(
        c, input_size=sizes.get("I", c.input_size), hidden_size=hidden, proj_size=projection, lengths=lengths
    )


def choose(
    pick: Callable[[Sequence[Any]], Any], cells: Sequence[str] = tuple(CELLS), dropout: bool = True
) -> Configuration:
    """A configuration from anywhere in the space: `pick` chooses one among several, the simplest being the first."""
    cell = pick(cells)
    hidden_size, num_layers = pick(SIZES), pick((1, 2, 3))
    projects = hidden_size > 1 and can_project(CELLS[cell]["module"]) and pick((False, True))
    layout = pick(("batched", "unbatched", "packed"))
    if layout == "packed":
        lengths = tuple(pick(STEPS) for _ in range(pick(range(1, 7))))
    else:
        lengths = (pick(STEPS),) * (1 if layout == "unbatched" else pick(range(7)))
    return Configuration(
        cell=cell,
        input_size=pick(SIZES),
        hidden_size=hidden_size,
        num_layers=num_layers,
        bias=pick((True, False)),
        batch_first=pick((False, True)),
        dropout=pick((0.0, 0.3, 1.0)) if dropout and num_layers > 1 else 0.0,
        bidirectional=pick((False, True)),
        proj_size=pick(range(1, hidden_size)) if projects else 0,
        lengths=lengths,
        layout=layout,
        initial_state=pick((False, True)),
        training=pick((True, False)),
        upstream=tuple(name for name in ("output", "h_n", "c_n") if pick((True, False))),
        weight_scale=pick((1.0, 0.5, 3.0)),
        seed=pick(range(2**32)),
    )


def examples(rng: np.random.Generator, wanted: Callable[[Configuration], bool], count: int) -> list[Configuration]:
    """`count` random configurations that are wanted; fewer if hardly any is."""
    drawn = (choose(lambda options: options[int(rng.integers(len(options)))]) for _ in range(200 * count))
    return list(islice((configuration for configuration in drawn if wanted(configuration)), count))


def labels(configuration: Configuration) -> dict[str, str]:
    """What a configuration is like, in words, for each of the option groups."""
    c = configuration
    square = "I = H" if c.input_size == c.hidden_size else "I ≠ H"
    weights = {0.5: "half the usual weights", 1.0: "usual weights", 3.0: "saturating weights"}
    return {
        "cell": c.cell,
        "layers": f"{c.num_layers} layer{'s' if c.num_layers > 1 else ''}",
        "direction": "two directions" if c.bidirectional else "one direction",
        "input": f"{c.layout}, batch first" if c.batch_first and c.layout == "batched" else c.layout,
        "bias": "with bias" if c.bias else "without bias",
        "projection": "projected" if c.proj_size else "not projected",
        "state": "state given" if c.initial_state else "state omitted",
        "dropout": f"dropout{'' if c.training else ', eval()'}" if c.dropout else "no dropout",
        "sizes": "some size is 1" if 1 in (c.input_size, c.hidden_size, *c.lengths) else square,
        "weights": weights.get(c.weight_scale, f"weights × {c.weight_scale:g}"),
    }


def traits(configuration: Configuration) -> dict[str, bool]:
    """What can be asked of a configuration, by the names of the command's options."""
    c = configuration
    return {
        **{"packed": c.layout == "packed", "unbatched": c.layout == "unbatched", "batch_first": c.batch_first},
        **{"bidirectional": c.bidirectional, "bias": c.bias, "projection": c.proj_size > 0},
        **{"dropout": c.dropout > 0, "state": c.initial_state},
    }


def simpler(configuration: Configuration) -> Iterator[Configuration]:
    """Configurations that are a little simpler, the boldest first. Going from one to the next comes to an end."""
    c, plain = configuration, Configuration(configuration.cell)
    options = ("num_layers", "bias", "batch_first", "dropout", "bidirectional", "training")
    changes: list[dict[str, Any]] = [
        *({name: getattr(plain, name)} for name in (*options, "weight_scale", "bias_shift", "seed")),
        {"layout": "batched", "lengths": (max(c.lengths, default=3),) * len(c.lengths)},
        {"proj_size": 0},
        {"initial_state": False},
        *({"upstream": tuple(each for each in c.upstream if each != name)} for name in c.upstream if name != "output"),
    ]
    for name in ("num_layers", "input_size", "hidden_size", "proj_size"):
        changes += [{name: value} for value in range(1, getattr(c, name))]
    for number in range(len(c.lengths) - 1, 0, -1):
        changes += [{"lengths": c.lengths[:-1]}, {"lengths": c.lengths[number:]}]
    for length in sorted({1, 2, 3, *(length - 1 for length in c.lengths)} - {0}):
        changes.append({"lengths": tuple(min(length, own) for own in c.lengths)})
    for each in changes:
        try:
            changed = replace(c, **each)
        except ValueError:
            continue
        fits = changed.proj_size < changed.hidden_size and not (changed.dropout and changed.num_layers == 1)
        if fits and changed != c:
            yield changed


def smallest(configuration: Configuration, fails: Callable[[Configuration], bool]) -> Configuration:
    """The simplest configuration that still fails, going from one that fails in steps that keep it failing."""
    while (found := next(filter(fails, simpler(configuration)), None)) is not None:
        configuration = found
    return configuration
