"""How far back a recurrence can learn to remember, measured on two tasks of a length that can be chosen.

The adding problem (Hochreiter and Schmidhuber 1997, section 5.4) in the variant of Arjovsky, Shah and Bengio (2016):
of T numbers two are marked, and the answer is their sum.

(1)  x_t = (v_t, m_t),  v_t uniform in [0, 1],  m_t = 1 at one step s < ⌊T/2⌋ and at one step s′ ≥ ⌊T/2⌋, else 0
(2)  y = v_s + v_s′,  read off the last step; the loss is the squared error
(3)  E (y − 1)² = 2 Var v = 1/6                                 of always answering E y = 1: the baseline

The copy task, in the form of Arjovsky, Shah and Bengio (2016): S symbols of n kinds come first, then T − 1 blanks and
a sign to begin, then S more blanks. During these the network says the symbols in their order. In one-hot form

(4)  x = s_1 … s_S, blank (T − 1 times), sign, blank (S times)   T + 2S steps; each is said T + S steps after it came
(5)  y = s_1 … s_S,  read off the last S steps; the loss is the cross-entropy, a mean over these S
(6)  −Σ (1/n) log(1/n) = log n                                   of guessing, all as likely: the baseline

They also asked for a blank at each of the other steps. That needs no memory, and in the mean over all steps it hides
what is of interest; so it is left out here. They had n = 8 and S = 10; here n = S = 4, which small models learn within
minutes. Solved means a loss below a tenth of the baseline: in the adding problem a root mean square error of 0.13.

The models are small and drawn as the library, and PyTorch, draws them. RNN and LSTM come once more with what is often
done to help them remember at the beginning. An LSTM is drawn with a forget bias about 0, f ≈ ½, so after k steps 2⁻ᵏ of
c is left; b_f = 3, f ≈ 0.95, keeps nearly everything, as the LSTM of 1997 without a forget gate did (Gers, Schmidhuber
and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015 advise 1). W_hh is drawn with a spectral radius of about 0.58;
an orthogonal one keeps the length of what it multiplies (Saxe, McClelland and Ganguli 2014). All are trained in the
same way: by Adam, with gradients clipped to 1 and a learning rate that falls evenly from 0.01 to 0.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from .. import nn, optim
from ..nn.pile import no_grad
from ..processes import one_blas_thread
from ..terminal import count, say, table
from ..types import Array, Seed
from .models import Model, Network, trials
from .pictures import COLOURS, DASHED, GREY, finish, heading, new_figure, over_runs, powers_of_two

LEARNING_RATE = 0.01  # Adam's, at the beginning
SOLVED = 0.1  # a run has solved its task when the test loss is below this part of the baseline
TESTED = 512  # the number of fresh sequences in a test
EVERY = 20  # the number of updates between two looks at whether the task is solved
MARKERS = "osD^vP"  # one for each model, for readers without colours

APART = 0.14
"""By how many powers of two in T the models stand beside each other in the picture, so that none hides another."""


class Task(NamedTuple):
    """Something to remember."""

    name: str
    measure: str  # what the loss is, with its unit
    input_size: int
    output_size: int
    answers: int  # the number of steps, the last ones, at which an answer is read off
    baseline: float  # the least loss of guessing, with the same answer for every sequence
    criterion: type[nn.MSELoss | nn.CrossEntropyLoss]
    draw: Callable[[int, int, np.random.Generator], tuple[Array, Array]]
    """Of T, B and rng: sequences x, (steps, B, input_size) in float32, and the answers at the last steps, (answers, B).
    """


def adding_problem(T: int, B: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(1) and (2). x: (T, B, 2), values and marks; y: (1, B), in float32."""
    values, marks = rng.random((T, B)), np.zeros((T, B))
    for low, high in ((0, T // 2), (T // 2, T)):
        marks[rng.integers(low, high, B), np.arange(B)] = 1  # (1)
    y = (values * marks).sum(axis=0, keepdims=True)  # (2)
    return np.stack([values, marks], axis=-1).astype(np.float32), y.astype(np.float32)


def copy_task(T: int, B: int, rng: np.random.Generator, n: int, S: int) -> tuple[Array, Array]:
    """(4) and (5). x: (T + 2S, B, n + 2), the last two for the blank and the sign; y: (S, B), integers below n."""
    y = rng.integers(0, n, (S, B))
    read = np.full((T + 2 * S, B), n)
    read[:S], read[S + T - 1] = y, n + 1  # (4)
    return np.eye(n + 2, dtype=np.float32)[read], y


def copying(n: int, S: int) -> Task:
    """The copy task, (4) to (6), of S symbols of n kinds."""
    name, measure = f"copy task, {S} symbols of {n} kinds", "cross-entropy, nats per symbol"
    return Task(name, measure, n + 2, n, S, float(np.log(n)), nn.CrossEntropyLoss, partial(copy_task, n=n, S=S))


ADDING = Task("adding problem, two numbers of T", "squared error", 2, 1, 1, 1 / 6, nn.MSELoss, adding_problem)
"""The adding problem, (1) to (3)."""

TASKS = (ADDING, copying(n=4, S=4))

SHORTEST = 2  # the least T: of fewer numbers no two can be added
LENGTHS = (4, 8, 16, 32, 64)  # T: the shortest is easy and the longest is not, for models of this size

KINDS = {kind.module.__name__: name for name, kind in reversed(nn.RECURRENCES.items())}
"""The first of `nn.RECURRENCES` of each class in `nn`."""

MODELS = (
    *(Model(name, kind) for name, kind in reversed(KINDS.items())),
    Model("LSTM, forget bias 3", "LSTM", forget_bias=3.0),
    Model("RNN, orthogonal W_hh", KINDS["RNN"], radius=1.0, orthogonal=True),
)


def network_of(task: Task, model: Model, hidden_size: int, rng: Seed) -> Network:
    """The network for a task, in float32."""
    rng = np.random.default_rng(rng)
    rnn = model.build(task.input_size, hidden_size, rng, np.float32)
    return Network(rnn, task.output_size, task.criterion(), task.answers, rng)


def train(
    point: tuple[int, int, int, int],
    *,
    tasks: Sequence[Task] = TASKS,
    models: Sequence[Model] = MODELS,
    hidden_size: int,
    batch_size: int,
    updates: int,
    seed: int,
) -> tuple[float, int]:
    """Train until the task is solved or the updates are used up. Returns the test loss and the number of updates.

    point: the run, T, and which of the models on which of the tasks. After every 20 updates whose mean loss is low
    enough, a test on 512 fresh sequences tells whether the task is solved. If the loss is not a number, the training
    ends and its loss is infinite.
    """
    n, T, m, a = point
    rng, task = np.random.default_rng((seed, a, m, T, n)), tasks[a]
    network = network_of(task, models[m], hidden_size, rng)
    optimizer, enough, recent = optim.Adam(network.parameters(), lr=LEARNING_RATE), SOLVED * task.baseline, 0.0
    with one_blas_thread():  # small products gain nothing from more, and another number would round otherwise
        for update in range(1, updates + 1):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - (update - 1) / updates)
            recent += network.update(optimizer, *task.draw(T, batch_size, rng))[0] / EVERY
            looks = update % EVERY == 0
            if looks and not np.isfinite(recent):
                return np.inf, update
            if update == updates or (looks and recent < enough):
                with no_grad():
                    loss = network.loss(*task.draw(T, TESTED, rng))
                if loss < enough:
                    break
            recent = 0.0 if looks else recent
    return (loss if np.isfinite(loss) else np.inf), update


class Findings(NamedTuple):
    """What `study` measured: A tasks, M models, K lengths T, N runs of each."""

    tasks: tuple[Task, ...]
    models: tuple[Model, ...]
    lengths: Array  # K
    loss: Array  # A, M, K, N       on fresh sequences, at the end
    updates: Array  # A, M, K, N    until then
    parameters: Array  # A, M
    hidden_size: int
    batch_size: int
    most: int  # the updates after which a run is ended

    def below(self, part: float) -> Array:
        """Whether the loss is below this part of the baseline: A, M, K, N."""
        return np.array([losses < part * task.baseline for task, losses in zip(self.tasks, self.loss, strict=True)])

    @property
    def solved(self) -> Array:
        """Whether it is below a tenth: A, M, K, N."""
        return self.below(SOLVED)

    def reach(self, runs: int) -> Array:
        """The longest T up to which, at every length, so many runs or more solved the task; 0 if none: A, M."""
        enough = np.logical_and.accumulate(self.solved.sum(axis=-1) >= runs, axis=-1)  # A, M, K
        return np.asarray(np.where(enough, self.lengths, 0).max(axis=-1))


def study(
    lengths: Sequence[int] = LENGTHS,
    *,
    tasks: Sequence[Task] = TASKS,
    models: Sequence[Model] = MODELS,
    hidden_size: int = 32,
    batch_size: int = 32,
    updates: int = 1000,
    runs: int = 5,
    seed: int = 0,
    processes: int = 1,
    progress: Callable[[], object] = lambda: None,
) -> Findings:
    """Train every model on every task of every length, in runs that differ in weights and sequences.

    lengths: the T, for every task. updates: a run ends after so many at the latest. The models have the same H, and
    therefore an LSTM four times as many parameters as an RNN and a GRU three times as many. A run's numbers depend on
    the seed and its place alone, not on how many processes share the work. With more than one, a script must do its own
    work under `if __name__ == "__main__":`. progress: is called A·M·K·N times.
    """
    Ts, grid = sorted(set(lengths)), (range(len(models)), range(len(tasks)))
    alike: dict[str, Any] = {"hidden_size": hidden_size, "batch_size": batch_size, "updates": updates, "seed": seed}
    work = partial(train, tasks=tasks, models=models, **alike)
    # the longest lengths of a run first: at the end, no process waits long for another
    found = trials(work, range(runs), Ts[::-1], *grid, progress=progress, processes=processes)
    loss, made = (each[:, ::-1].T for each in found)  # A, M, K, N
    networks = [[network_of(task, model, hidden_size, 0) for model in models] for task in tasks]
    sizes = np.array([[sum(p.data.size for p in network.parameters()) for network in row] for row in networks])
    return Findings(tuple(tasks), tuple(models), np.array(Ts), loss, made, sizes, hidden_size, batch_size, updates)


def show(out: Console, found: Findings) -> None:
    """For each task the losses, how far each model gets, and how runs fail."""
    N = found.loss.shape[3]
    for a, task in enumerate(found.tasks):
        say(out, f"{task.name}: {task.measure}, on fresh sequences, median of {count(N, 'run')}", "bold")
        say(out, f"guessing: {task.baseline:.3g}; solved: below {SOLVED * task.baseline:.2g}")
        rows = table("T", *(f"{T}" for T in found.lengths))
        for m, model in enumerate(found.models):
            rows.add_row(model.name, *(f"{loss:.2g}" for loss in np.median(found.loss[a, m], axis=-1)))
            rows.add_row("  runs that solved it", *(f"{some}/{N}" for some in found.solved[a, m].sum(axis=-1)))
        out.print(rows)
        every, most = found.reach(N)[a], found.reach(N // 2 + 1)[a]
        for model, *reached in zip(found.models, every, most, strict=True):
            said = [f"in {who} up to T = {T}" for who, T in zip(("every run", "most runs"), reached, strict=True) if T]
            none = "solved in no more than half of the runs at the shortest T"
            say(out, f"{model.name}: {'solved ' + ', '.join(said) if said else none}.")
        say(out, "")
    for m, model in enumerate(found.models):
        failed, stuck = ~found.solved[:, m], ~found.below(1 - SOLVED)[:, m]
        say(
            out,
            f"{model.name}: {failed.sum()} of {count(failed.size, 'run')} failed, {stuck.sum()} of them with a loss no "
            "more than a tenth below that of guessing.",
        )
    sizes = zip(found.models, found.parameters.min(axis=0), found.parameters.max(axis=0), strict=True)
    say(
        out,
        f"\nEvery model has {count(found.hidden_size, 'hidden unit')} (parameters: "
        f"{'; '.join(f'{model.name} {low:,} to {high:,}' for model, low, high in sizes)}) and is trained "
        f"alike: by Adam in batches of {found.batch_size}, with a learning rate that falls from {LEARNING_RATE:g} to 0 "
        f"and gradients clipped to 1. A run fails that has not solved its task within {count(found.most, 'update')}; "
        "with more of them, it might have.",
    )


def picture(found: Findings) -> Any:
    """A column for each task: the loss at the end above, the updates that it took below, both over T."""
    A, M, _, N = found.loss.shape
    figure = new_figure(5.4 * A, 8.2)
    panels = figure.subplots(2, A, sharex="col", squeeze=False)
    for a, task in enumerate(found.tasks):
        (losses, updates), highest = panels[:, a], 3 * task.baseline
        for m, (model, colour, marker) in enumerate(zip(found.models, cycle(COLOURS), cycle(MARKERS), strict=False)):
            where = found.lengths * 2 ** (APART * (m - (M - 1) / 2))
            style = {"color": colour, "marker": marker, "label": model.name}
            draw(losses, where, np.minimum(found.loss[a, m], highest), found.solved[a, m], **style)
            draw(updates, where, found.updates[a, m], found.solved[a, m], **style)
        mark(losses, task.baseline, f"guessing:\n{task.baseline:.3g}")
        if (found.loss[a] > highest).any():
            mark(losses, highest, f"{highest:.2g}\nor more")
        mark(losses, SOLVED * task.baseline, f"solved\nbelow\n{SOLVED * task.baseline:.2g}")
        mark(updates, found.most, f"given up\nafter\n{found.most:,}")
        finish(losses, task.name, "", f"loss on fresh sequences\n{task.measure}")
        finish(updates, "", "length T, steps", "updates until the end of a run")
        losses.set(yscale="log")
        losses.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
        losses.yaxis.set_major_formatter("{x:g}")
        updates.set(ylim=(0, 1.08 * found.most))
        for panel in (losses, updates):
            powers_of_two(panel, found.lengths)
    lines = panels[0, 0].get_legend_handles_labels()
    for line in figure.legend(*lines, loc="outside lower center", ncols=min(M, 5), frameon=False).get_lines():
        line.set_markersize(5)
    spread = f"median, range and all of {count(N, 'run')}"
    heading(figure, f"How far back they learn to remember ({spread}; filled: solved, ×: not solved)")
    return figure


def draw(panel: Any, where: Array, values: Array, solved: Array, color: str, marker: str, label: str) -> None:
    """The median of some runs, their range, and every run. where: (K,), values and solved: (K, N)."""
    # the line has its marker in the legend alone
    line = {"color": color, "marker": marker, "label": label, "linewidth": 1.6, "markersize": 0}
    over_runs(panel, where, values.T, np.median(values, axis=1), **line)
    places = np.broadcast_to(where[:, None], values.shape)
    panel.scatter(places[solved], values[solved], s=22, color=color, marker=marker, linewidth=0, alpha=0.85, zorder=3)
    panel.scatter(places[~solved], values[~solved], s=26, color=color, marker="x", linewidth=1.2, zorder=3)


def mark(panel: Any, value: float, name: str) -> None:
    """A level line with its name beside the panel, where no run is drawn."""
    panel.axhline(value, color=GREY, linewidth=1, linestyle=DASHED)
    beside = {"xycoords": ("axes fraction", "data"), "xytext": (5, 0), "textcoords": "offset points"}
    panel.annotate(name, (1, value), va="center", fontsize=8, color=GREY, **beside)
