"""Files that are almost checkpoints: damaged by accident, or made by somebody who means harm."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scratch.text import Checkpoint, CheckpointError, Diverged, Settings, Training, Vocabulary, built, generate, read
from scratch.text.checkpoint import arrays_of, checksum, content_of, header, parsed
from scratch.types import Array

from .trainings import TEXT, advanced


def file_of(text: str, arrays: dict[str, Array]) -> bytes:
    """A safetensors file with the right checksum."""
    return content_of(arrays, {"recurrence": text, "sha256": checksum(text, arrays)})


@cache
def originals() -> list[bytes]:
    """Checkpoints that are whole: small ones of different kinds."""
    kinds = [
        (Settings(hidden_size=2, num_layers=2, batch_size=2, length=5), 3),
        (Settings(cell="RNN", hidden_size=3, embedding_size=2, dtype="float64", optimizer="Adagrad", clip=np.inf), 2),
        (Settings(cell="RNN", hidden_size=1, optimizer="SGD", momentum=0.9, dropout=0.5, batch_size=1, length=3), 4),
        (Settings(hidden_size=1, embedding_size=1, optimizer="SGD"), 0),
        (Settings(hidden_size=2, optimizer="RMSprop", momentum=0.5, batch_size=3, length=4), 1),
    ]
    trainings = [advanced(settings, TEXT, steps) for settings, steps in kinds]
    for training in trainings:
        training.validate()
    return [file_of(header(each), arrays_of(each)) for each in (training.checkpoint() for training in trainings)]


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, with this project's header as a dict inside it, and the data."""
    end = 8 + int.from_bytes(content[:8], "little")
    outer = json.loads(content[8:end])
    outer["__metadata__"]["recurrence"] = json.loads(outer["__metadata__"]["recurrence"])
    return outer, content[end:]


def packed(outer: Any, data: bytes) -> bytes:
    """A file of such a header and data, whatever they are. A header that is a text is written as it is."""
    match outer:
        case {"__metadata__": {"recurrence": {**inner}}}:
            outer = {**outer, "__metadata__": outer["__metadata__"] | {"recurrence": dumped(inner)}}
    text = (outer if isinstance(outer, str) else dumped(outer)).encode()
    return len(text).to_bytes(8, "little") + text + data


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
JUNK = st.recursive(
    st.sampled_from([None, True, False, *SIZES, *(-size for size in SIZES), *TEXTS]) | st.floats() | st.text(),
    lambda junk: st.lists(junk, max_size=3) | st.dictionaries(st.text(max_size=3), junk, max_size=3),
    max_leaves=5,
)
BYTES = st.binary(max_size=99) | st.integers(0, 99).map(bytes)


@st.composite
def spliced(draw: st.DrawFn, whole: Any, more: st.SearchStrategy[Any]) -> Any:
    """Bytes, a text or a list with a piece cut out, repeated, or replaced by another piece or by something else."""
    places = st.integers(0, len(whole))
    a, b, c, d = *sorted((draw(places), draw(places))), *sorted((draw(places), draw(places)))
    b = draw(st.sampled_from([a, min(a + 1, len(whole)), b, len(whole)]))
    return whole[:a] + draw(st.sampled_from([whole[:0], whole[a:b] * 2, whole[c:d]]) | more) + whole[b:]


def near(value: Any) -> st.SearchStrategy[Any]:
    """Values much like this one."""
    match value:
        case bool():
            return st.just(not value)
        case int() | float():
            return st.sampled_from([value + 1, value - 1, 2 * value + 1, -value])
        case str():
            return spliced(value, st.text(st.characters(), max_size=5))
        case list():
            return spliced(value, st.lists(JUNK, max_size=2)) | st.permutations(value)
        case np.ndarray():
            return near_array(value)
    return JUNK


@st.composite
def near_array(draw: st.DrawFn, array: Array) -> Array:
    """The array with another number in it, or of another shape or dtype."""
    array, others = array.copy(), [0.0, -1.0, 0.5, 2.0**24, 3e38, 1e-45, np.nan, np.inf, -np.inf]
    if array.size and array.dtype.kind == "f":
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(others))
    shaped = draw(st.sampled_from([array, array, array[None], array[..., None], array.T, array.ravel()[1:]]))
    with np.errstate(all="ignore"):
        dtype = draw(st.sampled_from([array.dtype] * 5 + [np.float32, np.float64, np.int64, np.bool_]))
        return shaped.astype(dtype, order="C")


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
        match draw(st.sampled_from(["remove", "rename", "near", "near", "swap", "junk"])):
            case "remove":
                continue
            case "rename" if isinstance(container, dict):
                key = draw(st.sampled_from([*NAMES, *map(str, container)]))
            case "near":
                value = draw(near(value))
            case "swap":
                other, place = draw(st.sampled_from(list(places(tree)) or [([value], 0)]))
                value = deepcopy(other[place])
            case _:
                value = draw(junk)
        if isinstance(container, list):
            container.insert(key, value)
        else:
            container[key] = value
    return tree


# Damage: strategies for contents, each from that of a whole file.


def accident(content: bytes) -> st.SearchStrategy[bytes]:
    return spliced(content, BYTES) | BYTES


def wrong_length(content: bytes) -> st.SearchStrategy[bytes]:
    length = int.from_bytes(content[:8], "little")
    lengths = st.sampled_from([2**24, 2**24 + 1, *SIZES[:-3]]) | st.integers(length - 9, length + 9)
    return lengths.map(lambda each: each.to_bytes(8, "little") + content[8:])


def wrong_header(content: bytes) -> st.SearchStrategy[bytes]:
    outer, data = unpacked(content)
    return changed({"": outer}).map(lambda tree: packed(tree.get(""), data))


def wrong_header_of_the_project(content: bytes) -> st.SearchStrategy[bytes]:
    outer, data = unpacked(content)
    inner = outer["__metadata__"]["recurrence"]
    texts = changed(inner).map(dumped) | spliced(json.dumps(inner), st.text(max_size=5)) | JUNK.map(dumped)
    return texts.map(lambda text: packed(outer | {"__metadata__": outer["__metadata__"] | {"recurrence": text}}, data))


def repeated_keys(content: bytes) -> st.SearchStrategy[bytes]:
    outer, data = unpacked(content)
    outer["__metadata__"]["recurrence"] = dumped(outer["__metadata__"]["recurrence"])
    text, others = dumped(outer), changed(outer).map(dumped)
    joined = others.flatmap(lambda other: st.sampled_from([text[:-1] + "," + other[1:], other[:-1] + "," + text[1:]]))
    return joined.map(lambda text: packed(text, data))


@st.composite
def wrong_dtype(draw: st.DrawFn, content: bytes) -> bytes:
    """Another dtype, most often with a shape for the same number of bytes."""
    outer, data = unpacked(content)
    entry = outer[draw(st.sampled_from([name for name in outer if name != "__metadata__"]))]
    start, end = entry["data_offsets"]
    size = draw(st.sampled_from([end - start, 2 * (end - start), *((end - start) // size for size in (2, 4, 8))]))
    entry |= {"dtype": draw(st.sampled_from(DTYPES)), "shape": [size]}
    return packed(outer, data)


def wrong_arrays(content: bytes) -> st.SearchStrategy[bytes]:
    metadata, arrays = parsed(content)
    arrays = dict(sorted(arrays.items()))  # they come in any order
    return changed(arrays, st.just(np.ones(3))).map(lambda arrays: file_of(metadata["recurrence"], arrays))


DAMAGE = [accident, wrong_length, wrong_header, wrong_header_of_the_project, repeated_keys, wrong_dtype, wrong_arrays]


def signed(content: bytes) -> bytes:
    """The same file with the checksum of what is in it, if it can be parsed at all: anybody can compute that."""
    try:
        found, arrays = parsed(content)
        old, new = found["sha256"].encode(), checksum(found["recurrence"], arrays).encode()
    except (CheckpointError, KeyError, AttributeError, UnicodeEncodeError):
        return content
    return content.replace(old, new) if len(old) == len(new) else content


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
    message = ""
    with memory_for(len(content)):
        try:
            checkpoint = read(path)
            model, _ = built(checkpoint)
        except CheckpointError as error:
            message = str(error)
    assert message.isprintable() and len(message) < 500
    if message:
        return None
    assert all(np.isfinite(array).all() for array in arrays_of(checkpoint).values())
    try:
        generate(model.eval(), Vocabulary(checkpoint.vocabulary), checkpoint.vocabulary[0], 2, rng=0)
        training = Training.resumed(checkpoint, TEXT)
    except ValueError:
        return checkpoint
    try:
        header(training.checkpoint())
        training.advance()
    except Diverged:
        pass
    return checkpoint
