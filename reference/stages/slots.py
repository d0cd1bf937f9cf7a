"""Functions in which a mistake is one line changed.

A line `name = …` is a slot, and an edit puts something else on its right side. Where the slot's own name stands in an
edit, and has no value before the line, it is what the line has: `output: output[::-1]`.
"""

from __future__ import annotations  # what is compiled here inherits it: no name in an annotation is looked up

import inspect
import re
from collections.abc import Callable, Iterable
from functools import cache
from types import CodeType
from typing import Any

source_of = cache(inspect.getsource)


@cache
def slots_of(function: Callable[..., Any]) -> dict[str, str]:
    """A function's slots, and what is on their right sides."""
    return dict(re.findall(r"^ +(\w+) = (.*)$", source_of(function), flags=re.MULTILINE))


def edited(function: Callable[..., Any], edits: Iterable[tuple[str, str]], known: dict[str, Any]) -> Any:
    """The function with other right sides in some slots, for what is known by name."""
    values = dict(known)
    exec(code_of(function, frozenset(edits)), values)
    return values[function.__name__]


@cache
def code_of(function: Callable[..., Any], edits: frozenset[tuple[str, str]]) -> CodeType:
    """The code of a function with its edits."""
    source = source_of(function)
    for slot, text in edits:
        right = slots_of(function)[slot]
        new = re.sub(r"(\w+)\[::-1\]", r"flip(\1)", text)  # which PyTorch understands, too
        own = rf"(?<![.\w\"]){slot}\b"
        alone = len(re.findall(rf"\b{slot}\b[^=\n]* = ", source)) == 1  # it has no value before
        if alone and not re.search(own, right):
            new = re.sub(own, f"({right})", new)
        source = re.sub(rf"(?m)^( +{slot} = ).*$", rf"\g<1>{new}", source)
    return compile(source, f"<{function.__name__}>", "exec")
