"""The commands that measure: which sizes, whom, and how long. What is done with them is `pipeline`'s."""

from dataclasses import replace

import typer

from . import growth as sweep
from . import learning
from .contestants import CHECKPOINTED, CPU_DTYPES, Contestant, contestants, on_cpu
from .options import Options, taking
from .pipeline import Job, run
from .problems import QUICK as QUICK_SIZES
from .problems import Problem, matching, sizes
from .rungs import AS_GRAPH, ON_TORCH, rungs
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

TEXT = {False: Effort(fewest=4, most=4, least=1.0, passes=5), True: Effort(fewest=3, most=3, least=0.3, passes=2)}

FIRST = (
    "LSTM T25 B64 * H1024", "characters * L2", "FlashRNN", "LSTM T25 B64 * H4096", "options",
    "toy LSTM T10", "RNN relu T50 B64 I1760", "GRU T187 B32 I512",
)  # fmt: skip
"""The sizes that say most of a GPU, in this order; then all others."""
QUICK_GPU = ("toy LSTM T10", "characters * H128", "LSTM T25 B64 * H1024", "options * packed")
GPU_EFFORT = Effort(fewest=1, most=3, seconds=1.0, floor=False, on_gpu=5)
"""`scratch` once, or three times where that is quick; five turns on the GPU."""

MEASURING = "quick threads device dtype json plot seed"


def effort(options: Options, quick: Effort, whole: Effort) -> Effort:
    """How long to measure. A turn on a GPU takes 0.4 s however small the size, so that a quick run makes the fewest."""
    if not options.quick:
        return whole
    return quick._replace(most=quick.fewest) if options.device == "cuda" else quick


@taking("list_sizes patterns " + MEASURING)
def step(options: Options) -> int:
    """Measure a training step in scratch (NumPy) beside PyTorch on the CPU and, with --device cuda, on a GPU.

    It is what runs where no command is named. Each library computes in a process of its own, with as many processors as
    threads, and they take turns; while one computes, the threads of the other sleep. A whole run makes several passes,
    each with new processes. Times are medians over all turns; speeds are ratios pair by pair with a 95 % interval over
    the passes (--quick makes one pass, and its intervals tell of that one alone). Beside every time stand the
    operations in a second and, from the first pass, the share of the floor: the time of the step's matrix products
    alone, in the same library.

    A run of all sizes writes benchmarks/results/<machine>.json. Exit status: 0, 1 if something failed, 2 if the command
    is wrong.
    """
    problems = options.chosen(sizes(), QUICK_SIZES)
    if options.list_sizes:
        for problem in problems:
            print(f"{problem.name}    {problem.flops('step') / 1e9:.3g} GFLOP a step")
        return 0
    everyone = contestants(options.device, options.dtype)
    return run("step", options, Job(everyone, problems, effort(options, QUICK, WHOLE)))


@taking("patterns " + MEASURING)
def memory(options: Options) -> int:
    """Measure the peak memory of a training step, of each library in a fresh process.

    On the CPU it is the growth of the process's resident memory from before the first of two steps to the peak within
    them; on a GPU the growth of what PyTorch has allocated there. Parameters and input are not counted; gradients, the
    tape and all temporary memory are.
    """
    problems = options.chosen(sizes(), QUICK_SIZES)
    return run("memory", options, Job(contestants(options.device, options.dtype), weighed=problems))


@taking(MEASURING)
def growth(options: Options) -> int:
    """Sweep T, B and H around one LSTM, and fit power laws to the time of a training step.

    The exponents are those of the line of least squares through the upper half of each sweep, in logarithms. Memory is
    measured against T alone: the tape is the same for every step.
    """
    timed = sweep.problems(sweep.QUICK_SWEEPS if options.quick else sweep.SWEEPS)
    steps = sweep.QUICK_MEMORY_STEPS if options.quick else sweep.MEMORY_STEPS
    weighed = [replace(sweep.BASE, group="memory", T=T) for T in steps]
    chosen = effort(options, sweep.QUICK_EFFORT, sweep.EFFORT)
    return run("growth", options, Job(contestants(options.device, options.dtype), timed, chosen, weighed))


@taking(MEASURING)
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
    problems = LADDER[: 2 if options.quick else 3]
    return run("ladder", options, Job(rungs(dtype, options.device), problems, effort(options, QUICK, LADDER_EFFORT)))


@taking(MEASURING.replace("device ", ""))
def long(options: Options) -> int:
    """Measure the peak memory of a training step on sequences of up to a million steps, with and without recomputation.

    An LSTM with I = 2, H = 32 and B = 1, in a fresh process each. Counted is what grows beyond the parameters, the
    input and d_output: the tape, the output, the gradients. A tape grows as T. With checkpoint_every near √T, of which
    the state is kept and the rest computed again, what is kept grows as √T (Chen et al. 2016); what is handed in and
    out still as T. The seconds are those of one step, taken once.
    """
    dtype = options.dtype or "float32"
    problems = [replace(LONG, T=T) for T in (QUICK_LONG_STEPS if options.quick else LONG_STEPS)]
    return run(
        "long", options, Job([Contestant("scratch", dtype, form=CHECKPOINTED), *on_cpu(dtype)], weighed=problems)
    )


@taking("patterns quick threads minutes again json plot seed", device="cuda", minutes=10.0)
def gpu(options: Options) -> int:
    """Measure how many times as fast as scratch on this CPU cuDNN is on this GPU.

    For each size, the telling ones first: scratch on the CPU once; torch.nn on the GPU in float32 'ieee' and 'tf32',
    float16 and bfloat16, and without cuDNN; and the equations of scratch.textbook on the same GPU, line by line and
    recorded as a CUDA graph. Forward, backward and the training step, the operations in a second, and the share of the
    ceiling: the least time that a step can take at the rates of a large product in the same mode and of a large copy.

    Each size is written when it is done, and the next run goes on with those that are missing. What runs out of memory,
    or breaks, is a row that says so. Exit status: 0, 1 if something failed, 2 if there is no GPU.
    """
    offered = options.chosen(sizes(), QUICK_GPU)
    order = [one for pattern in FIRST for one in matching(offered, [pattern])]
    problems = list({one.name: one for one in [*order, *offered]}.values())
    return run("gpu", options, Job(beside_cudnn(), problems, GPU_EFFORT, ceilings=True, goes_on=not options.again))


def beside_cudnn() -> list[Contestant]:
    """`scratch`; PyTorch's module on a GPU in each mode; and the textbook's own page there, also as a graph."""
    everyone = [Contestant("scratch"), *(Contestant("PyTorch", "float32", "cuda", mode) for mode in ("ieee", "tf32"))]
    everyone += [Contestant("PyTorch", dtype, "cuda") for dtype in ("float16", "bfloat16")]
    everyone += [Contestant("PyTorch", "float32", "cuda", cudnn=False)]
    return everyone + [Contestant("PyTorch", device="cuda", form=form) for form in (ON_TORCH[0], AS_GRAPH[0])]


@taking("file quick threads json plot")
def text(options: Options) -> int:
    """Measure how fast character models are trained on a text, in scratch (NumPy) beside PyTorch on the CPU.

    Both train the same models from the same weights, each library in a process of its own, in turns; what is measured
    is the whole step: reading a segment, forward, loss, backward, clipping, Adam. Speed is PyTorch's time by scratch's,
    pair by pair, with a 95 % interval over passes with new processes. The losses of the first steps are compared.

    Exit status: 0, 1 if the libraries computed different losses or something failed, 2 if the command is wrong.
    """
    source = str(options.file.resolve()) if options.file else learning.STANDARD
    try:
        content = learning.content_of(source)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {options.file}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if len(content) < 100_000:
        raise typer.BadParameter(f"expected a text of at least 100,000 characters, got {len(content):,}")
    return run("text", options, Job(on_cpu(), learning.models(source, content), TEXT[options.quick]))
