"""Checkpoints: written whole or not at all, and refused when they are anything else.

That they are read bit by bit is tested with the trainings that go on from them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from scratch import files
from scratch.text import CheckpointError, Settings, Training, built, read, write
from scratch.text import checkpoint as module
from scratch.types import Array

from . import damage
from .trainings import TEXT, advanced, assert_same_bits

Kind = Callable[[damage.Original], st.SearchStrategy[bytes]]
SMALL = Settings(hidden_size=2, batch_size=2, length=5)
TRAINING = advanced(SMALL, TEXT, 2)
CHECKPOINT = TRAINING.checkpoint()
TRAINING.advance()
LATER = TRAINING.checkpoint()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints") / "checkpoint"


def test_a_checkpoint_is_a_copy() -> None:
    assert_same_bits(CHECKPOINT, advanced(SMALL, TEXT, 2).checkpoint())


# Writing.

OTHERS = {".checkpoint.old.abcdefgh.partial", ".checkpoint.txt", "checkpoint.old", "x.partial"}


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("where", ["mkstemp", "write", "flush", "fsync", "chmod", "replace"])
def test_a_write_that_ends_anywhere_leaves_the_old_file_alone_and_at_most_one_to_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, killed: bool
) -> None:
    path, opened = tmp_path / "checkpoint", os.fdopen
    write(path, CHECKPOINT)
    for other in OTHERS:
        (tmp_path / other).touch()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    def failing(*arguments: Any) -> Any:
        file = opened(*arguments)
        setattr(file, where, fail)
        return file

    with monkeypatch.context() as patched:
        if where in ("write", "flush"):
            patched.setattr(files.os, "fdopen", failing)
        else:
            patched.setattr(files.tempfile if where == "mkstemp" else files.os, where, fail)
        if killed:
            patched.setattr(files.os, "unlink", fail)  # nothing is cleaned up
        with pytest.raises(KeyboardInterrupt):
            write(path, LATER)
    assert_same_bits(read(path), CHECKPOINT)
    assert len(list(tmp_path.iterdir())) == 5 + (killed and where != "mkstemp")
    files.forget_partial(path)
    assert {each.name for each in tmp_path.iterdir()} == {"checkpoint", *OTHERS}
    write(path, LATER)
    assert_same_bits(read(path), LATER)


@pytest.mark.parametrize("exists", [True, False])
def test_what_a_link_leads_to_is_written_with_the_permissions_that_it_had(tmp_path: Path, exists: bool) -> None:
    link, target, new = (tmp_path / name for name in ("link", "target", "new"))
    link.symlink_to(target)
    new.touch()
    if exists:
        target.touch(0o640)
    write(link, CHECKPOINT)
    assert link.is_symlink() and not target.is_symlink()
    assert target.stat().st_mode & 0o777 == (0o640 if exists else new.stat().st_mode & 0o777)
    assert_same_bits(read(target), CHECKPOINT)


def test_only_a_file_is_read_or_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "loop"):
        with pytest.raises((CheckpointError, OSError), match=r"expected a file|symbolic links"):
            read(path)
        with pytest.raises(OSError, match="not a file"):
            write(path, CHECKPOINT)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "missing" / "checkpoint", CHECKPOINT)


# Damaged files.


@pytest.mark.parametrize("kind", damage.ACCIDENTS)
@profile(max_examples=profile.default.max_examples // 2)
@given(st.sampled_from(damage.originals()), st.data())
def test_damage_is_found(path: Path, kind: Kind, original: damage.Original, data: st.DataObject) -> None:
    found = damage.outcome(path, data.draw(kind(original)))
    if found is not None:  # what is changed is space
        assert_same_bits(found, original.checkpoint)
        assert found.seconds == original.checkpoint.seconds


@pytest.mark.parametrize("kind", damage.MALICE)
@given(st.sampled_from(damage.originals()), st.data())
def test_malice_is_refused_or_does_no_harm(
    path: Path, kind: Kind, original: damage.Original, data: st.DataObject
) -> None:
    damage.outcome(path, data.draw(kind(original)))


HEADER, ARRAYS = module.header(CHECKPOINT), module.arrays_of(CHECKPOINT)
HOSTILE = [
    *(HEADER.replace(f'"{name}": {old}', f'"{name}": {new}')
      for name, old in (("hidden_size", 2), ("num_layers", 1), ("embedding_size", 0)) for new in (20_000, 2**40)),
    HEADER.replace('"sources": []', '"sources": "abc"'),
    HEADER.replace('"format": 1', '"format": true'),
    module.header(CHECKPOINT._replace(vocabulary="".join(map(chr, range(0x20, 0xD000))))),
    "[" + "[]," * 10**5 + "[]]",
    "[" * 10**6,
]  # fmt: skip
UNPRINTABLE = damage.file_of(HEADER, ARRAYS | {"optimizer.\x1b[31m.step": np.ones(1)})
OF_OTHERS = [UNPRINTABLE, b"import os; os.abort()", b"\x80\x04cos\nabort\n(tR.", b"PK\x03\x04", b"", b"{}"]


@pytest.mark.parametrize(
    "content", [*(damage.file_of(header, ARRAYS) for header in HOSTILE), *OF_OTHERS], ids=lambda content: len(content)
)
def test_a_hostile_file_takes_no_more_memory_than_a_few_times_its_size(path: Path, content: bytes) -> None:
    assert HEADER not in HOSTILE and damage.outcome(path, damage.file_of(HEADER, ARRAYS)) is not None
    assert damage.outcome(path, content) is None


def test_a_model_of_many_characters_takes_memory_for_its_weights_alone(path: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    training = advanced(Settings(cell="RNN", hidden_size=1, batch_size=1, length=1, optimizer="SGD"), text, 1)
    write(path, training.checkpoint())
    with damage.memory_for(path.stat().st_size // 2):
        built(read(path))


def test_a_header_beyond_all_vocabularies_is_refused_unread(path: Path) -> None:
    length = (module.LARGEST_HEADER + 1).to_bytes(8, "little")
    with pytest.raises(CheckpointError, match="header of at most"):
        module.parsed(length + bytes(100))
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    write(path, CHECKPOINT._replace(vocabulary=everything))
    assert read(path).vocabulary == everything


def ending(array: Array, value: float) -> Array:
    """The array with another last element."""
    return np.append(array.ravel()[:-1], array.dtype.type(value)).reshape(array.shape)


NO_ORDER = [[[1, 2.0], [1, 2.0]], [[2, 2.0], [1, 2.0]], [[3, 2.0]], [[-1, 2.0]], [[0.5, 2.0]]]
FINITE = ("model.fc.bias", "optimizer.fc.bias.exp_avg", "state.h", "history.losses")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        *(
            (name, ending(ARRAYS[name], value), f"finite numbers in {name}")
            for name in FINITE
            for value in (np.nan, np.inf, -np.inf)
        ),
        *(("history.validations", np.array(rows), "validations") for rows in NO_ORDER),
        *((name, np.ones(2), "unknown") for name in ("state.x", "history.extra")),
    ],
)
def test_numbers_that_no_training_has_are_refused(path: Path, name: str, array: Array, message: str) -> None:
    path.write_bytes(damage.file_of(HEADER, ARRAYS | {name: array}))
    with pytest.raises(CheckpointError, match=message):
        read(path)


H, MEMORY = CHECKPOINT.state["h"], CHECKPOINT.optimizer
NO_RANDOM = [{"has_uint32": 1.5}, {"uinteger": 1.5}, {"extra": 1}, {"bit_generator": "MT19937"}]
MISFITS: list[tuple[dict[str, Any], str]] = [
    *(({"rng": {**CHECKPOINT.rng, **change}}, "fit the settings") for change in NO_RANDOM),
    *(({"state": state}, "state of h, c") for state in ({}, {"h": H})),
    *(({"state": CHECKPOINT.state | {"h": h}}, r"state\.h") for h in (H[:, :1], H.astype(np.float64))),
    *(({"optimizer": memory}, "remembers") for memory in ({}, dict(list(MEMORY.items())[1:]))),
    ({"vocabulary": CHECKPOINT.vocabulary.replace("q", "Q")}, "vocabulary"),
    ({"digest": CHECKPOINT.digest[::-1]}, "the text that the training began with"),
]


@pytest.mark.parametrize(("change", "message"), MISFITS)
def test_a_training_goes_on_exactly_or_not_at_all(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError if "digest" in change else CheckpointError, match=message):
        Training.resumed(CHECKPOINT._replace(**change), TEXT)


def test_the_checksum_covers_names_shapes_dtypes_and_bytes() -> None:
    array = np.arange(6, dtype=np.float32)
    others = [("t", {"b": array}), ("t", {"a": array.reshape(2, 3)}), ("t", {"a": array.view(np.int32)})]
    others += [("t", {"a": array + 1}), ("u", {"a": array}), ("t", {"a": array, "b": array[:0]})]
    assert len({module.checksum(*each) for each in [("t", {"a": array}), *others]}) == 7
