"""What the tests draw at random: configurations of a recurrence, over the whole space of options."""

from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from reference.problems import CELLS, Configuration
from reference.space import choose

MODULES = tuple(dict.fromkeys(str(row["module"]) for row in CELLS.values()))
"""The names of the recurrences' classes, the same in both libraries."""


THOROUGH = settings().max_examples >= 1000
"""Whether this is the deep run, `--hypothesis-profile thorough`."""


def some(cases: Sequence[Any], every: int) -> Sequence[Any]:
    """Every so many of these cases in the ordinary run, all of them in the thorough one."""
    return cases if THOROUGH else cases[::every]


@st.composite
def configurations(draw: st.DrawFn, cells: Sequence[str] = tuple(CELLS), dropout: bool = True) -> Configuration:
    return choose(lambda options: draw(st.sampled_from(options)), cells, dropout)
