"""What an optimizer shows and loads, at its edges."""

from typing import Any

import numpy as np
import pytest
import torch

from scratch import optim
from scratch.nn import Parameter


def test_repr_shows_what_pytorchs_shows() -> None:
    def shown(library: Any, parameter: Any, array: Any) -> list[str]:
        groups = [{"params": [parameter(array)]}, {"params": [parameter(array)], "lr": 0.5}]
        lines = repr(library.SGD(groups, lr=0.25, momentum=0.9, dampening=0.1, weight_decay=0.1)).split("\n")
        return [line for line in lines if line and not line.strip().startswith(("foreach", "fused", "differentiable"))]

    assert shown(optim, Parameter, np.ones(2)) == shown(torch.optim, torch.nn.Parameter, torch.ones(2))


def test_a_state_before_the_first_step_is_loaded() -> None:
    """PyTorch's Adagrad has one."""
    ours, theirs = Parameter(np.ones(2)), torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer, other = optim.Adagrad([ours]), torch.optim.Adagrad([theirs], initial_accumulator_value=0.5)
    state = {name: value.numpy() for name, value in other.state_dict()["state"][0].items()}
    assert state["step"] == 0
    optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: state}})
    ours.grad, theirs.grad = np.array([1.0, 2.0]), torch.tensor([1.0, 2.0], dtype=torch.float64)
    optimizer.step()
    other.step()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-15)


def test_every_step_counts_as_a_version() -> None:
    parameter = Parameter(np.ones(2))
    optimizer = optim.SGD([parameter])
    for version in (1, 2, 3):
        parameter.grad = np.ones(2)
        optimizer.step()
        assert parameter.version == version


def test_a_state_dict_is_made_and_loaded_without_copying_parameters() -> None:
    class Uncopied(Parameter):
        def __deepcopy__(self, memo: object) -> None:
            raise AssertionError

    optimizer = optim.SGD([Uncopied(np.ones(2))])
    optimizer.load_state_dict(optimizer.state_dict())


def test_an_average_that_never_forgets_is_allowed_as_in_pytorch() -> None:
    optim.RMSprop([Parameter(np.ones(2))], alpha=1)
    torch.optim.RMSprop([torch.nn.Parameter(torch.ones(2))], alpha=1)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_a_state_with_a_part_too_few_or_too_many_is_refused(name: str) -> None:
    parameter = Parameter(np.ones(2))
    optimizer = getattr(optim, name)([parameter])
    parameter.grad = np.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    state = dict(optimizer.state[parameter])
    for spoilt in [{**state, "velocity": np.ones(2)}, *({k: state[k] for k in state if k != part} for part in state)]:
        with pytest.raises(ValueError, match=r"^expected state 0 of .*, got "):
            optimizer.load_state_dict(saved | {"state": {0: spoilt}})
