"""What a submission's text tells without running it: which cell it is, what it imports, whether it is still empty."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LARGEST = 2**20
"""Bytes of a file, beyond which it is no exercise."""
CELLS = {
    "lstm": r"lstm|long short.term memory",
    "gru": r"gru(?![a-z])|gated recurrent unit",
    "rnn": r"rnn|elman|vanilla recurrent",
}
"""Words by which a file's name, or its text, tells the cell: from the most special to the most general."""
ITS_LETTERS = {"lstm": r"\bd?_?c_(prev|0|n|after|next|t)\b", "gru": r"\bz(_t)?\b.*\b1(\.0?)? - z|\b1(\.0?)? - z"}
"""What stands in the equations of one cell alone."""


class Look(NamedTuple):
    """What the text tells."""

    uses: list[str]
    """What it imports, other than NumPy and the standard library."""
    empty: bool
    """Whether nothing is in it but imports and text."""
    complex_numbers: bool
    """Whether it computes with complex numbers, by which a gradient can be had without deriving it."""


def cell_of(path: Path, source: bytes) -> str | None:
    """The cell: by the file's name, or its text, or its folder's name."""
    text = source.decode("utf-8", "replace")
    for words in (path.stem, text, path.resolve().parent.name):
        found = [cell for cell, pattern in CELLS.items() if re.search(pattern, words, re.IGNORECASE)]
        if words is not text or len(set(found) - {"rnn"}) < 2:
            if found:
                return found[0]
        if words is text and (found := [cell for cell, letters in ITS_LETTERS.items() if re.search(letters, text)]):
            return found[0] if len(found) == 1 else None
    return None


def look(source: bytes) -> Look:
    """Look at a file's text. Raises SyntaxError, or ValueError, for what is no Python."""
    tree = ast.parse(source)
    body = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass))]
    empty = all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)
    numbers = any(
        (isinstance(node, ast.Constant) and isinstance(node.value, complex))
        or (isinstance(node, (ast.Name, ast.Attribute)) and re.match("complex", getattr(node, "id", "") or getattr(node, "attr", "")))
        for node in ast.walk(tree)
    )
    return Look(foreign(imports(tree)), empty, numbers)


def imports(tree: ast.Module) -> Iterator[str]:
    """The names of all modules that are imported anywhere, but for what is under `if __name__ == "__main__"`."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).replace("'", '"') == '__name__ == "__main__"':
            left += node.orelse
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((f"{base}.{alias.name}" if base in ("scratch", "reference") else base) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            if name in ("__import__", "import_module") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def foreign(names: Iterator[str] | list[str]) -> list[str]:
    """The modules that are neither NumPy's nor the standard library's, each once, by its longest name."""
    own = sys.stdlib_module_names | {"numpy", "submission", "__main__", ""}
    found = sorted({name for name in names if name.partition(".")[0] not in own})
    return [name for name in found if not any(other.startswith(f"{name}.") for other in found)]
