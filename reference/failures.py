"""From many disagreements to a few failures: the simplest case of each, what is wrong there, and how to see it.

One fault in a recurrence shows in hundreds of configurations and in most tensors. So a failing configuration is made
simpler for as long as it keeps failing, and every other one that needs at least what the simplest needs is put down to
the same failure. What remains is another failure. Where the forward pass is wrong, the gradients are wrong with it.
"""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from .candidates import DTYPES, HALVES, Implementation, NotOffered, needs
from .check import EVERYTHING, Found, Row, examine
from .diagnosis import Diagnosis, diagnose
from .problems import Configuration, draw
from .space import sized, smallest

SAID_ABOVE = ("Looked at in ", "Wrong: ", "It raises an error: ", "Forward writes", "Backward writes")
"""How lines of a diagnosis begin that say what the failure's first lines have said."""

HALVES_UNDIAGNOSED = "What is wrong in float16 or bfloat16 alone is not diagnosed: their rounding hides too much."


@dataclass(frozen=True)
class Failure:
    """Something that the subject gets wrong."""

    subject: Implementation
    configuration: Configuration  # the simplest one that shows it
    rows: list[Row]  # what is wrong there
    diagnosis: Diagnosis
    seen: list[Row]  # all tensors where it was diagnosed
    against: list[str]  # the witnesses that agree with the truth there, and so disagree with the subject
    count: int = 1  # how many configurations of the check it explains
    dtypes: tuple[str, ...] = ()  # in which it was seen

    @property
    def reproduction(self) -> str:
        """Three lines of Python that show the failure."""
        statement, name = self.subject.source
        dtypes = f", dtypes={list(self.dtypes)}" if set(self.dtypes) & set(HALVES) else ""
        call = f"assert_equivalent({name}, {self.configuration}{self.subject.arguments}{dtypes})"
        return f"from reference import Configuration, assert_equivalent\n{statement}\n{call}"

    @property
    def wrong(self) -> dict[str, Row]:
        """The worst of each kind of tensor that is wrong."""
        worst = {row.kind: row for row in sorted(self.seen, key=lambda row: row.error) if not row.agrees}
        return {row.kind: worst[row.kind] for row in self.seen if row.kind in worst}

    def explains(self, row: Row) -> bool:
        """Whether a disagreement elsewhere is put down to this: the same cell, no less is needed, and the same tensor.

        What is wrong forward, and a pattern that is known, explain every tensor.
        """
        here, there = self.configuration, row.configuration
        kinds = {row.kind for row in self.rows} | self.wrong.keys()
        every = self.diagnosis.patterns or any(not kind.startswith("d_") for kind in kinds)
        return here.cell == there.cell and set(needs(here)) <= set(needs(there)) and (bool(every) or row.kind in kinds)

    @property
    def cause(self) -> str:
        """The same for two failures that have one cause, with another cell, another option, or in another dtype."""
        known = "".join(fault.explanation for fault in self.diagnosis.patterns)
        told = ", ".join(row.what or kind for kind, row in self.wrong.items())
        return known or re.sub(r"\d+", "#", "\n".join([told, *self.lines]))

    @property
    def headline(self) -> str:
        """What is wrong, and by how much."""
        told, several = [], self.seen[0].configuration.num_layers > 1 or self.seen[0].configuration.bidirectional
        for kind, row in self.wrong.items():
            tensors = {row.tensor for row in self.seen if row.kind == kind and not row.agrees}
            name = tensors.pop() if several and len(tensors) == 1 else kind
            off = f"{name} off by {row.error:.1e}" if row.error < float("inf") else f"{name} not finite, or not zero"
            told.append(row.what if kind == EVERYTHING else f"{name}: {row.what}" if row.what else off)
        return f"{self.subject.name}, {' and '.join(self.dtypes)}: {', '.join(told)}"

    @property
    def lines(self) -> list[str]:
        """What is right, and what was found out."""
        judged = dict.fromkeys(row.kind for row in self.seen if row.judged)
        right = [kind for kind in judged if kind not in self.wrong]
        told = [line for line in str(self.diagnosis).splitlines() if not line.startswith(SAID_ABOVE)]
        return [f"Right: {', '.join(right)}."] * bool(right) + told

    def __str__(self) -> str:
        return "\n  ".join([self.headline, *self.lines, f"in {self.seen[0].configuration}"])


class Told(NamedTuple):
    """The failures that are told, and in words what is left out."""

    failures: list[Failure]
    rest: str = ""


def failures(found: Found, most: int = 5) -> Told:
    """The failures behind the subject's disagreements, the simplest first; the first few if there are many."""
    places = {configuration: place for place, configuration in enumerate(found.configurations)}
    order = (*DTYPES, *HALVES)
    remaining = sorted(
        found.failures,
        key=lambda row: (order.index(row.dtype), len(needs(row.configuration)), places[row.configuration]),
    )
    told: dict[str, Failure] = {}
    where: dict[str, set[Configuration]] = {}
    while remaining and len(told) < most:
        failure = simplest(found.subject, remaining[0])
        explained = [row for row in remaining if row is remaining[0] or failure.explains(row)]
        cause, dtypes = failure.cause, {row.dtype for row in explained}
        where.setdefault(cause, set()).update(row.configuration for row in explained)
        if cause in told:  # the same with another cell, or in another dtype
            failure = told[cause]
            dtypes |= set(failure.dtypes)
        told[cause] = replace(failure, count=len(where[cause]), dtypes=tuple(sorted(dtypes, key=order.index)))
        remaining = [row for row in remaining if row not in explained and not failure.explains(row)]
    others = len({row.configuration for row in remaining})
    more = f"And {others} more configuration{'s' * (others > 1)} in which something else is wrong."
    return Told(list(told.values()), more if others else "")


def simplest(subject: Implementation, row: Row) -> Failure:
    """The failure that one disagreement leads to."""

    def rows_of(configuration: Configuration, witnesses: bool = False) -> list[Row]:
        try:
            return list(examine(configuration, subject, (row.dtype,), witnesses))
        except NotOffered:
            return []

    def fails(configuration: Configuration) -> bool:
        fits = sized(configuration, subject.sizes) == configuration
        alike = (each for each in rows_of(configuration) if not each.agrees and each.kind == row.kind)
        return fits and any(each.what.partition(":")[0] == row.what.partition(":")[0] for each in alike)

    configuration = smallest(row.configuration, fails)
    here = rows_of(configuration)
    rows = [each for each in here if not each.agrees] or [row]
    diagnosis = told_of(subject, configuration, rows[0])
    seen = rows_of(diagnosis.configuration)
    if all(each.agrees for each in seen):  # it was looked at in another dtype, or with other tolerances
        seen = here if any(not each.agrees for each in here) else rows
    agree: dict[str, bool] = {}
    if not all(each.what for each in rows):  # there are numbers to disagree about
        for each in rows_of(configuration, witnesses=True):
            agree[each.who] = each.agrees and agree.get(each.who, True)
    against = [who for who, agrees in agree.items() if agrees and who != subject.name]
    return Failure(subject, configuration, rows, diagnosis, seen, against)


def told_of(subject: Implementation, configuration: Configuration, row: Row) -> Diagnosis:
    """The diagnosis, where one can be made: it draws problems of its own, in float64 and in float32."""
    if row.dtype in HALVES and not row.unfit:
        full = " and ".join(dtype for dtype in subject.dtypes if dtype in DTYPES)
        right = f"In {full} it is right." if full else "Check it in float32 too: what is wrong there is diagnosed."
        return Diagnosis(configuration, (), (right, HALVES_UNDIAGNOSED))
    problem, rich = draw(configuration), Configuration(configuration.cell, input_size=4, lengths=(5, 5, 5))
    if row.unfit or subject.adapted(problem) is not problem or sized(rich, subject.sizes) != rich:
        return Diagnosis(configuration, (), ())
    return diagnose(subject, configuration)
