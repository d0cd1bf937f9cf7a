"""What a check has found, in print: the verdict first, what is wrong, then the tables."""

from typing import Any

from rich.console import Console
from rich.text import Text

from scratch.terminal import table

from .candidates import Scratch
from .check import EVERYTHING, PYTORCH, Found
from .devices import NO_DEVICE
from .failures import Told
from .summary import tables

WIDE = 7
"""How long a name may be in a table of eight columns that is 80 wide."""


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
            cells = [cell for each in (line, theirs.get(kind)) if each for cell in in_cells(each)]
            errors.add_row(kind, *cells, *([f"{line['ratio']:.2f}"] if "ratio" in line else []))
        out.print(errors)
        if verbose:
            say(f"where {name} is worst:")
            for line in ours.values():
                say(f"  {line['tensor']}: {line['what'] or line['configuration']}")
    if found.witnessed:
        show_witnesses(out, found, shown)


def in_cells(line: dict[str, Any]) -> list[str]:
    """A line of the summary as a table shows it."""
    return [f"{line['worst']:.1e}", in_ulps(line["ulps"]), f"{line['typical']:.1e}"]


def in_ulps(number: float) -> str:
    """A number of ULPs as it is shown."""
    return f"{number:.1f}" if number < 10_000 else f"{number:.0e}"


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
