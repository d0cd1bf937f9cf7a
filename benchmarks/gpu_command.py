"""The command `python -m benchmarks gpu`: `scratch` beside cuDNN, for somebody with a GPU and ten minutes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from time import monotonic
from typing import Annotated, Any

import typer

from scratch.terminal import progress

from .contestants import Contestant
from .options import Options, taking
from .pipeline import Record, Stage, as_rows, begin, fill, finish
from .problems import Problem, matching
from .process import Failed, Workers
from .report import console
from .results import Figures, by_problem, of_command, reading, rounded
from .rungs import AS_GRAPH, ON_TORCH
from .timing import PARTS, Effort

FIRST = (
    "LSTM T25 B64 * H1024", "characters * L2", "FlashRNN", "LSTM T25 B64 * H4096", "options",
    "toy LSTM T10", "RNN relu T50 B64 I1760", "GRU T187 B32 I512",
)  # fmt: skip
"""The sizes that say most, in this order; then all others."""
QUICK_ONES = ("toy LSTM T10", "characters * H128", "LSTM T25 B64 * H1024", "options * packed")

EFFORT = Effort(fewest=1, most=3, seconds=1.0, floor=False, on_gpu=5)
"""`scratch` once, or three times where that is quick; five turns on the GPU."""

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def on_the_gpu() -> list[Contestant]:
    """Who stands beside `scratch`: PyTorch's module in each mode, and the textbook's own page, also as a graph."""
    cuda = [Contestant("PyTorch", "float32", "cuda", precision) for precision in ("ieee", "tf32")]
    cuda += [Contestant("PyTorch", dtype, "cuda") for dtype in ("float16", "bfloat16")]
    cuda += [Contestant("PyTorch", "float32", "cuda", cudnn=False)]
    return cuda + [Contestant("PyTorch", device="cuda", form=form) for form in (ON_TORCH[0], AS_GRAPH[0])]


@taking("quick", "patterns", "threads", "json", "plot", "seed", device="cuda")
def gpu(
    options: Options,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no further size after so many.")] = 10.0,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what is in the file already.")] = False,
) -> int:
    """Measure how many times as fast as scratch on this CPU cuDNN is on this GPU.

    For each size, the telling ones first: scratch on the CPU once; torch.nn on the GPU in float32 'ieee' and 'tf32',
    float16 and bfloat16, and without cuDNN; and the equations of scratch.textbook on the same GPU, line by line and
    recorded as a CUDA graph. Forward, backward and the training step, the operations in a second, and the share of the
    ceiling: the least time that a step can take at the rates of a large product in the same mode and of a large copy.

    Each size is written when it is done, and the next run goes on with those that are missing. What runs out of memory,
    or breaks, is a row that says so. Exit status: 0, 1 if something failed, 2 if there is no GPU.
    """
    until = monotonic() + 60 * minutes
    offered = options.problems(QUICK_ONES)
    order = [one for pattern in FIRST for one in matching(offered, [pattern])]
    problems = list({one.name: one for one in [*order, *offered]}.values())
    contestants, out = [Contestant("scratch"), *on_the_gpu()], console()
    best: dict[str, Any] = {}
    with Workers(options.threads) as workers:
        record = begin("gpu", options, workers, True, lambda rows: as_rows([with_ceiling(row, best) for row in rows]))
        missing = problems if again else [one for one in problems if one.name not in there(record)]
        if not missing:
            out.print("every size is in the file already: --again measures anew")
            return 0
        best |= ceilings(contestants, workers)
        record.about["ceilings"] = best
        fill(record, workers, contestants, [Stage(missing, EFFORT)], options.seed, until)
    left = len(missing) - len(by_problem(list(record.rows.values())))
    if left:
        out.print(f"{left} sizes are left after {minutes:g} minutes: the next run goes on")
    return finish(record, options)


def there(record: Record) -> set[str]:
    """The sizes that were measured before, whatever came of them."""
    if record.path is None or not record.path.exists():
        return set()
    with reading(record.path) as content:
        return {row["problem"] for row in of_command(content, "gpu")["rows"]} if "gpu" in content else set()


def ceilings(contestants: list[Contestant], workers: Workers) -> dict[str, Any]:
    """What each device can do at most in each mode. The shares of a mode in which that fails stay empty."""
    found: dict[str, Any] = {}
    with progress("{task.percentage:.0f} %", idle=True) as bar:
        for one in bar.track(contestants, description="ceilings"):
            bar.refresh()
            with suppress(Failed):
                if ceiling_of(one) not in found:
                    answer = workers.of(one).ask("ceiling", contestant=asdict(one))
                    found[ceiling_of(one)] = {name: rounded(value) for name, value in answer.items()}
    return found


def ceiling_of(one: Contestant) -> str:
    """What a contestant is held to: what its device can do in its mode."""
    return f"{one.device.upper()} {one.mode}" if one.device != "cpu" else f"CPU {one.dtype}"


def with_ceiling(row: Figures, ceilings: dict[str, Any]) -> Figures:
    """A row with the share of the ceiling in each part."""
    best, problem = ceilings.get(ceiling_of(Contestant(**row["form"]))), Problem(**row["sizes"])
    if best is None or "step" not in row:
        return row
    for part in PARTS:
        least = max(
            row[part]["operations"] / best["operations in a second"],
            problem.numbers(part) * BYTES[row["form"]["dtype"]] / best["bytes in a second"],
        )
        row[part]["share of the ceiling"] = rounded(
            least / (row[part]["operations"] / row[part]["operations in a second"])
        )
    return row
