"""Every numbered equation in the docstrings of corpus and sampling, written out, gives the code's numbers."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from scratch.text import corpus, sampling
from tests.scratch.nn.equations import Docstring

CORPUS, SAMPLING = Docstring(corpus.__doc__), Docstring(sampling.__doc__)
V = 6


def logits() -> list[Any]:
    return list(3 * np.random.default_rng(1).standard_normal((4, V)))


def softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum()


@SAMPLING.equation("p_j = exp(x_j / τ) / Σ_i exp(x_i / τ)")
def temperature():
    for x in logits():
        for tau in 0.5, 1, 3:
            yield (
                [np.exp(x[j] / tau) / sum(np.exp(x[i] / tau) for i in range(V)) for j in range(V)],
                (sampling.probabilities(x, tau)),
            )


@SAMPLING.equation("top-k: the k most likely characters")
def top_k():
    """Of all sets of k characters the one with the most probability is kept."""
    for x in logits():
        p = softmax(x)
        for k in range(1, V + 1):
            kept = list(max(combinations(range(V), k), key=lambda each, p=p: p[list(each)].sum()))
            yield np.where(np.isin(range(V), kept), p, 0) / p[kept].sum(), sampling.probabilities(x, top_k=k)


@SAMPLING.equation("top-p: the fewest of the most likely that have at least p in all")
def top_p():
    for x in logits():
        p, order = softmax(x), np.argsort(-x)
        for least in 0.1, 0.5, 0.9, 0.999:
            kept = next(order[:n] for n in range(1, V + 1) if p[order[:n]].sum() >= least)
            yield np.where(np.isin(range(V), kept), p, 0) / p[kept].sum(), sampling.probabilities(x, top_p=least)


@CORPUS.equation("x[b, t] = text[b·n + k·T + t]")
def segments():
    text, B, T = np.arange(100, 150), 3, 7
    streams = corpus.Streams(text, B, T)
    n = (len(text) - 1) // B
    for k in range(streams.segments):
        steps = range(min(T, n - k * T))
        x, y = streams.segment(k)
        yield [[text[b * n + k * T + t] for t in steps] for b in range(B)], x
        yield [[text[b * n + k * T + t + 1] for t in steps] for b in range(B)], y


DOCSTRINGS = {"corpus": CORPUS, "sampling": SAMPLING}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, each in DOCSTRINGS.items() for text in each.tested])
def test_equation_gives_the_numbers_of_the_code(name: str, text: str) -> None:
    DOCSTRINGS[name].check(text)


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_every_equation_of_the_docstring_is_tested(name: str) -> None:
    assert DOCSTRINGS[name].numbered() == set(DOCSTRINGS[name].tested)
