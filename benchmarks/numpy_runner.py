"""A training step in NumPy: `scratch.nn`, or a rung of the ladder."""

from collections.abc import Callable
from contextlib import nullcontext
from math import isqrt
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from scratch import nn
from scratch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from scratch.text import Training
from scratch.types import Array

from . import floor
from .clock import Clock
from .contestants import CHECKPOINTED, MODULE, Contestant, Unavailable
from .learning import Learner
from .problems import Problem, draw
from .rungs import Rung

OUT_OF_MEMORY = (MemoryError,)


class Runner:
    """A problem in NumPy, ready to be run. Raises Unavailable for a recurrence that is not in scratch yet."""

    clock = Clock()
    turn = nullcontext
    """While it is entered, steps may run. NumPy needs nothing for it."""

    def __init__(self, contestant: Contestant, problem: Problem, seed: int) -> None:
        if not hasattr(nn, problem.module):
            raise Unavailable("not in scratch yet")
        self.problem, self.dtype = problem, np.dtype(contestant.dtype)
        numbers = draw(problem, seed, self.dtype)
        self.x: Any = numbers.input
        self.d_output: Any = numbers.d_output
        if problem.packed:
            self.x, self.d_output = (pack_padded_sequence(one, problem.lengths) for one in (self.x, self.d_output))
        self.module: Any
        if contestant.form in (MODULE, CHECKPOINTED):
            some = {"checkpoint_every": isqrt(problem.T)} if contestant.form == CHECKPOINTED else {}
            self.module = getattr(nn, problem.module)(**problem.arguments, **some, dtype=self.dtype)
            self.module.load_state_dict(numbers.parameters)
        else:
            zeros = np.zeros((problem.B, problem.H), self.dtype)
            self.module = Rung(contestant.form, problem, numbers.parameters, zeros, np)

    @property
    def parts(self) -> dict[str, Callable[[], object]]:
        """What a training step calls one after the other."""
        return {"clear": self.module.zero_grad, "forward": self.forward, "backward": self.backward}

    def forward(self) -> None:
        """The forward pass, with a tape for backward."""
        self.output, _ = self.module(self.x)

    def backward(self) -> None:
        """The gradients of the input and of every parameter."""
        self.d_input, _ = self.module.backward(self.d_output)

    def results(self) -> dict[str, Array]:
        """What the last step computed, by name."""
        gradients = {f"d_{name}": parameter.grad for name, parameter in self.module.named_parameters()}
        states = {"output": self.output, "d_input": self.d_input}
        return {k: v.data if isinstance(v, PackedSequence) else v for k, v in states.items()} | gradients

    def floor(self) -> floor.Floor:
        """The products alone."""
        rng = np.random.default_rng(0)
        return floor.Floor(self.problem, lambda *shape: rng.standard_normal(shape, self.dtype), np.matmul, self.clock)


def runner(contestant: Contestant, problem: Problem, seed: int, threads: int) -> Any:
    """A problem, ready to be run. The threads are those that the process was started with."""
    return Learner(Training, problem, seed) if problem.text else Runner(contestant, problem, seed)


def release() -> None:
    """Nothing more is to be done for what was forgotten."""


def ceiling(contestant: Contestant, threads: int) -> dict[str, float]:
    """What the processor makes: operations in a second of a large product, bytes in a second of a large copy."""
    rng, dtype = np.random.default_rng(0), np.dtype(contestant.dtype)
    return floor.ceiling(lambda *shape: rng.standard_normal(shape, dtype), np.matmul, np.copyto, Clock())


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
