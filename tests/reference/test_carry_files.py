"""Files of strangers: nothing in them is executed, and what cannot be trained is refused in one line."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import reduce
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
EXPORTED = at_rest.content_of(at_rest.arrays_of(CHECKPOINT), {"recurrence": at_rest.header(CHECKPOINT)})
"""A .safetensors file without a checksum."""


def saved(parts: Any, **options: bool) -> bytes:
    """A .pt file."""
    file = BytesIO()
    torch.save(parts, file, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the commands are given."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(folder: Path, command: Command, *calls: str) -> str:
    """What the last of these commands says, in one line, as each does. Nothing in the folder changes."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for call in calls:
        status, out, error = command(*call.split())
        assert (status, out, error.count("\n")) == (2, "", 1), (call, error)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    return error


class Trap:
    """Executes something where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def archive() -> bytes:
    """What a .pt file looks like, written by hand."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch executed'\ntR.")
        file.writestr("archive/version", b"3")
    return content.getvalue()


STRANGE = [b"", b"abc", os.urandom(99), saved({"weight": torch.ones(3)}), save_arrays({"a": np.ones(2)})]
TRAPS = [pickle.dumps(Trap()), archive()]
TRAPS += [
    saved({where: Trap()}, _use_new_zipfile_serialization=new)
    for where in ("recurrence", "model", "more")
    for new in (True, False)
]


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
def test_foreign_files_are_refused_and_nothing_is_executed(folder: Path, command: Command, suffix: str) -> None:
    name = f"model{suffix}"
    for held in STRANGE + TRAPS:
        Path(name).write_bytes(held)
        for call in (f"train {name}", f"losses {name}", f"import {name} back.safetensors"):
            assert name in refused(folder, command, call)
    pickle.loads(TRAPS[0])
    assert Path("executed").exists(), "it would have been"


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
    "pairs of pairs": lambda saved: saved["optimizer"]["param_groups"][0].update(
        lr=reduce(lambda pair, _: (pair, pair), range(60), 0.1)
    ),
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
def test_spoiled_files_are_refused(folder: Path, command: Command, what: str) -> None:
    """Somebody has changed something in a .pt file."""
    parts = torch.load(BytesIO(PT), weights_only=True)
    SPOILED[what](parts)
    Path("model.pt").write_bytes(saved(parts))
    assert "model.pt" in refused(folder, command, "import model.pt back.safetensors")


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
@given(st.data())
@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 2)
def test_damage_is_refused_or_harmless(suffix: str, data: st.DataObject) -> None:
    """Cut off or with bytes changed, a file is refused, or every number in it is still one that can be trained on."""
    held = bytearray(PT if suffix == ".pt" else EXPORTED)
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


def test_edited_arrays_come_back_and_a_wrong_checksum_is_refused(folder: Path, command: Command) -> None:
    path = folder / "model.safetensors"
    metadata, arrays = at_rest.parsed(EXPORTED)
    arrays["model.fc.bias"] = arrays["model.fc.bias"] + 1
    path.write_bytes(save_arrays(arrays, metadata))
    np.testing.assert_array_equal(carry.read(path).model["fc.bias"], CHECKPOINT.model["fc.bias"] + 1)
    text.Training.resumed(carry.read(path), TEXT).advance()
    text.write(path, CHECKPOINT)
    held = bytearray(path.read_bytes())
    held[-1] ^= 1
    path.write_bytes(held)
    assert "damaged" in refused(folder, command, "import model.safetensors back.safetensors")


@pytest.mark.parametrize("suffix", carry.files.SUFFIXES)
def test_a_failed_write_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = folder / f"model{suffix}"
    path.write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for write in (carry.write, carry.export):
            with pytest.raises(OSError, match="space"):
                write(path, CHECKPOINT)
    assert path.read_bytes() == b"before" and [*folder.iterdir()] == [path]


def test_wrong_commands_are_refused(folder: Path, command: Command) -> None:
    carry.write("there.pt", CHECKPOINT)
    text.write("there.safetensors", CHECKPOINT)
    Path("text").write_text(TEXT, newline="")
    Path("other").write_text(TEXT + "a", newline="")
    error = refused(
        folder,
        command,
        "export",
        "export missing.safetensors model.pt",
        "export missing.safetensors model.bin",
        "export missing.safetensors no/such/folder/model.pt",
        "export there.safetensors there.pt",
        "import missing.pt model.pt",
        "import missing.bin model.safetensors",
        "import missing.pt model.safetensors",
        "import . model.safetensors",
        "import there.pt there.safetensors",
        "import there.pt model.pt",
        "train",
        "train missing.pt",
        "train missing.pt --steps 0",
        "train missing.pt --device tpu",
        "train there.pt other",
        "train there.pt text --steps 25 --device tpu",
        "train there.pt text --steps 25 --out there.safetensors",
        "train there.pt text --steps 25 --out model.bin",
        "train there.pt text --steps 25 --out no/such/folder/model.pt",
        "losses missing.safetensors",
        "losses missing.safetensors --dtype float16",
        "losses there.pt other",
        "losses there.pt missing",
        "import there.pt/x.pt model.safetensors",
    )
    assert "cannot read there.pt/x.pt: Not a directory" in error
    with pytest.raises(CheckpointError, match="divides the 4 streams, got 3"):
        carry.Training.resumed(CHECKPOINT, TEXT, carry.Ranks(0, 3))
