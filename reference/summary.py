"""What a check has found, tensor by tensor: the worst error and where it is, the typical one, who agrees.

`summary` is one dictionary: `show` prints it, the report (report.py) draws it and the JSON file holds it.
"""

import platform
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.text import Text

from scratch.terminal import table

from .candidates import Scratch
from .check import EVERYTHING, PYTORCH, Found, Row
from .devices import MODES, NO_DEVICE, device_name
from .failures import Told
from .problems import Configuration, eps_of
from .witnesses import WITNESSES

WIDE = 7
"""How long a name may be in a table of eight columns that is 80 wide."""
Key = TypeVar("Key", bound=Hashable)
Table = dict[str, dict[str, Any]]
"""For each kind of tensor its figures: those of `line`."""


def summary(found: Found, told: Told) -> dict[str, Any]:
    """Everything that is shown."""
    name = found.subject.name
    parties = grouped(found.rows, lambda row: (row.who, row.dtype))
    groups = {who: grouped(rows, lambda row: row.kind) for who, rows in parties.items()}
    figures = {who: {kind: line(rows) for kind, rows in kinds.items()} for who, kinds in groups.items()}
    for (who, dtype), own in figures.items():
        for kind in own.keys() & groups.get((PYTORCH, dtype), {}).keys() if who == name else ():
            own[kind]["ratio"] = ratio(groups[who, dtype][kind], groups[PYTORCH, dtype][kind], eps_of(dtype))
    gpu = {mode.name: figures[mode.name, mode.dtype] for mode in MODES if (mode.name, mode.dtype) in figures}
    return {
        "subject": name,
        "verdict": verdict(found, told),
        "configurations": len(found.configurations),
        "environment": environment(),
        "tensors": {f"{who}, {dtype}": figures[who, dtype] for who, dtype in figures if who in (name, PYTORCH)},
        "GPU": gpu or NO_DEVICE,
        "witnesses": witnesses(found.rows),
        "not in PyTorch": [
            module
            for module in dict.fromkeys(configuration.module for configuration in found.configurations)
            if found.witnessed and not hasattr(torch.nn, module)
        ],
        "not offered": found.not_offered,
        "to do": {"backward": found.subject.to_do} if found.subject.to_do else {},
        "disagreements": sum(not row.agrees for row in found.rows),
        "not judged": sum(not row.judged for row in found.rows),
        "failures": [
            {
                "configuration": failure.configuration,
                "tensors": {row.tensor: row.what or row.error for row in failure.rows},
                "dtypes": failure.dtypes,
                "configurations": failure.count,
                "diagnosis": str(failure.diagnosis),
                "diagnosed at": failure.diagnosis.configuration,
                "against it": failure.against,
                "reproduction": failure.reproduction,
            }
            for failure in told.failures
        ],
    }


def as_json(value: Any) -> Any:
    """A summary in JSON's terms. Errors that are no finite number are texts: 'inf'."""
    if isinstance(value, dict):
        return {name: as_json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if isinstance(value, Configuration):
        return asdict(value)
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """The rows by what `key` says of them, in order of appearance."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def line(rows: list[Row]) -> dict[str, Any]:
    """One kind of tensor as one party has it: the worst of those that can be judged, and the median of all."""
    judged = [row for row in rows if row.judged] or rows
    worst = max(judged, key=lambda row: row.error)
    return {
        "worst": worst.error,
        "tolerance there": worst.tolerance,
        "typical": median(row.error for row in rows),
        "ulps": max(row.ulps for row in judged),
        "tensor": worst.tensor,
        "configuration": worst.configuration,
        "what": worst.what,
    }


def ratio(ours: list[Row], theirs: list[Row], eps: float) -> float:
    """The subject's error by PyTorch's in one kind of tensor: the geometric mean over all tensors that both have.

    An error below a quarter of eps, 0 above all, is luck, and counts as that.
    """
    of_torch = {(row.tensor, row.configuration): max(eps / 4, row.error) for row in theirs}
    pairs = [(max(eps / 4, row.error), of_torch.get((row.tensor, row.configuration))) for row in ours]
    logarithms = [np.log(own / other) for own, other in pairs if other is not None]
    return float(np.exp(np.mean(logarithms))) if logarithms else float("nan")


def tables(found: Found, shown: dict[str, Any]) -> dict[str, tuple[Table, Table]]:
    """In each dtype the figures of the subject, and those of PyTorch, which may be none; an error has none to show."""
    both: dict[str, tuple[Table, Table]] = {}
    for dtype in found.subject.dtypes:
        ours, theirs = (shown["tensors"].get(f"{who}, {dtype}", {}) for who in (found.subject.name, PYTORCH))
        ours = {kind: figures for kind, figures in ours.items() if kind != EVERYTHING}
        both |= {dtype: (ours, theirs)} if ours else {}
    return both


def witnesses(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What the four witnesses say. PyTorch's autograd testifies in float64."""
    groups = grouped(rows, lambda row: (row.who, row.dtype))
    heard = {(PYTORCH, "float64"): "PyTorch's autograd", **{(name, "longdouble"): name for name in WITNESSES}}
    said = []
    for key, name in heard.items():
        if key in groups:
            worst = max(groups[key], key=lambda row: row.error / row.tolerance if row.tolerance else row.error)
            agree = sum(row.agrees for row in groups[key])
            figures = {"worst": worst.error, "tolerance there": worst.tolerance}
            said.append({"witness": name, "agreements": agree, "tensors": len(groups[key]), **figures})
    return said


def verdict(found: Found, told: Told) -> str:
    """What came of it, in a sentence or two."""
    name, number, asked = found.subject.name, len(found.configurations), found.asked
    of = f"{number} of {asked}" if number < asked else f"all {number}"
    if not number:
        return "Nothing could be checked: no configuration does without what is not offered."
    if told.failures and all(row.unfit for row in found.failures):
        return f"{name} could not be compared; something beside its mathematics is wrong:"
    if told.failures:
        wrong, causes = len({row.configuration for row in found.failures}), len(told.failures)
        return f"{name} is wrong in {wrong} of {number} configurations, from {causes} cause{'s' * (causes > 1)}:"
    if found.subject.to_do:
        return f"{name} is right forward, in {of} configurations. Its backward is to do: {found.subject.to_do}."
    if found.subject.only == "forward":
        return f"{name} agrees with the truth forward, in {of} configurations."
    offered = f" that it offers, of {asked}, in every tensor that it computes" if found.not_offered else ""
    return f"{name} agrees with the truth in all {number} configurations{offered or ', in every tensor'}."


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


def show(
    out: Console, found: Found, told: Told, shown: dict[str, Any], missing: dict[str, str], verbose: bool = False
) -> None:
    """Everything in print. shown: the summary. missing: what is required, but not offered, and how that was seen."""

    def say(text: str, style: str = "") -> None:
        out.print(Text(text, style=style), soft_wrap=True)

    name = found.subject.name
    say(f"\n{shown['verdict']}", "bold")
    for what, reason in missing.items():
        say(f"required, but not offered: {what} ({reason})", "bold")
    for failure in told.failures:
        say(f"\n{failure}")
        agreed = f"; with the truth against it: {', '.join(failure.against)}" if failure.against else ""
        say(f"  seen in {failure.count} configuration{'s' * (failure.count > 1)}{agreed}")
        say("    " + failure.reproduction.replace("\n", "\n    "))
    if told.rest:
        say(f"\n{told.rest}")
    for reason in dict.fromkeys(found.not_offered.values()):
        say(f"not offered: {', '.join(what for what, why in found.not_offered.items() if why == reason)} ({reason})")
    if others := dict.fromkeys(row.who for row in found.others):
        say(f"But not everybody agrees with that truth: not {', '.join(others)}.")
    if unjudged := sum(not row.judged for row in found.rows if row.who == name):
        say(f"{unjudged} tensors cannot be judged: rounding alone may move them by more than a tenth.")
    if tables(found, shown):
        truth = "longdouble" if name == Scratch.name else "scratch longdouble"
        say(f"\n{name} against {truth}, {len(found.configurations)} configurations")
    for dtype, (ours, theirs) in tables(found, shown).items():
        columns = [name if len(name) <= (WIDE if theirs else 40) else "yours", "ULP", "typical"]
        errors = table(dtype, *columns, *([PYTORCH, "ULP", "typical", "ratio"] if theirs else []))
        for kind, line in ours.items():
            cells = [
                cell
                for each in (line, theirs.get(kind))
                for cell in ((f"{each['worst']:.1e}", in_short(each["ulps"]), f"{each['typical']:.1e}") if each else ())
            ]
            errors.add_row(kind, *cells, *([in_short(line["ratio"], 2)] if "ratio" in line else []))
        out.print(errors)
        if verbose:
            say(f"where {name} is worst:")
            for line in ours.values():
                say(f"  {line['tensor']}: {line['what'] or line['configuration']}")
    if found.witnessed:
        show_witnesses(out, found, shown)


def in_short(number: float, digits: int = 1) -> str:
    """A number of ULPs, or a ratio, as it is shown."""
    return f"{number:.{digits}f}" if number < 10_000 else f"{number:.0e}"


def show_witnesses(out: Console, found: Found, shown: dict[str, Any]) -> None:
    """Which witnesses agree, and PyTorch on a GPU, in each of its modes, against the same truth."""
    said = table("witnesses of the truth", "agrees", "of", "worst")
    for one in shown["witnesses"]:
        said.add_row(one["witness"], f"{one['agreements']}", f"{one['tensors']}", f"{one['worst']:.1e}")
    out.print(said)
    for name in shown["not in PyTorch"]:
        out.print(f"PyTorch has no {name}: only the other witnesses are heard on it.", highlight=False, soft_wrap=True)
    if not found.in_torch:
        return
    if shown["GPU"] == NO_DEVICE:
        out.print(f"PyTorch on a GPU: {NO_DEVICE}.")
        return
    modes = table("PyTorch on a GPU", "output", "state", "gradients", "typical")
    for mode, kinds in shown["GPU"].items():
        groups = {"output": [0.0], "state": [0.0], "gradients": [0.0]}
        for kind, line in kinds.items():
            group = "gradients" if kind.startswith("d_") else "state" if kind.endswith("_n") else "output"
            groups[group].append(line["worst"])
        worst = [f"{max(group):.1e}" for group in groups.values()]
        typical = max(line["typical"] for line in kinds.values())
        modes.add_row(mode, *(["raises", "", "", ""] if EVERYTHING in kinds else [*worst, f"{typical:.1e}"]))
    out.print(modes)
