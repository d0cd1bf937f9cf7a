"""The check as an assertion, for the test suite of whoever wrote a recurrence."""

from collections.abc import Mapping, Sequence
from typing import Any

from .candidates import DTYPES, HALVES, Implementation, candidate, requirements
from .check import check
from .failures import failures
from .faults import held_to
from .problems import Configuration
from .space import grid, sized


def assert_equivalent(
    subject: Any,
    configurations: Configuration | Sequence[Configuration] | None = None,
    *,
    cell: str | Sequence[str] | None = None,
    dtypes: str | Sequence[str] = DTYPES,
    seed: int = 0,
    tolerance: float | None = None,
    only: str | None = None,
    weights: str | None = None,
    device: str = "cpu",
    sizes: Mapping[str, int] | None = None,
    require: str | Sequence[str] = (),
    reset: str | None = None,
) -> None:
    """Raise AssertionError, and tell what is wrong, unless a recurrence is equivalent to `scratch` and PyTorch.

    subject: a class with the interface of `scratch.nn.LSTM` or of `torch.nn.LSTM` (or RNN), or a pair of functions
    (forward, backward) for one layer and direction: see candidates. Options that it does not offer are left out.
    configurations: one or several; every combination of options at small sizes unless given. cell: 'RNN tanh',
    'RNN relu', 'LSTM' or 'GRU', where neither the subject's name nor a single configuration tells. dtypes: 'float64',
    'float32', 'float16', 'bfloat16' (of torch Modules), or several. seed: draws the numbers. tolerance: the largest
    error that is right, unless it is what the dtype promises. only: 'forward', or 'final' for a gradient at the final
    state alone. weights: the form of a pair's parameters, as 'keras' or 'columns,one-bias'. device: where a torch
    Module computes. sizes: those that are tried, by their letters: {'T': 5, 'H': 64}. require: what must be offered, as
    'packed input', or 'all'. reset: 'before' for a GRU that resets before the product with W_hh (Cho et al. 2014).

    Every output and every gradient is compared with `scratch` in longdouble, in float64 to 1e-12 (and, where it
    computes in float32, to as many roundings), or to what rounding explains where a problem magnifies it.

    Raises TypeError for a subject that is nothing of the kind, ValueError where its cell cannot be told, or for another
    argument that is none of what it can be.
    """
    names = [dtypes] if isinstance(dtypes, str) else list(dtypes)
    if not names or not set(names) <= {*DTYPES, *HALVES}:
        raise ValueError(f"expected dtypes among {', '.join(map(repr, (*DTYPES, *HALVES)))}, got {dtypes!r}")
    required = requirements([require] if isinstance(require, str) else require)
    if isinstance(configurations, Configuration):
        cell, configurations = cell or configurations.cell, [configurations]
    chosen = dict.fromkeys(
        sized(each, sizes or {}) for each in (grid(seed) if configurations is None else configurations)
    )
    if not isinstance(subject, Implementation):
        options: dict[str, Any] = {"only": only, "weights": weights, "device": device, "tolerance": tolerance}
        subject = candidate(subject, cell=cell, sizes=sizes, **options)
    if reset is not None:
        held_to(subject, f"reset {reset}")
    found = check(list(chosen), subject, names, witnesses=False)
    told = failures(found)
    lines = [*map(str, told.failures), *([told.rest] if told.rest else [])]
    missing = subject.missing(required).items()
    lines += [f"required, but not offered: {what} ({reason})" for what, reason in missing]
    if lines:
        raise AssertionError("\n\n".join([f"{subject.name} is not equivalent:", *lines]))
    if not found.configurations:
        reasons = "; ".join(f"{what} ({reason})" for what, reason in found.not_offered.items())
        raise AssertionError(f"nothing could be checked: {subject.name} does not offer {reasons or 'this cell'}")
    if subject.to_do:
        raise AssertionError(f"{subject.name}: forward is right, backward is to do: {subject.to_do}")
