"""Checkpoints: written whole or not at all, read bit by bit, and refused when they are anything else."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from scratch import files
from scratch.text import CheckpointError, Settings, built, read, write
from scratch.text import checkpoint as module
from scratch.types import Array

from . import damage
from .trainings import TEXT, TEXTS, advanced, all_settings, assert_same_bits

SMALL = Settings(hidden_size=2, batch_size=2, length=5)
CHECKPOINT = advanced(SMALL, TEXT, 2).checkpoint()
LATER = advanced(SMALL, TEXT, 3).checkpoint()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints") / "checkpoint"


@profile(max_examples=profile.default.max_examples // 2)
@given(all_settings(), TEXTS, st.integers(0, 3), st.booleans())
def test_what_is_written_is_read_bit_by_bit(
    path: Path, settings: Settings, text: str, steps: int, validates: bool
) -> None:
    training = advanced(settings, text, steps)
    if validates:
        training.validate()
    training.sources, training.seconds = ("a.txt", "\udcff.txt", "é"), 1 / 3
    checkpoint = training.checkpoint()
    write(path, checkpoint)
    found = read(path)
    assert_same_bits(found, checkpoint)
    assert found.seconds == checkpoint.seconds
    model, optimizer = built(found)
    assert model.state_dict().keys() == checkpoint.model.keys()
    assert len(optimizer.state_dict()["state"]) == len(checkpoint.optimizer)


def test_a_checkpoint_is_a_copy() -> None:
    training = advanced(SMALL, TEXT, 2)
    checkpoint = training.checkpoint()
    training.advance()
    assert_same_bits(checkpoint, CHECKPOINT)


# Writing.


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["mkstemp", "write", "flush", "fsync", "chmod", "replace"])
def test_a_write_that_fails_anywhere_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    path, opened = tmp_path / "checkpoint", os.fdopen
    write(path, CHECKPOINT)

    def fail(*_: object) -> None:
        raise error

    def failing(*arguments: Any) -> Any:
        file = opened(*arguments)
        setattr(file, where, fail)
        return file

    with monkeypatch.context() as patched:
        if where in ("write", "flush"):
            patched.setattr(files.os, "fdopen", failing)
        else:
            patched.setattr(files.tempfile if where == "mkstemp" else files.os, where, fail)
        with pytest.raises(type(error)):
            write(path, LATER)
    assert_same_bits(read(path), CHECKPOINT)
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]
    write(path, LATER)
    assert_same_bits(read(path), LATER)


@pytest.mark.parametrize("dies_before", ["fsync", "chmod", "replace"])
def test_a_writer_that_is_killed_leaves_the_old_file_and_one_to_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_before: str
) -> None:
    path = tmp_path / "checkpoint"
    write(path, CHECKPOINT)
    others = [".checkpoint.old.abcdefgh.partial", ".checkpoint.txt", "checkpoint.old", "x.partial"]
    for other in others:
        (tmp_path / other).touch()

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(files.os, dies_before, die)
        patched.setattr(files.os, "unlink", die)  # nothing is cleaned up
        with pytest.raises(SystemExit):
            write(path, LATER)
    assert_same_bits(read(path), CHECKPOINT)
    assert len(list(tmp_path.iterdir())) == 6
    files.forget_partial(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["checkpoint", *others])


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    write(path, CHECKPOINT)
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    path.chmod(0o640)
    write(path, CHECKPOINT)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, exists: bool) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    if exists:
        target.touch()
    write(link, CHECKPOINT)
    assert link.is_symlink() and not target.is_symlink()
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


@given(st.sampled_from(damage.originals()), st.data())
def test_damage_is_found(path: Path, original: bytes, data: st.DataObject) -> None:
    path.write_bytes(original)
    whole = read(path)
    found = damage.outcome(path, data.draw(damage.accident(original)))
    if found is not None:  # what is changed is space
        assert_same_bits(found, whole)
        assert found.seconds == whole.seconds


@pytest.mark.parametrize("kind", damage.DAMAGE, ids=lambda kind: kind.__name__)
@given(st.sampled_from(damage.originals()), st.booleans(), st.data())
def test_malice_is_refused_or_does_no_harm(
    path: Path, kind: Any, original: bytes, signs: bool, data: st.DataObject
) -> None:
    content = data.draw(kind(original))
    damage.outcome(path, damage.signed(content) if signs else content)


@pytest.mark.parametrize("original", damage.originals())
def test_signing_is_what_makes_a_change_pass(path: Path, original: bytes) -> None:
    """Otherwise the tests above would test the checksum alone."""
    outer, data = damage.unpacked(original)
    outer["__metadata__"]["recurrence"]["seconds"] = 7
    unsigned = damage.packed(outer, data)
    assert damage.outcome(path, unsigned) is None
    assert damage.outcome(path, damage.signed(unsigned)).seconds == 7


@pytest.mark.parametrize(
    "header",
    [
        *(module.header(CHECKPOINT).replace(f'"{name}": {old}', f'"{name}": {new}')
          for name, old in (("hidden_size", 2), ("num_layers", 1), ("embedding_size", 0)) for new in (20_000, 2**40)),
        module.header(CHECKPOINT._replace(vocabulary="".join(map(chr, range(0x20, 0xD000))))),
        "[" + "[]," * 10**5 + "[]]",
        "[" * 10**6,
    ],
    ids=lambda header: header[:9],
)  # fmt: skip
def test_a_hostile_file_takes_no_more_memory_than_a_few_times_its_size(path: Path, header: str) -> None:
    assert header != module.header(CHECKPOINT)
    assert damage.outcome(path, damage.file_of(header, module.arrays_of(CHECKPOINT))) is None


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


@pytest.mark.parametrize("content", [b"import os; os.abort()", b"\x80\x04cos\nabort\n(tR.", b"PK\x03\x04", b"", b"{}"])
def test_nothing_is_executed(path: Path, content: bytes) -> None:
    assert damage.outcome(path, content) is None


ARRAYS = module.arrays_of(CHECKPOINT)
NO_ORDER = [[[1, 2.0], [1, 2.0]], [[2, 2.0], [1, 2.0]], [[3, 2.0]], [[-1, 2.0]], [[0.5, 2.0]]]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        *((name, np.append(ARRAYS[name].ravel()[:-1], ARRAYS[name].dtype.type(value)).reshape(ARRAYS[name].shape))
          for name in ("model.fc.bias", "optimizer.fc.bias.exp_avg", "state.h", "history.losses")
          for value in (np.nan, np.inf, -np.inf)),
        *(("validations", np.array(rows)) for rows in NO_ORDER),
    ],
)  # fmt: skip
def test_numbers_that_no_training_has_are_refused(name: str, array: Array) -> None:
    arrays = module.arrays_of(CHECKPOINT._replace(validations=array)) if name == "validations" else {name: array}
    with pytest.raises(CheckpointError, match=name if name == "validations" else f"finite numbers in {name}"):
        module.of_parts(module.header(CHECKPOINT), ARRAYS | arrays)


@pytest.mark.parametrize("change", [{"has_uint32": 1.5}, {"uinteger": 1.5}, {"extra": 1}, {"bit_generator": "MT19937"}])
def test_random_numbers_go_on_exactly_or_not_at_all(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        built(CHECKPOINT._replace(rng={**CHECKPOINT.rng, **change}))


def test_the_checksum_covers_names_shapes_dtypes_and_bytes() -> None:
    array = np.arange(6, dtype=np.float32)
    others = [("t", {"b": array}), ("t", {"a": array.reshape(2, 3)}), ("t", {"a": array.view(np.int32)})]
    others += [("t", {"a": array + 1}), ("u", {"a": array}), ("t", {"a": array, "b": array[:0]})]
    assert len({module.checksum(*each) for each in [("t", {"a": array}), *others]}) == 7
