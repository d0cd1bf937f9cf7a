"""What a check has found, tensor by tensor: the worst error and where it is, the typical one, who agrees.

The summary is what the command prints, what the report shows and what the JSON file holds.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from .check import PYTORCH, Found, Row
from .devices import MODES, NO_DEVICE, device_name
from .failures import Told
from .problems import Configuration, eps_of
from .space import labels
from .witnesses import WITNESSES

Key = TypeVar("Key", bound=Hashable)


class Line(NamedTuple):
    """One tensor, over all configurations, as one of the parties has it in one dtype."""

    worst: Row
    typical: float
    """The median error."""
    ulps: float
    """The largest."""


class Compared(NamedTuple):
    """One kind of tensor, as the subject has it and, where PyTorch was heard, as PyTorch has it."""

    kind: str
    ours: Line
    theirs: Line | None
    ratio: float
    """See `ratio`."""


class Agreement(NamedTuple):
    """How far a witness agrees with the truth."""

    witness: str
    agreements: int
    tensors: int
    worst: Row


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """The rows by what `key` says of them, in order of appearance."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def lines(found: Found, who: str, dtype: str) -> dict[str, Line]:
    """For each kind of tensor what one party has made of it in one dtype."""
    rows = (row for row in found.rows if row.who == who and row.dtype == dtype)
    return {kind: line(group) for kind, group in grouped(rows, lambda row: row.kind).items()}


def tensors(found: Found, dtype: str) -> list[Compared]:
    """For each kind of tensor what the subject has made of it in one dtype, beside PyTorch."""
    ours, theirs = lines(found, found.subject.name, dtype), lines(found, PYTORCH, dtype)
    return [Compared(kind, line, theirs.get(kind), ratio(found, kind, dtype)) for kind, line in ours.items()]


def line(rows: list[Row]) -> Line:
    """The line of one tensor: the worst is of those that can be judged."""
    judged = [row for row in rows if row.judged] or rows
    return Line(
        worst=max(judged, key=lambda row: row.error),
        typical=median(row.error for row in rows),
        ulps=max(row.ulps for row in judged),
    )


def ratio(found: Found, kind: str, dtype: str) -> float:
    """The subject's error by PyTorch's in one kind of tensor: the geometric mean over all tensors of that kind.

    An error below a quarter of eps, 0 above all, is luck, and counts as that.
    """
    floor = eps_of(dtype) / 4
    errors: dict[str, dict[tuple[str, Configuration], float]] = {found.subject.name: {}, PYTORCH: {}}
    for row in found.rows:
        if row.kind == kind and row.dtype == dtype and row.who in errors:
            errors[row.who][row.tensor, row.configuration] = max(floor, row.error)
    ours, theirs = errors.values()
    logarithms = [np.log(ours[key] / theirs[key]) for key in ours if key in theirs]
    return float(np.exp(np.mean(logarithms))) if logarithms else float("nan")


def verdict(found: Found, told: Told) -> str:
    """What came of it, in a sentence or two."""
    name, number, to_do = found.subject.name, len(found.configurations), found.subject.to_do
    of = f"{number} of {found.asked}" if number < found.asked else f"all {number}"
    if not number:
        return "Nothing could be checked: no configuration does without what is not offered."
    if told.failures and all(row.unfit for row in found.failures):
        return f"{name} could not be compared; something beside its mathematics is wrong:"
    if told.failures:
        wrong = len({row.configuration for row in found.failures})
        causes = f"{len(told.failures)} cause{'s' if len(told.failures) > 1 else ''}"
        return f"{name} is wrong in {wrong} of {number} configurations, from {causes}:"
    if to_do:
        return f"{name} is right forward, in {of} configurations. Its backward is to do: {to_do}."
    if found.subject.only == "forward":
        return f"{name} agrees with the truth forward, in {of} configurations."
    offered = f" that it offers, of {found.asked}, in every tensor that it computes" if found.not_offered else ""
    return f"{name} agrees with the truth in all {number} configurations{offered or ', in every tensor'}."


def in_ulps(number: float) -> str:
    """A number of ULPs as it is shown."""
    return f"{number:.1f}" if number < 10_000 else f"{number:.0e}"


def agreements(found: Found) -> list[Agreement]:
    """What the four witnesses say. PyTorch's autograd testifies in float64."""
    heard = [(PYTORCH, "float64"), *((name, "longdouble") for name in WITNESSES)]
    groups = grouped(found.rows, lambda row: (row.who, row.dtype))
    return [
        Agreement(
            "PyTorch's autograd" if who == PYTORCH else who,
            sum(row.agrees for row in groups[who, dtype]),
            len(groups[who, dtype]),
            max(groups[who, dtype], key=lambda row: row.error / row.tolerance if row.tolerance else row.error),
        )
        for who, dtype in heard
        if (who, dtype) in groups
    ]


def on_gpu(found: Found) -> dict[str, dict[str, Line]]:
    """For each mode of the GPU that was asked for what it has made of each kind of tensor; nothing without a GPU."""
    heard = {row.who for row in found.rows}
    return {mode.name: lines(found, mode.name, mode.dtype) for mode in MODES if mode.name in heard}


def by_option(found: Found, who: str, dtype: str) -> dict[tuple[str, str], dict[str, float]]:
    """The worst error of each kind of tensor for each option, as (group of options, option)."""
    errors: dict[tuple[str, str], dict[str, float]] = {}
    for row in found.rows:
        if row.who == who and row.dtype == dtype:
            for option in labels(row.configuration).items():
                kinds = errors.setdefault(option, {})
                kinds[row.kind] = max(kinds.get(row.kind, 0.0), row.error)
    groups = list(labels(found.configurations[0])) if found.configurations else []
    return dict(sorted(errors.items(), key=lambda item: groups.index(item[0][0])))


def environment() -> dict[str, str]:
    """Where the figures come from."""
    info, blas = np.finfo(np.longdouble), np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "Python": platform.python_version(),
        "NumPy": f"{np.__version__}, {blas['name']} {blas['version']}",
        "PyTorch": str(torch.__version__),
        "longdouble": f"{info.nmant + 1} bits, eps {float(info.eps):.1e}",
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": cpu_name(),
        "GPU": device_name() + (f", cuDNN {torch.backends.cudnn.version()}" if torch.cuda.is_available() else ""),
    }


def cpu_name() -> str:
    """The processor, as the system calls it."""
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        described = ""
    names = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def as_json(found: Found, told: Told) -> dict[str, Any]:
    """Everything of the summary in JSON's terms. Errors that are no finite number are texts: 'inf'."""

    def number(value: float) -> float | str:
        return value if isfinite(value) else str(value)

    def of_line(one: Line) -> dict[str, Any]:
        return {
            "worst": number(one.worst.error),
            "tolerance there": number(one.worst.tolerance),
            "typical": number(one.typical),
            "ulps": number(one.ulps),
            "tensor": one.worst.tensor,
            "configuration": asdict(one.worst.configuration),
        }

    parties = dict.fromkeys((row.who, row.dtype) for row in found.rows if row.who not in WITNESSES)
    gpu = {name: {kind: of_line(one) for kind, one in kinds.items()} for name, kinds in on_gpu(found).items()}
    return {
        "subject": found.subject.name,
        "configurations": len(found.configurations),
        "environment": environment(),
        "tensors": {
            f"{who}, {dtype}": {kind: of_line(one) for kind, one in lines(found, who, dtype).items()}
            for who, dtype in parties
        },
        "GPU": gpu or NO_DEVICE,
        "witnesses": [
            {
                "witness": one.witness,
                "agreements": one.agreements,
                "tensors": one.tensors,
                "worst": number(one.worst.error),
            }
            for one in agreements(found)
        ],
        "not in PyTorch": found.not_in_torch,
        "not offered": found.not_offered,
        "to do": {"backward": found.subject.to_do} if found.subject.to_do else {},
        "disagreements": len(found.disagreements),
        "not judged": sum(not row.judged for row in found.rows),
        "failures": [
            {
                "configuration": asdict(failure.configuration),
                "tensors": {row.tensor: row.what or number(row.error) for row in failure.rows},
                "dtypes": failure.dtypes,
                "configurations": failure.count,
                "diagnosis": str(failure.diagnosis),
                "diagnosed at": asdict(failure.diagnosis.configuration),
                "against it": failure.against,
                "reproduction": failure.reproduction,
            }
            for failure in told.failures
        ],
    }
