"""Generated text: probabilities beside slow plain definitions, and draws that follow them."""

from itertools import islice, pairwise
from math import exp, fsum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from scratch.text import CharacterModel, Vocabulary, continuation, generate, probabilities, sampling
from scratch.types import Array
from tests.scratch.nn.equations import Docstring
from tests.strategies import MODULES

DOCSTRING = Docstring(sampling.__doc__)
LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=12).map(np.array)
TEMPERATURES = st.floats(0.1, 10) | st.floats(10, 1e300)


def kept(p: list[float], indices: list[int]) -> list[float]:
    """Only these, divided by their sum."""
    return [value / fsum(p[i] for i in indices) if index in indices else 0.0 for index, value in enumerate(p)]


def from_likely_to_unlikely(p: list[float]) -> list[int]:
    return sorted(range(len(p)), key=lambda index: (-p[index], index))


@DOCSTRING.equation("p_j = exp(x_j / τ) / Σ_i exp(x_i / τ)")
@DOCSTRING.equation("top-k: the k most likely characters")
@DOCSTRING.equation("top-p: the fewest of the most likely that have at least p in all")
@given(LOGITS, TEMPERATURES, st.floats(0.01, 1), st.none() | st.integers(1, 15))
def test_probabilities_are_a_softmax_of_which_top_k_and_top_p_keep_the_most_likely(
    logits: Array, temperature: float, top_p: float, top_k: int | None
) -> None:
    whole, p = (list(probabilities(logits, temperature, k)) for k in (None, top_k))
    powers = [exp(x / temperature) for x in logits]
    assert whole == pytest.approx([power / fsum(powers) for power in powers], abs=1e-13)
    assert p == pytest.approx(kept(whole, from_likely_to_unlikely(whole)[:top_k]))
    order = from_likely_to_unlikely(p)
    sums = [fsum(p[index] for index in order[:count]) for count in range(len(p) + 1)]
    found = probabilities(logits, temperature, top_k, top_p)
    count = np.count_nonzero(found)
    # Where the sum is top_p but for rounding, either number of characters will do.
    assert sums[count] >= top_p - 1e-12 and sums[count - 1] < top_p + 1e-12
    assert found == pytest.approx(kept(p, order[:count]))
    for each in (whole, p, found):
        assert fsum(each) == pytest.approx(1, abs=1e-14)


def test_every_equation_of_the_docstring_is_tested() -> None:
    assert DOCSTRING.numbered() == set(DOCSTRING.tested)


@profile(max_examples=profile.default.max_examples // 2)
@given(LOGITS, st.none() | st.integers(1, 15), st.floats(0, 1, exclude_min=True))
def test_temperature_0_is_the_most_likely_and_the_limit_of_small_ones(
    logits: Array, top_k: int | None, top_p: float
) -> None:
    greedy = probabilities(logits, 0, top_k, top_p)
    assert greedy.tolist() == [float(index == logits.argmax()) for index in range(len(logits))]
    ordered = np.sort(logits)
    if len(logits) == 1 or ordered[-1] - ordered[-2] > 1e-3:
        for temperature in (1e-6, 1e-300, 5e-324):
            assert np.array_equal(probabilities(logits, temperature, top_k, top_p), greedy)


def test_probabilities_at_the_edges() -> None:
    assert probabilities(np.zeros(4), top_p=0.25).tolist() == [1, 0, 0, 0], "reached exactly is enough"
    assert probabilities(np.zeros(4), top_p=0.5).tolist() == [0.5, 0.5, 0, 0]
    assert probabilities(np.array([1e308, -1e308, -np.inf])).tolist() == [1, 0, 0]
    assert probabilities(np.array([-1e308, -1e308])).tolist() == [0.5, 0.5]
    for logits in ([np.inf, 0], [np.nan, 0], [-np.inf, -np.inf]):
        with pytest.raises(ValueError, match="finite"):
            probabilities(np.array(logits))


WRONG: dict[str, list[Any]] = {
    "temperature": [-0.1, np.nan, np.inf, "1"],
    "top_k": [0, 1.0],
    "top_p": [0.0, 1.1, np.nan, None],
    "prime": ["", "c"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_choices_out_of_range_are_refused_at_once(name: str, value: Any) -> None:
    choices = {"prime": "a", name: value}
    for function, more in ((generate, {"length": 0}), (continuation, {})):
        with pytest.raises((TypeError, ValueError), match=f"{name}|known"):
            function(fixed([0.0, 0.0]), Vocabulary("ab"), **choices, **more)
    if name != "prime":
        with pytest.raises((TypeError, ValueError), match=name):
            probabilities(np.zeros(3), **{name: value})


def fixed(logits: list[float]) -> Any:
    """A model that always says the same."""
    return lambda x, state: (np.broadcast_to(logits, (*x.shape, len(logits))), state)


CUTS: list[dict[str, Any]] = [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.8}, {"top_k": 4, "top_p": 0.7}]


@pytest.mark.parametrize("choices", CUTS)
def test_draws_follow_the_probabilities(choices: dict[str, Any]) -> None:
    """χ², the sum of (found − expected)² / expected, of k kinds: mean k − 1, and above k + 4 √(2 k) hardly ever."""
    logits, count = [0.0, 1.0, 2.0, -1.0, 0.5, 1.5], 2000
    expected = count * probabilities(np.array(logits), **choices)
    drawn = "".join(islice(continuation(fixed(logits), Vocabulary("abcdef"), "a", **choices, rng=0), count))
    found = np.array([drawn.count(character) for character in "abcdef"])
    possible = expected > 0
    assert not found[~possible].any()
    k = np.count_nonzero(possible)
    assert np.sum((found - expected)[possible] ** 2 / expected[possible]) < k + 4 * np.sqrt(2 * k)
    pairs = sum(one == other for one, other in pairwise(drawn))
    assert pairs == pytest.approx(np.sum(expected**2) / count, abs=4 * np.sqrt(count)), "one does not depend on another"


VOCABULARY = Vocabulary("abcd")
PRIMES = st.text("abcd", min_size=1, max_size=5)


def model_of(seed: int, dropout: float = 0.0, cell: str = "LSTM") -> CharacterModel:
    return CharacterModel(cell, 4, 5, num_layers=2, dropout=dropout, rng=seed)


@profile(max_examples=profile.default.max_examples // 4)
@given(st.integers(0, 99), PRIMES, st.integers(0, 20), st.sampled_from(CUTS))
def test_the_same_seed_writes_the_same_text_and_carries_the_state_on(
    seed: int, prime: str, length: int, choices: dict[str, Any]
) -> None:
    model = model_of(seed)
    text = generate(model, VOCABULARY, prime, length, **choices, rng=seed)
    assert text.startswith(prime) and len(text) == len(prime) + length
    longer = generate(model, VOCABULARY, prime, length + 3, **choices, rng=np.random.default_rng(seed))
    assert longer.startswith(text)
    assert len({generate(model, VOCABULARY, prime, 40, rng=other) for other in range(2)}) == 2
    greedy = generate(model, VOCABULARY, prime, 12, temperature=0)
    again = generate(model, VOCABULARY, greedy[: len(prime) + 5], 7, temperature=0)
    assert again == greedy, "reading what was written says the same as having written it"


@pytest.mark.parametrize("cell", MODULES)
def test_generating_leaves_the_model_as_it_was(cell: str) -> None:
    model = model_of(1, dropout=0.5, cell=cell).eval()
    weights, numbers = model.state_dict(), model.rng.bit_generator.state
    texts = {generate(model, VOCABULARY, "ab", 20, rng=3) for _ in range(3)}
    assert len(texts) == 1, "nothing is dropped"
    assert model.rng.bit_generator.state == numbers
    np.testing.assert_equal(model.state_dict(), weights)
    for module in (model.rnn, model.fc):
        with pytest.raises(RuntimeError, match="forward"):
            module.backward(np.zeros((1, 1, 5), np.float32))
