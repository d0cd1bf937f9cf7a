"""The command `grade`: submissions of an exercise, each in a process of its own, with points by stage."""

import csv
import glob
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import Annotated, Any

import typer

from scratch import terminal
from scratch.files import write_whole
from scratch.processes import available_cores

from .grade import FULL, NONE, NOT_GRADED, PART, TO_DO, USES, Options, Row, fair_seed, graded
from .stages.remote import Limits, plain
from .stages.worker import FUNCTIONS

NAMES = ("rnn", "lstm", "gru")
CALLS = [
    "grade submissions/ --json grades.json --csv grades.csv",
    "grade 'homework/*/my_lstm.py' --limit 5 --jobs 4",
    "grade handed_in/*.py --cell gru --allow scipy",
]
"""How the command may be called."""


def epilog(calls: Sequence[str]) -> str:
    """The end of a command's help: ways to call it, or another program."""
    programs = ("python ", "torchrun ")
    whole = [call if call.startswith(programs) else f"python -m reference {call}".strip() for call in calls]
    return "\b\nExamples:\n" + "".join(f"  {call}\n" for call in whole)


def grade(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, folders of them, or patterns.")],
    cell: Annotated[
        str | None, typer.Option(metavar="CELL", help="rnn, lstm or gru, if names and texts do not tell.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all that is known.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a row a submission.")] = None,
    limit: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds for running a file, and for each function in all.")
    ] = Limits().seconds,
    memory: Annotated[
        int, typer.Option(min=32, max=2**20, help="Megabytes for a submission, beyond what Python and NumPy take.")
    ] = Limits().memory,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=256, help="Submissions at a time.  [default: one for each processor]")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="MODULE", help="What may be used besides NumPy; may be repeated.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the numbers.  [default: another one every time]")
    ] = None,
) -> int:
    """Grade submissions of an exercise: my_lstm.py and the like, as `exercise` writes them.

    A submission is one file with the functions step, step_backward, forward and backward. Each that is right is 25
    points; one of which some results are wrong or to do has the share that is right. A function is taken when those
    that it calls are right. Of a file with forward and backward alone, each is 50. What uses other modules than NumPy
    and Python's own has no points (--allow).

    Each runs in a process of its own with limits of time, memory and file size. What is right is not in that process,
    so that a submission cannot look it up or write its own grade. Processes, signals, the network, and files outside
    its own folder are refused and reported. This is no sandbox: run what you do not trust in a container besides.

    Exit status: 0 if all could be graded, whatever their points; 1 if some could not; 2 if the command is wrong.
    """
    chosen = cell.lower() if cell else None
    if chosen not in (None, *NAMES):
        raise typer.BadParameter(f"expected the --cell {', '.join(NAMES)}, got {cell!r}")
    if not hasattr(os, "killpg") or not limit > 0:  # typer lets NaN through
        raise typer.BadParameter("grade needs Linux or macOS, which can limit a process, and a --limit in seconds")
    paths = found(files)
    taken = {os.path.realpath(path) for path in paths.values()}
    for option, path in (("--json", json_file), ("--csv", csv_file)):
        terminal.writable(option, path)
        if path and os.path.realpath(path) in taken:
            raise typer.BadParameter(f"{option} {path} would be written over a submission, or over the other file")
        taken |= {os.path.realpath(path)} if path and not path.is_char_device() else set()
    used = fair_seed() if seed is None else seed
    with TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as folder:
        options = Options(chosen, Limits(limit, memory), used, tuple(allow or ()), os.path.realpath(folder))
        rows, interrupted = all_rows(paths, options, jobs or available_cores())
    told = verdict(rows, len(paths), interrupted)
    settings = {"verdict": told, "seed": used, "limit": limit, "memory": memory, "allow": allow or []}
    whole = json.dumps(settings | {"submissions": rows}, indent=1, ensure_ascii=False)
    report(json_file, whole)
    report(csv_file, as_csv(rows))
    print(f"{fill(told, 80)}\n\n{table(rows)}\n\nThe same numbers again: --seed {used}")
    return 130 if interrupted else int(any(row["status"] == NOT_GRADED for row in rows))


def report(path: Path | None, text: str) -> None:
    """Write what was asked for: a file as a whole, or into a device or a pipe."""
    if path:
        write = path.write_bytes if path.exists() and not path.is_file() else partial(write_whole, path)
        write(text.encode("utf-8", "replace"))


def found(places: Sequence[str]) -> dict[str, Path]:
    """The files, each once, by the names that tell them apart. Raises typer.BadParameter."""
    paths: dict[str, Path] = {}
    for place in places:
        matches = [place] if os.path.lexists(place) else sorted(glob.glob(place, recursive=True))
        if not matches:
            raise typer.BadParameter(f"there is no {place}")
        for path in map(Path, matches):
            inside = [path] if path.is_file() else []
            for each in sorted(path.rglob("*")) if path.is_dir() else ():
                hidden = any(part.startswith((".", "__")) for part in each.relative_to(path).parts)
                named = re.search(r"\.(py|ipynb)(\.txt)?$", each.name, re.IGNORECASE)  # also as Windows and browsers do
                inside += [each] if named and (each.is_file() or not each.exists()) and not hidden else []
            if not inside and (len(matches) == 1 or not path.is_dir()):
                what = (
                    f"there is no .py in the folder {path}"
                    if path.is_dir()
                    else f"{path} is neither a file nor a folder"
                )
                raise typer.BadParameter(what)
            for each in inside:
                paths.setdefault(os.path.realpath(each), each)
    names = [os.path.abspath(path) for path in paths.values()]
    shared = os.path.commonpath([os.path.dirname(name) for name in names])
    return {os.path.relpath(name, shared): path for name, path in zip(names, paths.values(), strict=True)}


def all_rows(paths: dict[str, Path], options: Options, jobs: int) -> tuple[list[Row], bool]:
    """The rows in the order of the files, and whether it was interrupted before all were there."""
    rows: dict[str, Row] = {}
    names = {path: name for name, path in paths.items()}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupted = False
    try:
        with terminal.progress(idle=True) as bar:
            task = bar.add_task("grading", total=len(paths))

            def tick() -> None:
                bar.update(task, completed=len(rows), description=f"grading: {len(rows)} of {len(paths)}")
                bar.refresh()

            with closing(graded(list(paths.values()), options, min(jobs, len(paths)), tick)) as results:
                for path, row in results:
                    rows[names[path]] = {"file": names[path], **row}
                    tick()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        signal.signal(signal.SIGTERM, before)
    return [rows[name] for name in paths if name in rows], interrupted


# What is told.


def verdict(rows: Sequence[Row], files: int, interrupted: bool) -> str:
    """What became of all, in a sentence."""
    count = Counter(row["status"] for row in rows)
    kinds = {
        FULL: "with full marks",
        PART: "in part",
        NONE: "without points",
        TO_DO: "still to do",
        USES: "using what they may not",
    }
    parts = [f"{count[status]} {words}" for status, words in kinds.items() if count[status]]
    told = f"{len(rows) - count[NOT_GRADED]} graded{': ' if parts else ''}{', '.join(parts)}"
    told += f"; {count[NOT_GRADED]} could not be graded" if count[NOT_GRADED] else ""
    return f"Interrupted: {len(rows)} of {files} are done. {told}" if interrupted else told


def table(rows: Sequence[Row]) -> str:
    """A row for each submission, and below it what was found, in 80 columns."""
    lines = [f"{'submission':<42} {'points':>6} {'step':>5} {'step_b':>6} {'forw':>5} {'backw':>5} {'s':>5}", "-" * 80]
    for row in rows:
        points = {stage["name"]: str(stage["points"]) for stage in row["stages"]}
        name = row["file"] if len(row["file"]) <= 42 else f"…{row['file'][-41:]}"
        total = "-" if row["status"] == NOT_GRADED else row["points"]
        step, step_backward, forward, backward = (points.get(function, "-") for function in FUNCTIONS)
        marks = f"{total:>6} {step:>5} {step_backward:>6} {forward:>5} {backward:>5} {row['seconds']:>5.1f}"
        lines.append(f"{plain(name, 42):<42} {marks}")
        lines += [f"    {plain(note, 76)}" for note in remarks(row)]
    return "\n".join(lines)


def remarks(row: Row) -> Iterable[str]:
    """What is told about a submission, a line each."""
    if row["uses"]:
        yield f"uses {', '.join(row['uses'])}"
    if row["problem"]:
        yield f"{'not graded: ' if row['status'] == NOT_GRADED else ''}{row['problem']}"
    for stage in row["stages"]:
        if stage["finding"]:
            yield f"{stage['name']}: {stage['finding']}"
        elif stage["status"] == "to do":
            yield f"{stage['name']}: to do{': ' if stage['note'] else ''}{stage['note']}"
    yield from row["remarks"]
    yield from (f"refused: {each}" for each in row["refused"][: 0 if row["uses"] else 2])
    if row["files"]:
        yield f"wrote {', '.join(each['name'] for each in row['files'][:3])}"
    if row["output"]["bytes"] > 1000:
        yield f"printed {row['output']['bytes']:,} bytes"


def as_csv(rows: Sequence[Row]) -> str:
    """A row for each submission."""
    text = StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["file", "cell", "status", "points", *FUNCTIONS, "uses", "told", "seconds"])
    for row in rows:
        points: dict[str, Any] = {stage["name"]: stage["points"] for stage in row["stages"]}
        each = [points.get(function, "") for function in FUNCTIONS]
        ends = [" ".join(row["uses"]), "; ".join(remarks(row)), row["seconds"]]
        cells = [*(row[name] for name in ("file", "cell", "status", "points")), *each, *ends]
        out.writerow(
            [f"'{cell}" if str(cell).startswith(("=", "+", "-", "@")) else cell for cell in cells]
        )  # no formula
    return text.getvalue()
