"""Several processes train as one does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reference import carry
from reference.carry.ranks import STOP, joined, leave
from reference.carry.training import follow
from scratch import text
from scratch.text import Checkpoint
from scratch.text.checkpoint import arrays_of
from tests.strategies import some

from .carried import SETTINGS, TEXT, Command, trained


def take_part(rank: int, count: int, folder: Path, checkpoint: Checkpoint, steps: int) -> None:
    """One of several processes; rank 0 writes what has come out."""
    torch.set_num_threads(1)
    file = f"file://{folder / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=file, rank=rank, world_size=count)
    ranks = carry.Ranks(rank, count)
    training = carry.Training.resumed(checkpoint, TEXT, ranks)
    if rank:
        follow(training)
    else:
        for _ in range(steps):
            training.advance()
            if training.step % 5 == 0:
                training.validate()
        carry.write(folder / "together.safetensors", training.checkpoint())
        ranks.tell(STOP)
    del training
    leave()


@pytest.mark.parametrize(
    ("count", "options"),
    some(
        [
            (3, {"batch_size": 6, "length": 11, "weight_decay": 0.1, "clip": 0.01, "held_out": 0.02}),
            (2, {"cell": "RNN", "optimizer": "SGD", "embedding_size": 3}),
            (4, {"cell": "LSTM", "num_layers": 2, "clip": 0.01, "held_out": 0.02}),  # validation in one stream
        ],
        every=3,
    ),
)
def test_several_processes_compute_what_one_does(tmp_path: Path, count: int, options: dict[str, Any]) -> None:
    checkpoint, steps = trained(3, **options).checkpoint(), 20
    context = torch.multiprocessing.get_context("forkserver")  # this process has threads, which must not be forked
    context.set_forkserver_preload([__name__])
    processes = [
        context.Process(target=take_part, args=(rank, count, tmp_path, checkpoint, steps)) for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()  # if it waits for ever
    assert [process.exitcode for process in processes] == [0] * count
    together, alone = text.read(tmp_path / "together.safetensors"), carry.Training.resumed(checkpoint, TEXT)
    for _ in range(steps):
        alone.advance()
        if alone.step % 5 == 0:
            alone.validate()
    same(together, alone.checkpoint())


def same(first: Checkpoint, second: Checkpoint) -> None:
    """Two trainings agree in everything that is computed."""
    one, other = arrays_of(first), arrays_of(second)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-9, err_msg=name)


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `torchrun --nproc-per-node 2 -m reference train` in a folder."""
    here = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(here), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "reference", "train"]
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, text=True, capture_output=True, timeout=300, check=False
    )


def test_torchrun_trains_and_scratch_goes_on(tmp_path: Path, command: Command) -> None:
    (tmp_path / "text").write_text(TEXT, newline="")
    ours = trained(3)
    carry.export(tmp_path / "model.pt", ours.checkpoint())
    done = torchrun(tmp_path, "model.pt", "text", "--steps", "25")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained 25 steps") == 1, "only rank 0 prints"
    assert done.stderr.count("going on after step 3") == 1
    status, _, _ = command("import", tmp_path / "model.pt", tmp_path / "model.safetensors")
    assert status == 0
    found = text.read(tmp_path / "model.safetensors")
    while ours.step < 25:
        ours.advance()
        if ours.step % SETTINGS.validate_every == 0 or ours.step == 25:
            ours.validate()
    same(found, ours.checkpoint())
    there = text.Training.resumed(found, TEXT)
    assert there.advance() == pytest.approx(ours.advance(), abs=1e-9)


def test_every_process_and_every_step_drops_out_something_else() -> None:
    """And an interrupted training drops out the same again."""
    drawn = []
    for steps in (2, 3, 2):
        checkpoint = trained(steps, dropout=0.5).checkpoint()
        drawn += [carry.Training.resumed(checkpoint, TEXT, carry.Ranks(rank))._seed() for rank in range(3)]
    assert len(set(drawn)) == 6 and drawn[:3] == drawn[6:]


def test_without_torchrun_a_process_is_alone() -> None:
    with joined("cpu") as ranks:
        assert (ranks.rank, ranks.count, ranks.device) == (0, 1, torch.device("cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"), joined("cuda"):
            pass
