"""What the tests draw at random: configurations of a recurrence, over the whole space of options."""

from collections.abc import Sequence

from hypothesis import strategies as st

from reference.problems import CELLS, Configuration
from reference.space import choose

MODULES = tuple(dict.fromkeys(str(row["module"]) for row in CELLS.values()))
"""The names of the recurrences' classes, the same in both libraries."""


@st.composite
def configurations(draw: st.DrawFn, cells: Sequence[str] = tuple(CELLS), dropout: bool = True) -> Configuration:
    return choose(lambda options: draw(st.sampled_from(options)), cells, dropout)
