"""Training: resumed bit by bit, equal to PyTorch's step by step, and stopped before it breaks anything."""

import copy
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from reference.equivalence import assert_close
from reference.models import CharacterModel
from scratch.text import CheckpointError, Diverged, Settings, Training, built, read, write
from scratch.text.running import run
from scratch.text.settings import OPTIMIZERS
from scratch.types import Array

from .trainings import TEXTS, advanced, all_settings, assert_same_bits

TEXT = "the quick brown fox jumps over the lazy dog. " * 3


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainings") / "checkpoint"


@profile(max_examples=profile.default.max_examples // 2)
@given(all_settings(), TEXTS, st.lists(st.integers(0, 8), min_size=2, max_size=3))
def test_an_interrupted_training_ends_with_the_same_bits(
    path: Path, settings: Settings, text: str, parts: list[int]
) -> None:
    whole = advanced(settings, text, sum(parts))
    training = Training(settings, text)
    for steps in parts:
        write(path, training.checkpoint())
        training = Training.resumed(read(path), text)
        for _ in range(steps):
            training.advance()
    assert_same_bits(training.checkpoint(), whole.checkpoint())


@profile(max_examples=profile.default.max_examples // 4)
@given(all_settings(validate_every=3, batch_size=2, length=3), st.integers(1, 9), st.integers(1, 9))
def test_a_training_that_is_run_twice_ends_like_one_that_is_run_once(
    path: Path, settings: Settings, first: int, more: int
) -> None:
    whole, training = Training(settings, TEXT), Training(settings, TEXT)
    for each, steps in ((whole, first + more), (training, first)):
        each.limits = each.limits._replace(epochs=None, steps=steps)
        run(each, path, save_every=1e9)
    training = Training.resumed(read(path), TEXT)
    training.limits = whole.limits
    run(training, path)
    ends = {step: loss for step, loss in training.validations if step != first or first % 3 == 0}
    assert ends == dict(whole.validations)
    expected = whole.checkpoint()
    assert_same_bits(read(path)._replace(validations=expected.validations), expected)


@given(all_settings(), TEXTS)
def test_a_pass_over_the_text_starts_from_a_state_of_zeros(settings: Settings, text: str) -> None:
    training = Training(settings, text)
    given_states = []
    forward = training.model.forward

    def noted(x: Array, state: Any = None) -> Any:
        given_states.append(state)
        return forward(x, state)

    training.model.forward = noted  # type: ignore[method-assign]
    for _ in range(2 * training.streams.segments):
        training.advance()
    expected = [step % training.streams.segments == 0 for step in range(training.step)]
    assert [state is None for state in given_states] == expected
    assert training.characters == 2 * training.streams.characters
    assert (training.epoch, training.epochs) == (2, 2.0)


# Beside PyTorch.

STEPS = 500 if profile.default.max_examples >= 2000 else 30


@pytest.mark.parametrize(("cell", "embedding_size"), [("RNN", 3), ("LSTM", 0)])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "SGD momentum", "RMSprop momentum"])
def test_training_equals_pytorch_step_by_step(optimizer: str, cell: str, embedding_size: int) -> None:
    optimizer, *momentum = optimizer.split()
    settings = Settings(
        cell=cell,
        hidden_size=6,
        num_layers=2,
        embedding_size=embedding_size,
        dtype="float64",
        optimizer=optimizer,
        learning_rate=OPTIMIZERS[optimizer] / (10 if momentum else 1),
        learning_rate_decay=0.9,
        momentum=0.9 if momentum else 0.0,
        weight_decay=0.001,
        clip=0.5,  # most steps are clipped, and some are not
        batch_size=3,
        length=7,
        seed=1,
    )
    training = Training(settings, TEXT)
    theirs = CharacterModel(cell, len(training.vocabulary), 6, 2, embedding_size, dtype=torch.float64)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in training.model.state_dict().items()})
    their_optimizer = getattr(torch.optim, optimizer)(theirs.parameters(), **settings.optimizer_options)

    indices = torch.from_numpy(training.vocabulary.encode(TEXT))
    held_out = round(0.1 * len(TEXT))
    per_stream = (len(TEXT) - held_out - 1) // 3
    segments = -(-per_stream // 7)
    state: Any = None
    for step in range(STEPS):
        epoch, segment = divmod(step, segments)
        start, end = segment * 7, min(segment * 7 + 7, per_stream)
        if segment == 0:
            state = None
        x = torch.stack([indices[b * per_stream + start : b * per_stream + end] for b in range(3)])
        y = torch.stack([indices[b * per_stream + start + 1 : b * per_stream + end + 1] for b in range(3)])
        logits, state = theirs(x, state)
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        their_optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        for group in their_optimizer.param_groups:
            group["lr"] = settings.learning_rate * 0.9**epoch
        their_optimizer.step()
        assert training.advance() == pytest.approx(loss.item(), rel=1e-9), step
        for name, value in theirs.state_dict().items():
            ours = training.model.state_dict()[name]
            assert np.linalg.norm(ours - value.numpy()) <= 1e-9 * np.linalg.norm(value.numpy()), (name, step)


@given(st.data(), all_settings(dtype="float64", dropout=0.0), st.integers(2, 6), st.integers(1, 5), st.booleans())
def test_gradients_of_the_model_equal_pytorchs(
    data: st.DataObject, settings: Settings, V: int, B: int, gives_state: bool
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    T, L, H = data.draw(st.integers(1, 8)), settings.num_layers, settings.hidden_size
    ours = settings.model(V)
    theirs = CharacterModel(settings.cell, V, H, L, settings.embedding_size, dtype=torch.float64)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})
    parts = 2 if settings.cell == "LSTM" else 1

    def arrays() -> tuple[Array, ...]:
        return tuple(rng.standard_normal((L, B, H)) for _ in range(parts))

    def packed(parts: tuple[Any, ...]) -> Any:
        return parts if len(parts) > 1 else parts[0]

    def flat(state: Any) -> tuple[Any, ...]:
        return state if isinstance(state, tuple) else (state,)

    x, initial, d_final, d_logits = rng.integers(V, size=(B, T)), arrays(), arrays(), rng.standard_normal((B, T, V))
    logits, final = ours(x, packed(initial) if gives_state else None)
    d_initial = ours.backward(d_logits, packed(d_final))

    their_initial = tuple(torch.tensor(part, requires_grad=True) for part in initial)
    their_logits, their_final = theirs(torch.from_numpy(x), packed(their_initial) if gives_state else None)
    upstream = [torch.from_numpy(value) for value in (d_logits, *d_final)]
    torch.autograd.backward([their_logits, *flat(their_final)], upstream)

    expected = {"logits": their_logits} | {f"final {i}": part for i, part in enumerate(flat(their_final))}
    found = {"logits": logits} | {f"final {i}": part for i, part in enumerate(flat(final))}
    expected |= {f"d_{name}": parameter.grad for name, parameter in theirs.named_parameters()}
    found |= {f"d_{name}": parameter.grad for name, parameter in ours.named_parameters()}
    if gives_state:
        expected |= {f"d_initial {i}": part.grad for i, part in enumerate(their_initial)}
        found |= {f"d_initial {i}": part for i, part in enumerate(flat(d_initial))}
    assert_close(found, {name: value.detach().numpy() for name, value in expected.items()})


@given(all_settings(dtype="float64", dropout=0.4), st.integers(2, 5), st.integers(0, 2**32))
def test_gradients_through_dropout_are_those_of_a_complex_step(settings: Settings, V: int, seed: int) -> None:
    """∂f/∂v = Im f(θ + iεv) / ε, with an ε so small that nothing is lost; the same seed drops the same elements."""
    rng = np.random.default_rng(seed)
    x, d_logits = rng.integers(V, size=(3, 4)), rng.standard_normal((3, 4, V))
    ours = settings.model(V)
    arguments = (settings.cell, V, settings.hidden_size, settings.num_layers, settings.embedding_size, 0.4)
    moved = type(ours)(*arguments, dtype=np.complex128)
    directions = {name: rng.standard_normal(value.shape) for name, value in ours.state_dict().items()}
    moved.load_state_dict({name: value + 1e-100j * directions[name] for name, value in ours.state_dict().items()})
    moved.rng.bit_generator.state = ours.rng.bit_generator.state
    logits, _ = ours(x)
    ours.backward(d_logits)
    moved_logits, _ = moved(x)
    assert_close({"logits": logits}, {"logits": moved_logits.real})
    expected = np.sum(d_logits * moved_logits.imag) / 1e-100
    terms = [np.sum(directions[name] * parameter.grad) for name, parameter in ours.named_parameters()]
    scale = sum(np.linalg.norm(directions[name]) * np.linalg.norm(p.grad) for name, p in ours.named_parameters())
    assert abs(sum(terms) - expected) <= 1e-12 * max(scale, 1)


# What goes wrong.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_saves_the_step_it_is_in(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    training = Training(Settings(hidden_size=2, batch_size=2, length=5), TEXT)

    def interrupt(now: Training) -> None:
        if now.step >= 3:
            signal.raise_signal(number)

    assert run(training, path, save_every=1e9, stepped=interrupt) == number
    assert training.step == 3
    assert_same_bits(read(path), training.checkpoint())
    monkeypatch.setattr("scratch.text.running.AGAIN", -1.0)  # so that the next one comes late enough to be a second
    with pytest.raises(KeyboardInterrupt):
        run(training, path, save_every=1e9, stepped=lambda now: (interrupt(now), interrupt(now)))
    assert training.step == 4
    assert read(path).step == 3, "the second interrupt does not wait for anything, and breaks nothing"
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("clip", [5.0, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_that_diverges_leaves_a_checkpoint_that_can_be_used(
    tmp_path: Path, optimizer: str, dtype: str, clip: float
) -> None:
    path = tmp_path / "checkpoint"
    settings = Settings(hidden_size=4, optimizer=optimizer, learning_rate=1e307, dtype=dtype, clip=clip, length=5)
    training = Training(settings, TEXT)
    training.limits = training.limits._replace(epochs=None, steps=1000)
    with pytest.raises(Diverged, match="smaller learning rate"):
        run(training, path, save_every=0)
    checkpoint = read(path)
    assert checkpoint.step <= training.step
    built(checkpoint)
    assert Training.resumed(checkpoint, TEXT).step == checkpoint.step
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]


@contextmanager
def unchanged(training: Training) -> Iterator[None]:
    """Weights, optimizer, step and losses are the same after as before."""

    def now() -> Any:
        return copy.deepcopy(
            (training.model.state_dict(), training.optimizer.state_dict(), training.step, training.losses)
        )

    before = now()
    yield
    np.testing.assert_equal(now(), before)


@profile(max_examples=profile.default.max_examples // 2)
@given(all_settings(), st.integers(0, 3), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_what_is_no_number_is_noticed_before_anything_is_changed(
    path: Path, settings: Settings, steps: int, value: float, data: st.DataObject
) -> None:
    training = advanced(settings, TEXT, steps)
    write(path, training.checkpoint())
    before = path.read_bytes()

    backward = training.model.backward

    def spoiled(*arguments: Any) -> Any:
        result = backward(*arguments)
        parameters[0].grad = np.full_like(parameters[0].data, value)
        return result

    parameters = data.draw(st.permutations(list(training.model.parameters())))
    training.model.backward = spoiled  # type: ignore[method-assign]
    with unchanged(training), pytest.raises(Diverged, match="gradients"):
        training.advance()
    training.model.backward = backward  # type: ignore[method-assign]

    training.model.fc.bias.data[0] = abs(value)  # −∞ would only mean: never
    with unchanged(training), pytest.raises(Diverged, match="loss"):
        training.advance()
    with unchanged(training), pytest.raises(Diverged, match="loss"):
        training.validate()
    assert training.model.training
    training.model.fc.bias.data[0] = 0
    parameters[0].data.flat[-1] = value
    with unchanged(training), pytest.raises(Diverged, match="largest"):
        write(path, training.checkpoint())
    parameters[0].data.flat[-1] = 0
    assert path.read_bytes() == before
    training.checkpoint()


def test_an_optimizer_that_overflows_is_not_written() -> None:
    training = advanced(Settings(hidden_size=2), TEXT, 1)
    training.optimizer.state[training.model.fc.bias]["exp_avg_sq"][0] = np.inf
    with pytest.raises(Diverged, match=r"fc\.bias\.exp_avg_sq"):
        training.checkpoint()


def test_a_training_is_resumed_only_with_its_own_text_and_state(path: Path) -> None:
    checkpoint = advanced(Settings(hidden_size=2, batch_size=2, length=4), TEXT, 2).checkpoint()
    with pytest.raises(ValueError, match="text"):
        Training.resumed(checkpoint, TEXT + "!")
    with pytest.raises(CheckpointError, match="vocabulary"):
        Training.resumed(checkpoint._replace(vocabulary=checkpoint.vocabulary.replace("q", "Q")), TEXT)
    for state in ({"h": checkpoint.state["h"][:, :1]}, {"h": checkpoint.state["h"].astype(np.float64)}):
        with pytest.raises(CheckpointError, match=r"state\.h"):
            Training.resumed(checkpoint._replace(state=checkpoint.state | state), TEXT)
    for state in ({}, {"h": checkpoint.state["h"]}):
        with pytest.raises(CheckpointError, match="state of h, c"):
            built(checkpoint._replace(state=state))
    for optimizer in ({}, dict(list(checkpoint.optimizer.items())[1:])):
        with pytest.raises(CheckpointError, match="remembers"):
            built(checkpoint._replace(optimizer=optimizer))
