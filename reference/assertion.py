"""The check as an assertion, for the test suite of whoever wrote a recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .candidates import DTYPES, candidate
from .check import check
from .failures import failures
from .problems import Configuration
from .space import grid


def assert_equivalent(
    subject: Any,
    configurations: Configuration | Sequence[Configuration] | None = None,
    *,
    cell: str | None = None,
    dtypes: Sequence[str] = DTYPES,
    seed: int = 0,
) -> None:
    """Raise AssertionError, and tell what is wrong, unless a recurrence is equivalent to `scratch` and PyTorch.

    subject: a class with the interface of `scratch.nn.LSTM` or of `torch.nn.LSTM` (or RNN), or a pair of functions
    (forward, backward) for one layer and direction: see candidates.py. Options that it does not offer are left out.
    configurations: one or several; every combination of options at small sizes unless given. cell: 'RNN tanh',
    'RNN relu' or 'LSTM', where the subject's name does not tell. seed: draws the numbers.

    Every output and every gradient is compared with `scratch` in longdouble, in float64 to 1e-12 (and, where it
    computes in float32, to as many roundings), or to what rounding explains where a problem magnifies it.

    Raises TypeError for a subject that is nothing of the kind, ValueError where its cell cannot be told.
    """
    implementation = candidate(subject, cell=cell)
    if configurations is None:
        configurations = grid(seed)
    elif isinstance(configurations, Configuration):
        configurations = [configurations]
    found = check(configurations, implementation, dtypes, witnesses=False)
    if not found.configurations:
        reasons = "; ".join(f"{what} ({reason})" for what, reason in found.not_offered.items())
        raise AssertionError(
            f"nothing could be checked: {implementation.name} does not offer {reasons or 'these cells'}"
        )
    if found.failures:
        told = failures(found)
        raise AssertionError("\n\n".join([f"{implementation.name} is not equivalent:", *map(str, told)]))
