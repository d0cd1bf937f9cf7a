"""Text as numbers: reading a file, and a vocabulary that gives each character an index."""

import os

import numpy as np
import numpy.typing as npt

from ..nn import checks
from ..types import Array


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, exactly as it is, line ends included.

    Raises ValueError if it is not UTF-8 or has fewer than two characters, which leaves nothing to predict; OSError if
    it cannot be read.
    """
    with open(path, encoding="utf-8", newline="") as file:
        try:
            text = file.read()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"expected UTF-8 text in {os.fspath(path)}, got {error.reason} at byte {error.start}"
            ) from None
    if len(text) < 2:
        raise ValueError(f"expected at least 2 characters in {os.fspath(path)}, got {len(text)}")
    return text


class Vocabulary:
    """The characters that a model knows, each with its index.

    characters: each once, in the order of the indices. Raises ValueError for none or for a repeated one.
    """

    def __init__(self, characters: str) -> None:
        if not characters or len(set(characters)) < len(characters):
            raise ValueError(f"expected at least one character, each once, got {characters!r}")
        self.characters = characters
        self._index = {character: index for index, character in enumerate(characters)}

    @classmethod
    def of(cls, text: str) -> "Vocabulary":
        """The vocabulary of a text: its characters, sorted."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Array:
        """The index of each character: (T,) int64. Raises ValueError for a character that is not known."""
        unknown = set(text) - self._index.keys()
        if unknown:
            raise ValueError(f"expected only known characters, got {''.join(sorted(unknown))!r}")
        return np.array([self._index[character] for character in text], dtype=np.int64)

    def decode(self, indices: Array) -> str:
        """The text of indices of any shape, read in order. Raises IndexError for an index that is not known."""
        return "".join(self.characters[index] for index in checks.indices("indices", indices, len(self)).ravel())

    def one_hot(self, indices: Array, dtype: npt.DTypeLike = np.float32) -> Array:
        """Indices (…) as vectors (…, V) that are 1 at the index and 0 elsewhere. Raises IndexError as `decode` does."""
        return np.eye(len(self), dtype=dtype)[checks.indices("indices", indices, len(self))]
