"""The commands that measure: which sizes, whom, and how long. What is done with them is `pipeline`'s."""

from __future__ import annotations

from dataclasses import replace

import typer

from . import growth as sweep
from .contestants import CHECKPOINTED, CPU_DTYPES, Contestant, contestants, on_cpu
from .options import MEASURING, Options, taking
from .pipeline import Stage, run
from .problems import Problem
from .results import Figures, name_of, reason
from .rungs import rungs
from .timing import QUICK, WHOLE, Effort

LADDER = [
    Problem("ladder", "LSTM", T=100, B=1, I=256, H=256),
    Problem("ladder", "LSTM", T=50, B=32, I=65, H=128),
    Problem("ladder", "LSTM", T=25, B=32, I=512, H=512),
]
"""One sequence alone, where products of all steps at once matter most; one in which the elementwise work weighs; and
one in which the products do. `--quick` climbs the first two."""
LADDER_EFFORT = Effort(fewest=7, most=40, seconds=15.0)

LONG = Problem("long", "LSTM", T=1000, B=1, I=2, H=32)
LONG_STEPS = (1_000, 10_000, 100_000, 1_000_000)
QUICK_LONG_STEPS = (1_000, 4_000, 16_000)


def effort(options: Options, quick: Effort, whole: Effort) -> Effort:
    """How long to measure. A turn on a GPU takes 0.4 s however small the size, so that a quick run makes the fewest."""
    if not options.quick:
        return whole
    return quick.exactly(quick.fewest) if options.device == "cuda" else quick


@taking("quick", "patterns", "list_sizes", "threads", "device", "dtype", "json", "plot", "seed")
def measure(options: Options, context: typer.Context) -> int:
    """Measure a training step in scratch (NumPy) beside PyTorch on the CPU and, with --device cuda, on a GPU.

    Each library computes in a process of its own, with as many processors as threads, and they take turns; while one
    computes, the threads of the other sleep. A whole run makes several passes, each with new processes. Times are
    medians over all turns; speeds are ratios pair by pair with a 95 % interval over the passes (--quick makes one pass,
    and its intervals tell of that one alone). Beside every time stand the operations in a second and, from the first
    pass, the share of the floor: the time of the step's matrix products alone, in the same library.

    A run of all sizes writes benchmarks/results/<machine>.json. Exit status: 0, 1 if something failed, 2 if the command
    is wrong.
    """
    if context.invoked_subcommand:
        if options != Options():
            raise typer.BadParameter(f"options belong behind {context.invoked_subcommand}: see its own --help")
        return 0
    problems = options.problems()
    if options.list_sizes:
        for problem in problems:
            print(f"{problem.name}    {problem.flops('step') / 1e9:.3g} GFLOP a step")
        return 0
    stages = [Stage(problems, effort(options, QUICK, WHOLE))]
    return run("step", options, contestants(options.device, options.dtype), stages)


@taking("quick", "patterns", "threads", "device", "dtype", "json", "plot", "seed")
def memory(options: Options) -> int:
    """Measure the peak memory of a training step, of each library in a fresh process.

    On the CPU it is the growth of the process's resident memory from before the first of two steps to the peak within
    them; on a GPU the growth of what PyTorch has allocated there. Parameters and input are not counted; gradients, the
    tape and all temporary memory are.
    """
    return run("memory", options, contestants(options.device, options.dtype), [Stage(options.problems())])


@taking(*MEASURING)
def growth(options: Options) -> int:
    """Sweep T, B and H around one LSTM, and fit power laws to the time of a training step.

    The exponents are those of the line of least squares through the upper half of each sweep, in logarithms. Memory is
    measured against T alone: the tape is the same for every step.
    """
    sweeps = sweep.QUICK_SWEEPS if options.quick else sweep.SWEEPS
    steps = sweep.QUICK_MEMORY_STEPS if options.quick else sweep.MEMORY_STEPS
    stages = [
        Stage(sweep.problems(sweeps), effort(options, sweep.QUICK_EFFORT, sweep.EFFORT)),
        Stage([sweep.with_size("T", T) for T in steps]),
    ]

    def view(rows: list[Figures]) -> Figures:
        missing = [
            f"{row['problem']}, {name_of(row)}: {reason(row)}" for row in rows if {"skipped", "failed"} & set(row)
        ]
        return {"base": sweep.BASE.name, **sweep.curves(rows)} | ({"not measured": missing} if missing else {})

    return run("growth", options, contestants(options.device, options.dtype), stages, view)


@taking(*MEASURING)
def ladder(options: Options) -> int:
    """Climb from the textbook's LSTM to the core and to PyTorch's, rung by rung, and tell what each gained.

    All rungs compute the same step to rounding (benchmarks/rungs.py): the textbook's page on NumPy arrays, the same
    with its products taken out of the loop, and the core; then both pages on PyTorch tensors, a Python loop over
    PyTorch's LSTMCell, and torch.nn.LSTM. With --device cuda all of PyTorch's are on a GPU, the page once more as a
    CUDA graph, and torch.nn.LSTM without and with cuDNN. This is the answer to "why is cuDNN fast".
    """
    dtype = options.dtype or "float32"
    if dtype not in CPU_DTYPES:
        raise typer.BadParameter(f"expected --dtype float32 or float64, in which the rungs compute, got {dtype}")
    stages = [Stage(LADDER[: 2 if options.quick else 3], effort(options, QUICK, LADDER_EFFORT))]
    return run("ladder", options, rungs(dtype, options.device), stages)


@taking(*(name for name in MEASURING if name != "device"))
def long(options: Options) -> int:
    """Measure the peak memory of a training step on sequences of up to a million steps, with and without recomputation.

    An LSTM with I = 2, H = 32 and B = 1, in a fresh process each. Counted is what grows beyond the parameters, the
    input and d_output: the tape, the output, the gradients. A tape grows as T. With checkpoint_every near √T, of which
    the state is kept and the rest computed again, what is kept grows as √T (Chen et al. 2016); what is handed in and
    out still as T. The seconds are those of one step, taken once.
    """
    dtype = options.dtype or "float32"
    kept = Contestant("scratch", dtype, form=CHECKPOINTED)
    stages = [Stage([replace(LONG, T=T) for T in (QUICK_LONG_STEPS if options.quick else LONG_STEPS)])]
    return run("long", options, [kept, *on_cpu(dtype)], stages)
