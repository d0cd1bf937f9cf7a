"""What is wrong with an implementation that fails, told as a teacher would tell it.

Two things are told. **Patterns**: faults that are made from the equations and the loops, or stand in a table
(reference/faults). They are found not by their symptoms but by computing what an implementation with the fault gives;
where that is equal to rounding to what the subject gave, in every tensor, there is no doubt. If no single fault fits,
two together are tried. **Observations**: what can be read off the tensors whatever the pattern is: which are wrong,
from which step on, in which gates, layers and directions.

Both are looked for at the simplest kind of problem at which the subject still fails, made rich enough that faults can
be told apart: several sequences, several steps, more features than one, everything random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..candidates import Implementation
from ..conditioning import tolerances
from ..faults import Fault
from ..problems import Configuration
from ..stages.findings import listed
from .look import Explanation, Look, take
from .observations import observe
from .patterns import explain
from .probes import Option, simplest_kind, variations

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
            lines.append("No known fault gives these numbers.")
        if self.observations:
            lines.append(f"Looked at in {self.configuration}:")
        return "\n".join([*lines, *self.observations])


def diagnose(subject: Implementation, configuration: Configuration) -> Diagnosis:
    """What is wrong with the subject, which fails at this configuration.

    Raises nothing, whatever the subject raises or gives.
    """
    try:
        return looked_at(subject, configuration)
    except Exception as error:  # what a subject's tensors can be is not foreseen
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")
        return Diagnosis(configuration, (), (f"What it gives could not be looked at ({told}).",))


def looked_at(subject: Implementation, configuration: Configuration) -> Diagnosis:
    """The same, for what is foreseen."""
    dtypes = [dtype for dtype in ("float64", "float32") if dtype in subject.dtypes]
    for dtype in dtypes:
        look, options = simplest_kind(subject, configuration, dtype)
        if look is None:  # then it is something about these sizes or numbers
            alone = take(subject, configuration, dtype)
            if alone is not None and not alone.raised:
                allowed = tolerances(alone.problem, alone.errors, alone.setting.masks)
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
        only: tuple[str, ...] = ()
        if dtype != dtypes[0]:
            accuracy = look.wrong_in_value and set(look.wrong_in_value) <= set(look.offered)
            told = "In float64 everything is right"
            only = (f"{told}: this is about the accuracy of float32." if accuracy else f"{told}.",)
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
        other = take(look.subject, configuration, str(look.dtype)) if len(found) > 1 else None
        if other is None or configuration == look.c or other.raised:
            continue
        forward = bool(look.forward_wrong) and not any(look.explains(*each) for each in found)
        still = [each for each in found if other.explains(*each, forward_only=forward)]
        found = still or found
    return found


def of_options(subject: Implementation, configuration: Configuration, options: Sequence[Option]) -> Iterator[str]:
    """With which options it is wrong, if not always."""
    if options:
        yield f"It is wrong only with {listed([option.name for option in options])}; without, everything is right."
