"""What a submission's text tells without running it: which cell it is, what it imports, whether it is still empty."""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

LARGEST = 2**20
"""Bytes of a file, beyond which it is no exercise."""
CELLS = {
    "lstm": r"lstm|long short.term memory",
    "gru": r"gru(?![a-z])|gated recurrent unit",
    "rnn": r"rnn|elman|vanilla recurrent",
}
"""Words by which a file's name, or its text, tells the cell: from the most special to the most general."""
ITS_LETTERS = {"lstm": r"\bd?_?c_(prev|0|n|after|next|t)\b", "gru": r"\b1(\.0?)? ?- ?z"}
"""What stands in the equations of one cell alone."""


def cell_of(path: Path, source: bytes) -> str | None:
    """The cell: by the file's name, or its text, or its folder's name."""
    text = source.decode("utf-8", "replace")
    said = told_by(text)
    special = [cell for cell in said if cell != "rnn"]
    letters = [cell for cell, pattern in ITS_LETTERS.items() if re.search(pattern, text)]
    ways = [told_by(path.stem)[:1], special, letters, said, told_by(path.resolve().parent.name)[:1]]
    return next((found[0] for found in ways if len(found) == 1), None)


def told_by(words: str) -> list[str]:
    """The cells that words speak of."""
    return [cell for cell, pattern in CELLS.items() if re.search(pattern, words, re.IGNORECASE)]


def look(source: bytes) -> tuple[list[str], bool]:
    """What a text imports besides NumPy and the standard library, and whether nothing but imports and text is in it.

    Complex numbers count as imported, as with them gradients need not be derived. Raises SyntaxError, or ValueError,
    for what is no Python.
    """
    encoding, _ = tokenize.detect_encoding(BytesIO(source).readline)
    source.decode(encoding)  # which the parser leaves out where it is in a comment
    tree = ast.parse(source)
    body = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass))]
    empty = all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)
    numbers = ["complex"] if any(map(is_complex, ast.walk(tree))) else []
    return foreign([*imports(tree), *numbers]), empty


def is_complex(node: ast.AST) -> bool:
    """Whether a piece of the text makes complex numbers."""
    name = getattr(node, "id", "") or getattr(node, "attr", "") or getattr(node, "value", "")
    return isinstance(name, complex) or str(name).startswith(("complex", "emath", "csingle", "cdouble"))


def imports(tree: ast.Module) -> Iterator[str]:
    """The names of all modules that are imported anywhere, but for what is under `if __name__ == "__main__"`."""
    left: list[ast.AST] = [tree]
    while left:
        match node := left.pop():
            case ast.If() if ast.unparse(node.test).replace("'", '"') == '__name__ == "__main__"':
                left += node.orelse
                continue
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str(base), names) if base.partition(".")[0] in ("scratch", "reference"):
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.ImportFrom(base):
                yield base or ""
            case ast.Call(
                ast.Name("__import__" | "import_module") | ast.Attribute(attr="import_module"), [ast.Constant(name), *_]
            ):
                yield str(name)
        left += ast.iter_child_nodes(node)


def foreign(names: Iterable[str]) -> list[str]:
    """The modules that are neither NumPy's nor the standard library's, each once, by its longest name."""
    own = sys.stdlib_module_names | {"numpy", "submission", "__main__", ""}
    found = sorted({name for name in names if name.partition(".")[0] not in own})
    return [name for name in found if not any(other.startswith(f"{name}.") for other in found)]
