"""What a submission's text tells without running it: which cell it is, what it imports, whether it is still empty."""

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


LETTERS = {"lstm": r"\bd?_?c_(prev|0|n|after|next|t)\b", "gru": r"\b1(\.0?)? ?- ?z"}
"""What stands in the equations of one cell alone."""


def cell_of(path: Path, source: bytes) -> str | None:
    """The cell that the file's name tells; its text, if that speaks of one alone, or of one besides an RNN; the letters
    of its equations; or its folder's name.
    """
    text = source.decode("utf-8", "replace")
    by_name, by_text, by_letters, by_folder = (
        [cell for cell, pattern in patterns.items() if re.search(pattern, words, re.IGNORECASE)]
        for patterns, words in ((CELLS, path.stem), (CELLS, text), (LETTERS, text), (CELLS, path.resolve().parent.name))
    )
    special = [cell for cell in by_text if cell != "rnn"]
    ways = (by_name[:1], special, by_letters, by_text, by_folder[:1])
    return next((found[0] for found in ways if len(found) == 1), None)


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
    body: list[ast.stmt] = []
    for top in tree.body:
        alone = isinstance(top, ast.If) and ast.unparse(top.test) == "__name__ == '__main__'"
        body += getattr(top, "orelse", []) if alone else [top]
    for node in [each for top in body for each in ast.walk(top)]:
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str(base), names) if base.partition(".")[0] in ("scratch", "reference"):
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.ImportFrom(base):
                yield base or ""
            case ast.Call(ast.Name(function) | ast.Attribute(_, function), [ast.Constant(str(name)), *_]):
                yield from [name] if function in ("__import__", "import_module") else []


def foreign(names: Iterable[str]) -> list[str]:
    """The modules that are neither NumPy's nor the standard library's, each once, by its longest name."""
    own = sys.stdlib_module_names | {"numpy", "submission", "__main__", ""}
    found = sorted({name for name in names if name.partition(".")[0] not in own})
    return [name for name in found if not any(other.startswith(f"{name}.") for other in found)]
