"""Files that are almost checkpoints: damaged by accident, or made by somebody who means harm."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from scratch.text import Checkpoint, CheckpointError, Diverged, Settings, Training, Vocabulary, built, generate, read
from scratch.text.checkpoint import arrays_of, checksum, content_of, header
from scratch.types import Array

from .trainings import TEXT, advanced


def file_of(text: str, arrays: dict[str, Array]) -> bytes:
    """A safetensors file with the right checksum."""
    return content_of(arrays, {"recurrence": text, "sha256": checksum(text, arrays)})


class Original(NamedTuple):
    """A checkpoint, and its file, in which the order of the metadata is left to chance."""

    checkpoint: Checkpoint
    content: bytes


@cache
def originals() -> list[Original]:
    """Small ones of different kinds."""
    kinds = [
        (Settings(hidden_size=2, num_layers=2, batch_size=2, length=5), 3),
        (Settings(cell="RNN", hidden_size=3, embedding_size=2, dtype="float64", optimizer="Adagrad", clip=np.inf), 2),
        (Settings(cell="RNN", hidden_size=1, optimizer="SGD", momentum=0.9, dropout=0.5, batch_size=1, length=3), 4),
        (Settings(hidden_size=1, embedding_size=1, optimizer="SGD"), 0),
    ]
    trainings = [advanced(settings, TEXT, steps) for settings, steps in kinds]
    for training in trainings:
        training.validate()
    checkpoints = [training.checkpoint() for training in trainings]
    return [Original(each, file_of(header(each), arrays_of(each))) for each in checkpoints]


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the data."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def packed(header: str, data: bytes) -> bytes:
    """A file of such a header and data, whatever they are."""
    return len(header.encode()).to_bytes(8, "little") + header.encode() + data


WORDS = {"@deep@": "[" * 100_000 + "]" * 100_000, "@long@": "9" * 5000, "@huge@": "1e999"}
"""Texts that stand for what no JSON library writes."""


def dumped(value: Any) -> str:
    """JSON, in which what such texts stand for takes their place."""
    text = json.dumps(value)
    for word, meant in WORDS.items():
        text = text.replace(f'"{word}"', meant)
    return text


# What belongs nowhere, or nearly fits.

SIZES = [0, 1, 2, 255, 10**4, 2**20, 2**31, 2**32, 2**40, 2**53 + 1, 2**62, 2**63, 2**64 - 8, 2**64, 2**128, 10**400]
DTYPES = ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F4", "F6_E2M3", "I16", "F16", "BF16", "I32", "F32", "C64", "F64"]
TEXTS = ["LSTM", "float64", "SGD", "MT19937", "\0\x1b[31m", "\ud800", "x" * 9999, *WORDS, *DTYPES]
NAMES = ["model.extra", "model.", "optimizer.extra.step", "optimizer.x", "state.x", "state.c", "history.extra", "", "."]
NUMBERS = [0.0, -1.0, 0.5, 2.0**24, 3e38, 1e-45, np.nan, np.inf, -np.inf]
JUNK = st.recursive(
    st.sampled_from([None, True, False, *SIZES, *(-size for size in SIZES), *TEXTS]) | st.floats() | st.text(),
    lambda junk: st.lists(junk, max_size=3) | st.dictionaries(st.text(max_size=3), junk, max_size=3),
    max_leaves=5,
)


@st.composite
def spliced(draw: st.DrawFn, whole: Any, more: st.SearchStrategy[Any]) -> Any:
    """Bytes, a text or a list with a piece cut out, repeated, or replaced by another piece or by something else."""
    a, b, c, d = (draw(st.integers(0, len(whole))) for _ in range(4))
    end = draw(st.sampled_from([a, a + 1, max(a, b), len(whole)]))
    return whole[:a] + draw(st.sampled_from([whole[:0], whole[a:end] * 2, whole[c:d]]) | more) + whole[end:]


def near(value: Any) -> st.SearchStrategy[Any]:
    """Values much like this one; of an array ones with other numbers in it, or of another shape or dtype."""
    match value:
        case int() | float():
            return st.sampled_from([not value, value + 1, value - 1, 2 * value + 1, -value])
        case str():
            return spliced(value, st.text(max_size=5))
        case list():
            return spliced(value, st.lists(JUNK, max_size=2))
        case np.ndarray():
            shaped = [value[None], value[..., None], value.T, value.ravel()[1:]]
            with np.errstate(all="ignore"):
                typed = [value.astype(dtype) for dtype in (np.float32, np.float64, np.int64, np.bool_)]
                other = [(value * number + number).astype(value.dtype) for number in NUMBERS]
            return st.sampled_from([np.ascontiguousarray(each) for each in (*shaped, *typed, *other)])
    return JUNK


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested dicts and lists, as (container, key)."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@st.composite
def changed(draw: st.DrawFn, tree: Any, junk: st.SearchStrategy[Any] = JUNK) -> Any:
    """Nested dicts and lists in which something is missing, has another name, or is near, junk or from elsewhere."""
    tree = deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        if not (found := list(places(tree))):
            break
        container, key = draw(st.sampled_from(found))
        value = container.pop(key)
        how = draw(st.sampled_from(["remove", "rename", "near", "near", "swap", "junk"]))
        if how == "rename" and isinstance(container, dict):
            key = draw(st.sampled_from([*NAMES, *map(str, container)]))
        elif how == "swap" and (others := list(places(tree))):
            other, place = draw(st.sampled_from(others))
            value = deepcopy(other[place])
        elif how != "remove":
            value = draw(near(value) if how == "near" else junk)
        if isinstance(container, list) and how != "remove":
            container.insert(key, value)
        elif how != "remove":
            container[key] = value
    return tree


# Damage: strategies for contents, each from an original.


def accident(original: Original) -> st.SearchStrategy[bytes]:
    content = original.content
    others = st.binary(max_size=99) | st.integers(0, 99).map(bytes)
    lengths = st.sampled_from([2**24, 2**24 + 1, *SIZES[:-3]]).map(lambda size: size.to_bytes(8, "little"))
    return spliced(content, others) | others | lengths.map(lambda length: length + content[8:])


def wrong_header(original: Original) -> st.SearchStrategy[bytes]:
    outer, data = unpacked(original.content)
    return changed({"": outer}).map(lambda tree: packed(dumped(tree.get("")), data))


def repeated_keys(original: Original) -> st.SearchStrategy[bytes]:
    outer, data = unpacked(original.content)
    pairs = changed(outer).map(lambda other: [dumped(other), dumped(outer)]).flatmap(st.permutations)
    return pairs.map(lambda pair: packed(f"{pair[0][:-1]},{pair[1][1:]}", data))


@st.composite
def wrong_dtype(draw: st.DrawFn, original: Original) -> bytes:
    """Another dtype, most often with a shape for the same number of bytes."""
    outer, data = unpacked(original.content)
    entry = outer[draw(st.sampled_from([name for name in outer if name != "__metadata__"]))]
    start, end = entry["data_offsets"]
    size = draw(st.sampled_from([end - start, 2 * (end - start), *((end - start) // size for size in (2, 4, 8))]))
    entry |= {"dtype": draw(st.sampled_from(DTYPES)), "shape": [size]}
    return packed(dumped(outer), data)


ACCIDENTS = [accident, wrong_header, repeated_keys, wrong_dtype]
"""Without the right checksum: what can be parsed at all is refused for that."""


def wrong_settings(original: Original) -> st.SearchStrategy[bytes]:
    text, arrays = header(original.checkpoint), arrays_of(original.checkpoint)
    texts = changed(json.loads(text)).map(dumped) | spliced(text, st.text(max_size=5)) | JUNK.map(dumped)
    return texts.map(lambda text: file_of(text, arrays))


def wrong_arrays(original: Original) -> st.SearchStrategy[bytes]:
    others = changed(arrays_of(original.checkpoint), st.just(np.ones(3)))
    return others.map(lambda arrays: file_of(header(original.checkpoint), arrays))


MALICE = [wrong_settings, wrong_arrays]
"""With the right checksum: anybody can compute that."""


@contextmanager
def memory_for(size: int) -> Iterator[None]:
    """Fails if more memory is taken than a file of so many bytes may need: a few times its size."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 30 * size


def outcome(path: Path, content: bytes) -> Checkpoint | None:
    """The checkpoint, after it has been used as far as possible; None if it is refused. Nothing else may happen."""
    path.write_bytes(content)
    with memory_for(len(content)):
        try:
            checkpoint = read(path)
            model, _ = built(checkpoint)
        except CheckpointError as error:
            message = str(error)
            assert message.isprintable() and len(message) < 500
            return None
    assert all(np.isfinite(array).all() for array in arrays_of(checkpoint).values())
    try:
        generate(model.eval(), Vocabulary(checkpoint.vocabulary), checkpoint.vocabulary[0], 2, rng=0)
        training = Training.resumed(checkpoint, TEXT)
    except ValueError:
        return checkpoint
    with suppress(Diverged):
        header(training.checkpoint())
        training.advance()
    return checkpoint
