"""What an optimizer remembers, carried between `scratch` and PyTorch, both ways, exactly.

The classes, their options, their arrays and the equations have the same names in both libraries. What differs:

- A checkpoint knows parameters by name, PyTorch by their place in the model.
- PyTorch counts updates in float32, which stops at 2²⁴. Its optimizers take float64 as well, so `step` keeps it.
- PyTorch's Adagrad remembers something before the first update, `scratch`'s does not: what was never updated is left
  out on the way back.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from scratch.nn import checks
from scratch.text import Settings
from scratch.types import Array

SETTING = {"lr": "learning_rate", "weight_decay": "weight_decay", "momentum": "momentum"}
"""The options that a training can change, and their names in the settings."""

MANNER = {"params", "param_names", "initial_lr", "foreach", "fused", "capturable", "differentiable"}
"""What a group holds that does not change what is computed."""

States = dict[str, dict[str, Array]]
"""What an optimizer remembers: arrays by the parameter's name and by PyTorch's name for them."""


def in_torch(settings: Settings, model: torch.nn.Module, states: States) -> torch.optim.Optimizer:
    """A new PyTorch optimizer for a model, which remembers the same.

    Its learning rate is the settings': that of the first pass over the text.
    """
    optimizer: torch.optim.Optimizer = getattr(torch.optim, settings.optimizer)(
        model.parameters(), **settings.optimizer_options
    )
    fresh = optimizer.state_dict()
    places = {name: index for index, (name, _) in enumerate(model.named_parameters())}
    for name, values in states.items():
        state = {what: torch.from_numpy(np.array(value)) for what, value in values.items()}
        fresh["state"][places[name]] = state
    optimizer.load_state_dict(fresh)
    return optimizer


def from_torch(names: list[str], states: Mapping[Any, Any]) -> States:
    """What a PyTorch optimizer remembers, as views of its tensors.

    names: of the model's parameters, in their order. states: under 'state' in its `state_dict()`. Raises TypeError,
    IndexError or RuntimeError for what is no such thing.
    """
    found: States = {}
    for index, values in states.items():
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(names):
            raise IndexError(f"expected an optimizer's state for the parameters 0 to {len(names) - 1}, got {index!r}")
        if not isinstance(values, Mapping):
            raise TypeError(f"expected state {index} to be a mapping, got {type(values).__name__}")
        held = {what: value for what, value in values.items() if value is not None}
        kept = {what: as_array(f"{what} of state {index}", value) for what, value in held.items()}
        if "step" in kept and kept["step"].shape == ():
            if kept["step"] == 0:
                continue
            kept["step"] = kept["step"].astype(np.float64)
        if kept:
            found[names[index]] = kept
    return found


def with_momentum(states: States, weights: Mapping[str, Array], momentum: float) -> States:
    """What an optimizer remembers that has a momentum, or none, when this was switched on or off.

    Without a buffer both libraries begin as with one of zeros; but RMSprop in PyTorch has to have it, and so has a
    checkpoint. weights: of the model.
    """
    if not momentum:
        return {
            name: rest
            for name, values in states.items()
            if (rest := {what: value for what, value in values.items() if what != "momentum_buffer"})
        }
    return {name: {"momentum_buffer": np.zeros_like(weights[name])} | states.get(name, {}) for name in weights}


def as_array(name: str, tensor: Any) -> Array:
    """A tensor of real numbers as an array, which shares its memory on the CPU. Raises TypeError or RuntimeError."""
    if isinstance(tensor, (bool, int, float)):
        return np.asarray(tensor)
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
        raise TypeError(f"expected {name} to be a tensor of numbers, each stored, got {type(tensor).__name__}")
    array: Array = tensor.detach().cpu().numpy()
    return array


def settings_with(settings: Settings, groups: Any, parameters: int) -> Settings:
    """The settings with what somebody has changed in `param_groups`: learning rate, weight decay, momentum.

    parameters: how many the model has. Raises TypeError or ValueError for anything else that was changed.
    """
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], Mapping):
        raise ValueError("expected one group of parameters in the optimizer, got others")
    (group,) = groups
    if group.get("params") != list(range(parameters)):
        raise ValueError(f"expected the optimizer to have the model's {parameters} parameters in their order")
    made = getattr(torch.optim, settings.optimizer)([torch.nn.Parameter(torch.zeros(()))], **settings.optimizer_options)
    expected: dict[str, Any] = made.param_groups[0]
    changes: dict[str, Any] = {}
    for name, value in group.items():
        if name in MANNER:
            continue
        value = plain(name, value)
        if name not in expected:
            raise ValueError(f"expected the options of {settings.optimizer}, got {name!r}")
        if name in SETTING:
            changes[SETTING[name]] = checks.number(name, value)
        elif value != plain(name, expected[name]):
            raise ValueError(f"expected {name} {expected[name]}, the only one that a checkpoint can have, got {value}")
    return replace(settings, **changes)


def plain(name: str, option: Any) -> Any:
    """An option as numbers: PyTorch also takes tensors of one, and lists for tuples. Raises TypeError for others."""
    if option is None or isinstance(option, (int, float, str)):
        return option
    if isinstance(option, (list, tuple)) and not any(isinstance(each, (list, tuple)) for each in option):
        return tuple(plain(name, each) for each in option)
    if not isinstance(option, torch.Tensor) or option.numel() != 1 or option.device.type != "cpu":
        raise TypeError(f"expected {name} to be a number, got another {type(option).__name__}")
    return option.item()
