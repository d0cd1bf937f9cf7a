"""Files of strangers: nothing in them is executed, and what cannot be trained is refused in one line."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import save as save_arrays

from reference import carry
from scratch import text
from scratch.text import CheckpointError
from scratch.text import checkpoint as at_rest

from .carried import TEXT, Command, trained

CHECKPOINT = trained(3).checkpoint()
PT = carry.files.to_pt(CHECKPOINT)


def content(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A .pt file in which somebody has changed something."""
    saved = torch.load(BytesIO(PT), weights_only=True)
    change(saved)
    file = BytesIO()
    torch.save(saved, file)
    return file.getvalue()


def refused(tmp_path: Path, command: Command, name: str, held: bytes, *others: str) -> str:
    """What `import` says about a file in one line, and others with it. Nothing is written."""
    path = tmp_path / name
    path.write_bytes(held)
    for arguments in (*((other, path) for other in others), ("import", path, tmp_path / "back.safetensors")):
        status, out, error = command(*arguments)
        assert (status, out, error.count("\n")) == (2, "", 1)
        assert name in error
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == held
    return error


class Trap:
    """Executes something where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("where", ["recurrence", "model", "more"])
def test_nothing_is_executed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, command: Command, where: str, new_format: bool
) -> None:
    marker, file = tmp_path_factory.mktemp("marked") / "executed", BytesIO()
    torch.save({where: Trap(marker)}, file, _use_new_zipfile_serialization=new_format)
    refused(tmp_path, command, "model.pt", file.getvalue(), "train", "losses")
    refused(tmp_path, command, "model.pt", pickle.dumps(Trap(marker)))
    assert not marker.exists()
    pickle.loads(pickle.dumps(Trap(marker)))
    assert marker.exists(), "it would have been"


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
def test_foreign_files_are_refused(tmp_path: Path, command: Command, suffix: str) -> None:
    tensors, archive = BytesIO(), BytesIO()
    torch.save({"weight": torch.ones(3)}, tensors)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", b"cos\nsystem\n(S'true'\ntR.")
        file.writestr("archive/version", b"3")
    for held in (b"", b"abc", os.urandom(99), tensors.getvalue(), archive.getvalue(), save_arrays({"a": np.ones(2)})):
        refused(tmp_path, command, f"model{suffix}", held)
    for path in (tmp_path / f"missing{suffix}", tmp_path):
        status, _, error = command("import", path, tmp_path / "back.safetensors")
        assert (status, error.count("\n")) == (2, 1)


def in_header(old: str, new: str) -> Callable[[dict[str, Any]], Any]:
    """The change of a setting in the header."""
    return lambda saved: saved.update(recurrence=saved["recurrence"].replace(old, new))


SPOILED = {
    "a part is missing": lambda saved: saved.pop("optimizer"),
    "no mapping": lambda saved: saved.update(model=[1]),
    "no header": lambda saved: saved.update(recurrence=torch.ones(1)),
    "not JSON": lambda saved: saved.update(recurrence="{"),
    "deep JSON": lambda saved: saved.update(recurrence="[" * 100_000),
    "another format": lambda saved: saved.update(recurrence=json.dumps({"format": 99, "step": 3})),
    "negative seed": in_header('"seed": 0', '"seed": -1'),
    "huge model": in_header('"hidden_size": 6', f'"hidden_size": {10**12}'),
    "many layers": in_header('"num_layers": 1', f'"num_layers": {10**12}'),
    "a weight is missing": lambda saved: saved["model"].pop("fc.bias"),
    "a weight too many": lambda saved: saved["model"].update(more=torch.ones(1)),
    "another shape": lambda saved: saved["model"].update({"fc.bias": torch.ones(3, dtype=torch.float64)}),
    "another dtype": lambda saved: saved["model"].update({"fc.bias": saved["model"]["fc.bias"].float()}),
    "bfloat16": lambda saved: saved["model"].update({"fc.bias": saved["model"]["fc.bias"].bfloat16()}),
    "complex": lambda saved: saved["model"].update({"fc.bias": saved["model"]["fc.bias"] * 1j}),
    "sparse": lambda saved: saved["model"].update({"fc.bias": saved["model"]["fc.bias"].to_sparse()}),
    "no tensor": lambda saved: saved["model"].update({"fc.bias": "text"}),
    "a number for a name": lambda saved: saved["model"].update({3: torch.ones(1)}),
    "NaN": lambda saved: saved["model"]["fc.bias"].fill_(np.nan),
    "infinite memory": lambda saved: saved["optimizer"]["state"][0]["exp_avg"].fill_(np.inf),
    "infinite loss": lambda saved: saved["history"].update(losses=torch.full((3,), np.inf)),
    "losses of texts": lambda saved: saved["history"].update(losses=["1", "2", "3"]),
    "losses in a square": lambda saved: saved["history"].update(losses=torch.ones(3, 3)),
    "no losses": lambda saved: saved["history"].pop("losses"),
    "losses of none": lambda saved: saved["history"].update(losses=torch.tensor(1.0)),
    "validations in a row": lambda saved: saved["history"].update(validations=torch.ones(4)),
    "memory is missing": lambda saved: saved["optimizer"]["state"][0].pop("exp_avg"),
    "memory too much": lambda saved: saved["optimizer"]["state"][0].update(more=torch.ones(1)),
    "memory of nobody": lambda saved: saved["optimizer"]["state"].update({99: {}}),
    "memory by name": lambda saved: saved["optimizer"]["state"].update({"fc.bias": {}}),
    "memory is a list": lambda saved: saved["optimizer"]["state"].update({0: []}),
    "half an update": lambda saved: saved["optimizer"]["state"][0].update(step=torch.tensor(0.5)),
    "negative updates": lambda saved: saved["optimizer"]["state"][0].update(step=-3),
    "no groups": lambda saved: saved["optimizer"].pop("param_groups"),
    "two groups": lambda saved: saved["optimizer"]["param_groups"].append({"params": []}),
    "groups of texts": lambda saved: saved["optimizer"].update(param_groups="groups"),
    "half a state": lambda saved: saved["state"].pop("c"),
    "no state of this cell": lambda saved: saved["state"].pop("h"),
    "wide state": lambda saved: saved["state"].update(h=torch.ones(1, 9, 6).double()),
    "flat state": lambda saved: saved["state"].update(h=torch.ones(4, 6).double()),
    "state in another dtype": lambda saved: saved["state"].update(h=saved["state"]["h"].float()),
    "two sizes of state": lambda saved: saved["state"].update(h=saved["state"]["h"][:, :2]),
    "no room for it": lambda saved: saved["model"].update({"fc.weight": torch.ones(1).double().expand(10**9, 10**9)}),
    "on no device": lambda saved: saved["model"].update({"fc.bias": torch.ones(9, device="meta")}),
}


@pytest.mark.parametrize("what", SPOILED)
def test_spoiled_files_are_refused(tmp_path: Path, command: Command, what: str) -> None:
    refused(tmp_path, command, "model.pt", content(SPOILED[what]))


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
@given(st.data())
@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 2)
def test_damage_is_refused_or_harmless(suffix: str, data: st.DataObject) -> None:
    """Cut off or with bytes changed, a file is refused, or every number in it is still one that can be trained on."""
    held = bytearray(PT if suffix == ".pt" else exported())
    if data.draw(st.booleans()):
        del held[data.draw(st.integers(0, len(held) - 1)) :]
    else:
        held[data.draw(st.integers(0, len(held) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = (carry.files.from_pt if suffix == ".pt" else carry.files.from_safetensors)(bytes(held))
    except CheckpointError:
        return
    assert all(np.isfinite(value).all() for value in at_rest.arrays_of(found).values())
    carry.files.to_pt(found)


def exported() -> bytes:
    """A .safetensors file without a checksum."""
    return at_rest.content_of(at_rest.arrays_of(CHECKPOINT), {"recurrence": at_rest.header(CHECKPOINT)})


def test_damaged_checkpoint_is_refused(tmp_path: Path, command: Command) -> None:
    text.write(tmp_path / "model.safetensors", CHECKPOINT)
    held = bytearray((tmp_path / "model.safetensors").read_bytes())
    held[-1] ^= 1
    assert "damaged" in refused(tmp_path, command, "model.safetensors", bytes(held))


def test_edited_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(exported())
    metadata, arrays = at_rest.parsed(path.read_bytes())
    arrays["model.fc.bias"] = arrays["model.fc.bias"] + 1
    path.write_bytes(save_arrays(arrays, metadata))
    np.testing.assert_array_equal(carry.read(path).model["fc.bias"], CHECKPOINT.model["fc.bias"] + 1)
    text.Training.resumed(carry.read(path), TEXT).advance()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for suffix in carry.files.SUFFIXES:
        path = tmp_path / f"model{suffix}"
        path.write_bytes(b"before")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for write in (carry.write, carry.export):
                with pytest.raises(OSError, match="space"):
                    write(path, CHECKPOINT)
        assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        "export",
        "export missing.safetensors model.pt",
        "export missing.safetensors model.bin",
        "export missing.safetensors no/such/folder/model.pt",
        "import missing.pt model.pt",
        "import missing.bin model.safetensors",
        "train",
        "train missing.pt",
        "train missing.pt --steps 0",
        "train missing.pt --device tpu",
        "losses missing.safetensors",
        "losses missing.safetensors --dtype float16",
    ],
)
def test_wrong_commands_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, arguments: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, error = command(*arguments.split())
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []
