"""What all optimizers share: groups of parameters with their options, the state kept between steps, and the checks.

An optimizer is this base, a table that says how its options are checked, and one method, `update`, which moves one
parameter by the optimizer's equations. A new optimizer is one new file of equations.

In those equations θ is the parameter (`data`), ∇f the gradient that arrives and η the learning rate (`lr`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np

from ..nn import checks
from ..nn.parameter import Parameter
from ..types import Array

Parameters = Iterable[Parameter] | Iterable[tuple[str, Parameter]] | Iterable[dict[str, Any]]
"""What an optimizer is given: parameters, parameters with their names, or groups, dicts whose 'params' hold either."""

Options = Mapping[str, Any]
"""The options of one group by name: floats, bools, pairs of floats."""

Check = Callable[[str, Any], Any]
"""Takes an option's name and value; returns the value in one fixed type, or raises TypeError or ValueError."""


class State(dict[str, Array]):
    """What an optimizer remembers of one parameter, by PyTorch's names.

    A name that is asked for before it was set is an array of zeros, of the shape and dtype of the parameter. The name
    `step`, the number of updates so far, is a float64 array of shape () instead: it counts exactly up to 2⁵³, where
    the float32 that PyTorch uses stops at 2²⁴.
    """

    def __init__(self, parameter: Parameter) -> None:
        super().__init__()
        self._parameter = parameter

    def __missing__(self, name: str) -> Array:
        value: Array = np.zeros(()) if name == "step" else np.zeros_like(self._parameter.data)
        self[name] = value
        return value


class Optimizer:
    """The base of all optimizers.

    `params` are the parameters to optimize, in an order that stays the same from run to run, or groups of them:
    dicts with the parameters under 'params' and, beside them, the options that the group has for itself.
    `defaults` are the options of every group that does not say otherwise; names that are no options are left out, so
    that a constructor whose arguments are its options may give its `locals()`.

    The options of a group may be changed between steps, in `param_groups`, as a schedule for the learning rate does.

    Raises TypeError for anything but a parameter and for an option of the wrong type; ValueError for no parameters, for
    a parameter given twice, and for an option out of range.
    """

    options: ClassVar[dict[str, Check]] = {
        "lr": checks.number,
        "weight_decay": checks.number,
        "maximize": checks.flag,
    }
    """Every option, and how it is checked."""

    required_state: ClassVar[tuple[str, ...]] = ()
    """The names of the arrays that every updated parameter has in its state."""

    optional_state: ClassVar[tuple[str, ...]] = ()
    """The names of the arrays that it has with some options only."""

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        if isinstance(params, Parameter):
            raise TypeError("expected an iterable of parameters or of groups, got one parameter")
        self.defaults = self.checked(defaults)
        self.state: dict[Parameter, State] = {}
        self.param_groups: list[dict[str, Any]] = []
        members = _in_order(params)
        if not members:
            raise ValueError("expected at least one parameter, got an empty list")
        for group in members if isinstance(members[0], dict) else [{"params": members}]:
            self.add_param_group(group)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse an option: `optimizer.lr = 0.1` would change nothing."""
        if name in self.options:
            raise AttributeError(f"expected {name!r} to be set in each of param_groups, got it set on the optimizer")
        super().__setattr__(name, value)

    def update(self, data: Array, grad: Array, state: State, options: Options) -> None:
        """Move one parameter: change `data` and `state` in place, and leave `grad` as it is.

        data, grad: arrays of one shape and dtype. With `maximize` the sign of `grad` has been turned before, so that
        an update always descends. Every optimizer defines this method.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def checked(self, group: Options) -> dict[str, Any]:
        """The options in `group`, each in its one type, numbers as Python floats: these never widen a float32 array.

        Raises TypeError for a wrong type, ValueError for a wrong value or a missing option.
        """
        missing = [name for name in self.options if name not in group]
        if missing:
            raise ValueError(f"expected the options of {type(self).__name__}, got a group without {', '.join(missing)}")
        return {name: check(name, group[name]) for name, check in self.options.items()}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimize further parameters, with options of their own where `param_group` has them beside 'params'.

        Keys that are not options are kept and have no effect. Raises as the constructor does, KeyError if there is no
        'params', and ValueError if only some parameters have names; then nothing has changed.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"expected param_group to be a dict, got {type(param_group).__name__}")
        params = _item("param_group", param_group, "params")
        members = [params] if isinstance(params, Parameter) else _in_order(params)
        names = [member[0] for member in members if isinstance(member, tuple)]
        parameters = [member[-1] if isinstance(member, tuple) else member for member in members]

        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"expected every parameter to be a Parameter, got {type(parameter).__name__}")
            _real(parameter.data)
        together = [*self._parameters(), *parameters]
        if len(set(together)) < len(together):
            raise ValueError("expected every parameter once, got one that is given twice")
        named = {"param_names" in group for group in self.param_groups} | {isinstance(each, tuple) for each in members}
        if len(named) > 1:
            raise ValueError("expected either all parameters with names or all without, got both")

        group = {**self.defaults, **param_group}
        group |= self.checked(group) | {"params": parameters} | ({"param_names": names} if names else {})
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients: set them to None, or to zeros if `set_to_none` is False."""
        for parameter in self._parameters():
            parameter.grad = None if set_to_none or parameter.grad is None else np.zeros_like(parameter.data)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient and is not frozen, and add 1 to its `version`.

        `closure`, if given, is called first, to compute the gradients anew; what it returns, the loss, is returned.

        The state follows a parameter whose dtype has changed (`Module.to`). Everything is checked before the first
        update; after an error no parameter and no state has changed. Raises TypeError for a parameter that has become
        complex; TypeError or RuntimeError for a gradient that does not fit its parameter, ValueError for data that
        cannot be written to, and for an option that was given a bad value since, what the constructor raises for it.
        """
        loss = None if closure is None else closure()
        updates: list[tuple[Parameter, Array, dict[str, Any]]] = []
        for group in self.param_groups:
            options = self.checked(group)
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.requires_grad:
                    data = _real(parameter.data)
                    grad = checks.floats("grad", parameter.grad, data.dtype, data.shape)
                    if not data.flags.writeable:
                        raise ValueError("expected parameters that can be written to, got read-only data")
                    updates.append((parameter, grad, options))

        with np.errstate(all="ignore"):  # as in forward and backward
            for parameter, grad, options in updates:
                state = self.state.setdefault(parameter, State(parameter))
                for name, value in state.items():
                    if name != "step" and value.dtype != parameter.dtype:  # since `to`
                        state[name] = value.astype(parameter.dtype)
                self.update(parameter.data, -grad if options["maximize"] else grad, state, options)
                parameter.changed()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """A copy of the state and the options, in PyTorch's form.

        {'state': {index: {name: array}}, 'param_groups': [{option: value, 'params': [index, ...]}]}, where the index
        of a parameter is its place among all parameters. With the arrays turned into tensors PyTorch loads it.
        """
        parameters = list(self._parameters())
        places = {parameter: index for index, parameter in enumerate(parameters)}
        return {
            "state": {
                index: {name: value.copy() for name, value in self.state[parameter].items()}
                for index, parameter in enumerate(parameters)
                if self.state.get(parameter)
            },
            "param_groups": [
                {**_beside_params(group), "params": [places[parameter] for parameter in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy the state and the options from `state_dict`: one of this class, or PyTorch's with tensors as arrays.

        The groups must have as many parameters as here, which are matched by their places. State is cast to the dtype
        of its parameter, `step` excepted. Everything is checked first; after an error nothing has changed.

        Raises TypeError for anything but mappings of numbers, KeyError if 'state', 'param_groups' or 'params' is
        missing, and ValueError for groups, options, names or shapes that do not fit.
        """
        saved_groups = _item("state_dict", state_dict, "param_groups")
        if len(saved_groups) != len(self.param_groups):
            raise ValueError(f"expected {len(self.param_groups)} parameter groups, got {len(saved_groups)}")
        groups: list[dict[str, Any]] = []
        owners: dict[Any, Parameter] = {}
        for own, saved in zip(self.param_groups, saved_groups, strict=True):
            indices = _item("each parameter group", saved, "params")
            if len(indices) != len(own["params"]):
                raise ValueError(f"expected a group of {len(own['params'])} parameters, got {len(indices)}")
            owners |= zip(indices, own["params"], strict=True)
            names = {"param_names": own["param_names"]} if "param_names" in own else {}
            groups.append({**names, **_beside_params(saved), **self.checked(saved), "params": own["params"]})
        if len(owners) != len(list(self._parameters())):
            raise ValueError("expected every index once in 'params', got one that is there twice")

        states: dict[Parameter, State] = {}
        for index, saved in _mapping("state", _item("state_dict", state_dict, "state")).items():
            if index not in owners:
                raise ValueError(f"expected state for the indices in 'params', got {index!r}")
            states[owners[index]] = self._loaded_state(index, owners[index], saved)
        self.param_groups, self.state = groups, states

    def _loaded_state(self, index: Any, parameter: Parameter, saved: Any) -> State:
        """A new state with the values of `saved`, checked."""
        names, required, optional = set(_mapping(f"state {index}", saved)), self.required_state, self.optional_state
        if not {*required} <= names <= {*required, *optional}:
            raise ValueError(f"expected state {index} of {required}, and perhaps {optional}, got {tuple(saved)}")
        state = State(parameter)
        for name, value in saved.items():
            value, target = np.asarray(value), state[name]
            if value.dtype.kind not in "iuf":
                raise TypeError(f"expected {name} of state {index} to be real numbers, got dtype {value.dtype}")
            if value.shape != target.shape:
                raise ValueError(f"expected {name} of state {index} of shape {target.shape}, got {value.shape}")
            if name == "step" and not (value >= 0 and float(value).is_integer()):
                raise ValueError(f"expected step of state {index} to be a whole number of at least 0, got {value}")
            target[...] = value
        return state

    def _parameters(self) -> Iterator[Parameter]:
        """All parameters, group by group."""
        for group in self.param_groups:
            yield from group["params"]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group.keys() - {"params"})]
        return "\n".join([*lines, ")"])


def _real(data: Array) -> Array:
    """The data of a parameter. Raises TypeError for complex numbers."""
    if data.dtype.kind != "f":
        raise TypeError(f"expected parameters of a real floating-point dtype, got {data.dtype}")
    return data


def _in_order(params: Any) -> list[Any]:
    """The members of any iterable that has an order. Raises TypeError for a set: its order changes between runs."""
    if isinstance(params, (set, frozenset)):
        raise TypeError("expected parameters in an order that stays, as in a list, got a set")
    return checks.members("params", params)


def _mapping(name: str, value: Any) -> Mapping[Any, Any]:
    """A mapping. Raises TypeError for anything else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"expected {name} to be a mapping, got {type(value).__name__}")
    return value


def _item(name: str, value: Any, key: str) -> Any:
    """What stands under a key of a mapping that must have it. Raises TypeError or KeyError."""
    mapping = _mapping(name, value)
    if key not in mapping:
        raise KeyError(f"expected {name} with the key {key!r}, got {', '.join(map(repr, mapping)) or 'no key'}")
    return mapping[key]


def _beside_params(group: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of what a group holds beside its parameters."""
    return deepcopy({name: value for name, value in group.items() if name != "params"})
