"""A training step in NumPy: `scratch.nn`, or a rung of the ladder."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import isqrt
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from scratch import nn
from scratch.text import Training
from scratch.types import Array

from .clock import CpuClock
from .contestants import CHECKPOINTED, MODULE, Contestant
from .floor import Floor
from .ladder import Rung
from .problems import Problem, draw
from .unavailable import Unavailable

OUT_OF_MEMORY = (MemoryError,)


class Runner:
    """A problem in NumPy, ready to be run. Raises Unavailable for a recurrence that is not in scratch yet."""

    def __init__(self, contestant: Contestant, problem: Problem, seed: int, threads: int) -> None:
        if not hasattr(nn, problem.module):
            raise Unavailable("not in scratch yet")
        self.problem, self.dtype, self.clock = problem, np.dtype(contestant.dtype), CpuClock()
        numbers = draw(problem, seed, self.dtype)
        self.x, self.d_output = numbers.input, numbers.d_output
        self.module: Any
        if contestant.form in (MODULE, CHECKPOINTED):
            some = {"checkpoint_every": isqrt(problem.T)} if contestant.form == CHECKPOINTED else {}
            self.module = getattr(nn, problem.module)(**problem.arguments, **some, dtype=self.dtype)
            self.module.load_state_dict(numbers.parameters)
        else:
            self.module = Rung(contestant.form, numbers.parameters, np.zeros((problem.B, problem.H), self.dtype), np)

    def clear(self) -> None:
        """Forget the gradients, as before every step of a training."""
        self.module.zero_grad()

    def turn(self) -> AbstractContextManager[None]:
        """While this is entered, steps may run. NumPy needs nothing for it."""
        return nullcontext()

    def forward(self) -> None:
        """The forward pass, with a tape for backward."""
        self.output, _ = self.module(self.x)

    def backward(self) -> None:
        """The gradients of the input and of every parameter."""
        self.d_input, _ = self.module.backward(self.d_output)

    def results(self) -> dict[str, Array]:
        """What the last step computed, by name."""
        gradients = {f"d_{name}": parameter.grad for name, parameter in self.module.named_parameters()}
        return {"output": self.output, "d_input": self.d_input} | gradients

    def floor(self) -> Floor:
        """The products alone."""
        rng = np.random.default_rng(0)
        draw_dtype = self.dtype if self.dtype in (np.float32, np.float64) else np.float64

        def make(rows: int, columns: int) -> Array:
            return rng.standard_normal((rows, columns), draw_dtype).astype(self.dtype, copy=False)

        return Floor(self.problem, make, np.matmul)


training = Training.resumed
"""A character model that goes on from a checkpoint with its text."""


def environment() -> dict[str, Any]:
    """What computes here."""
    described = {"NumPy": np.__version__, "threads": 1}
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            described |= {
                "BLAS": f"{pool['internal_api']} {pool['version']}",
                "BLAS kernel": pool.get("architecture", ""),
                "threads": pool["num_threads"],
            }
    return described
