"""Weights carried between `scratch` and PyTorch, both ways, exactly.

Names, shapes and order are the same in both libraries, so carrying is copying: no transposition, no reordering. The
dtypes must be the same too; a conversion would round.
"""

from collections.abc import Mapping

import numpy as np
import torch

from scratch import nn
from scratch.nn import checks
from scratch.types import Array


def to_torch(source: nn.Module, target: torch.nn.Module) -> None:
    """Copy every parameter of a `scratch` module into the PyTorch module of the same form.

    Raises RuntimeError if names, shapes or dtypes differ; nothing is copied then.
    """
    state = source.state_dict()
    _check(state, _arrays(target))
    target.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})


def from_torch(source: torch.nn.Module, target: nn.Module) -> None:
    """Copy every parameter of a PyTorch module into the `scratch` module of the same form.

    Raises RuntimeError if names, shapes or dtypes differ; nothing is copied then.
    """
    state = _arrays(source)
    _check(state, target.state_dict())
    target.load_state_dict(state)


def _arrays(module: torch.nn.Module) -> dict[str, Array]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}


def _check(source: Mapping[str, Array], target: Mapping[str, Array]) -> None:
    if source.keys() != target.keys():
        raise RuntimeError(f"expected parameters {list(target)}, got {list(source)}")
    for name, value in source.items():
        checks.floats(name, value, target[name].dtype, target[name].shape)


def torch_dtype(dtype: np.dtype) -> torch.dtype:
    """The PyTorch dtype of a NumPy dtype. Raises TypeError if there is none, as for longdouble."""
    return torch.from_numpy(np.empty(0, dtype)).dtype
