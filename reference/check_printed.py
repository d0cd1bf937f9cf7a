"""What a check has found, in print: the verdict first, what is wrong, then the tables."""

from rich.console import Console
from rich.text import Text

from scratch.terminal import table

from .candidates import Scratch
from .check import EVERYTHING, PYTORCH, Found
from .devices import NO_DEVICE
from .failures import Failure, Told
from .summary import Line, agreements, in_ulps, lines, on_gpu, tensors, verdict

WIDE = 7
"""How long a name may be in a table of eight columns that is 80 wide."""


def show(out: Console, found: Found, told: Told, missing: dict[str, str], verbose: bool = False) -> None:
    """Everything in print."""
    name = found.subject.name
    out.print(Text(f"\n{verdict(found, told)}", style="bold"), soft_wrap=True)
    for what, reason in missing.items():
        out.print(Text(f"required, but not offered: {what} ({reason})", style="bold"), soft_wrap=True)
    for failure in told.failures:
        show_failure(out, failure)
    if told.rest:
        out.print(Text(f"\n{told.rest}"), soft_wrap=True)
    reasons: dict[str, list[str]] = {}
    for what, reason in found.not_offered.items():
        reasons.setdefault(reason, []).append(what)
    for reason, what_all in reasons.items():
        out.print(Text(f"not offered: {', '.join(what_all)} ({reason})"), soft_wrap=True)
    if others := dict.fromkeys(row.who for row in found.others):
        out.print(Text(f"But not everybody agrees with that truth: not {', '.join(others)}."), soft_wrap=True)
    unjudged = sum(not row.judged for row in found.rows if row.who == name)
    if unjudged:
        told_so = f"{unjudged} tensors cannot be judged: rounding alone may move them by more than a tenth."
        out.print(Text(told_so), soft_wrap=True)
    computed = {row.dtype for row in found.rows if row.who == name and row.kind != EVERYTHING}
    if computed:
        against = "" if name == Scratch.name else "scratch "
        told_what = f"\n{name} against {against}longdouble, {len(found.configurations)} configurations"
        out.print(Text(told_what), soft_wrap=True)
    for dtype in found.subject.dtypes:
        if dtype in computed:
            show_tensors(out, found, dtype, verbose)
    if found.witnessed:
        show_witnesses(out, found)
        if found.in_torch:
            show_gpu(out, found)


def show_tensors(out: Console, found: Found, dtype: str, verbose: bool) -> None:
    """The worst error of each tensor in one dtype, and where it is."""
    name = found.subject.name
    rows = [row for row in tensors(found, dtype) if row.kind != EVERYTHING]  # where it raises has been told
    beside = any(row.theirs for row in rows)
    columns = [name if len(name) <= (WIDE if beside else 40) else "yours", "ULP", "typical"]
    errors = table(dtype, *columns, *([PYTORCH, "ULP", "typical", "ratio"] if beside else []))
    for row in rows:
        cells = [cell for line in (row.ours, row.theirs) if line for cell in in_cells(line)]
        errors.add_row(row.kind, *cells, *([f"{row.ratio:.2f}"] if row.theirs else []))
    out.print(errors)
    if verbose:
        out.print(Text(f"where {name} is worst:"))
        for line in lines(found, name, dtype).values():
            out.print(Text(f"  {line.worst.tensor}: {line.worst.what or line.worst.configuration}"), soft_wrap=True)


def in_cells(line: Line) -> list[str]:
    """A line as a table shows it."""
    return [f"{line.worst.error:.1e}", in_ulps(line.ulps), f"{line.typical:.1e}"]


def show_witnesses(out: Console, found: Found) -> None:
    """Which witnesses agree, and which recurrences PyTorch could not testify to."""
    said = table("witnesses of the truth", "agrees", "of", "worst")
    for one in agreements(found):
        said.add_row(one.witness, f"{one.agreements}", f"{one.tensors}", f"{one.worst.error:.1e}")
    out.print(said)
    for name in found.not_in_torch:
        out.print(f"PyTorch has no {name}: only the other witnesses are heard on it.", highlight=False, soft_wrap=True)


def show_gpu(out: Console, found: Found) -> None:
    """PyTorch on a GPU, in each of its modes, against the same truth."""
    if not on_gpu(found):
        out.print(f"PyTorch on a GPU: {NO_DEVICE}.")
        return
    modes = table("PyTorch on a GPU", "output", "state", "gradients", "typical")
    for mode, kinds in on_gpu(found).items():
        if EVERYTHING in kinds:  # it raises
            modes.add_row(mode, "raises", "", "", "")
            continue
        groups = [
            [line.worst.error for kind, line in kinds.items() if kind == "output"],
            [line.worst.error for kind, line in kinds.items() if kind.endswith("_n")],
            [line.worst.error for kind, line in kinds.items() if kind.startswith("d_")],
        ]
        typical = max(one.typical for one in kinds.values())
        modes.add_row(mode, *(f"{max(group):.1e}" if group else "" for group in groups), f"{typical:.1e}")
    out.print(modes)


def show_failure(out: Console, failure: Failure) -> None:
    """What is wrong, as a teacher would tell it, and how to see it."""
    out.print(Text(f"\n{failure}"), soft_wrap=True)
    agreed = ", ".join(failure.against)
    agreed = f"; with the truth against it: {agreed}" if agreed else ""
    number = f"{failure.count} configuration{'s' if failure.count > 1 else ''}"
    out.print(Text(f"  seen in {number}{agreed}"), soft_wrap=True)
    out.print(Text("\n".join(f"    {line}" for line in failure.reproduction.splitlines())), soft_wrap=True)
