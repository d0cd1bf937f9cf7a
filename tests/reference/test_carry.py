"""A training goes from scratch to PyTorch and back, and both compute the same in between."""

import json
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reference import carry
from reference.carry import losses
from scratch import text
from scratch.text import Checkpoint, CheckpointError, Settings
from scratch.text.settings import CELLS, DTYPES, MOMENTUM, OPTIMIZERS, Limits
from tests.scratch.text.trainings import in_pytorch, train_in_pytorch
from tests.strategies import THOROUGH

from .carried import TEXT, Command, advanced, identical, trained

PROMISED = 1e-9
"""How far losses may come apart in float64."""

MANY = 500 if THOROUGH else 12
"""How many steps show that they stay together."""


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "dtype": st.sampled_from(DTYPES[::-1]),
    "num_layers": st.integers(1, 2),
    "hidden_size": st.integers(1, 6),
    "embedding_size": st.integers(0, 3),
    "batch_size": st.integers(1, 6),
    "length": st.integers(4, 90),
    "weight_decay": st.sampled_from([0.0, 0.1]),
    "clip": st.sampled_from([0.01, 1.0, np.inf]),
    "learning_rate_decay": st.sampled_from([1.0, 0.5, 0.0]),
}
"""Of a training. In 2 · 12 steps most go through the text several times; the state starts from zeros each time."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def assert_together(ours: text.Training, theirs: text.Training, steps: int) -> None:
    """Both go on for so many steps with the same losses, those of validation, too."""
    for _ in range(steps):
        assert ours.advance() == pytest.approx(theirs.advance(), abs=PROMISED), ours.step
        if ours.step % 8 == 0:
            assert ours.validate() == pytest.approx(theirs.validate(), abs=PROMISED), ours.step
    assert ours.validate() == pytest.approx(theirs.validate(), abs=PROMISED)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(st.data())
@hypothesis_settings(max_examples=30 if THOROUGH else 3)
def test_a_training_goes_to_pytorch_and_comes_back(cell: str, optimizer: str, data: st.DataObject) -> None:
    """With the same losses, and bit by bit where nothing is computed: in both kinds of file and in memory."""
    chosen = {name: data.draw(strategy, name) for name, strategy in OPTIONS.items()}
    chosen |= {"momentum": data.draw(st.sampled_from([0.0, 0.9]))} if optimizer in MOMENTUM else {}
    chosen |= {"cell": cell, "optimizer": optimizer, "learning_rate": OPTIMIZERS[optimizer] / 50}
    training = trained(data.draw(st.integers(0, 5)), **chosen)
    checkpoint = training.checkpoint()
    with TemporaryDirectory() as folder:
        for suffix in carry.files.SUFFIXES:
            path = Path(folder, f"model{suffix}")
            carry.write(path, checkpoint)
            assert identical(carry.read(path), checkpoint)
            assert suffix == ".pt" or identical(text.read(path), checkpoint), "what is written here is a checkpoint"
            carry.export(path, checkpoint)
            assert identical(carry.read(path), checkpoint)
            with pytest.raises(CheckpointError, match=None if suffix == ".pt" else "exported file"):
                text.read(path)
    theirs = carry.Training.resumed(checkpoint, TEXT)
    assert identical(theirs.checkpoint(), checkpoint)
    if training.settings.dtype == "float64":
        assert_together(training, theirs, MANY)
        checkpoint = theirs.checkpoint()
        assert identical(carry.Training.resumed(checkpoint, TEXT).checkpoint(), checkpoint)
        assert_together(text.Training.resumed(checkpoint, TEXT), theirs, MANY)


def test_interrupted_training_with_dropout_goes_on_bit_by_bit(path: Path) -> None:
    """Since each process and each step draws its own, and the same again."""
    checkpoint = trained(3, dropout=0.5, num_layers=2).checkpoint()
    whole = advanced(carry.Training.resumed(checkpoint, TEXT), 8)
    advanced(carry.Training.resumed(checkpoint, TEXT), 4).save(path)
    second = carry.load(path, TEXT)
    torch.manual_seed(5)
    assert identical(advanced(second, 4).checkpoint(), whole.checkpoint())
    drawn = [
        carry.Training.resumed(each, TEXT, carry.Ranks(rank))._seed()
        for each in (checkpoint, whole.checkpoint(), checkpoint)
        for rank in range(3)
    ]
    assert len(set(drawn)) == 6 and drawn[:3] == drawn[6:] and len(set(whole.losses)) == 11


def plain(path: Path, steps: int) -> list[float]:
    """Train on as somebody would who knows PyTorch alone: without place in the text or history."""
    saved = torch.load(path, weights_only=True)
    header = json.loads(saved["recurrence"])
    settings, vocabulary = Settings.of(header["settings"]), text.Vocabulary(header["vocabulary"])
    model = in_pytorch(settings.model(len(vocabulary)), settings)
    model.load_state_dict(saved["model"])
    optimizer = getattr(torch.optim, settings.optimizer)(model.parameters())
    optimizer.load_state_dict(saved["optimizer"])
    state = tuple(saved["state"].values())
    state = state if len(state) != 1 else state[0]
    training = train_in_pytorch(settings, model, optimizer, vocabulary.encode(TEXT[:-30]), state, first=header["step"])
    losses = list(islice(training, steps))
    torch.save(saved | {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    return losses


@pytest.mark.parametrize(("optimizer", "cell"), list(zip(OPTIMIZERS, cycle(CELLS), strict=False)))
@pytest.mark.parametrize("steps", [0, 3])
def test_plain_pytorch_goes_on(path: Path, command: Command, cell: str, optimizer: str, steps: int) -> None:
    ours, back = trained(steps, cell=cell, optimizer=optimizer), path.with_name("back.safetensors")
    carry.export(path, ours.checkpoint())
    found = plain(path, 5)
    assert found == pytest.approx([ours.advance() for _ in range(5)], abs=PROMISED)
    there = carry.read(path)
    for name, value in ours.checkpoint().model.items():
        np.testing.assert_allclose(there.model[name], value, rtol=0, atol=1e-9)
    assert there.step == len(there.losses) == steps, "without losses it goes on where it was in the text"
    status, out, error = command("import", path, back)
    assert (status, out.count("\n")) == (0, 1)
    noted = f"{steps + 5} updates, and there are {steps} losses" in error
    assert noted == (optimizer != "SGD"), "which alone does not count"
    assert identical(text.read(back), there)
    text.Training.resumed(there, TEXT).advance()


def changed(checkpoint: Checkpoint, path: Path, **changes: dict[str, Any]) -> Checkpoint:
    """The checkpoint after somebody has changed a .pt file: the optimizer's "group" or its "history", and notes."""
    carry.export(path, checkpoint)
    saved = torch.load(path, weights_only=True)
    saved["optimizer"]["param_groups"][0] |= changes.get("group", {})
    saved["history"] |= changes.get("history", {})
    torch.save(saved | {"note": "mine", "epochs": 3}, path)
    return carry.read(path)


@pytest.mark.parametrize("optimizer", MOMENTUM)
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("steps", [0, 3])
def test_changed_options_are_taken_over(path: Path, optimizer: str, momentum: float, steps: int) -> None:
    """Also a momentum that is switched on or off."""
    checkpoint, other = trained(steps, optimizer=optimizer, momentum=momentum).checkpoint(), 0.0 if momentum else 0.5
    found = changed(checkpoint, path, group={"lr": torch.tensor(0.25), "weight_decay": 1, "momentum": other})
    assert found.settings == replace(checkpoint.settings, learning_rate=0.25, weight_decay=1.0, momentum=other)
    assert_together(text.Training.resumed(found, TEXT), carry.Training.resumed(found, TEXT), 5)


HOW = {"foreach": True, "fused": True, "capturable": False, "initial_lr": 3.0}
"""Options that say how it is computed, which may be anything."""
OTHER_OPTIONS = [
    *[("betas", value) for value in ((0.5, 0.999), [torch.ones(2), 3])],
    *[("eps", value) for value in (1e-3, torch.ones(2))],
    *[("lr", value) for value in (-1.0, float("nan"), "1", torch.ones(2))],
    *[(name, True) for name in ("amsgrad", "maximize", "no_such_option")],
    ("momentum", 0.5),
    ("params", [1, 0]),
]


def test_other_options_are_refused_by_name(path: Path) -> None:
    checkpoint = trained(2).checkpoint()
    assert identical(changed(checkpoint, path, group=HOW), checkpoint)
    for option, value in OTHER_OPTIONS:
        with pytest.raises(CheckpointError, match="parameters in their order" if option == "params" else option):
            changed(checkpoint, path, group=HOW | {option: value})


def test_place_in_the_text_is_counted_by_the_losses_and_updates_by_the_optimizer(path: Path) -> None:
    checkpoint = trained(3).checkpoint()
    losses = [*checkpoint.losses.tolist(), 1.0, 2.0]
    for kind in (list, torch.DoubleTensor):
        found = changed(checkpoint, path, history={"losses": kind(losses)})
        assert (found.step, found.losses.tolist()) == (5, losses)
    with pytest.raises(CheckpointError, match="a loss for each of 3 steps, got 2"):
        changed(checkpoint, path, history={"losses": torch.ones(2)})
    for values in checkpoint.optimizer.values():
        values["step"] = np.array(2.0**24 + 1)  # more than float32 can count
    carry.export(path, checkpoint)
    training = advanced(carry.load(path, TEXT), 1)
    assert training.checkpoint().optimizer["fc.weight"]["step"] == 2.0**24 + 2


def begun(folder: Path, **options: Any) -> tuple[text.Training, Path]:
    """A training of a text in a file, and its checkpoint."""
    source, path, ours = folder / "text", folder / "model.safetensors", trained(4, **options)
    source.write_text(TEXT, newline="")
    ours.sources = (str(source),)
    text.write(path, ours.checkpoint())
    return ours, path


def test_following_shows_what_differs(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = begun(tmp_path, dropout=0.5)
    for dtype in DTYPES:
        status, out, error = command("losses", path, "--steps", "12", "--dtype", dtype)
        assert (status, error.strip()) == (0, "")
        assert f"LSTM 1 × 6 {dtype} after 4 steps" in out and "16" in out
    advance = carry.Training.advance
    monkeypatch.setattr(losses.Training, "advance", lambda self: advance(self) + 2e-9)
    status, _, error = command("losses", path, "--steps", "3")
    assert (status, error.strip().count("\n")) == (1, 0)
    assert "differs by 2.0e-09" in error
    (tmp_path / "text").write_text(TEXT + "a", newline="")
    status, _, error = command("losses", path, "--steps", "3")
    assert (status, error.count("\n")) == (2, 1), "another text"


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
def test_training_by_the_command_goes_on_and_comes_back(tmp_path: Path, command: Command, suffix: str) -> None:
    ours, file = begun(tmp_path)
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.safetensors"
    exports = [command("export", file, there, *more)[0] for more in ([], [], ["--overwrite"])]
    assert exports == [0, 2, 0], "the second time it is there already"
    status, out, _ = command("train", there, "--steps", "20", "--save-every", "0")
    assert status == 0 and "trained 20 steps" in out
    assert [command("import", there, back)[0] for _ in range(2)] == [0, 2]
    found = text.read(back)
    assert (found.step, found.limits) == (20, Limits(steps=20))
    assert [step for step, _ in found.validations.tolist()] == [8, 16, 20]
    assert found.losses.tolist() == pytest.approx(advanced(ours, 16).losses, abs=PROMISED)
    text.Training.resumed(found, TEXT).advance()


def test_a_gpu_trains_with_all_digits_and_is_named_in_the_hint(
    tmp_path: Path, command: Command, pretended_gpu: Any
) -> None:
    gpu, (_, file) = pretended_gpu(), begun(tmp_path)
    status, out, error = command("train", file, "--steps", "8", "--device", "cuda")
    assert status == 0 and "-m reference train" in out and "--device cuda --minutes" in out, error
    assert {one["precision"] for one in gpu.log} == {"ieee"} and torch.backends.cudnn.rnn.fp32_precision == "tf32"
