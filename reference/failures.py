"""From many disagreements to a few failures: the simplest case of each, what is wrong there, and how to see it.

One fault in a recurrence shows in hundreds of configurations and in most tensors. So a failing configuration is made
simpler for as long as it keeps failing, and every other one that needs at least what the simplest needs is put down to
the same failure. What remains is another failure. Where the forward pass is wrong, the gradients are wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from .candidates import Implementation, NotOffered, needs
from .check import Found, Row, examine
from .diagnosis import Diagnosis, diagnose
from .problems import Configuration
from .space import smallest


@dataclass(frozen=True)
class Failure:
    """Something that the subject gets wrong."""

    subject: Implementation
    configuration: Configuration
    """The simplest one that shows it."""
    rows: list[Row]
    """What is wrong there."""
    count: int
    """How many configurations of the check it explains."""
    diagnosis: Diagnosis
    against: list[str]
    """The witnesses that agree with the truth there, and so disagree with the subject."""

    @property
    def reproduction(self) -> str:
        """Three lines of Python that show the failure."""
        statement, name = self.subject.source
        return "\n".join(
            [
                "from reference import Configuration, assert_equivalent",
                statement,
                f"assert_equivalent({name}, {self.configuration})",
            ]
        )

    def explains(self, row: Row) -> bool:
        """Whether a disagreement elsewhere is put down to this: the same cell, no less is needed, and the same tensor.

        What is wrong forward, and a pattern that is known, explain every tensor.
        """
        here, there = self.configuration, row.configuration
        kinds = {row.kind for row in self.rows}
        every = self.diagnosis.patterns or any(not kind.startswith("d_") for kind in kinds)
        return here.cell == there.cell and set(needs(here)) <= set(needs(there)) and (bool(every) or row.kind in kinds)

    def __str__(self) -> str:
        tensors = ", ".join(dict.fromkeys(row.tensor for row in self.rows))
        worst = max(self.rows, key=lambda row: row.error)
        return "\n".join(
            [
                f"{self.subject.name}, {worst.dtype}: wrong in {tensors}, in {self.configuration}",
                *(f"  {line}" for line in str(self.diagnosis).splitlines()),
            ]
        )


class Told(NamedTuple):
    """The failures that are told, and in words what is left out."""

    failures: list[Failure]
    rest: str = ""


def failures(found: Found, most: int = 5) -> Told:
    """The failures behind the subject's disagreements, the simplest first; the first few if there are many."""
    places = {configuration: place for place, configuration in enumerate(found.configurations)}

    def from_simple_to_rich(row: Row) -> tuple[bool, int, int]:
        return row.dtype != "float64", len(needs(row.configuration)), places[row.configuration]

    remaining = sorted(found.failures, key=from_simple_to_rich)
    told: dict[str, Failure] = {}
    while remaining and len(told) < most:
        failure = simplest(found.subject, remaining[0])
        explained = [row for row in remaining if failure.explains(row)]
        count = len({row.configuration for row in explained} | {remaining[0].configuration})
        pattern = "".join(fault.explanation for fault in failure.diagnosis.patterns) or str(failure)
        if pattern in told:  # the same with another cell, or in another dtype
            failure, count = told[pattern], told[pattern].count + count
        told[pattern] = replace(failure, count=count)
        remaining = [row for row in remaining[1:] if not failure.explains(row) and row not in explained]
    others = len({row.configuration for row in remaining})
    rest = (
        f"And {others} more configuration{'s' if others > 1 else ''} in which something else is wrong."
        if others
        else ""
    )
    return Told(list(told.values()), rest)


def simplest(subject: Implementation, row: Row) -> Failure:
    """The failure that one disagreement leads to."""

    def wrong(configuration: Configuration) -> list[Row]:
        try:
            rows = list(examine(configuration, subject, (row.dtype,), witnesses=False))
        except NotOffered:
            return []
        return [each for each in rows if not each.agrees]

    def fails(configuration: Configuration) -> bool:
        return any(each.kind == row.kind for each in wrong(configuration))

    configuration = smallest(row.configuration, fails)
    rows = wrong(configuration) or [row]
    diagnosis = diagnose(subject, configuration)
    if all(each.what for each in rows):  # there are no numbers to disagree about
        return Failure(subject, configuration, rows, 1, diagnosis, [])
    testimony = [
        each for each in examine(configuration, subject, (row.dtype,), witnesses=True) if each.who != subject.name
    ]
    disagree = {each.who for each in testimony if not each.agrees}
    against = [who for who in dict.fromkeys(each.who for each in testimony) if who not in disagree]
    return Failure(subject, configuration, rows, 1, diagnosis, against)
