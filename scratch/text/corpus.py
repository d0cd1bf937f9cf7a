"""Text as numbers: reading files, a vocabulary, and a text cut into parallel streams that are read segment by segment.

Truncated backpropagation through time reads a text in segments of T characters and carries the state, not the gradient,
from each to the next (Williams and Peng 1990). Several places of the text are read at once: B streams, one below the
other. With n characters to a stream, column b of segment k is

(1)  x[b, t] = text[b·n + k·T + t],     y[b, t] = text[b·n + k·T + t + 1]        t = 0 … T − 1
"""

import hashlib
import os
import re
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..nn import checks
from ..types import Array

NO_SOURCES = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""The folders of the standard library that hold tests, and packages that do not belong to it."""


PACKED = (b"PK\3\4", b"\x1f\x8b", b"\xd0\xcf\x11\xe0")
"""How .zip, .xlsx and .ods begin, and .gz, and .xls."""


def read_text(
    path: str | os.PathLike[str], encoding: str = "utf-8", note: Callable[[str], object] = lambda note: None
) -> str:
    """The text of a file, without a byte order mark; line ends of Windows become \\n, which `note` is told.

    Raises UnicodeError, with the encoding that is likely, if the text is in another, and for an unknown encoding;
    ValueError for fewer than two characters, which leave nothing to predict, and for a packed file; OSError if it
    cannot be read.
    """
    name, content = os.fspath(path), Path(path).read_bytes()
    if content.startswith(PACKED):
        raise ValueError(f"expected text in {name}, got a packed file: unpack it; of a workbook save a sheet as CSV")
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
        problem = "zero bytes" if encoding == "utf-8" and has_zeros(content) else ""
    except LookupError:
        raise UnicodeError(f"expected an encoding that Python knows, got {encoding!r}") from None
    except UnicodeError as error:
        problem = f"{error.reason} at byte {error.start}" if isinstance(error, UnicodeDecodeError) else str(error)
    if problem:
        what = f"{problem}; likely it is {likely_encoding(content)}"
        raise UnicodeError(f"expected {encoding.upper()} text in {name}, got {what}")
    if ends := text.count("\r\n"):
        note(f"{name}: {ends:,} line end{'s'[: ends > 1]} of Windows, \\r\\n, read as \\n")
        text = text.replace("\r\n", "\n")
    if len(text) < 2:
        raise ValueError(f"expected at least 2 characters in {name}, got {len(text)}")
    return text


MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""How files begin that say what they are in."""

LIKELY = {
    "shift_jis": (r"[\u3041-\u309f]", 0.2),  # hiragana
    "euc_jp": (r"[\u3041-\u309f]", 0.2),
    "euc_kr": (r"[\uac00-\ud7a3]", 0.9),  # hangul
    "cp1251": (r"[а-яё]", 0.8),
    "koi8-r": (r"[а-яё]", 0.8),
    "gb18030": (r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", 0.9),
    "big5": (r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", 0.9),
}
"""Encodings, the characters that texts in them have, and which share of all that are not ASCII these are at least."""


def has_zeros(content: bytes) -> bool:
    """Whether so many bytes are zero as in UTF-16, where they are in spaces at least."""
    return 20 * content.count(0) > len(content)


def likely_encoding(content: bytes) -> str:
    """What a text is encoded in, if not in UTF-8: a guess from its first mark, or from what a reader would see."""
    content = content[: 1 << 16]
    if found := next((name for mark, name in MARKS.items() if content.startswith(mark)), None):
        return found
    if has_zeros(content):
        return "utf-16-le" if content[1::2].count(0) > content[::2].count(0) else "utf-16-be"
    if len(re.findall(rb"[\x80-\xff]{2}", content)) * 4 > len(re.findall(rb"[\x80-\xff]", content)):
        for encoding, (characters, share) in LIKELY.items():
            others = re.sub(r"[\0-\x7f]", "", content.decode(encoding, "replace"))
            if len(re.findall(characters, others)) >= share * len(others):
                return encoding
    return "cp1252"  # Western Europe's: letters with accents stand alone


def read_texts(
    paths: Iterable[str | os.PathLike[str]], encoding: str = "utf-8", note: Callable[[str], object] = lambda note: None
) -> str:
    """The texts of several files, one after the other. Raises as `read_text` does."""
    return "".join(read_text(path, encoding, note) for path in paths)


def standard_library() -> str:
    """The sources of the Python standard library on this machine, without tests, in the order of their paths.

    A text of some ten million characters that everybody has. Files that are empty or not UTF-8 are left out.
    """
    root = Path(sysconfig.get_path("stdlib"))
    paths = (path for path in root.rglob("*.py") if NO_SOURCES.isdisjoint(path.relative_to(root).parts))
    texts = []
    for path in sorted(paths):
        try:
            texts.append(read_text(path))
        except ValueError:
            continue
    return "".join(texts)


def digest(text: str) -> str:
    """The SHA-256 of a text in UTF-8, by which it is recognised."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(text: str, fraction: float) -> tuple[str, str]:
    """A text's beginning, for training, and its end, about `fraction` of it, for validation. Neither is ever empty.

    Each has at least two characters: one to read and one to predict. Raises ValueError for fewer than four in all, and
    for a fraction outside (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"expected a fraction for validation above 0 and below 1, got {fraction:g}")
    if len(text) < 4:
        raise ValueError(f"expected at least 4 characters, 2 to train and 2 to validate, got {len(text)}")
    held_out = min(max(2, round(fraction * len(text))), len(text) - 2)
    return text[:-held_out], text[-held_out:]


class Vocabulary:
    """The characters that a model knows, each with its index.

    characters: each once, in the order of the indices. Raises ValueError for none or for a repeated one.
    """

    def __init__(self, characters: str) -> None:
        if not characters or len(set(characters)) < len(characters):
            raise ValueError(f"expected at least one character, each once, got {characters!r}")
        self.characters = characters
        points = code_points(characters)
        self._order = np.argsort(points)
        self._sorted = points[self._order]

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        """The vocabulary of a text: its characters, sorted."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def prime(self) -> str:
        """What a text begins with when nobody says: a line end, if it is known."""
        return "\n" if "\n" in self.characters else self.characters[0]

    def encode(self, text: str) -> Array:
        """The index of each character: (T,) int64. Raises ValueError for a character that is not known."""
        points = code_points(text)
        places = np.minimum(np.searchsorted(self._sorted, points), len(self) - 1)
        if not np.array_equal(self._sorted[places], points):
            unknown = sorted(set(text) - set(self.characters))
            more = f" and {len(unknown) - 20:,} more" if len(unknown) > 20 else ""
            raise ValueError(f"expected only known characters, got {''.join(unknown[:20])!r}{more}")
        indices: Array = self._order[places].astype(np.int64)
        return indices

    def decode(self, indices: Array) -> str:
        """The text of indices of any shape, read in order. Raises IndexError for an index that is not known."""
        return "".join(self.characters[index] for index in checks.indices("indices", indices, len(self)).ravel())


def code_points(text: str) -> Array:
    """The Unicode code point of each character: (T,) uint32. Lone surrogates, which no file has, are let through."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


class Streams:
    """A text as B parallel streams of n characters each, read in segments of T: equation (1).

    indices: (N,) characters of a vocabulary. batch_size: B. length: T. A short text has fewer streams, so that each is
    T long, and at last one that is as long as there are characters to predict. The last segment of a stream is shorter
    where T does not divide n, and fewer than B characters at the end of the text are not read.

    Raises TypeError or ValueError for sizes below 1, ValueError for fewer than two characters.
    """

    def __init__(self, indices: Array, batch_size: int, length: int) -> None:
        batch_size = checks.integer("batch_size", batch_size, least=1)
        length = checks.integer("length", length, least=1)
        predicted = len(indices) - 1
        if predicted < 1:
            raise ValueError(f"expected at least 2 characters, got {len(indices)}")
        self.length = min(length, predicted)
        self.batch_size = min(batch_size, predicted // self.length)
        n = predicted // self.batch_size
        # One character more than a stream has, so that the last one also has a character to predict.
        self._text = np.lib.stride_tricks.sliding_window_view(indices, n + 1)[::n][: self.batch_size]
        self.segments = -(-n // self.length)
        """How many segments a stream has."""
        self.characters = n * self.batch_size
        """How many characters are read in a pass over the text."""

    def segment(self, index: int) -> tuple[Array, Array]:
        """What is read and what is to be predicted: x and y of segment k = index, (B, T), new arrays.

        Raises IndexError outside 0 … segments − 1.
        """
        if not 0 <= index < self.segments:
            raise IndexError(f"expected a segment of at least 0 and below {self.segments}, got {index}")
        part = self._text[:, index * self.length : (index + 1) * self.length + 1]
        return part[:, :-1].copy(), part[:, 1:].copy()  # (1)
