"""The recurrences whose weights are carried across: every form that weights can have, small and random."""

from collections.abc import Sequence

from hypothesis import strategies as st

from reference.problems import CELLS, Configuration, Problem, draw


def problems(cells: Sequence[str] = tuple(CELLS)) -> st.SearchStrategy[Problem]:
    """Problems with random weights, input and initial states, in float64."""
    sizes, few = st.integers(1, 4), st.integers(1, 3)
    return st.builds(
        lambda batch, steps, **options: draw(Configuration(lengths=(steps,) * batch, **options)),
        cell=st.sampled_from(cells),
        input_size=sizes,
        hidden_size=sizes,
        num_layers=few,
        bias=st.booleans(),
        bidirectional=st.booleans(),
        seed=st.integers(0, 2**32 - 1),
        batch=few,
        steps=few,
    )
