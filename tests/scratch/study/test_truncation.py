"""Truncated backpropagation: which pairs of cause and effect it counts, and what the study makes of it."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch import nn
from scratch.study import truncation
from scratch.study.models import Network
from scratch.types import Array


class Case(NamedTuple):
    """A module and what it is run over."""

    kind: str
    options: dict[str, Any]
    module: Any
    x: Array
    d_output: Array
    hx: Any
    rng: np.random.Generator

    @property
    def arguments(self) -> tuple[Any, Array, Array]:
        return self.module, self.x, self.d_output


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind, options = draw(
        st.sampled_from(
            [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("RNN", {"num_layers": 2}), ("LSTM", {"bias": False}),
             ("LSTM", {"num_layers": 2}), ("LSTM", {"proj_size": 2})]
        )
    )  # fmt: skip
    T, B, width, H = draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(3, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    module = getattr(nn, kind)(width, H, dtype=np.float64, rng=rng, **options)
    for parameter in module.parameters():
        parameter.data = 1.5 * parameter.data
    P, layers = options.get("proj_size", H), options.get("num_layers", 1)
    hx = tuple(rng.standard_normal((layers, B, size)) for size in ((P, H) if kind == "LSTM" else (P,)))
    given_state = draw(st.booleans())
    state = (hx if kind == "LSTM" else hx[0]) if given_state else None
    return Case(kind, options, module, rng.standard_normal((T, B, width)), rng.standard_normal((T, B, P)), state, rng)


def whole(case: Case) -> dict[str, Array]:
    case.module.zero_grad()
    case.module(case.x, case.hx)
    case.module.backward(case.d_output)
    found = {name: parameter.grad for name, parameter in case.module.named_parameters()}
    case.module.zero_grad()
    return found


both = pytest.mark.parametrize("method", truncation.METHODS.values(), ids=truncation.METHODS)


@both
@given(case=cases(), more=st.integers(0, 3))
def test_nothing_is_left_out_when_k_reaches_the_beginning(method: Any, case: Case, more: int) -> None:
    assert_close(method(*case.arguments, len(case.x) + more, case.hx), whole(case))


@given(case=cases(), k=st.integers(1, 10))
def test_pairs_are_counted_as_the_equations_say(case: Case, k: int) -> None:
    """By the complex step, without a backward pass: along a random direction of the parameters, which move in the
    steps that count alone. The pairs of one loss are counted by running to it from a state that does not move.
    """
    small, (module, x, d_output) = 1e-100, case.arguments
    direction = {name: case.rng.standard_normal(p.shape) for name, p in module.named_parameters()}
    still, moving = (
        getattr(nn, case.kind)(x.shape[2], module.hidden_size, dtype=np.complex128, **case.options) for _ in range(2)
    )
    still.load_state_dict(module.state_dict())
    moving.load_state_dict({n: p + 1j * small * direction[n] for n, p in module.state_dict().items()})
    complex_x = x.astype(np.complex128)
    state = as_complex(case.hx)
    states = [state, *(still(complex_x[: t + 1], state)[1] for t in range(len(x)))]

    def loss(start: int, t: int) -> float:
        """How ℓ_t changes by what the parameters do in the steps from `start` to t."""
        output, _ = moving(complex_x[start : t + 1], states[start])
        return float((output[-1] * d_output[t]).sum().imag / small)

    steps = range(len(x))
    expected = {
        "segments": sum(loss(t // k * k, t) for t in steps),
        "windows": sum(loss(max(0, t - k + 1), t) for t in steps),
    }
    for name, method in truncation.METHODS.items():
        found = method(*case.arguments, k, case.hx)
        terms = [(found[n] * direction[n]).ravel() for n in direction]
        size = max(1.0, float(np.abs(np.concatenate(terms)).sum()))
        assert abs(sum(map(np.sum, terms)) - expected[name]) <= 1e-12 * size * len(x)


def as_complex(state: Any) -> Any:
    if state is None:
        return None
    return tuple(part.astype(np.complex128) for part in state) if isinstance(state, tuple) else state.astype(complex)


@given(case=cases(), k=st.integers(1, 10), columns=st.integers(1, 40))
def test_windows_are_the_same_however_many_run_side_by_side(case: Case, k: int, columns: int) -> None:
    together = truncation.windows(*case.arguments, k, case.hx)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truncation, "COLUMNS", columns)
        assert_close(truncation.windows(*case.arguments, k, case.hx), together)


@given(case=cases())
def test_looking_back_one_step_is_cutting_after_every_step(case: Case) -> None:
    one, other = (method(*case.arguments, 1, case.hx) for method in truncation.METHODS.values())
    assert_close(one, other)


@both
def test_gradients_tapes_and_inputs_are_left_as_they_are(method: Any) -> None:
    rng = np.random.default_rng(0)
    lstm = nn.LSTM(2, 3, dtype=np.float64, rng=rng)
    x, d_output = rng.standard_normal((5, 2, 2)), rng.standard_normal((5, 2, 3))
    x.flags.writeable = d_output.flags.writeable = False
    lstm.bias_ih_l0.grad = np.arange(12.0)
    lstm(x)
    method(lstm, -x, d_output, 2)
    assert np.array_equal(lstm.bias_ih_l0.grad, np.arange(12.0))
    assert lstm.weight_hh_l0.grad is None
    d_x, _ = lstm.backward(d_output)
    lstm(x)
    assert np.array_equal(d_x, lstm.backward(d_output)[0])


x, d_output = np.zeros((4, 1, 2)), np.zeros((4, 1, 3))


@both
@pytest.mark.parametrize(
    ("error", "options", "arguments"),
    [
        (ValueError, {}, (x, d_output, 0)),
        (TypeError, {}, (x, d_output, 1.0)),
        (ValueError, {"bidirectional": True}, (x, d_output, 1)),
        (ValueError, {"batch_first": True}, (x, d_output, 1)),
        (ValueError, {"num_layers": 2, "dropout": 0.5}, (x, d_output, 1)),
        (RuntimeError, {}, (np.zeros((4, 1, 3)), d_output, 2)),
        (RuntimeError, {}, (x[:, 0], d_output[:, 0], 2)),
        (RuntimeError, {}, (x[:0], d_output[:0], 2)),
        (RuntimeError, {}, (x, np.zeros((5, 1, 3)), 2)),
        (RuntimeError, {}, (x, d_output.astype(np.float32), 2)),
    ],
)
def test_what_cannot_be_cut_is_refused(method: Any, error: type[Exception], options: Any, arguments: Any) -> None:
    with pytest.raises(error, match="expected"):
        method(nn.RNN(2, 3, dtype=np.float64, **options), *arguments)


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


def test_study_finds_what_is_known() -> None:
    found = truncation.study(**SMALL)
    assert found.lengths.tolist() == [1, 2, 4, 8, 12]
    assert (found.error[..., -1] < 1e-13).all() and np.allclose(found.cosine[..., -1], 1)
    assert (found.error[..., :-1] > 1e-13).all()
    assert np.allclose(found.error[:, :, 0, :, 0], found.error[:, :, 1, :, 0])  # at k = 1 the two are one
    assert (found.error[:, :, 1, :, 3] < found.error[:, :, 0, :, 3]).all()
    assert (found.noise > 0).all() and (found.loss[:, 1] < found.loss[:, 0]).all()


def test_seed_draws_everything() -> None:
    one, again, other = (truncation.study(seed=seed, **SMALL | {"runs": 1}) for seed in (0, 0, 1))
    assert np.array_equal(one.error, again.error) and np.array_equal(one.loss, again.loss)
    assert not np.isclose(one.error[..., :-1], other.error[..., :-1], rtol=1e-9, atol=0).any()


def test_model_learns_a_text_that_repeats() -> None:
    rng = np.random.default_rng(0)
    network = Network(nn.LSTM(4, 8, dtype=np.float64, rng=rng), 4, nn.CrossEntropyLoss(), None, rng)
    losses = truncation.train(network, truncation.encoded("abcdd" * 100), 10, 150, 4, rng)
    assert np.mean(losses[-20:]) < 0.4  # guessing: 1.3 nats
