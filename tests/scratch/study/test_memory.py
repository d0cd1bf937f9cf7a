"""The tasks that ask for memory: whether they are what they claim, and what the study makes of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from threadpoolctl import ThreadpoolController

from scratch.study import memory

ADDING, COPYING = memory.TASKS
seeds = st.integers(0, 2**32 - 1)


@given(T=st.integers(2, 40), B=st.integers(1, 20), seed=seeds)
def test_adding_asks_for_the_sum_of_one_number_of_each_half(T: int, B: int, seed: int) -> None:
    x, y = ADDING.draw(T, B, np.random.default_rng(seed))
    assert x.shape == (T, B, 2) and y.shape == (1, B) and x.dtype == y.dtype == np.float32
    values, marks = np.moveaxis(x, -1, 0)
    assert ((values >= 0) & (values <= 1)).all() and set(marks.ravel()) <= {0, 1}
    assert (marks[: T // 2].sum(axis=0) == 1).all() and (marks[T // 2 :].sum(axis=0) == 1).all()
    assert np.allclose(y[0], (values * marks).sum(axis=0), atol=1e-6)
    x, y = ADDING.draw(T, 2000, np.random.default_rng(seed))
    assert x[..., 1].any(axis=1).all() and y.min() < 0.3 and y.max() > 1.7  # whatever can be drawn is, now and then


@given(T=st.integers(1, 40), B=st.integers(1, 20), S=st.integers(1, 5), n=st.integers(1, 6), seed=seeds)
def test_copying_asks_for_the_first_symbols_after_blanks_and_a_sign(T: int, B: int, S: int, n: int, seed: int) -> None:
    x, y = memory.copying(n, S).draw(T, B, np.random.default_rng(seed))
    assert x.shape == (T + 2 * S, B, n + 2) and y.shape == (S, B)
    assert (x.sum(axis=-1) == 1).all() and (x.max(axis=-1) == 1).all()
    for b in range(B):
        assert x[:, b].argmax(axis=-1).tolist() == [*y[:, b], *(T - 1) * [n], n + 1, *S * [n]]
    assert set(memory.copying(n, S).draw(1, 500, np.random.default_rng(seed))[1].ravel()) == set(range(n))


@pytest.mark.parametrize("task", memory.TASKS, ids=lambda task: task.name)
def test_the_best_guess_has_the_baseline(task: memory.Task) -> None:
    """The network guesses: its linear layer does not look at h."""
    rng = np.random.default_rng(0)
    network = memory.network_of(task, memory.MODELS[0], 4, rng)
    network.linear.weight.data = 0 * network.linear.weight.data
    x, y = task.draw(6, 20_000, rng)
    losses = []
    for guess in (1.0, 0.9, 1.1):
        network.linear.bias.data = np.ones(task.output_size, np.float32)
        network.linear.bias.data[0] = guess
        losses.append(network.loss(x, y))
    assert losses[0] == pytest.approx(task.baseline, rel=0.03)
    assert min(losses) > 0.999 * losses[0]


def train(task: memory.Task, T: int, updates: int, model: int = 0) -> tuple[float, int]:
    sizes = {"hidden_size": 16, "batch_size": 32, "updates": updates, "seed": 0}
    return memory.train((0, T, model, 0), tasks=[task], **sizes)


@pytest.mark.parametrize("model", range(len(memory.MODELS)))
@pytest.mark.parametrize(("task", "T"), [(ADDING, 2), (memory.copying(n=2, S=1), 1)])
def test_what_is_short_is_solved_before_the_end(task: memory.Task, T: int, model: int) -> None:
    loss, updates = train(task, T, 1000, model)
    assert 0 < loss < memory.SOLVED * task.baseline
    assert updates < 1000 and updates % memory.EVERY == 0


def test_training_holds_the_blas_to_one_thread_and_lets_it_go() -> None:
    blas = ThreadpoolController().select(user_api="blas")

    def threads() -> set[int]:
        return {each["num_threads"] for each in blas.info() if "numpy" in each["filepath"]}

    def draw(*arguments: Any) -> Any:
        seen.update(threads())
        return ADDING.draw(*arguments)

    seen: set[int] = set()
    with blas.limit(limits=2):
        train(ADDING._replace(draw=draw), 4, 1)
        assert threads() == {2}
    assert seen == {1}


def test_training_brings_the_loss_down_and_is_given_up() -> None:
    losses = [train(COPYING, 2, updates) for updates in (1, 60)]
    assert [updates for _, updates in losses] == [1, 60]
    assert losses[1][0] < 0.8 * losses[0][0]


def test_a_training_that_diverges_is_ended_and_not_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEARNING_RATE", np.float32(1e38))
    loss, updates = train(ADDING, 2, 200)
    assert loss == np.inf and updates == memory.EVERY


SMALL: dict[str, Any] = {"hidden_size": 4, "batch_size": 2, "updates": 20, "runs": 2}


def test_findings_depend_on_the_seed_alone() -> None:
    """Not on the number of processes, and not on the lengths that are studied beside one."""
    calls: list[int] = []
    one = memory.study([2, 4], progress=lambda: calls.append(0), **SMALL)
    other, alone = memory.study([4, 2], seed=1, **SMALL), memory.study([4], **SMALL)
    few = {"tasks": memory.TASKS[:1], "models": memory.MODELS[:1]}
    two = memory.study([2, 4], processes=2, progress=lambda: calls.append(0), **SMALL, **few)
    assert np.array_equal(one.loss[:1, :1], two.loss) and np.array_equal(one.updates[:1, :1], two.updates)
    assert np.array_equal(alone.loss[:, :, 0], one.loss[:, :, 1])
    assert len(calls) == one.loss.size + two.loss.size == 2 * len(memory.MODELS) * 2 * 2 + 4
    assert one.lengths.tolist() == other.lengths.tolist() == [2, 4]
    everything = np.concatenate([one.loss.ravel(), other.loss.ravel()])
    assert len(np.unique(everything)) == everything.size  # no two runs are the same
    a, m, n = 1, 3, 1
    sizes = {name: value for name, value in SMALL.items() if name != "runs"}
    assert memory.train((n, 4, m, a), **sizes, seed=0) == (one.loss[a, m, 1, n], one.updates[a, m, 1, n])


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 3))
def test_reach_is_the_longest_without_a_gap(solved: list[int], runs: int) -> None:
    """As if so many of three runs had solved the one task, for each length, and the others had only guessed."""
    loss = np.where(np.arange(3) < np.array(solved)[:, None], 0.01, 0.16)[None, None]  # 1, 1, K, 3
    lengths = 2 ** np.arange(1, len(solved) + 1)
    found = memory.Findings((ADDING,), memory.MODELS[:1], lengths, loss, loss, np.zeros((1, 1)), 4, 2, 9)
    enough = next((k for k, some in enumerate(solved) if some < runs), len(solved))
    assert found.reach(runs).tolist() == [[2**enough if enough else 0]]
    assert np.array_equal(found.solved, found.below(1 - memory.SOLVED))


def test_half_of_the_runs_are_not_most_of_them() -> None:
    loss = np.array([[[[0.01, 0.16]]]])
    out = Console(record=True, width=100)
    memory.show(
        out, memory.Findings((ADDING,), memory.MODELS[:1], np.array([4]), loss, loss, np.zeros((1, 1)), 4, 2, 9)
    )
    assert "RNN: solved in no more than half of the runs at the shortest T." in out.export_text()


def test_the_picture_says_so_where_losses_are_cut_off() -> None:
    for loss, told in ((0.4, False), (9.0, True)):
        losses = np.full((1, 1, 1, 1), loss)
        found = memory.Findings((ADDING,), memory.MODELS[:1], np.array([4]), losses, losses, losses[0, 0], 4, 2, 9)
        texts = [text.get_text() for text in memory.picture(found).axes[0].texts]
        assert ("0.5\nor more" in texts) == told
