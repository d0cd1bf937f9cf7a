"""What the simplest problems show about a candidate: in which dtypes it computes, and what its backward takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..problems import draw
from .needs import DTYPES, NotOffered
from .refusals import ERRORS, in_words, refuses

if TYPE_CHECKING:
    from .base import Implementation

FINALS = ("h_n", "c_n")
NUMBER_TYPE = ("float", "double", "half", "dtype")
"""How an error says that it is about the type of the numbers."""


class ToDo(NotImplementedError):
    """There is no backward yet. The argument: how that was seen."""


class Manner(NamedTuple):
    """What the simplest problems have shown about a candidate."""

    dtypes: tuple[str, ...]
    reasons: dict[str, str]
    upstream: tuple[str, ...]
    """Which gradients it takes at least: of the output, or, of a model that is many to one, of the final state."""
    to_do: str


def manner_of(subject: Implementation) -> Manner:
    """What there is of it: each dtype is tried, with a gradient of the output and of the final state alone."""
    works: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    crashes: list[str] = []
    to_do = ""
    ways = [("output",), FINALS] if subject.only != "final" else [FINALS]
    for dtype in dict.fromkeys((*subject.asked, *DTYPES)):
        if dtype not in subject.asked and (works or crashes):
            break
        for upstream in list(ways):
            problem = draw(subject.simplest(subject.cells[0], upstream)).astype(dtype)
            try:
                (run, *_), _ = subject.attempt(subject.adapted(problem), calls=1)
            except ToDo as error:
                works[dtype], to_do = ways[0], str(error)
            except NotOffered:
                ways = [FINALS]  # it gives no output: a model that is many to one
                continue
            except ERRORS as error:
                about_type = any(word in str(error).lower() for word in NUMBER_TYPE)
                if refuses(error, subject.owners) and upstream != ways[-1]:
                    continue
                if refuses(error, subject.owners) or about_type:
                    reasons[dtype] = in_words(error)
                else:
                    crashes.append(dtype)
            else:
                given = next((value for value in run.values() if value is not None), None)
                found = getattr(getattr(given, "dtype", None), "name", dtype)
                if found == problem.input.dtype.name:
                    works[dtype] = upstream
                else:
                    reasons[dtype] = f"its output is of dtype {found}"
            break
    if not works:
        return Manner(subject.asked[:1], {}, ways[0], "")  # it raises in all of them, or none is what it gives
    dtypes = tuple(dtype for dtype in subject.asked if dtype in works or dtype in crashes)
    reasons = {dtype: reason for dtype, reason in reasons.items() if dtype in subject.asked}
    return Manner(dtypes, reasons, [*works.values(), *ways][0], to_do if subject.only is None else "")
