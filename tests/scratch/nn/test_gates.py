"""The names of a cell's gates say which rows of the weights are theirs."""

import numpy as np
import pytest

from scratch import nn


def test_a_closed_gate_of_an_lstm_does_what_its_name_says() -> None:
    lstm = nn.LSTM(3, 4, dtype=np.float64, rng=0)
    x, other_x, c_0, other_c_0 = np.random.default_rng(1).standard_normal((4, 1, 2, 12))
    x, other_x, c_0, other_c_0 = x[..., :3], other_x[..., :3], c_0[..., :4], other_c_0[..., :4]
    bias, rows = lstm.bias_ih_l0.data.copy(), dict(zip(lstm.cell.gates, np.split(np.arange(16), 4), strict=True))

    def final(closed: str, x: np.ndarray, c_0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lstm.bias_ih_l0.data = np.where(np.isin(np.arange(16), rows[closed]), -1000, bias)
        h_n, c_n = lstm(x, (np.zeros((1, 2, 4)), c_0))[1]
        return h_n, c_n

    assert not final("o", x, c_0)[0].any(), "nothing is shown"
    assert np.array_equal(final("f", x, c_0)[1], final("f", x, other_c_0)[1]), "all is forgotten"
    assert not np.array_equal(final("f", x, c_0)[1], final("f", other_x, c_0)[1])
    assert (np.abs(final("i", x, c_0)[1]) < np.abs(c_0)).all(), "nothing is written"
    assert (np.sign(final("i", x, c_0)[1]) == np.sign(c_0)).all()
    assert (final("g", x, np.zeros((1, 2, 4)))[1] < 0).all(), "what is written is −1"


def test_the_gates_of_a_gru_do_what_their_names_say() -> None:
    gru = nn.GRU(3, 4, dtype=np.float64, rng=0)
    x, h_0 = np.random.default_rng(1).standard_normal((2, 1, 2, 4))
    bias, rows = gru.bias_ih_l0.data.copy(), dict(zip(gru.cell.gates, np.split(np.arange(12), 3), strict=True))

    def final(x: np.ndarray, h_0: np.ndarray, **shift: float) -> np.ndarray:
        gru.bias_ih_l0.data = bias.copy()
        for gate, by in shift.items():
            gru.bias_ih_l0.data[rows[gate]] += by
        return gru(x[..., :3], h_0)[1]

    assert np.allclose(final(x, h_0, z=1000), h_0, rtol=1e-14), "all is kept"
    assert (np.abs(final(x, 100 * h_0, z=-1000)) <= 1).all(), "nothing is kept"
    fresh = final(x, h_0, r=-1000, z=-1000)
    assert (final(x, 0 * h_0, z=-1000) != fresh).any(), "b_hh is looked at, too"
    gru.bias_hh_l0.data = np.zeros(12)
    assert np.allclose(final(x, h_0, r=-1000, z=-1000), final(x, 0 * h_0, z=-1000), rtol=1e-14), "nothing is looked at"
    assert (final(x, h_0, n=-1000, z=-1000) == -1).all(), "what is written is −1"


@pytest.mark.parametrize(("name", "gates"), [("RNN", ("h",)), ("LSTM", ("i", "f", "g", "o")), ("GRU", ("r", "z", "n"))])
def test_gates_come_in_pytorchs_order(name: str, gates: tuple[str, ...]) -> None:
    assert getattr(nn, name)(3, 4).cell.gates == gates
    assert getattr(nn, f"{name}Cell")(3, 4).cell.gates == gates
