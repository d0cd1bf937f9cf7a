"""Several processes train as one does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import carry
from reference.carry.ranks import joined
from scratch import text
from scratch.text.checkpoint import arrays_of
from tests.strategies import some

from .carried import TEXT, Command, trained


@pytest.mark.parametrize(
    ("count", "options"),
    some(
        [
            (2, {"num_layers": 2, "clip": 0.01, "weight_decay": 0.1, "held_out": 0.02}),  # validation in one stream
            (3, {"batch_size": 6, "length": 11, "weight_decay": 0.1, "clip": 0.01, "held_out": 0.02}),
            (2, {"cell": "RNN", "optimizer": "SGD", "embedding_size": 3}),
            (4, {"cell": "GRU", "num_layers": 2, "clip": 0.01, "held_out": 0.02}),
        ],
        every=4,
    ),
)
def test_torchrun_computes_what_one_process_does(
    tmp_path: Path, command: Command, count: int, options: dict[str, Any]
) -> None:
    (tmp_path / "text").write_text(TEXT, newline="")
    ours = trained(3, validate_every=5, **options)
    carry.export(tmp_path / "model.pt", ours.checkpoint())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    done = subprocess.run(
        [*torchrun, "-m", "reference", "train", "model.pt", "text", "--steps", "22"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained 22 steps") == 1, "only rank 0 prints"
    assert done.stderr.count("going on after step 3") == 1
    assert command("import", tmp_path / "model.pt", tmp_path / "model.safetensors")[0] == 0
    together = text.read(tmp_path / "model.safetensors")
    while ours.step < 22:
        ours.advance()
        if ours.step % 5 == 0 or ours.step == 22:
            ours.validate()
    expected = arrays_of(ours.checkpoint())
    assert expected.keys() == arrays_of(together).keys()
    for name, value in arrays_of(together).items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-9, err_msg=name)
    assert text.Training.resumed(together, TEXT).advance() == pytest.approx(ours.advance(), abs=1e-9)


@given(st.integers(1, 9), st.integers(0, 40))
def test_parts_are_the_whole(count: int, whole: int) -> None:
    parts = [range(whole)[carry.Ranks(rank, count).part(whole)] for rank in range(count)]
    assert [index for part in parts for index in part] == list(range(whole))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_without_torchrun_a_process_is_alone() -> None:
    with joined("cpu") as ranks:
        assert (ranks.rank, ranks.count, ranks.device) == (0, 1, torch.device("cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"), joined("cuda"):
            pass
