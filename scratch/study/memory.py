"""How far back a recurrence can learn to remember, measured on two tasks of a length that can be chosen.

The adding problem (Hochreiter and Schmidhuber 1997, section 5.4) in the variant of Arjovsky, Shah and Bengio (2016):
of T numbers two are marked, and the answer is their sum.

(1)  x_t = (v_t, m_t),  v_t uniform in [0, 1],  m_t = 1 at one step s < ⌊T/2⌋ and at one step s′ ≥ ⌊T/2⌋, else 0
(2)  y = v_s + v_s′,  read off the last step; the loss is the squared error
(3)  E (y − 1)² = 2 Var v = 1/6                                 of always answering E y = 1: the baseline

In 1997 the values were in [−1, 1] and the answer was 0.5 + (X₁ + X₂)/4, half of this y, so the baseline was 1/24. The
length varied between T and 1.1 T, the first marker was among the first ten steps and the second before T/2, and the
first and the last step bore a marker −1. So both numbers lay T/2 steps or more before the end; here only the first.

The copy task, in the form of Arjovsky, Shah and Bengio (2016): S symbols of n kinds come first, then T − 1 blanks and
a sign to begin, then S more blanks. During these the network says the symbols in their order. In one-hot form

(4)  x = s_1 … s_S, blank (T − 1 times), sign, blank (S times)   T + 2S steps; each is said T + S steps after it came
(5)  y = s_1 … s_S,  read off the last S steps; the loss is the cross-entropy, a mean over these S
(6)  −Σ (1/n) log(1/n) = log n                                   of guessing, all as likely: the baseline

They also asked for a blank at each of the other T + S steps and took the mean over all: S log n / (T + 2S). Saying a
blank needs no memory, and as T grows the mean hides what is of interest; so it is left out here. They had n = 8 and
S = 10; here n = S = 4, which small models learn within minutes.

Solved means a loss below a tenth of the baseline. In the adding problem that is a root mean square error of 0.13; in
1997 each error had to be below 0.08, in terms of this y.

The models are small and drawn as the library, and PyTorch, draws them. RNN and LSTM come once more with what is often
done to help them remember at the beginning. An LSTM is drawn with a forget bias about 0, f ≈ ½, so after k steps 2⁻ᵏ of
c is left. The LSTM of 1997 had no forget gate and kept everything; b_f = 3, f ≈ 0.95, comes near to that (positive
biases: Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015 advise 1). W_hh is drawn with a
spectral radius of about 0.58; an orthogonal one keeps the length of what it multiplies (Saxe, McClelland and Ganguli
2014). All are trained in the same way: by Adam, with gradients clipped to 1 and a learning rate that falls evenly from
0.01 to 0, so that each run goes through large and small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from .. import nn, optim
from ..nn.pile import no_grad
from ..processes import one_blas_thread, shared
from ..types import Array, Seed
from .models import Model, Network

LEARNING_RATE = 0.01
"""Adam's, at the beginning."""

SOLVED = 0.1
"""A run has solved its task when the test loss is below this part of the baseline."""

TESTED = 512
"""The number of fresh sequences in a test."""

EVERY = 20
"""The number of updates between two looks at whether the task is solved."""


class Task(NamedTuple):
    """Something to remember."""

    name: str
    measure: str
    """What the loss is, with its unit."""
    input_size: int
    output_size: int
    answers: int
    """The number of steps, the last ones, at which an answer is read off."""
    baseline: float
    """The least loss of guessing, with the same answer for every sequence."""
    least: int
    """The shortest T."""
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
    return Task(
        name=f"copy task, {S} symbols of {n} kinds",
        measure="cross-entropy, nats per symbol",
        input_size=n + 2,
        output_size=n,
        answers=S,
        baseline=float(np.log(n)),
        least=1,
        criterion=nn.CrossEntropyLoss,
        draw=partial(copy_task, n=n, S=S),
    )


ADDING = Task(
    name="adding problem, two numbers of T",
    measure="squared error",
    input_size=2,
    output_size=1,
    answers=1,
    baseline=1 / 6,
    least=2,
    criterion=nn.MSELoss,
    draw=adding_problem,
)
"""The adding problem, (1) to (3)."""

TASKS = (ADDING, copying(n=4, S=4))

LENGTHS = (4, 8, 16, 32, 64)
"""T: the shortest is easy and the longest is not, for models of this size."""

KINDS = {kind.module.__name__: name for name, kind in reversed(nn.RECURRENCES.items())}
"""The first of `nn.RECURRENCES` of each class in `nn`."""

MODELS = (
    *(Model(name, kind) for name, kind in reversed(KINDS.items())),
    Model("LSTM, forget bias 3", "LSTM", forget_bias=3.0),
    Model("RNN, orthogonal W_hh", KINDS["RNN"], radius=1.0, matrix="orthogonal"),
)


class Run(NamedTuple):
    """One training: which model, on which task of which length, and how."""

    task: Task
    model: Model
    T: int
    hidden_size: int
    batch_size: int
    updates: int
    """At most."""
    seed: tuple[int, ...]


def network_of(task: Task, model: Model, hidden_size: int, rng: Seed) -> Network:
    """The network for a task, in float32."""
    rng = np.random.default_rng(rng)
    rnn = model.build(task.input_size, hidden_size, rng, np.float32)
    return Network(rnn, task.output_size, task.criterion(), task.answers, rng)


def train(run: Run) -> tuple[float, int]:
    """Train until the task is solved or the updates are used up. Returns the test loss and the number of updates.

    After every 20 updates whose mean loss is low enough, a test on 512 fresh sequences tells whether the task is
    solved. If the loss is not a number, the training ends and its loss is infinite.
    """
    rng = np.random.default_rng(run.seed)
    network = network_of(run.task, run.model, run.hidden_size, rng)
    optimizer, recent = optim.Adam(network.parameters(), lr=LEARNING_RATE), 0.0
    enough = SOLVED * run.task.baseline

    def test() -> float:
        with no_grad():
            return network.loss(*run.task.draw(run.T, TESTED, rng))

    with one_blas_thread():  # small products gain nothing from more, and another number would round otherwise
        for update in range(1, run.updates + 1):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - (update - 1) / run.updates)
            recent += network.update(optimizer, *run.task.draw(run.T, run.batch_size, rng))[0] / EVERY
            if update % EVERY == 0:
                if not np.isfinite(recent):
                    return np.inf, update
                if recent < enough and (loss := test()) < enough:
                    return loss, update
                recent = 0.0
        loss = test()
        return (loss if np.isfinite(loss) else np.inf), run.updates


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
    most: int
    """The updates after which a run is ended."""

    @property
    def baselines(self) -> Array:
        """The baseline of each task, shaped to stand beside the losses: A, 1, 1, 1."""
        return np.array([task.baseline for task in self.tasks])[:, None, None, None]

    @property
    def solved(self) -> Array:
        """Whether the loss is below a tenth of the baseline: A, M, K, N."""
        return np.asarray(self.loss < SOLVED * self.baselines)

    @property
    def stuck(self) -> Array:
        """Whether the loss is not even a tenth of the baseline below it: A, M, K, N."""
        return np.asarray(~(self.loss < (1 - SOLVED) * self.baselines))

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
    Ts = sorted(set(lengths))
    shape = runs, len(Ts), len(models), len(tasks)
    todo = [
        Run(tasks[a], models[m], Ts[k], hidden_size, batch_size, updates, (seed, a, m, Ts[k], n))
        for n, k, m, a in np.ndindex(shape)
    ]
    work = todo[::-1]  # the longest lengths of a run first: at the end, no process waits long for another
    results = []
    if processes == 1:
        for run in work:
            results.append(train(run))
            progress()
    else:
        results = shared(train, work, processes, lambda run: progress())
    loss, made = (np.array(column[::-1]).reshape(shape).T for column in zip(*results, strict=True))  # A, M, K, N
    sizes = [
        [sum(p.data.size for p in network_of(task, model, hidden_size, 0).parameters()) for model in models]
        for task in tasks
    ]
    return Findings(
        tuple(tasks), tuple(models), np.array(Ts), loss, made, np.array(sizes), hidden_size, batch_size, updates
    )
