"""Training: resumed bit by bit, equal to PyTorch's step by step, and stopped before it breaks anything."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch.text import Diverged, Settings, Training, read, write
from scratch.text.settings import OPTIMIZERS
from scratch.types import Array
from tests.strategies import MODULES, THOROUGH

from .trainings import TEXT, TEXTS, advanced, all_settings, as_arrays, assert_same_bits, in_pytorch, train_in_pytorch


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainings") / "checkpoint"


@profile(max_examples=profile.default.max_examples // 2)
@given(all_settings(), TEXTS, st.lists(st.integers(0, 8), min_size=2, max_size=3), st.booleans())
def test_a_training_that_goes_on_from_its_checkpoints_ends_with_the_same_bits(
    path: Path, settings: Settings, text: str, parts: list[int], validates: bool
) -> None:
    whole, training = Training(settings, text), Training(settings, text)
    whole.sources = training.sources = ("a.txt", "\udcff.txt", "é")
    for steps in parts:
        training.seconds += 1 / 3
        checkpoint = training.checkpoint()
        write(path, checkpoint)
        found = read(path)
        assert_same_bits(found, checkpoint)
        assert found.seconds == checkpoint.seconds
        training = Training.resumed(found, text)
        for each in (whole, training):
            for _ in range(steps):
                each.advance()
            if validates:
                each.validate()
    assert_same_bits(training.checkpoint(), whole.checkpoint())


@profile(max_examples=profile.default.max_examples // 4)
@given(all_settings(), TEXTS)
def test_a_pass_over_the_text_starts_from_a_state_of_zeros(settings: Settings, text: str) -> None:
    training = Training(settings, text)
    segments = training.streams.segments
    with patch.object(training.model, "forward", wraps=training.model.forward) as forward:
        for _ in range(2 * segments):
            training.advance()
            assert training.characters == sum(call.args[0].size for call in forward.call_args_list)
    assert [call.args[1] is None for call in forward.call_args_list] == [True, *[False] * (segments - 1)] * 2
    assert (training.epoch, training.epochs) == (2, 2.0)


# Beside PyTorch.


@pytest.mark.parametrize(
    ("optimizer", "cell"), [*zip([*OPTIMIZERS, "SGD momentum", "RMSprop momentum"], cycle(MODULES), strict=False)]
)
def test_training_equals_pytorch_step_by_step(optimizer: str, cell: str) -> None:
    optimizer, *momentum = optimizer.split()
    settings = Settings(
        cell=cell,
        hidden_size=6,
        num_layers=2,
        embedding_size=3 if cell == "RNN" else 0,
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
    theirs = in_pytorch(training.model, settings)
    their_optimizer = getattr(torch.optim, optimizer)(theirs.parameters(), **settings.optimizer_options)
    indices = training.vocabulary.encode(TEXT[: -round(settings.held_out * len(TEXT))])
    for loss in islice(train_in_pytorch(settings, theirs, their_optimizer, indices), 500 if THOROUGH else 20):
        assert training.advance() == pytest.approx(loss, rel=1e-9), training.step
        gradients = {name: parameter.grad for name, parameter in training.model.named_parameters()}
        assert_close(gradients, as_arrays({name: p.grad for name, p in theirs.named_parameters()}), 1e-9)
        assert_close(training.model.state_dict(), as_arrays(theirs.state_dict()), 1e-9)
    held_out = torch.from_numpy(training.vocabulary.encode(TEXT)[len(indices) :])  # in two segments
    expected = torch.nn.functional.cross_entropy(theirs(held_out[None, :-1])[0][0], held_out[1:])
    assert training.validate() == pytest.approx(expected.item(), rel=1e-9)


def state_of(parts: Array) -> Any:
    """The state of a recurrence: its parts, or the only one."""
    return tuple(parts) if len(parts) > 1 else parts[0]


@given(all_settings(dtype="float64"), st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**32))
def test_gradients_of_the_model_are_those_of_a_complex_step(settings: Settings, V: int, T: int, seed: int) -> None:
    """∂f/∂v = Im f(θ + iεv) / ε, with an ε so small that nothing is lost; the same seed drops the same elements."""
    rng, ours, B = np.random.default_rng(seed), settings.model(V), settings.batch_size
    sizes = (settings.cell, V, settings.hidden_size, settings.num_layers, settings.embedding_size, settings.dropout)
    moved = type(ours)(*sizes, dtype=np.complex128)
    moved.rng.bit_generator.state = ours.rng.bit_generator.state
    v = {name: rng.standard_normal(value.shape) for name, value in ours.state_dict().items()}
    moved.load_state_dict({name: value + 1e-100j * v[name] for name, value in ours.state_dict().items()})
    x, d_logits = rng.integers(V, size=(B, T)), rng.standard_normal((B, T, V))
    shape = (len(ours.rnn.cell.state), settings.num_layers, B, settings.hidden_size)
    initial, v["initial"], d_final = rng.standard_normal((3, *shape))

    logits, final = ours(x, state_of(initial))
    for wrong in (state_of(d_final[..., 1:]), state_of(d_final.astype(np.float32)), (), "state"):
        with pytest.raises((TypeError, RuntimeError), match="expected d_"):
            ours.backward(d_logits, wrong)  # nothing is undone by it: the gradients below are right
    d_initial = ours.backward(d_logits, state_of(d_final))
    moved_logits, moved_final = moved(x, state_of(initial + 1e-100j * v["initial"]))
    final, moved_final = (np.reshape(state, shape) for state in (final, moved_final))
    assert_close({"logits": logits, "final": final}, {"logits": moved_logits.real, "final": moved_final.real})
    expected = (np.sum(d_logits * moved_logits.imag) + np.sum(d_final * moved_final.imag)) / 1e-100
    found = {name: parameter.grad for name, parameter in ours.named_parameters()}
    found["initial"] = np.reshape(d_initial, shape)
    scale = sum(np.linalg.norm(v[name]) * np.linalg.norm(gradient) for name, gradient in found.items())
    assert abs(sum(np.sum(v[name] * found[name]) for name in found) - expected) <= 1e-12 * max(scale, 1)


# What goes wrong.


@contextmanager
def unchanged(training: Training) -> Iterator[None]:
    """Weights, optimizer, step and losses are the same after as before."""

    def now() -> Any:
        return training.model.state_dict(), training.optimizer.state_dict(), training.step, training.losses

    before = copy.deepcopy(now())
    yield
    np.testing.assert_equal(now(), before)


@profile(max_examples=profile.default.max_examples // 2)
@given(all_settings(), st.integers(0, 3), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_what_is_not_finite_is_noticed_before_anything_is_changed(
    settings: Settings, steps: int, value: float, data: st.DataObject
) -> None:
    training = advanced(settings, TEXT, steps)
    model = training.model
    parameter = data.draw(st.sampled_from(list(model.parameters())))
    backward = model.backward

    def spoiled(*arguments: Any) -> Any:
        result = backward(*arguments)
        parameter.grad = np.full_like(parameter.data, value)
        return result

    with unchanged(training), patch.object(model, "backward", spoiled), pytest.raises(Diverged, match="gradients"):
        training.advance()
    model.fc.bias.data[0] = abs(value)  # −∞ would only mean: never
    for compute in (training.advance, training.validate):
        with unchanged(training), pytest.raises(Diverged, match="loss"):
            compute()
    assert model.training
    model.fc.bias.data[0] = 0
    remembered = [array for each in training.optimizer.state.values() for array in each.values() if array.size]
    for array in (parameter.data, *remembered[:1]):
        before, array.flat[-1] = array.flat[-1], value
        with unchanged(training), pytest.raises(Diverged, match="largest element of"):
            training.checkpoint()
        array.flat[-1] = before
    training.checkpoint()


def test_a_training_whose_loss_has_come_down_is_not_astray() -> None:
    training = advanced(Settings(hidden_size=2), TEXT, 1)
    training.losses = [50.0, 50.0, 50.0, 1.0]  # as at the beginning of another text
    assert not training.astray()
