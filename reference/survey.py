"""The worst error of every tensor over many configurations, `scratch` against PyTorch in float64."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from .equivalence import TOLERANCE, Difference, compare
from .problems import CELLS, Configuration, draw, run_scratch, run_torch


@dataclass(frozen=True)
class Worst:
    """Where a tensor differed most."""

    difference: Difference
    configuration: Configuration

    def __str__(self) -> str:
        name, error, what = self.difference
        return f"{name} {what or f'differs by {error:.1e}'} in {self.configuration}"


Survey = dict[tuple[str, str], Worst]
"""By tensor (without the layer's number) and cell."""


def survey(configurations: Iterable[Configuration], advance: Callable[[], None] = lambda: None) -> Survey:
    """Run every configuration in both libraries. `advance` is called after each."""
    found: Survey = {}
    for configuration in configurations:
        problem = draw(configuration)
        ours, masks = run_scratch(problem)
        for difference in compare(ours, run_torch(problem, masks)):
            key = re.sub(r"_l\d+(_reverse)?$", "", difference.name), configuration.cell
            if key not in found or difference.error > found[key].difference.error:
                found[key] = Worst(difference, configuration)
        advance()
    return found


def disagreements(found: Survey) -> list[str]:
    """What lies outside the promised bound, in words."""
    return [str(worst) for worst in found.values() if not worst.difference.error <= TOLERANCE]


def grid() -> list[Configuration]:
    """Every combination of options at small sizes, with size 1 among them; dropout where there are three layers."""
    inputs: list[dict[str, Any]] = [
        {"layout": "batched", "lengths": (5, 5, 5)},
        {"layout": "batched", "lengths": (4, 4), "batch_first": True},
        {"layout": "batched", "lengths": (1,), "input_size": 1, "hidden_size": 3},
        {"layout": "unbatched", "lengths": (6,)},
        {"layout": "packed", "lengths": (3, 7, 1, 7)},
    ]
    options = product(CELLS, (1, 2, 3), (True, False), (False, True), (True, False), (0.0, 0.4), (0, 2), inputs)
    return [
        Configuration(
            cell=cell,
            num_layers=layers,
            bias=bias,
            bidirectional=bidirectional,
            initial_state=initial_state,
            dropout=dropout,
            proj_size=projection,
            seed=seed,
            **given,
        )
        for seed, (cell, layers, bias, bidirectional, initial_state, dropout, projection, given) in enumerate(options)
        if not (dropout and layers < 3) and not (projection and cell != "LSTM")
    ]
