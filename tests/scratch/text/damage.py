"""Files that are almost checkpoints: damaged by accident, or made by somebody who means harm.

    python -m tests.scratch.text.damage 50000

reads so many of them, with no more memory than a fraction of a gigabyte, and counts what became of each kind.
"""

import json
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from scratch.text import CheckpointError, Diverged, Settings, Training, Vocabulary, built, generate, read, write
from scratch.text.checkpoint import checksum, header, parsed

from .trainings import advanced

TEXT = "the quick brown fox jumps over the lazy dog. " * 3

Rng = np.random.Generator
Damage = Callable[[Rng, bytes], bytes]


def originals(folder: Path) -> list[bytes]:
    """Checkpoints that are whole: small ones of different kinds."""
    kinds = [
        (Settings(hidden_size=2, num_layers=2, batch_size=2, length=5), 3),
        (Settings(cell="RNN", hidden_size=3, embedding_size=2, dtype="float64", optimizer="Adagrad", clip=np.inf), 2),
        (Settings(cell="RNN", hidden_size=1, optimizer="SGD", momentum=0.9, dropout=0.5, batch_size=1, length=3), 4),
        (Settings(hidden_size=1, embedding_size=1, optimizer="SGD"), 0),
        (Settings(hidden_size=2, optimizer="RMSprop", momentum=0.5, batch_size=3, length=4), 1),
    ]
    contents = []
    for settings, steps in kinds:
        training = advanced(settings, TEXT, steps)
        training.validate()
        write(folder / "original", training.checkpoint())
        contents.append((folder / "original").read_bytes())
    return contents


def taken_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The outer header and the data of a whole file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def put_together(outer: Any, data: bytes) -> bytes:
    """A file of an outer header and data, whatever they are."""
    text = dumped(outer).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


DEEP, LONG = "@deep@", "@long@"


def dumped(value: Any) -> str:
    """JSON, in which two texts stand for what no JSON library writes."""
    return (
        json.dumps(value)
        .replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000)
        .replace(f'"{LONG}"', "9" * 5000)
        .replace(f'\\"{DEEP}\\"', "[" * 100_000 + "]" * 100_000)
        .replace(f'\\"{LONG}\\"', "9" * 5000)
    )


def junk(rng: Rng) -> Any:
    """A value that belongs nowhere, or nearly fits."""
    integers = [0, 1, 2, 3, 4, 5, 7, 255, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 2**128, 2**200, 10**400]
    floats = [0.5, 1.5, 1e-320, 1e308, float("nan"), float("inf"), -0.0, 2.0, 1e300]
    texts = ["", "x", "LSTM", "float64", "SGD", "PCG64", "MT19937", "\0", "\x1b[31m", "\ud800", "é🙂", "x" * 9999, "1"]
    others: list[Any] = [None, True, False, [], {}, [[]], [1, 2], {"state": 1}, [0, 0], DEEP, LONG, ["x"] * 99]
    values = [*integers, *(-value for value in integers), *floats, *(-value for value in floats), *texts, *others]
    return values[rng.integers(len(values))]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested dicts and lists, as (container, key)."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def changed(rng: Rng, value: Any) -> None:
    """Replace, remove or add something somewhere in nested dicts and lists."""
    found = list(places(value))
    container, key = found[rng.integers(len(found))]
    match rng.integers(8):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container["extra"] = junk(rng)
        case 2 if isinstance(container[key], int | float):
            container[key] = container[key] * 2 + 1
        case _:
            container[key] = junk(rng)


def span(rng: Rng, content: bytes) -> tuple[int, int]:
    """The ends of a piece of a file, often a short one."""
    start = int(rng.integers(len(content)))
    return start, min(len(content), start + int(2 ** rng.uniform(0, 10)))


# Accidents.


def flipped(rng: Rng, content: bytes) -> bytes:
    array = np.frombuffer(content, np.uint8).copy()
    array[rng.integers(len(array))] ^= np.uint8(1 << rng.integers(8))
    return array.tobytes()


def flipped_often(rng: Rng, content: bytes) -> bytes:
    for _ in range(rng.integers(2, 20)):
        content = flipped(rng, content)
    return content


def truncated(rng: Rng, content: bytes) -> bytes:
    return content[: rng.integers(len(content))]


def inserted(rng: Rng, content: bytes) -> bytes:
    start, end = span(rng, content)
    return content[:start] + rng.bytes(end - start) + content[start:]


def removed(rng: Rng, content: bytes) -> bytes:
    start, end = span(rng, content)
    return content[:start] + content[end:]


def repeated(rng: Rng, content: bytes) -> bytes:
    start, end = span(rng, content)
    return content[:end] + content[start:]


def erased(rng: Rng, content: bytes) -> bytes:
    start, end = span(rng, content)
    return content[:start] + bytes(end - start) + content[end:]


def swapped(rng: Rng, content: bytes) -> bytes:
    a, b, c, d = sorted(int(place) for place in rng.integers(len(content) + 1, size=4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def lengthened(rng: Rng, content: bytes) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 100)))


def noise(rng: Rng, content: bytes) -> bytes:
    return rng.bytes(int(rng.integers(0, 2000)))


ACCIDENTS: list[Damage] = [
    flipped, flipped_often, truncated, inserted, removed, repeated, erased, swapped, lengthened, noise
]  # fmt: skip


# Malice.


def wrong_length(rng: Rng, content: bytes) -> bytes:
    lengths = [0, 1, 2**24, 2**24 + 1, 10**8, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]
    near = int.from_bytes(content[:8], "little") + int(rng.integers(-9, 9))
    return int(rng.choice(np.array([*lengths, near], np.uint64))).to_bytes(8, "little") + content[8:]


def outer_header(rng: Rng, content: bytes) -> bytes:
    outer, data = taken_apart(content)
    changed(rng, outer)
    return put_together(outer, data)


def no_header(rng: Rng, content: bytes) -> bytes:
    return put_together(junk(rng), content)


def metadata(rng: Rng, content: bytes) -> bytes:
    outer, data = taken_apart(content)
    if rng.integers(2):
        changed(rng, outer["__metadata__"])
    else:
        outer["__metadata__"] = junk(rng)
    return put_together(outer, data)


def dtypes(rng: Rng, content: bytes) -> bytes:
    outer, data = taken_apart(content)
    names = ["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F4", "F6_E2M3", "I16", "U16", "F16", "BF16"]
    names += ["I32", "U32", "F32", "C64", "F64", "I64", "U64", "O", "f4"]
    entries = [name for name in outer if name != "__metadata__"]
    for name in rng.choice(entries, rng.integers(1, 3)):
        outer[name]["dtype"] = str(rng.choice(names))
        if rng.integers(2):  # so that the size fits
            bits = {"8": 8, "O": 8, "6": 16, "2": 32, "4": 64, "L": 8}.get(outer[name]["dtype"][-1], 8)
            start, end = outer[name]["data_offsets"]
            outer[name]["shape"] = [(end - start) * 8 // bits]
    return put_together(outer, data)


def shapes(rng: Rng, content: bytes) -> bytes:
    outer, data = taken_apart(content)
    entries = [name for name in outer if name != "__metadata__"]
    name = str(rng.choice(entries))
    shape = outer[name]["shape"]
    size = int(np.prod(shape))
    near = [[*shape, 1], [1, *shape], shape[::-1], [size], [*shape, 0], [-1, -size], [1.0, *shape]]
    far = [[], [0], [2**62, 0], [0, 2**63], [2**32, 2**32], [2**64 - 1, 2], [1] * 65, [-1], [2**40]]
    choices = near + far
    outer[name]["shape"] = choices[rng.integers(len(choices))]
    return put_together(outer, data)


def offsets(rng: Rng, content: bytes) -> bytes:
    outer, data = taken_apart(content)
    entries = [name for name in outer if name != "__metadata__"]
    one, other = (str(name) for name in rng.choice(entries, 2))
    start, end = outer[one]["data_offsets"]
    near = [
        outer[other]["data_offsets"],
        [end, start],
        [start + 4, end + 4],
        [0, len(data)],
        [start, end, end],
        [start],
    ]
    far = [[0, 2**63], [start, 2**64], [-4, end], [start, end + 2**40], [2**64 - 4, 2**64 - 4 + end - start]]
    choices = near + far
    outer[one]["data_offsets"] = choices[rng.integers(len(choices))]
    return put_together(outer, data)


def other_arrays(rng: Rng, content: bytes) -> bytes:
    """Arrays that are missing, additional, empty or renamed, in a file without gaps."""
    outer, data = taken_apart(content)
    arrays = {
        name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
        for name, entry in outer.items()
        if name != "__metadata__"
    }
    new = ["model.extra", "model.", "model", "optimizer.fc.bias.extra", "optimizer.extra.step", "optimizer."]
    new += ["optimizer.x", "state.x", "state.c", "state.h", "history.extra", "extra", "", ".", "\x1b[31m", "é🙂"]
    for _ in range(rng.integers(1, 3)):
        one, other = (str(name) for name in rng.choice(list(arrays), 2))
        match rng.integers(6):
            case 0:
                del arrays[one]
                if not arrays:
                    return put_together({"__metadata__": outer["__metadata__"]}, b"")
            case 1:
                arrays[str(rng.choice(new))] = arrays[one]
            case 2:
                arrays[str(rng.choice(new))] = arrays.pop(one)
            case 3:
                arrays[one], arrays[other] = arrays[other], arrays[one]
            case 4:
                arrays[one] = ("F32", [[0], [0, 2**40], [3, 0]][rng.integers(3)], b"")
            case _:
                group = str(rng.choice(["model", "optimizer", "state", "history"]))
                arrays = {name: array for name, array in arrays.items() if not name.startswith(group)} or arrays
    outer = {"__metadata__": outer["__metadata__"]}
    at = 0
    for name, (dtype, shape, part) in arrays.items():
        outer[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(part)]}
        at += len(part)
    return put_together(outer, b"".join(part for _, _, part in arrays.values()))


def numbers(rng: Rng, content: bytes) -> bytes:
    """Numbers in the arrays that are none, infinite or huge."""
    outer, data = taken_apart(content)
    entries = [
        entry for name, entry in outer.items() if name != "__metadata__" and entry["data_offsets"][0] < len(data)
    ]
    written = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        entry = entries[rng.integers(len(entries))]
        dtype = np.dtype(np.float64 if entry["dtype"] == "F64" else np.float32)
        start, end = entry["data_offsets"]
        if end > start:
            at = start + dtype.itemsize * int(rng.integers((end - start) // dtype.itemsize))
            value = rng.choice([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, -1.0, 0.5, 2.0**24])
            written[at : at + dtype.itemsize] = dtype.type(value).tobytes()
    return put_together(outer, bytes(written))


def inner(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A file whose inner header was changed in place, or is what `change` returns."""
    outer, data = taken_apart(content)
    values = json.loads(outer["__metadata__"]["recurrence"])
    result = change(values)
    outer["__metadata__"]["recurrence"] = result if isinstance(result, str) else json.dumps(values)
    return put_together(outer, data)


def inner_header(rng: Rng, content: bytes) -> bytes:
    return inner(content, lambda values: changed(rng, values))


def settings(rng: Rng, content: bytes) -> bytes:
    return inner(content, lambda values: changed(rng, values["settings"]))


def sizes(rng: Rng, content: bytes) -> bytes:
    def change(values: dict[str, Any]) -> None:
        name = str(rng.choice(["hidden_size", "num_layers", "embedding_size", "batch_size", "length", "seed"]))
        sizes = [0, 1, 2, 3, 4, 10**4, 2**20, 2**31, 2**40, 2**62, 2**63, 2**64, 10**30, 10**400]
        values["settings"][name] = sizes[rng.integers(len(sizes))]

    return inner(content, change)


def random_numbers(rng: Rng, content: bytes) -> bytes:
    def change(values: dict[str, Any]) -> None:
        if rng.integers(6):
            changed(rng, values["rng"])
        else:
            values["rng"] = junk(rng)

    return inner(content, change)


def vocabulary(rng: Rng, content: bytes) -> bytes:
    def change(values: dict[str, Any]) -> None:
        old = values["vocabulary"]
        new = [
            old[::-1],
            old[1:],
            old + "Z",
            old + old[0],
            old[:-1] + "\ud800",
            "",
            old[:-1] + "Z",
            "".join(map(chr, range(5000))),
        ]
        values["vocabulary"] = new[rng.integers(len(new))]

    return inner(content, change)


def broken_json(rng: Rng, content: bytes) -> bytes:
    text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["recurrence"]
    choices = [text[: rng.integers(len(text))], text + "}", "", "null", "[]", "1", '"x"', "[" * 10**5, '{"a":' * 10**5,
               text.replace('"step"', '"step": 1, "step"'), text.replace('"format": 1', '"format": 1.0'), "{}", "NaN",
               text.replace('"seconds": 0.0', '"seconds": NaN'), text.replace('"seconds": 0.0', '"seconds": 1e999'),
               text.replace('"seconds": 0.0', '"seconds": -Infinity'), "[" + "[]," * 10**4 + "[]]"]  # fmt: skip
    return inner(content, lambda _: choices[rng.integers(len(choices))])


def repeated_keys(rng: Rng, content: bytes) -> bytes:
    outer, data = taken_apart(content)
    text, extra = json.dumps(outer), dict(outer)
    changed(rng, extra)
    joined = (
        f"{text[:-1]}, {json.dumps(extra)[1:]}" if rng.integers(2) else f"{json.dumps(extra)[:-1]}, {text[1:]}"
    ).encode()
    return len(joined).to_bytes(8, "little") + joined + data


MALICE: list[Damage] = [
    wrong_length, outer_header, no_header, metadata, dtypes, shapes, offsets, other_arrays, numbers, inner_header,
    settings, sizes, random_numbers, vocabulary, broken_json, repeated_keys
]  # fmt: skip


def signed(content: bytes) -> bytes:
    """The same file with the checksum of what is in it, if it can be parsed at all: anybody can compute that."""
    try:
        found, arrays = parsed(content)
        old, new = found["sha256"].encode(), checksum(found["recurrence"], arrays).encode()
    except (CheckpointError, KeyError, AttributeError, UnicodeEncodeError):
        return content
    return content.replace(old, new) if len(old) == len(new) else content


def outcome(path: Path, content: bytes) -> str:
    """What becomes of a file: 'refused', 'built', or 'used', for a step and to write. Raises what should never come."""
    path.write_bytes(content)
    try:
        checkpoint = read(path)
        model, _ = built(checkpoint)
    except CheckpointError as error:
        return "refused" if str(error).isprintable() and len(str(error)) < 500 else "refused with its own words"
    assert len(checkpoint.vocabulary) * checkpoint.settings.hidden_size < len(content)
    try:
        generate(model.eval(), Vocabulary(checkpoint.vocabulary), checkpoint.vocabulary[0], 2, rng=0)
        training = Training.resumed(checkpoint, TEXT)
    except ValueError:
        return "built"
    try:
        header(training.checkpoint())
        training.advance()
    except Diverged:
        return "diverged"
    return "used"


def damaged(seed: int, kind: Damage, contents: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Endlessly: a whole file, and what damage of a kind makes of it."""
    rng = np.random.default_rng([seed, *kind.__name__.encode()])
    while True:
        content = contents[rng.integers(len(contents))]
        yield content, kind(rng, content)


def main(count: int) -> None:
    """Read `count` files, half of them signed, and print what became of them."""
    counts: dict[str, Counter[str]] = {}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents = originals(folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (virtual + 2**28, virtual + 2**28))
        kinds = [(kind, sign) for kind in [*ACCIDENTS, *MALICE] for sign in (False, True)]
        beginning = perf_counter()
        for index, (kind, sign) in enumerate(kinds):
            share = count // len(kinds) + (index < count % len(kinds))
            counter = counts[f"{kind.__name__}{', signed' if sign else ''}"] = Counter()
            for original, content in islice(damaged(index, kind, contents), share):
                start = perf_counter()
                found = outcome(folder / "damaged", signed(content) if sign else content)
                slowest = max(slowest, perf_counter() - start)
                counter["unchanged" if content == original else found] += 1
        seconds = perf_counter() - beginning
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for label, counter in counts.items():
        print(f"{label:28}", ", ".join(f"{name} {number}" for name, number in sorted(counter.items())))
    print("in all                      ", dict(sum(counts.values(), Counter())))
    print(f"{seconds:.0f} s, the slowest {slowest:.2f} s; peak memory {before >> 10} MiB before, {after >> 10} after")


if __name__ == "__main__":
    main(int(sys.argv[1]))
