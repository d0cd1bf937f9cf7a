"""Hypothesis profiles: the ordinary run is quick, `--hypothesis-profile thorough` is deep."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from threadpoolctl import threadpool_limits

from .pretended_gpu import Gpu, install

# The problems are small, and threads that wait for each other would take a third of the time: NumPy's and PyTorch's in
# one process, and those of the processes that share the tests or are started by them.
torch.set_num_threads(1)
threadpool_limits(1, "blas")
os.environ["OPENBLAS_NUM_THREADS"] = "1"

slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("quick", max_examples=40, deadline=None, suppress_health_check=slow_is_fine)
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=slow_is_fine)
# For mutation testing: few examples, always the same, and what fails is not looked into.
settings.register_profile(
    "mutation",
    max_examples=25,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=slow_is_fine,
)
settings.load_profile("quick")


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gpu]]:
    """Puts a GPU into this process that is none; its arguments say what it does."""
    with ExitStack() as entered:

        def begin(**what: float | str) -> Gpu:
            gpu = Gpu(**what)
            entered.enter_context(install(gpu, monkeypatch.setattr))
            return gpu

        yield begin
