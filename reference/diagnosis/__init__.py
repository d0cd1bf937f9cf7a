"""What is wrong with an implementation that fails, told as a teacher would tell it.

Two things are told. **Explanations**: faults (reference/faults) that are found not by their symptoms but by computing
what an implementation with the fault gives; where that is equal to rounding to what the subject gave, in every tensor,
there is no doubt. If no single fault fits, two together are tried. **Observations**: what can be read off the tensors
whatever the fault is: which are wrong, from which step on, in which gates, layers and directions.

Both are looked for at the simplest kind of problem at which the subject still fails (probes.py), made rich enough that
faults can be told apart: several sequences, several steps, more features than one, everything random.
"""

from dataclasses import dataclass

import numpy as np

from ..candidates import Implementation
from ..conditioning import tolerances
from ..faults import Fault
from ..problems import Configuration
from ..stages.findings import listed
from .explain import Explanation, explain
from .look import Look, take
from .observations import observe
from .probes import simplest_kind, variations

__all__ = ["Diagnosis", "diagnose"]


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
        if len(self.explanations) > 1:
            lines.append("These faults give exactly these numbers, and cannot be told apart here:")
            lines += [f"  - {' '.join(fault.explanation for fault in each)}" for each in self.explanations]
        elif len(self.patterns) > 1:
            lines.append("Two known faults together give exactly these numbers:")
            lines += [f"  {number}. {fault.explanation}" for number, fault in enumerate(self.patterns, 1)]
        elif self.patterns:
            lines.append(self.patterns[0].explanation)
        elif any(told.startswith("Wrong: ") for told in self.observations):
            lines.append("No known fault gives these numbers.")
        return "\n".join(
            [*lines, *[f"Looked at in {self.configuration}:"] * bool(self.observations), *self.observations]
        )


@np.errstate(all="ignore")
def diagnose(subject: Implementation, configuration: Configuration) -> Diagnosis:
    """What is wrong with the subject, which fails at this configuration.

    Raises nothing, whatever the subject raises or gives.
    """
    first: list[str] = []
    try:
        told = "This is not offered, so there is nothing to compare."
        for dtype in [dtype for dtype in ("float64", "float32") if dtype in subject.dtypes]:
            look, first_told = where_it_fails(subject, configuration, dtype)
            if look is not None and (look.raised or look.wrong):
                found = told_apart(look, explain(look)) if look.c.lengths else []
                return Diagnosis(look.c, tuple(found), (*first, *first_told, *observe(look, found)))
            first = [f"In {dtype} everything is right."]
            if look is not None:
                told = "The deviation is a few roundings more than allowed: the accuracy falls short, not a formula."
    except Exception as error:  # what a subject's tensors can be is not foreseen
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")
        told = f"What it gives could not be looked at ({words})."
    return Diagnosis(configuration, (), (told,))


def where_it_fails(subject: Implementation, c: Configuration, dtype: str) -> tuple[Look | None, list[str]]:
    """The subject where it is looked at, and what is special there: a rich problem, or if it is right there its own."""
    look, options = simplest_kind(subject, c, dtype)
    if look is not None:
        return look, [f"It is wrong only with {listed(options)}; without, everything is right."] * bool(options)
    look = take(subject, c, dtype)
    if look is not None and not look.raised:
        look.exact = max(tolerances(look.problem, look.errors, look.setting.masks).values())
        look.judge(look.run)
    return look, ["It is right at other sizes: something about these sizes or numbers makes the difference."]


def told_apart(look: Look, found: list[Explanation]) -> list[Explanation]:
    """Those of several explanations that fit at other problems of the kind too."""
    for configuration in variations(look.c)[1:]:
        other = take(look.subject, configuration, str(look.dtype)) if len(found) > 1 else None
        if other is not None and not other.raised:
            forward = bool(look.forward_wrong) and not any(look.explains(*each) for each in found)
            found = [each for each in found if other.explains(*each, forward_only=forward)] or found
    return found
