"""The tasks that ask for memory: whether they are what they claim, and what the study makes of them."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController

from scratch.study import memory
from scratch.study.memory_command import memory as command
from scratch.study.memory_command import verdict
from tests.scratch.study.commands import run

ADDING, COPYING = memory.TASKS
seeds = st.integers(0, 2**32 - 1)


@given(T=st.integers(2, 40), B=st.integers(1, 20), seed=seeds)
def test_adding_asks_for_the_sum_of_one_number_of_each_half(T: int, B: int, seed: int) -> None:
    x, y = ADDING.draw(T, B, np.random.default_rng(seed))
    assert x.shape == (T, B, 2) and y.shape == (1, B) and x.dtype == y.dtype == np.float32
    assert ((x[..., 0] >= 0) & (x[..., 0] <= 1)).all()
    for b in range(B):
        first, second = np.flatnonzero(x[:, b, 1])
        assert first < T // 2 <= second
        assert x[first, b, 1] == x[second, b, 1] == 1
        assert y[0, b] == pytest.approx(x[first, b, 0] + x[second, b, 0], abs=1e-6)


@given(T=st.integers(1, 40), B=st.integers(1, 20), S=st.integers(1, 5), n=st.integers(1, 6), seed=seeds)
def test_copying_asks_for_the_first_symbols_after_blanks_and_a_sign(T: int, B: int, S: int, n: int, seed: int) -> None:
    x, y = memory.Copying(kinds=n, symbols=S).draw(T, B, np.random.default_rng(seed))
    assert x.shape == (T + 2 * S, B, n + 2) and y.shape == (S, B)
    assert (x.sum(axis=-1) == 1).all() and (x.max(axis=-1) == 1).all()
    for b in range(B):
        assert x[:, b].argmax(axis=-1).tolist() == [*y[:, b], *(T - 1) * [n], n + 1, *S * [n]]
    assert y.min() >= 0 and y.max() < n


@pytest.mark.parametrize(("task", "T"), [(ADDING, 2), (ADDING, 9), (COPYING, 3)])
def test_everything_is_drawn_that_can_be(task: memory.Task, T: int) -> None:
    x, y = task.draw(T, 2000, np.random.default_rng(0))
    if task is ADDING:
        assert x[..., 1].any(axis=1).all()  # every step is marked now and then
        assert 0 < y.min() < 0.2 and 1.8 < y.max() < 2
    else:
        assert all(set(each) == set(range(4)) for each in y)
        assert not (y[0] == y[1]).all()


def test_baselines_are_those_of_the_best_guess() -> None:
    rng = np.random.default_rng(0)
    _, y = ADDING.draw(20, 100_000, rng)
    assert float(np.mean((y - 1) ** 2)) == pytest.approx(ADDING.baseline, rel=0.02)
    assert min(float(np.mean((y - guess) ** 2)) for guess in (0.9, 1.1)) > ADDING.baseline
    _, symbols = COPYING.draw(20, 10_000, rng)
    shares = np.bincount(symbols.ravel()) / symbols.size
    assert float(-(shares * np.log(shares)).sum()) == pytest.approx(COPYING.baseline, rel=1e-3)


@pytest.mark.parametrize("task", memory.TASKS, ids=lambda task: task.name)
def test_a_network_that_says_nothing_has_the_baseline(task: memory.Task) -> None:
    rng = np.random.default_rng(0)
    network = memory.Network(task, memory.MODELS[0], 4, rng)
    network.linear.weight.data = 0 * network.linear.weight.data
    network.linear.bias.data = np.full(task.output_size, 1, np.float32)
    assert network.loss(*task.draw(6, 20_000, rng)) == pytest.approx(task.baseline, rel=0.03)


@pytest.mark.parametrize("task", memory.TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("model", memory.MODELS, ids=lambda model: model.name)
def test_gradients_are_those_of_the_loss(task: memory.Task, model: memory.Model) -> None:
    """Along a random direction, by central differences: in float32, so that half of the digits are lost."""
    rng = np.random.default_rng(0)
    network = memory.Network(task, model, 5, rng)
    x, y = task.draw(4, 3, rng)
    network.loss(x, y)
    network.backward()
    direction = [rng.standard_normal(p.shape).astype(np.float32) for p in network.parameters()]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(network.parameters(), direction, strict=True))

    def moved(by: float) -> float:
        for p, d in zip(network.parameters(), direction, strict=True):
            p.data = p.data + np.float32(by) * d
        return network.loss(x, y)

    ahead, behind = moved(1e-2), moved(-2e-2)
    assert (ahead - behind) / 2e-2 == pytest.approx(slope, rel=1e-2, abs=1e-3)


def test_the_forget_bias_is_of_the_forget_gate_alone() -> None:
    plain, biased = (memory.Model("", "LSTM", bias).build(2, 3, 0).state_dict() for bias in (None, 3.0))
    assert biased["bias_ih_l0"][3:6].tolist() == [3, 3, 3] and not biased["bias_hh_l0"][3:6].any()
    for name, value in plain.items():
        rest = np.ones(len(value), bool)
        if name.startswith("bias"):
            rest[3:6] = False
        assert np.array_equal(biased[name][rest], value[rest])
    with pytest.raises(ValueError, match="forget"):
        memory.Model("", "RNN", 3.0).build(2, 3, 0)


def test_an_orthogonal_matrix_is_the_only_thing_that_is_other() -> None:
    plain, other = (memory.Model("", "LSTM", orthogonal=each).build(2, 5, 0).state_dict() for each in (False, True))
    for W in other.pop("weight_hh_l0").reshape(4, 5, 5):
        assert np.allclose(W @ W.T, np.eye(5), atol=1e-5)
    assert all(np.array_equal(other[name], plain[name]) for name in other)


def a_run(task: memory.Task, T: int, updates: int, model: int = 0, seed: int = 0) -> memory.Run:
    return memory.Run(task, memory.MODELS[model], T, 16, 32, updates, (seed,))


@pytest.mark.parametrize("model", range(len(memory.MODELS)))
@pytest.mark.parametrize(("task", "T"), [(ADDING, 2), (memory.Copying(kinds=2, symbols=1), 1)])
def test_what_is_short_is_solved_before_the_end(task: memory.Task, T: int, model: int) -> None:
    loss, updates = memory.train(a_run(task, T, 1000, model))
    assert 0 < loss < memory.SOLVED * task.baseline
    assert updates < 1000 and updates % memory.EVERY == 0


def test_training_holds_the_blas_to_one_thread_and_lets_it_go() -> None:
    blas = ThreadpoolController().select(user_api="blas")

    class Watched(memory.Adding):
        seen: ClassVar[set[int]] = set()

        def draw(self, *arguments: Any) -> Any:
            self.seen.update(each["num_threads"] for each in blas.info() if "numpy" in each["filepath"])
            return super().draw(*arguments)

    with blas.limit(limits=2):
        memory.train(a_run(Watched(), 4, 1))
        assert all(each["num_threads"] == 2 for each in blas.info() if "numpy" in each["filepath"])
    assert Watched.seen == {1}


def test_training_brings_the_loss_down_and_is_given_up() -> None:
    losses = [memory.train(a_run(COPYING, 2, updates)) for updates in (1, 60)]
    assert [updates for _, updates in losses] == [1, 60]
    assert losses[1][0] < 0.8 * losses[0][0]


def test_a_training_that_diverges_is_ended_and_not_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEARNING_RATE", np.float32(1e38))
    loss, updates = memory.train(a_run(ADDING, 2, 200))
    assert loss == np.inf and updates == memory.EVERY


@pytest.mark.parametrize(
    ("error", "changes"),
    [(ValueError, {"T": 1}), (TypeError, {"T": 2.0}), (ValueError, {"updates": 0}), (ValueError, {"batch_size": 0})],
)
def test_numbers_that_are_too_small_are_refused(error: type[Exception], changes: dict[str, Any]) -> None:
    with pytest.raises(error, match="expected"):
        memory.train(a_run(ADDING, 4, 1)._replace(**changes))


SMALL: dict[str, Any] = {"hidden_size": 4, "batch_size": 2, "updates": 20, "runs": 2}


def test_findings_depend_on_the_seed_and_not_on_the_number_of_processes() -> None:
    calls: list[int] = []
    one, two = (memory.study([2, 4], processes=count, progress=lambda: calls.append(0), **SMALL) for count in (1, 2))
    other = memory.study([4, 2], seed=1, **SMALL)
    assert np.array_equal(one.loss, two.loss) and np.array_equal(one.updates, two.updates)
    assert len(calls) == 2 * one.loss.size == 2 * 2 * len(memory.MODELS) * 2 * 2
    assert one.lengths.tolist() == other.lengths.tolist() == [2, 4]
    everything = np.concatenate([one.loss.ravel(), other.loss.ravel()])
    assert len(np.unique(everything)) == everything.size  # no two runs are the same


def test_a_run_is_the_same_whichever_lengths_are_beside_it() -> None:
    alone, beside = (memory.study(lengths, **SMALL) for lengths in ([4], [2, 4]))
    assert np.array_equal(alone.loss[:, :, 0], beside.loss[:, :, 1])


@pytest.mark.parametrize("lengths", [[1, 4], [4, 0], []])
def test_lengths_that_are_too_short_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="length"):
        memory.study(lengths, **SMALL)


def found(solved: list[list[int]]) -> memory.Findings:
    """As if so many of three runs had solved the one task, for each model and length."""
    runs = np.arange(3) < np.array(solved)[..., None]  # M, K, N
    lengths = 2 ** np.arange(1, runs.shape[1] + 1)
    loss = np.where(runs, 0.01, 0.16)[None]
    some = np.zeros((1, len(solved)), int)
    return memory.Findings((ADDING,), memory.MODELS, lengths, loss, loss.astype(int), some, 4, 2, 9)


@pytest.mark.parametrize(
    ("solved", "words"),
    [
        ([3, 3, 3], "solved in every run up to T = 8, the longest tried."),
        ([3, 2, 0], "solved in every run up to T = 2, in most up to T = 4, in no run from T = 8 on."),
        ([3, 0, 3], "solved in every run up to T = 2, in some up to T = 8."),
        ([1, 0, 0], "at no T solved in every run, in some up to T = 2, in no run from T = 4 on."),
        ([0, 0, 0], "at no T solved in every run, in no run from T = 2 on."),
    ],
)
def test_verdict_says_where_it_stops(solved: list[int], words: str) -> None:
    assert verdict(found([solved]), 0, 0) == words


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 3))
def test_reach_is_the_longest_without_a_gap(solved: list[int], runs: int) -> None:
    reached = 0
    for k, some in enumerate(solved):
        if some < runs:
            break
        reached = 2 ** (k + 1)
    findings = found([solved])
    assert findings.reach(runs).tolist() == [[reached]]
    assert np.array_equal(findings.solved, ~findings.stuck)


@pytest.mark.parametrize("changes", [{"runs": 0}, {"processes": 0}])
def test_no_runs_and_no_processes_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        memory.study([4], **SMALL | changes)


QUICK = ("--length", "2", "--length", "3", "--hidden-size", "4", "--batch-size", "2", "--updates", "2", "--runs", "2")


@pytest.mark.parametrize("runs", ["1", "2"])
def test_command_prints_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path, runs: str) -> None:
    plot = tmp_path / "plot.png"
    status, out, error = run(command, capsys, *QUICK, "--runs", runs, "--jobs", "1", "--plot", str(plot))
    assert (status, error.strip()) == (0, "")
    assert plot.stat().st_size > 10_000
    for expected in ("adding problem", "copy task", "0.167", "1.39", "within 2 updates", "LSTM, forget bias 3"):
        assert expected in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--length", "1"), "length"),
        (("--runs", "0"), "runs"),
        (("--plot", "x.gif"), ".png"),
        (("--plot", "no/such/x.png"), "no folder"),
        (("superfluous",), "superfluous"),
    ],
)
def test_command_refuses_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    status, out, error = run(command, capsys, *QUICK, "--plot", str(tmp_path / "x.png"), *arguments)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not (tmp_path / "x.png").exists()
