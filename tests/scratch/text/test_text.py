"""Characters as numbers, the character model, and what it generates."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratch import nn, optim
from scratch.text import CharacterModel, Vocabulary, generate, read_text


@given(st.text(min_size=1))
def test_vocabulary_round_trip(text: str) -> None:
    vocabulary = Vocabulary.of(text)
    indices = vocabulary.encode(text)
    assert vocabulary.decode(indices) == text
    assert list(vocabulary.characters) == sorted(set(text))


def test_vocabulary_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="known"):
        Vocabulary("helo").encode("help")
    for characters in ("", "hello"):
        with pytest.raises(ValueError, match="once"):
            Vocabulary(characters)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=2))
def test_text_is_read_as_it_is(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("texts") / "text"
    path.write_bytes(text.encode())
    assert read_text(path) == text


@pytest.mark.parametrize(("content", "message"), [(b"", "0"), (b"x", "1"), (b"ab\xff", "UTF-8"), ("ü".encode(), "1")])
def test_text_that_cannot_be_learned_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_text(path)
    with pytest.raises(OSError, match="missing"):
        read_text(tmp_path / "missing")


@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
def test_model_learns_a_text_and_generates_it(cell: str) -> None:
    text = "abracadabra."
    vocabulary = Vocabulary.of(text)
    model = CharacterModel(cell, len(vocabulary), 24, num_layers=2, rng=0)
    indices = vocabulary.encode(text)[None]
    criterion, optimizer = nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        logits, _ = model(indices[:, :-1])
        criterion(logits.swapaxes(1, 2), indices[:, 1:])
        optimizer.zero_grad()
        model.backward(criterion.backward().swapaxes(1, 2))
        optimizer.step()
    assert generate(model, vocabulary, "a", len(text) - 1, temperature=0) == text
    assert generate(model, vocabulary, "abrac", len(text) - 5, temperature=0) == text, "the whole prime is read"
    with pytest.raises(ValueError, match="prime"):
        generate(model, vocabulary, "", 3)


def test_generating_leaves_no_tape() -> None:
    vocabulary = Vocabulary("ab")
    model = CharacterModel("LSTM", 2, 3, rng=0)
    generate(model, vocabulary, "a", 5)
    with pytest.raises(RuntimeError, match="forward"):
        model.rnn.backward(np.zeros((1, 1, 3), np.float32))
