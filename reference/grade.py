"""Grade submissions: each exercise's file is taken stage by stage, in a process of its own.

Three kinds of process: the command; a pool of judges, each of which holds the results of one submission after the
other against the truth (stages/judge.py); and for each submission a process that runs its functions and knows nothing
of the truth (stages/worker.py, stages/remote.py). Nothing here needs PyTorch.

Points: 25 for each function that is right. One of which some results are wrong, or still to do, has the share of its
results that are right. A function is taken only when those that it calls are right. Of a file that has `forward` and
`backward` alone, each counts 50.
"""

import ctypes
import os
import re
import secrets
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import islice, product
from multiprocessing import active_children, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from scratch.processes import begin, interrupts_blocked

from .grade_source import LARGEST, cell_of, foreign, look
from .stages import RIGHT, Stage, stages
from .stages.equations import CELLS
from .stages.findings import in_words
from .stages.problems import problems
from .stages.remote import Limits, Submission, plain
from .stages.subject import FLOAT32, Interface, Subject, error_of, truth
from .stages.worker import FUNCTIONS, Runner

FULL, PART, NONE, TO_DO, USES, NOT_GRADED = "full marks", "in part", "no points", "to do", "uses", "not graded"
"""What becomes of a submission."""
Row = dict[str, Any]
"""All about one submission, as it is written to --json."""


class Options(NamedTuple):
    """How submissions are graded. allowed: modules that they may use besides NumPy and the standard library. folder:
    where each gets a folder of its own.
    """

    cell: str | None
    limits: Limits
    seed: int
    allowed: tuple[str, ...]
    folder: str


def graded(
    paths: Sequence[Path], options: Options, jobs: int, tick: Callable[[], object] = bool
) -> Generator[tuple[Path, Row]]:
    """Grade files, so many at a time. Yields each with its row when it is done. tick: is called now and then."""
    lost: list[Path] = []
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=begin, initargs=(prepare,)) as judges:
        try:
            with interrupts_blocked():  # the command ends its judges itself
                waiting = {judges.submit(judgement, path, options): path for path in paths}
            while waiting:
                tick()
                for future in wait(waiting, 0.5, FIRST_COMPLETED).done:
                    path = waiting.pop(future)
                    try:
                        yield path, future.result()
                    except BrokenProcessPool:
                        lost.append(path)
        except BaseException:
            for judge in active_children():
                judge.terminate()
            raise
    for path in lost:  # one of them has ended its judge: each with a judge of its own shows which
        if len(paths) > 1:
            yield from graded([path], options, 1, tick)
        else:
            yield path, new_row(NOT_GRADED, "the process that was to judge it ended")


def fair_seed() -> int:
    """A seed that nobody knows, and whose numbers do not magnify rounding, as few small ones by chance may."""
    while not fair(seed := secrets.randbelow(2**32)):
        pass
    return seed


def fair(seed: int) -> bool:
    """Whether the textbook in float32 is right in all problems by a wide margin."""
    for problem, function in product([each for cell in CELLS.values() for each in problems(cell, seed)], FUNCTIONS):
        single = problem.changed(**{name: value.astype(np.float32) for name, value in problem.numbers.items()})
        right, results = truth(problem, function), Subject(Runner({}), problem.cell).take(single, function).results
        if any(error_of(results[name], right[name]) > FLOAT32 / 10 for name in right):
            return False
    return True


def prepare() -> None:
    """The first thing that a judge does: where it is ended, the submission that it runs ends with it."""
    signal.signal(signal.SIGTERM, end)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # Linux: what a submission leaves behind becomes this one's child


def end(*_: object) -> None:
    """End a judge at once."""
    end_strays()
    os._exit(1)


def judgement(path: Path, options: Options) -> Row:
    """The row of a submission, whatever happens while it is judged."""
    start = monotonic()
    try:
        row = judged(path, options)
    except Exception as error:
        row = new_row(NOT_GRADED, f"the judge failed: {type(error).__name__}: {plain(error, 200)}")
    finally:
        end_strays()
    return row | {"seconds": round(monotonic() - start, 3)}


def end_strays() -> None:
    """End the children that this process has: what a submission started, and what got away from its session."""
    with suppress(OSError):
        while children := Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            for child in map(int, children):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


# One submission.


def new_row(status: str, problem: str = "") -> Row:
    """A row of which no more is known."""
    nothing: Row = {"uses": [], "remarks": [], "refused": [], "files": [], "output": {"bytes": 0, "text": ""}}
    return {"status": status, "points": 0, "cell": None, "problem": problem, "stages": [], **nothing, "seconds": 0.0}


def judged(path: Path, options: Options) -> Row:
    """All about one submission."""
    try:
        size = path.stat().st_size
        source = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        return new_row(NOT_GRADED, f"cannot be read: {error.strerror}")
    if size > LARGEST or path.suffix.lower() != ".py":
        what = f"a file of {size:,} bytes" if size > LARGEST else f"a {path.suffix or 'file without ending'}"
        return new_row(NOT_GRADED, f"expected an exercise, a .py of at most {LARGEST:,} bytes, got {what}")
    try:
        uses, empty = look(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        return new_row(NOT_GRADED, f"cannot be read as Python: {plain(said, 200)}{line}")
    cell = options.cell or cell_of(path, source)
    row = new_row(TO_DO, "there is nothing in it yet") | {"cell": cell}
    if empty and not uses:
        return row
    with TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as name:
        file = Path(name) / path.name
        file.write_bytes(source)
        submission = Submission(file, options.limits, options.allowed)
        try:
            row |= taken(submission, cell, options.seed)
        finally:
            submission.stop()
        row["files"] = files_in(Path(name), file, source)
    noted = {kind: [text for each, text in submission.notes if each == kind] for kind, _ in submission.notes}
    imported = foreign([*uses, *noted.get("import", [])]) or foreign(noted.get("imported by a library", [])[:1])
    row["uses"] = [each for each in imported if each.partition(".")[0] not in options.allowed][:5]
    row["refused"] = noted.get("refused", [])
    row["output"] = {"bytes": submission.printed, "text": submission.output.decode("utf-8", "replace")}
    return row | ({"status": USES, "points": 0} if row["uses"] else {})


def taken(submission: Submission, cell: str | None, seed: int) -> Row:
    """Run a submission's file, and take its functions stage by stage."""
    problem = ""
    try:
        submission.load()
    except Interface as ended:
        problem = f"when its file is run: {ended}"
    else:
        if not submission.takes:
            problem = f"expected the functions {', '.join(FUNCTIONS)}, or the last two alone"
        elif cell is None:
            problem = "its name and its text do not tell which cell it is; give --cell"
    if problem:
        return {"status": NOT_GRADED, "problem": problem}
    report = stages(submission, cell, seed)
    rows = [about(stage, len(report)) for stage in report]
    points = sum(each["points"] for each in rows)
    right = all(each["status"] == RIGHT for each in rows)
    status = FULL if right else PART if points else TO_DO if report.status == 3 else NONE
    narrow = ["returns float32, where results up to 2e-5 off are right, nudged gradients too"] * report.narrow
    told = {"status": status, "problem": "", "points": points, "stages": rows, "cell": report.cell.name}
    return told | {"remarks": narrow}


def about(stage: Stage, stages: int) -> Row:
    """One stage, as it is written down: what is wrong in a line, with its equation, and in whole."""
    points = int(100 / stages * stage.share + 1e-9)
    found: Row = {"name": stage.name, "status": stage.status, "points": points, "note": plain(stage.note, 300)}
    if not (finding := stage.finding):
        return found | {"finding": "", "details": []}
    equations = [re.split("  +", line) for line in finding.lines if line.startswith("(")]
    line = "; ".join([finding.told, *(" ".join(parts[:2]) for parts in equations[:1])])
    details = [plain(each, 300) for each in finding.text(solution=True).splitlines()]
    return found | {"finding": plain(in_words(finding.named[0]) if finding.named else line, 300), "details": details}


def files_in(folder: Path, own: Path, source: bytes) -> list[Row]:
    """What it left in its folder: at most a hundred files."""
    found = []
    for path in islice((Path(place) / name for place, _, names in os.walk(folder) for name in names), 101):
        with suppress(OSError):
            size = path.lstat().st_size
            if path != own or size != len(source) or path.read_bytes() != source:
                found.append({"name": plain(path.relative_to(folder), 100), "bytes": size})
    return found
