"""Checkpoints: written whole or not at all, read bit by bit, and refused when they are anything else."""

import os
import tracemalloc
from collections.abc import Callable
from itertools import islice
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

from . import damage
from .trainings import TEXTS, advanced, all_settings, assert_same_bits

SMALL = Settings(hidden_size=2, batch_size=2, length=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def contents(folder: Path) -> list[bytes]:
    return damage.originals(folder)


@profile(max_examples=profile.default.max_examples // 2)
@given(all_settings(), TEXTS, st.integers(0, 3), st.booleans())
def test_what_is_written_is_read_bit_by_bit(
    folder: Path, settings: Settings, text: str, steps: int, validates: bool
) -> None:
    training = advanced(settings, text, steps)
    if validates:
        training.validate()
    training.sources, training.seconds = ("a.txt", "\udcff.txt", "é"), 1 / 3
    checkpoint = training.checkpoint()
    write(folder / "checkpoint", checkpoint)
    found = read(folder / "checkpoint")
    assert_same_bits(found, checkpoint)
    assert found.seconds == checkpoint.seconds
    model, optimizer = built(found)
    assert model.state_dict().keys() == checkpoint.model.keys()
    assert len(optimizer.state_dict()["state"]) == len(checkpoint.optimizer)


def test_a_checkpoint_is_a_copy(folder: Path) -> None:
    training = advanced(SMALL, damage.TEXT, 2)
    one, other = training.checkpoint(), training.checkpoint()
    training.advance()
    assert_same_bits(one, other)


FAILURES = ["open", "write", "flush", "fsync", "chmod", "replace"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", FAILURES)
def test_a_write_that_fails_anywhere_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    path, training = tmp_path / "checkpoint", advanced(SMALL, damage.TEXT, 1)
    write(path, training.checkpoint())
    before = path.read_bytes()
    training.advance()

    class Failing:
        """A file whose methods fail."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> "Failing":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def fileno(self) -> int:
            return int(self.file.fileno())

        def write(self, content: bytes) -> None:
            self.file.write(content[: len(content) // 2])
            if where == "write":
                raise error

        def flush(self) -> None:
            self.file.flush()
            if where == "flush":
                raise error

    def fail(*_: Any) -> None:
        raise error

    opened = os.fdopen
    with monkeypatch.context() as patched:
        if where == "open":
            patched.setattr(files.tempfile, "mkstemp", fail)
        elif where in ("write", "flush"):
            patched.setattr(files.os, "fdopen", lambda *arguments: Failing(opened(*arguments)))
        else:
            patched.setattr(files.os, where, fail)
        with pytest.raises(type(error)):
            write(path, training.checkpoint())
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint"]
    write(path, training.checkpoint())
    assert_same_bits(read(path), training.checkpoint())


@pytest.mark.parametrize("dies_before", ["fsync", "chmod", "replace"])
def test_a_writer_that_is_killed_leaves_the_old_file_and_one_to_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_before: str
) -> None:
    path, training = tmp_path / "checkpoint", advanced(SMALL, damage.TEXT, 1)
    write(path, training.checkpoint())
    write(tmp_path / "checkpoint.old", training.checkpoint())
    before = path.read_bytes()
    training.advance()

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(files.os, dies_before, die)
        patched.setattr(files.os, "unlink", die)  # nothing is cleaned up
        with pytest.raises(SystemExit):
            write(path, training.checkpoint())
    assert path.read_bytes() == before
    others = {tmp_path / ".checkpoint.old.abcdefgh.partial", tmp_path / ".checkpoint.txt", tmp_path / "x.partial"}
    for other in others:
        other.touch()
    assert len(list(tmp_path.iterdir())) == 6
    files.forget_partial(path)
    assert set(tmp_path.iterdir()) == {path, tmp_path / "checkpoint.old", *others}


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "checkpoint", advanced(SMALL, damage.TEXT, 0).checkpoint()
    write(path, checkpoint)
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    path.chmod(0o640)
    write(path, checkpoint)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path, exists: bool) -> None:
    link, target, checkpoint = tmp_path / "link", tmp_path / "target", advanced(SMALL, damage.TEXT, 0).checkpoint()
    link.symlink_to(target)
    if exists:
        target.touch()
    write(link, checkpoint)
    assert link.is_symlink() and not target.is_symlink()
    assert_same_bits(read(target), checkpoint)


def test_only_a_file_is_read_or_replaced(tmp_path: Path) -> None:
    checkpoint = advanced(SMALL, damage.TEXT, 0).checkpoint()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "loop"):
        with pytest.raises((CheckpointError, OSError), match=r"expected a file|symbolic links"):
            read(path)
        with pytest.raises(OSError, match="no file"):
            write(path, checkpoint)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "missing" / "checkpoint", checkpoint)


# Damaged files. 52 kinds of damage in all: some 500 files in the ordinary run, 52,000 in the thorough one.

EACH = profile.default.max_examples // 10 if profile.default.max_examples < 2000 else 1000


@pytest.mark.parametrize("kind", damage.ACCIDENTS, ids=lambda kind: kind.__name__)
def test_damage_is_found(folder: Path, contents: list[bytes], kind: damage.Damage) -> None:
    for number, (original, content) in enumerate(islice(damage.damaged(0, kind, contents), EACH)):
        if content != original:
            assert damage.outcome(folder / "damaged", content) == "refused", (kind.__name__, number)


@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("kind", [*damage.ACCIDENTS, *damage.MALICE], ids=lambda kind: kind.__name__)
def test_malice_is_refused_or_does_no_harm(
    folder: Path, contents: list[bytes], kind: damage.Damage, signs: bool
) -> None:
    for number, (_, content) in enumerate(islice(damage.damaged(1 + signs, kind, contents), EACH)):
        try:
            found = damage.outcome(folder / "damaged", damage.signed(content) if signs else content)
        except BaseException as error:
            error.add_note(f"{kind.__name__}, number {number}")
            raise
        assert found in ("refused", "built", "used", "diverged"), (kind.__name__, number)


def test_signing_is_what_makes_a_change_pass(folder: Path, contents: list[bytes]) -> None:
    """Otherwise the tests above would test the checksum alone."""

    def later(values: dict[str, Any]) -> None:
        values["seconds"] = 7

    for content in contents:
        unsigned = damage.inner(content, later)
        assert damage.outcome(folder / "damaged", unsigned) == "refused"
        assert damage.outcome(folder / "damaged", damage.signed(unsigned)) == "used"


def many_characters(values: dict[str, Any]) -> None:
    values["vocabulary"] = "".join(map(chr, range(0x20, 0xD000)))


def large(name: str, size: int) -> Callable[[dict[str, Any]], None]:
    return lambda values: values["settings"].update({name: size})


@pytest.mark.parametrize(
    "change",
    [
        many_characters,
        *(large(name, size) for name in ("hidden_size", "num_layers", "embedding_size") for size in (20_000, 2**40)),
        lambda values: "[" + "[]," * 10**5 + "[]]",
        lambda values: "[" * 10**6,
    ],
)
def test_a_hostile_file_takes_no_more_memory_than_a_few_times_its_size(
    folder: Path, contents: list[bytes], change: Callable[[dict[str, Any]], Any]
) -> None:
    content = damage.signed(damage.inner(contents[3], change))
    tracemalloc.start()
    try:
        assert damage.outcome(folder / "damaged", content) == "refused"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 30 * len(content)


def test_a_model_of_many_characters_takes_memory_for_its_weights_alone(folder: Path) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    training = advanced(Settings(cell="RNN", hidden_size=1, batch_size=1, length=1, optimizer="SGD"), text, 1)
    write(folder / "many", training.checkpoint())
    tracemalloc.start()
    built(read(folder / "many"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * (folder / "many").stat().st_size


def test_a_header_beyond_all_vocabularies_is_refused_unread(folder: Path, contents: list[bytes]) -> None:
    length = (module.LARGEST_HEADER + 1).to_bytes(8, "little")
    with pytest.raises(CheckpointError, match="header of at most"):
        module.parsed(length + bytes(100))
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    checkpoint = advanced(SMALL, damage.TEXT, 0).checkpoint()._replace(vocabulary=everything)
    write(folder / "everything", checkpoint)
    assert read(folder / "everything").vocabulary == everything


@pytest.mark.parametrize("content", [b"import os; os.abort()", b"\x80\x04cos\nabort\n(tR.", b"PK\x03\x04", b"", b"{}"])
def test_nothing_is_executed(folder: Path, content: bytes) -> None:
    assert damage.outcome(folder / "damaged", content) == "refused"


@pytest.mark.parametrize("what", ["model", "optimizer", "state"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(folder: Path, what: str, value: float) -> None:
    checkpoint = advanced(SMALL, damage.TEXT, 2).checkpoint()
    arrays = {"model": checkpoint.model["fc.bias"], "optimizer": checkpoint.optimizer["fc.bias"]["exp_avg"],
              "state": checkpoint.state["h"]}  # fmt: skip
    arrays[what].flat[-1] = value
    write(folder / "checkpoint", checkpoint)
    with pytest.raises(CheckpointError, match="finite"):
        read(folder / "checkpoint")


@pytest.mark.parametrize("rows", [[[1, 2.0], [1, 2.0]], [[2, 2.0], [1, 2.0]], [[3, 2.0]], [[-1, 2.0]], [[0.5, 2.0]]])
def test_validations_come_after_steps_that_were_made(folder: Path, rows: list[list[float]]) -> None:
    checkpoint = advanced(SMALL, damage.TEXT, 2).checkpoint()
    write(folder / "checkpoint", checkpoint._replace(validations=np.array(rows)))
    with pytest.raises(CheckpointError, match="validations"):
        read(folder / "checkpoint")


@pytest.mark.parametrize("change", [{"has_uint32": 1.5}, {"uinteger": 1.5}, {"extra": 1}, {"bit_generator": "MT19937"}])
def test_random_numbers_go_on_exactly_or_not_at_all(change: dict[str, Any]) -> None:
    checkpoint = advanced(SMALL, damage.TEXT, 1).checkpoint()
    with pytest.raises(CheckpointError):
        built(checkpoint._replace(rng={**checkpoint.rng, **change}))


def test_the_checksum_covers_names_shapes_dtypes_and_bytes() -> None:
    array = np.arange(6, dtype=np.float32)
    others = [("t", {"b": array}), ("t", {"a": array.reshape(2, 3)}), ("t", {"a": array.view(np.int32)})]
    others += [("t", {"a": array + 1}), ("u", {"a": array}), ("t", {"a": array, "b": array[:0]})]
    assert len({module.checksum(*each) for each in [("t", {"a": array}), *others]}) == 7
