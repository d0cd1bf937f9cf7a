"""The worst error of every tensor over many configurations, `scratch` against PyTorch in float64."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .equivalence import TOLERANCE, Difference, compare
from .problems import Configuration, draw
from .runs import run_scratch, run_torch


@dataclass(frozen=True)
class Worst:
    """Where a tensor differed most."""

    difference: Difference
    configuration: Configuration

    def __str__(self) -> str:
        name, error, what, _ = self.difference
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
