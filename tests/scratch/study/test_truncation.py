"""Truncated backpropagation: which pairs of cause and effect it counts, and what the study makes of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.equivalence import assert_close
from reference.problems import Configuration, Problem, draw
from reference.runs import make_scratch, run_scratch
from scratch import nn
from scratch.study import truncation
from scratch.types import Array
from tests.strategies import configurations


def cut(c: Configuration) -> Problem:
    """What can be cut: batched, one direction, from a zero state, with a loss that reads the output."""
    lengths = (max(c.lengths, default=3),) * max(1, min(3, len(c.lengths)))
    fixed: dict[str, Any] = {"layout": "batched", "batch_first": False, "bidirectional": False, "initial_state": False}
    return draw(replace(c, **fixed, lengths=lengths, upstream=("output",), weight_scale=1.5, bias_shift=0.0))


cases = configurations(dropout=False).map(cut)


def gradients(method: Any, problem: Problem, k: int) -> dict[str, Array]:
    found: dict[str, Array] = method(make_scratch(problem), problem.input, problem.upstream["output"], k)
    return found


both = pytest.mark.parametrize("method", truncation.METHODS.values(), ids=truncation.METHODS)


@given(problem=cases, k=st.integers(1, 10), columns=st.integers(1, 40))
def test_pairs_are_counted_as_the_equations_say(problem: Problem, k: int, columns: int) -> None:
    """By the complex step, without a backward pass: along a random direction of the parameters, which move in the
    steps that count alone. The pairs of one loss are counted by running to it from a state that does not move. Windows
    are the same however many of them run side by side.
    """
    small, rng, complex_problem = 1e-100, np.random.default_rng(k), problem.astype(np.complex128)
    direction = {name: rng.standard_normal(p.shape) for name, p in problem.parameters.items()}
    moved = {name: p + 1j * small * direction[name] for name, p in problem.parameters.items()}
    still, moving = make_scratch(complex_problem), make_scratch(replace(complex_problem, parameters=moved))
    x, d_output = complex_problem.input, problem.upstream["output"]
    states = [None, *(still(x[: t + 1])[1] for t in range(len(x)))]

    def loss(start: int, t: int) -> float:
        """How ℓ_t changes by what the parameters do in the steps from `start` to t."""
        output, _ = moving(x[start : t + 1], states[start])
        return float((output[-1] * d_output[t]).sum().imag / small)

    steps = range(len(x))
    expected = {
        "segments": sum(loss(t // k * k, t) for t in steps),
        "windows": sum(loss(max(0, t - k + 1), t) for t in steps),
    }
    for name, method in truncation.METHODS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(truncation, "COLUMNS", columns)
            found = gradients(method, problem, k)
        terms = np.concatenate([(found[n] * direction[n]).ravel() for n in direction])
        assert abs(terms.sum() - expected[name]) <= 1e-12 * max(1.0, np.abs(terms).sum()) * len(x)
        whole = {key.removeprefix("d_"): value for key, value in run_scratch(problem)[0].items()}
        assert_close(gradients(method, problem, len(x) + k), {n: whole[n] for n in direction})  # nothing is left out


@both
def test_gradients_tapes_and_inputs_are_left_as_they_are(method: Any) -> None:
    rng = np.random.default_rng(0)
    lstm = nn.LSTM(2, 3, 2, dropout=0.5, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((5, 2, 2)), rng.standard_normal((5, 2, 3))
    x.flags.writeable = d_output.flags.writeable = False
    lstm.bias_ih_l0.grad = np.arange(12.0)
    lstm.eval()(x)
    found = method(lstm.train(), -x, d_output, 2)
    assert lstm.training and np.array_equal(lstm.bias_ih_l0.grad, np.arange(12.0))
    assert lstm.weight_hh_l0.grad is None
    d_x, _ = lstm.backward(d_output)
    lstm.eval()(x)
    assert np.array_equal(d_x, lstm.backward(d_output)[0])
    plain = nn.LSTM(2, 3, 2, dtype=np.float64)
    plain.load_state_dict(lstm.state_dict())
    assert_close(found, method(plain, -x, d_output, 2))  # nothing is dropped out, nor added to other gradients


@both
@pytest.mark.parametrize("options", [{"bidirectional": True}, {"batch_first": True}], ids=str)
def test_what_cannot_be_cut_is_refused(method: Any, options: Any) -> None:
    with pytest.raises(ValueError, match="expected one direction"):
        method(nn.RNN(2, 3, dtype=np.float64, **options), np.zeros((4, 1, 2)), np.zeros((4, 1, 3)), 1)


def test_distance_is_of_all_gradients_as_one_vector() -> None:
    g = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert truncation.distance(g, g) == pytest.approx((0, 1))
    assert truncation.distance({name: -2 * value for name, value in g.items()}, g) == pytest.approx((3, -1))
    assert truncation.distance({"a": np.array([0.0, 5.0]), "b": np.zeros((1, 1))}, g) == pytest.approx((2**0.5, 0))
    nothing = {name: 0 * value for name, value in g.items()}
    assert np.array_equal(truncation.distance(nothing, g), (1, np.nan), equal_nan=True)
    assert np.isnan(truncation.distance(g, nothing)).all()


@settings(max_examples=30)
@given(st.text("abcdefgé\U0001f600", min_size=2, max_size=60), st.integers(2, 8))
def test_characters_are_numbered_by_their_frequency(text: str, kinds: int) -> None:
    if len(set(text)) < 2:
        with pytest.raises(ValueError, match="2 different"):
            truncation.encoded(text, kinds)
        return
    numbers = truncation.encoded(text, kinds)
    assert len(numbers) == len(text) and numbers.max() == min(kinds, len(set(text))) - 1
    of = dict(zip(text, numbers, strict=True))
    assert [of[character] for character in text] == numbers.tolist()
    known = sorted((number, -text.count(character)) for character, number in of.items() if number < kinds - 1)
    assert [count for _, count in known] == sorted(count for _, count in known)
    assert len({number for number, _ in known}) == len(known)


SMALL: dict[str, Any] = {"hidden_size": 6, "steps": 12, "batch_size": 2, "updates": 3, "runs": 2}


def test_study_finds_what_is_known_and_the_seed_draws_everything() -> None:
    found = truncation.study(**SMALL)
    assert found.lengths.tolist() == [1, 2, 4, 8, 12]
    assert (found.error[..., -1] < 1e-13).all() and np.allclose(found.cosine[..., -1], 1)
    assert (found.error[..., :-1] > 1e-13).all()
    assert np.allclose(found.error[:, :, :, 0, 0], found.error[:, :, :, 1, 0])  # at k = 1 the two are one
    assert (found.error[..., 1, 3] < found.error[..., 0, 3]).all()
    assert (found.noise > 0).all() and (found.loss[..., 1] < found.loss[..., 0]).all()
    again, other = (truncation.study(seed=seed, **SMALL | {"runs": 1}) for seed in (0, 1))
    assert np.array_equal(found.error[:, :1], again.error) and np.array_equal(found.loss[:, :1], again.loss)
    assert not np.isclose(again.error[..., :-1], other.error[..., :-1], rtol=1e-9, atol=0).any()
