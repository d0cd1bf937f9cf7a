"""What the tests draw at random: configurations of a recurrence, over the whole space of options."""

from hypothesis import strategies as st

from reference.problems import CELLS, Configuration

sizes = st.sampled_from([1, 2, 3, 5, 8])


@st.composite
def configurations(draw: st.DrawFn, cells: tuple[str, ...] = tuple(CELLS), dropout: bool = True) -> Configuration:
    cell = draw(st.sampled_from(cells))
    hidden_size = draw(sizes)
    projects = CELLS[cell]["module"] == "LSTM" and hidden_size > 1
    layout = draw(st.sampled_from(["batched", "unbatched", "packed"]))
    if layout == "packed":
        lengths = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=6)))
    else:
        batch = 1 if layout == "unbatched" else draw(st.integers(0, 6))
        lengths = (draw(st.integers(1, 9)),) * batch
    layers = draw(st.integers(1, 3))
    return Configuration(
        cell=cell,
        input_size=draw(sizes),
        hidden_size=hidden_size,
        num_layers=layers,
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.3, 1.0])) if dropout and layers > 1 else 0.0,
        bidirectional=draw(st.booleans()),
        proj_size=draw(st.integers(1, hidden_size - 1)) if projects and draw(st.booleans()) else 0,
        lengths=lengths,
        layout=layout,
        initial_state=draw(st.booleans()),
        upstream=tuple(name for name in ("output", "h_n", "c_n") if draw(st.booleans())),
        weight_scale=draw(st.sampled_from([0.5, 1.0, 3.0])),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
