"""A training goes from scratch to PyTorch and back, and both compute the same in between."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from reference import carry
from reference.carry import losses
from reference.models import CharacterModel
from scratch import text
from scratch.text import Checkpoint, CheckpointError, Settings
from scratch.text.settings import CELLS, DTYPES, OPTIMIZERS, Limits

from .carried import CASES, SETTINGS, TEXT, Command, identical, many, trained

PROMISED = 1e-9
"""How far losses may come apart in float64."""


def case(options: dict[str, Any]) -> str:
    return "-".join(map(str, options.values()))


def differences(first: list[float], second: list[float]) -> float:
    assert len(first) == len(second)
    return float(np.abs(np.subtract(first, second)).max())


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [0, 12])
@pytest.mark.parametrize("options", CASES[-7:], ids=case)
def test_there_and_back_is_bit_exact(
    tmp_path: Path, suffix: str, dtype: str, steps: int, options: dict[str, Any]
) -> None:
    checkpoint = trained(steps, dtype=dtype, **options).checkpoint()
    path = tmp_path / f"model{suffix}"
    carry.export(path, checkpoint)
    assert identical(carry.read(path), checkpoint)
    carry.write(path, checkpoint)
    assert identical(carry.read(path), checkpoint)
    assert identical(carry.Training.resumed(checkpoint, TEXT).checkpoint(), checkpoint)


def test_files_come_from_both_sides(tmp_path: Path) -> None:
    """A .safetensors file that was written here is a checkpoint; one that was exported has no checksum."""
    checkpoint, path = trained(3).checkpoint(), tmp_path / "model.safetensors"
    carry.write(path, checkpoint)
    assert identical(text.read(path), checkpoint)
    carry.export(path, checkpoint)
    with pytest.raises(CheckpointError):
        text.read(path)


@pytest.mark.parametrize("options", CASES, ids=case)
def test_losses_agree_after_going_to_pytorch_and_after_coming_back(options: dict[str, Any]) -> None:
    """Across the ends of several passes over the text, at which the state starts from zeros."""
    ours = trained(5, **options)
    theirs = carry.Training.resumed(ours.checkpoint(), TEXT)
    for _ in range(many()):
        ours.advance()
        theirs.advance()
        if ours.step % 8 == 0:
            assert abs(ours.validate() - theirs.validate()) <= PROMISED
    assert ours.step > 2 * ours.streams.segments
    assert differences(ours.losses, theirs.losses) <= PROMISED
    back = text.Training.resumed(theirs.checkpoint(), TEXT)
    for _ in range(many()):
        back.advance()
        theirs.advance()
    assert differences(back.losses, theirs.losses) <= PROMISED
    assert back.validate() == pytest.approx(theirs.validate(), abs=PROMISED)


@given(
    st.fixed_dictionaries(
        {
            "cell": st.sampled_from(CELLS),
            "num_layers": st.integers(1, 2),
            "hidden_size": st.integers(1, 5),
            "embedding_size": st.integers(0, 3),
            "optimizer": st.sampled_from(list(OPTIMIZERS)),
            "batch_size": st.integers(1, 6),
            "length": st.integers(1, 90),
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "clip": st.sampled_from([0.01, 1.0, np.inf]),
            "learning_rate_decay": st.sampled_from([1.0, 0.5, 0.0]),
        }
    ),
    st.integers(0, 5),
)
@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 5)
def test_any_training_goes_on_in_pytorch(options: dict[str, Any], steps: int) -> None:
    ours = trained(steps, **options)
    theirs = carry.Training.resumed(ours.checkpoint(), TEXT)
    for _ in range(3):
        assert abs(ours.advance() - theirs.advance()) <= PROMISED
    assert identical(theirs.checkpoint(), carry.Training.resumed(theirs.checkpoint(), TEXT).checkpoint())
    assert abs(ours.validate() - theirs.validate()) <= PROMISED


def test_interrupted_training_with_dropout_goes_on_bit_by_bit(tmp_path: Path) -> None:
    checkpoint = trained(3, dropout=0.5, num_layers=2).checkpoint()
    whole, first = (carry.Training.resumed(checkpoint, TEXT) for _ in range(2))
    for _ in range(8):
        whole.advance()
    for _ in range(4):
        first.advance()
    first.save(tmp_path / "model.pt")
    second = carry.load(tmp_path / "model.pt", TEXT)
    torch.manual_seed(5)
    for _ in range(4):
        second.advance()
    assert identical(second.checkpoint(), whole.checkpoint())
    assert len(set(whole.losses)) == 11, "every step draws its own"


def plain(path: Path, steps: int) -> list[float]:
    """Train on as somebody would who knows PyTorch alone: without place in the text or history."""
    saved = torch.load(path, weights_only=True)
    header = json.loads(saved["recurrence"])
    settings, vocabulary = header["settings"], header["vocabulary"]
    sizes = (settings[name] for name in ("hidden_size", "num_layers", "embedding_size", "dropout"))
    model = CharacterModel(settings["cell"], len(vocabulary), *sizes, dtype=getattr(torch, settings["dtype"]))
    model.load_state_dict(saved["model"])
    optimizer = getattr(torch.optim, settings["optimizer"])(model.parameters())
    optimizer.load_state_dict(saved["optimizer"])
    state = tuple(saved["state"].values())
    state = (state if len(state) > 1 else state[0]) if state else None
    streams = text.Streams(text.Vocabulary(vocabulary).encode(TEXT[:-30]), settings["batch_size"], settings["length"])
    losses = []
    for step in range(header["step"], header["step"] + steps):
        x, y = map(torch.from_numpy, streams.segment(step % streams.segments))
        logits, state = model(x, state)
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip"])
        optimizer.step()
        losses.append(loss.item())
    saved |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(saved, path)
    return losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("begun", [0, 3])
def test_plain_pytorch_goes_on(tmp_path: Path, command: Command, cell: str, optimizer: str, begun: int) -> None:
    ours, path = trained(begun, cell=cell, optimizer=optimizer), tmp_path / "model.pt"
    carry.export(path, ours.checkpoint())
    found = plain(path, 5)
    assert differences(found, [ours.advance() for _ in range(5)]) <= PROMISED
    back = carry.read(path)
    for name, value in ours.checkpoint().model.items():
        np.testing.assert_allclose(back.model[name], value, rtol=0, atol=1e-9)
    assert back.step == len(back.losses) == begun, "without losses it goes on where it was in the text"
    status, out, error = command("import", path, tmp_path / "back.safetensors")
    assert (status, out.count("\n")) == (0, 1)
    assert (f"{begun + 5} updates, and there are {begun} losses" in error) == (optimizer != "SGD"), (
        "which alone does not count"
    )
    assert identical(text.read(tmp_path / "back.safetensors"), back)
    text.Training.resumed(back, TEXT).advance()


def changed(checkpoint: Checkpoint, path: Path, change: Any) -> Checkpoint:
    """The checkpoint after somebody has changed what is in a .pt file."""
    carry.export(path, checkpoint)
    saved = torch.load(path, weights_only=True)
    change(saved)
    torch.save(saved, path)
    return carry.read(path)


@pytest.mark.parametrize("optimizer", ["SGD", "RMSprop"])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("steps", [0, 3])
def test_changed_options_are_taken_over(tmp_path: Path, optimizer: str, momentum: float, steps: int) -> None:
    """Also a momentum that is switched on or off."""
    checkpoint = trained(steps, optimizer=optimizer, momentum=momentum).checkpoint()
    other = 0.0 if momentum else 0.5

    def change(saved: Any) -> None:
        saved["optimizer"]["param_groups"][0] |= {"lr": torch.tensor(0.25), "weight_decay": 1, "momentum": other}

    found = changed(checkpoint, tmp_path / "model.pt", change)
    assert found.settings == replace(checkpoint.settings, learning_rate=0.25, weight_decay=1.0, momentum=other)
    ours, theirs = text.Training.resumed(found, TEXT), carry.Training.resumed(found, TEXT)
    for _ in range(5):
        assert abs(ours.advance() - theirs.advance()) <= PROMISED


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("betas", (0.5, 0.999)),
        ("eps", 1e-3),
        ("amsgrad", True),
        ("maximize", True),
        ("momentum", 0.5),
        ("lr", -1.0),
        ("lr", float("nan")),
        ("lr", "1"),
        ("lr", torch.ones(2)),
        ("eps", torch.ones(2)),
        ("betas", [torch.ones(2), 3]),
        ("params", [1, 0]),
        ("no_such_option", 1),
    ],
)
def test_other_options_are_refused_by_name(tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match="parameters in their order" if option == "params" else option):
        changed(
            trained(2).checkpoint(),
            tmp_path / "model.pt",
            lambda saved: saved["optimizer"]["param_groups"][0].update({option: value}),
        )


def test_manner_of_computing_is_no_option(tmp_path: Path) -> None:
    checkpoint = trained(2).checkpoint()
    manner = {"foreach": True, "fused": True, "capturable": False, "initial_lr": 3.0}
    path = tmp_path / "model.pt"
    found = changed(checkpoint, path, lambda saved: saved["optimizer"]["param_groups"][0].update(manner))
    assert identical(found, checkpoint)


@pytest.mark.parametrize("in_list", [False, True])
def test_place_in_the_text_is_counted_by_the_losses(tmp_path: Path, in_list: bool) -> None:
    checkpoint = trained(3).checkpoint()

    def change(saved: Any) -> None:
        more = torch.cat([saved["history"]["losses"], torch.tensor([1.0, 2.0])])
        saved["history"]["losses"] = more.tolist() if in_list else more

    found = changed(checkpoint, tmp_path / "model.pt", change)
    assert found.step == 5
    assert found.losses.tolist() == [*checkpoint.losses, 1.0, 2.0]
    with pytest.raises(CheckpointError, match="a loss for each of 3 steps, got 2"):
        changed(checkpoint, tmp_path / "model.pt", lambda saved: saved["history"].update(losses=torch.ones(2)))


def test_updates_beyond_float32_are_counted(tmp_path: Path) -> None:
    checkpoint, path = trained(1).checkpoint(), tmp_path / "model.pt"
    for values in checkpoint.optimizer.values():
        values["step"] = np.array(2.0**24 + 1)
    carry.export(path, checkpoint)
    training = carry.load(path, TEXT)
    training.advance()
    assert training.checkpoint().optimizer["fc.weight"]["step"] == 2.0**24 + 2


def test_following_shows_what_differs(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text(TEXT, newline="")
    path = tmp_path / "model.safetensors"
    text.write(path, trained(3, dropout=0.5).checkpoint())
    for dtype in DTYPES:
        status, out, error = command("losses", path, tmp_path / "text", "--steps", "12", "--dtype", dtype)
        assert (status, error.strip()) == (0, "")
        assert f"LSTM 1 × 6 {dtype} after 3 steps" in out
        assert "15" in out
    advance = carry.Training.advance
    monkeypatch.setattr(losses.Training, "advance", lambda self: advance(self) + 2e-9)
    status, _, error = command("losses", path, tmp_path / "text", "--steps", "3")
    assert (status, error.strip().count("\n")) == (1, 0)
    assert "differs by 2.0e-09" in error
    status, _, error = command("losses", path, "--steps", "3")
    assert (status, error.count("\n")) == (2, 1), "another text"


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
def test_training_by_the_command_goes_on_and_comes_back(tmp_path: Path, command: Command, suffix: str) -> None:
    source, file, there, back = (
        tmp_path / name for name in ("text", "model.safetensors", f"there{suffix}", "back.safetensors")
    )
    source.write_text(TEXT, newline="")
    ours = trained(4)
    ours.sources = (str(source),)
    text.write(file, ours.checkpoint())
    assert command("export", file, there)[0] == 0
    assert command("export", file, there)[0] == 2, "it is there already"
    assert command("export", file, there, "--overwrite")[0] == 0
    status, out, _ = command("train", there, "--steps", "20", "--save-every", "0")
    assert status == 0
    assert "trained 20 steps" in out
    assert command("import", there, back)[0] == 0
    assert command("import", there, back)[0] == 2
    found = text.read(back)
    assert (found.step, found.limits) == (20, Limits(steps=20))
    assert [step for step, _ in found.validations.tolist()] == [8, 16, 20]
    for _ in range(16):
        ours.advance()
    assert differences(found.losses.tolist(), ours.losses) <= PROMISED
    text.Training.resumed(found, TEXT).advance()
    assert command("train", there, "--steps", "25", "--out", back)[0] == 2
    assert command("train", there, "--steps", "25", "--out", tmp_path / "model.bin")[0] == 2
    assert command("train", there, "--steps", "25", "--device", "tpu")[0] == 2


def test_a_gpu_trains_with_all_digits_and_is_named_in_the_hint(
    tmp_path: Path, command: Command, pretended_gpu: Any
) -> None:
    gpu, file, source = pretended_gpu(), tmp_path / "model.safetensors", tmp_path / "text"
    source.write_text(TEXT, newline="")
    ours = trained(4)
    ours.sources = (str(source),)
    text.write(file, ours.checkpoint())
    status, out, error = command("train", file, "--steps", "8", "--device", "cuda")
    assert status == 0 and "-m reference train" in out and "--device cuda --minutes" in out, error
    assert {one["precision"] for one in gpu.log} == {"ieee"} and torch.backends.cudnn.rnn.fp32_precision == "tf32"


def test_another_text_is_refused() -> None:
    with pytest.raises(ValueError, match="another"):
        carry.Training.resumed(trained(1).checkpoint(), TEXT + "a")


def test_streams_must_divide_among_the_processes() -> None:
    with pytest.raises(CheckpointError, match="divides the 4 streams, got 3"):
        carry.Training.resumed(trained(1).checkpoint(), TEXT, carry.Ranks(0, 3))


@given(st.integers(1, 9), st.integers(0, 40))
def test_parts_are_the_whole(count: int, whole: int) -> None:
    parts = [range(whole)[carry.Ranks(rank, count).part(whole)] for rank in range(count)]
    assert [index for part in parts for index in part] == list(range(whole))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_settings_of_the_tests_are_what_they_say() -> None:
    training = trained(0)
    assert isinstance(SETTINGS, Settings)
    assert (training.streams.batch_size, training.streams.segments) == (4, 10)
    assert training.streams.segment(9)[0].shape[1] < training.streams.length
