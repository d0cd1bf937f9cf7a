"""The check as an assertion, for the test suite of whoever wrote a recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .candidates import DTYPES, Implementation, candidate
from .check import check
from .failures import failures
from .problems import Configuration
from .space import grid


def assert_equivalent(
    subject: Any,
    configurations: Configuration | Sequence[Configuration] | None = None,
    *,
    cell: str | Sequence[str] | None = None,
    dtypes: str | Sequence[str] = DTYPES,
    seed: int = 0,
) -> None:
    """Raise AssertionError, and tell what is wrong, unless a recurrence is equivalent to `scratch` and PyTorch.

    subject: a class with the interface of `scratch.nn.LSTM` or of `torch.nn.LSTM` (or RNN), or a pair of functions
    (forward, backward) for one layer and direction: see candidates.py. Options that it does not offer are left out.
    configurations: one or several; every combination of options at small sizes unless given. cell: 'RNN tanh',
    'RNN relu' or 'LSTM', where neither the subject's name nor a single configuration tells. dtypes: 'float64' or
    'float32', or both. seed: draws the numbers.

    Every output and every gradient is compared with `scratch` in longdouble, in float64 to 1e-12 (and, where it
    computes in float32, to as many roundings), or to what rounding explains where a problem magnifies it.

    Raises TypeError for a subject that is nothing of the kind, ValueError where its cell cannot be told.
    """
    names = [dtypes] if isinstance(dtypes, str) else list(dtypes)
    if not names or not set(names) <= set(DTYPES):
        raise ValueError(f"expected dtypes among {', '.join(map(repr, DTYPES))}, got {dtypes!r}")
    if configurations is None:
        configurations = grid(seed)
    elif isinstance(configurations, Configuration):
        cell, configurations = cell or configurations.cell, [configurations]
    implementation = subject if isinstance(subject, Implementation) else candidate(subject, cell=cell)
    found = check(configurations, implementation, names, witnesses=False)
    if not found.configurations:
        reasons = "; ".join(f"{what} ({reason})" for what, reason in found.not_offered.items())
        raise AssertionError(f"nothing could be checked: {implementation.name} does not offer {reasons or 'this cell'}")
    if found.failures:
        told = failures(found)
        lines = [
            f"{implementation.name} is not equivalent:",
            *map(str, told.failures),
            *([told.rest] if told.rest else []),
        ]
        raise AssertionError("\n\n".join(lines))
