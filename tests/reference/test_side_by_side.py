"""The main job: training side by side, and the command around it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reference import check, side_by_side, space
from reference import side_by_side_command as main
from reference.problems import Problem
from reference.runs import Masks, Run
from reference.side_by_side import EXAMPLES, LOSS_TOLERANCE, Example, Result, train
from scratch.types import Array

from .carried import Command


@pytest.fixture
def run(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command over a small grid."""
    small = space.grid()[::97]
    monkeypatch.setattr(main, "grid", lambda: small)
    return command


def test_classic_examples_learn_their_text_in_both_libraries(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[Result] = []
    monkeypatch.setattr(main, "train", lambda *given: results.append(train(*given)) or results[-1])
    status, out, error = run()
    assert status == 0
    assert all(" %  " in line for line in error.split("\n") if line)  # a slow machine tells how far it is
    for expected in ("(1, 4, 4)", "(1, 1, 8)", "'ello'", "'hello world'", "d_weight_hr", "LSTM", "1e-12"):
        assert expected in out
    assert "scratch and PyTorch agree in 3 trainings and" in out
    assert out.endswith("-m reference check\n")
    for example, result in zip(EXAMPLES, results, strict=True):
        assert list(result.disagreements()) == []
        assert result.scratch == result.torch == result.expected
        assert [row.epoch for row in result.rows] == list(range(example.every, 101, example.every))
        assert result.rows[-1].scratch < result.rows[0].scratch < np.log(8)


def test_disagreements_are_found_and_named(monkeypatch: pytest.MonkeyPatch, run: Command) -> None:
    """In a step of the training, and in a gradient of a configuration: the worst of each kind of tensor."""

    def step(model: torch.nn.Module, x: Array, target: Array) -> dict[str, Array]:
        found = right_step(model, x, target)
        return found | {"d_rnn.weight_hh_l0": found["d_rnn.weight_hh_l0"] * (1 + 2 * LOSS_TOLERANCE)}

    def of_torch(problem: Problem, masks: Masks) -> Run:
        found = right_run(problem, masks)
        factor = 1 + 2e-12 if problem.configuration.cell == "LSTM" else 1 + 0.5e-12
        return found | {"d_weight_ih_l0": found["d_weight_ih_l0"] * factor}

    right_step, right_run = side_by_side.run_in_torch, check.run_torch
    monkeypatch.setattr(side_by_side, "run_in_torch", step)
    monkeypatch.setattr(check, "run_torch", of_torch)
    monkeypatch.setattr(main, "EXAMPLES", EXAMPLES[1:2])
    status, out, error = run()
    assert status == 1
    assert "hello world, RNN: d_rnn.weight_hh_l0 of epoch 10 differs by 2.0e-09" in error
    assert error.count("d_weight_ih_l0 differs by 2.0e-12 in Configuration('LSTM'") == 1
    assert "DISAGREE in 11 places of 1 training and" in " ".join(out.split())


def test_runs_may_part_only_where_training_magnifies_rounding() -> None:
    example = Example(
        "", "RNN", "the quick brown fox jumps over the lazy dog " * 4, 40, epochs=40, forgiving=False, learning_rate=1
    )
    result = train(example)
    assert result.parted
    assert list(result.disagreements()) == []
    assert list(replace(result, example=replace(example, forgiving=True)).disagreements()) != []


@pytest.mark.parametrize(
    ("content", "cell"),
    [
        ("ab", "rnn"),
        ("aaaa", "lstm"),
        ("[bold]x[/bold]\x1b[31m\t\r\nüß🙂" * 3, "lstm"),
        ("so long a text" * 100, "rnn"),
    ],
)
def test_command_learns_any_text(run: Command, tmp_path: Path, content: str, cell: str) -> None:
    (tmp_path / "text").write_bytes(content.encode())
    arguments = ("--text", tmp_path / "text", "--cell", cell, "--hidden-size", "9", "--num-layers", "2")
    status, out, _ = run(*arguments, "--epochs", "3", "--characters", "40", "--seed", "1")
    assert status == 0
    assert "\x1b" not in out


REFUSED: list[tuple[bytes | None, str]] = [
    *((content, "--text FILE") for content in (b"", b"x", b"abc\xff", None)),
    *((b"a text", f"--text FILE {more}") for more in ("--learning-rate inf", "--epochs 0", "--cell cnn", "--seed x")),
    *((None, wrong) for wrong in ("--hidden-size 3", "--text", "--no-such-option", "superfluous", "--seed 1 check")),
]


def test_command_refuses_what_cannot_be_learned(run: Command, tmp_path: Path) -> None:
    path = tmp_path / "text"
    for content, arguments in REFUSED:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        status, out, error = run(*arguments.replace("FILE", str(path)).split())
        assert (status, out, error.count("\n")) == (2, "", 1), arguments
        assert str(path) in error or arguments != "--text FILE"


def test_help_has_examples(command: Command) -> None:
    for name in ("", "export", "import", "train", "losses"):
        status, out, _ = command(*name.split(), "--help")
        assert status == 0 and "Example" in out, name
