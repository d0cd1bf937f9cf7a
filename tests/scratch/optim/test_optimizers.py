"""Every optimizer beside PyTorch's: equal parameters and equal gradients in, equal parameters and equal state out.

(What is refused: reference/bad_calls.md, and at the end what is not on that page.)
"""

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.bad_calls import TABLE
from reference.equivalence import TOLERANCE, assert_close
from scratch import optim
from scratch.nn import Linear, Parameter
from scratch.types import Array

NAMES = ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"]

# The float64 promise leaves room for some 9000 roundings; float32 gets as many.
TOLERANCES = {"float64": TOLERANCE, "float32": 5e-4}


def zero_or(least: float, most: float) -> st.SearchStrategy[float]:
    return st.just(0.0) | st.floats(least, most)


COMMON = {"lr": st.floats(1e-4, 0.1), "weight_decay": zero_or(1e-3, 0.5), "maximize": st.booleans()}
ADAM = {
    "betas": st.tuples(zero_or(0.1, 0.95), st.floats(0.5, 0.999)),
    "eps": st.floats(0, 0.1),
    "amsgrad": st.booleans(),
}
OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "SGD": {"momentum": zero_or(0.1, 0.95), "dampening": zero_or(-0.5, 0.9), "nesterov": st.booleans()},
    "Adagrad": {"lr_decay": zero_or(0.01, 1), "initial_accumulator_value": zero_or(0.01, 1), "eps": st.floats(0, 0.1)},
    "RMSprop": {
        # A centred square loses the digits that v and m² share; with alpha of at least ½ that is less than three.
        "alpha": st.floats(0.5, 0.99),
        "eps": st.floats(0, 0.1),
        "momentum": zero_or(0.1, 0.95),
        "centered": st.booleans(),
    },
    "Adam": {**ADAM, "decoupled_weight_decay": st.booleans()},
    "AdamW": ADAM,
}


@st.composite
def option_sets(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Options for an optimizer, some of them, and for its one to three groups."""
    some = st.fixed_dictionaries({}, optional={**COMMON, **OPTIONS[name]})
    options, groups = draw(some), draw(st.lists(some, min_size=1, max_size=3))
    for group in groups:
        group.pop("initial_accumulator_value", None)  # PyTorch does not read it from a group
    for each in [options, *groups]:
        whole = {"momentum": 0, "dampening": 0, **options, **each}
        if whole.get("nesterov") and (whole["momentum"] == 0 or whole["dampening"] != 0):
            each["nesterov"] = False
    return options, groups


def as_arrays(tree: Any) -> Any:
    """A state dict of PyTorch with its tensors as arrays."""
    if isinstance(tree, dict):
        return {key: as_arrays(value) for key, value in tree.items()}
    return tree.numpy().copy() if isinstance(tree, torch.Tensor) else tree


def as_tensors(tree: Any) -> Any:
    """A state dict of ours with its arrays as tensors."""
    if isinstance(tree, dict):
        return {key: as_tensors(value) for key, value in tree.items()}
    return torch.from_numpy(tree.copy()) if isinstance(tree, np.ndarray) else tree


class Pair:
    """An optimizer and PyTorch's, on equal parameters in equal groups, which get equal gradients.

    The values of a tensor over all steps are compared as one: one that passes near zero is not measured by itself.
    """

    def __init__(self, name: str, options: tuple[dict[str, Any], list[dict[str, Any]]], dtype: str, seed: int) -> None:
        self.name, (self.options, self.groups), self.dtype = name, options, dtype
        self.rng = np.random.default_rng(seed)
        shapes = [(), (1,), (5,), (2, 3), (3, 1, 2)]
        owners = self.rng.integers(len(self.groups), size=len(shapes))
        self.ours = [Parameter(self.random(shape)) for shape in shapes]
        self.theirs = [torch.nn.Parameter(torch.from_numpy(parameter.data.copy())) for parameter in self.ours]
        self.sets = [[i for i in range(len(shapes)) if owners[i] == group] for group in range(len(self.groups))]
        self.scales = 10.0 ** self.rng.uniform(-2, 2, len(shapes))
        self.optimizers = self.new_optimizers()
        self.past: list[tuple[dict[str, Array], dict[str, Array]]] = [(self.our_arrays(), self.their_arrays())]

    def random(self, shape: tuple[int, ...], scale: float = 1.0) -> Array:
        """A normally distributed array, read-only, and every other time in Fortran's order."""
        array = np.array(self.rng.normal(0, scale, shape), self.dtype, order=self.rng.choice(["C", "F"]))
        array.flags.writeable = False
        return array

    def new_optimizers(self) -> Any:
        """Ours and PyTorch's."""
        return [
            getattr(library, self.name)(
                [
                    {"params": [parameters[i] for i in indices], **group}
                    for indices, group in zip(self.sets, self.groups, strict=True)
                ],
                **self.options,
            )
            for library, parameters in ((optim, self.ours), (torch.optim, self.theirs))
        ]

    def train(self, steps: int) -> None:
        """Steps with random gradients, of which some are None, and a learning rate that falls."""
        for _ in range(steps):
            for ours, theirs, scale in zip(self.ours, self.theirs, self.scales, strict=True):
                ours.grad = theirs.grad = None
                if self.rng.random() < 0.8:
                    ours.grad = self.random(ours.shape, scale)
                    theirs.grad = torch.from_numpy(ours.grad.copy())
            for optimizer in self.optimizers:
                optimizer.step()
                for group in optimizer.param_groups:
                    group["lr"] *= 0.9
            self.past.append((self.our_arrays(), self.their_arrays()))

    def add(self, **options: Any) -> None:
        """One more parameter, in a group of its own."""
        self.ours.append(Parameter(self.random((3,))))
        self.theirs.append(torch.nn.Parameter(torch.from_numpy(self.ours[-1].data.copy())))
        self.scales = np.append(self.scales, 1)
        for optimizer, parameters in zip(self.optimizers, (self.ours, self.theirs), strict=True):
            optimizer.add_param_group({"params": parameters[-1], **options})

    def our_arrays(self) -> dict[str, Array]:
        return named([parameter.data for parameter in self.ours], self.optimizers[0].state_dict())

    def their_arrays(self) -> dict[str, Array]:
        state_dict = as_arrays(self.optimizers[1].state_dict())
        for state in state_dict["state"].values():
            if "step" in state:
                state["step"] = state["step"].astype(np.float64)
        return named([parameter.detach().numpy() for parameter in self.theirs], state_dict)

    def assert_equal(self) -> None:
        ours, theirs = (
            {name: np.stack([arrays[name] for arrays in past if name in arrays]) for name in past[-1]}
            for past in zip(*self.past, strict=True)
        )
        assert_close(ours, theirs, TOLERANCES[self.dtype])


def named(data: list[Array], state_dict: dict[str, Any]) -> dict[str, Array]:
    """A copy of all arrays of a training, by name. Parameters are numbered by their place, states as they are."""
    arrays = {f"parameter {index}": array.copy() for index, array in enumerate(data)}
    for index, state in state_dict["state"].items():
        if state.get("step") == 0:
            continue  # PyTorch's Adagrad has a state before the first update
        arrays |= {f"{name} {index}": array for name, array in state.items()}
    return arrays


def contents(optimizer: optim.Optimizer) -> dict[str, Any]:
    """A copy of everything that an optimizer may change."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    values = [(parameter.data.copy(), parameter.version) for parameter in parameters]
    return {"values": values, **optimizer.state_dict()}


def trained(name: str, **options: Any) -> optim.Optimizer:
    """An optimizer of two parameters, float64 and float32, after one step."""
    optimizer: optim.Optimizer = getattr(optim, name)(
        [Parameter(np.ones((2, 3))), Parameter(np.ones(4, np.float32))], **options
    )
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = np.linspace(1, 2, parameter.data.size, dtype=parameter.data.dtype).reshape(parameter.shape)
    optimizer.step()
    return optimizer


names = st.sampled_from(NAMES)
seeds = st.integers(0, 2**32 - 1)
each_optimizer = pytest.mark.parametrize("name", NAMES)


@each_optimizer
@given(data=st.data(), dtype=st.sampled_from(["float64", "float64", "float32"]), seed=seeds)
def test_steps_match_pytorch(name: str, data: st.DataObject, dtype: str, seed: int) -> None:
    """Also of parameters that are added during the training."""
    pair = Pair(name, data.draw(option_sets(name)), dtype, seed)
    pair.train(data.draw(st.integers(2, 8)))
    if data.draw(st.booleans()):
        pair.add(lr=0.1)
        pair.train(2)
    pair.assert_equal()


@given(data=st.data(), name=names, seed=seeds)
def test_training_goes_on_after_exchanging_states_with_pytorch(data: st.DataObject, name: str, seed: int) -> None:
    pair = Pair(name, data.draw(option_sets(name)), "float64", seed)
    pair.train(data.draw(st.integers(0, 3)))
    ours, theirs = (optimizer.state_dict() for optimizer in pair.optimizers)
    pair.optimizers = pair.new_optimizers()
    pair.optimizers[0].load_state_dict(as_arrays(theirs))
    pair.optimizers[1].load_state_dict(as_tensors(ours))
    pair.train(3)
    pair.assert_equal()


@each_optimizer
def test_state_dict_and_repr_have_the_form_of_pytorchs(name: str) -> None:
    pair = Pair(name, ({"weight_decay": 0.25}, [{"lr": 0.5}, {"initial_lr": 3}]), "float64", seed=1)
    early = as_arrays(pair.optimizers[1].state_dict())["state"]  # PyTorch's Adagrad has one before the first step
    pair.optimizers[0].load_state_dict(pair.optimizers[0].state_dict() | {"state": early})
    pair.train(3)
    ours, theirs = pair.optimizers[0].state_dict(), as_arrays(pair.optimizers[1].state_dict())
    switches = "foreach", "fused", "capturable", "differentiable"
    assert ours["param_groups"] == [
        {option: value for option, value in group.items() if option not in switches} for group in theirs["param_groups"]
    ]
    forms = [{index: set(state) for index, state in each["state"].items()} for each in (ours, theirs)]
    assert forms[0] == forms[1]
    shown = [[line.partition(":")[0] for line in repr(each).split("\n") if line] for each in pair.optimizers]
    assert shown[0] == [line for line in shown[1] if not line.strip().startswith(switches)]
    assert "    lr: 0.5\n" in repr(pair.new_optimizers()[0])


@given(data=st.data(), name=names, seed=seeds)
def test_a_state_dict_is_a_copy_and_loading_it_changes_no_bit(data: st.DataObject, name: str, seed: int) -> None:
    pair = Pair(name, data.draw(option_sets(name)), "float32", seed)
    pair.train(2)
    optimizer, fresh = pair.optimizers[0], pair.new_optimizers()[0]
    optimizer.param_groups[0]["milestones"] = [10]
    saved = optimizer.state_dict()
    kept = copy.deepcopy(saved)
    fresh.load_state_dict(saved)
    np.testing.assert_equal(fresh.state_dict(), kept)
    pair.train(2)
    fresh.step()
    fresh.param_groups[0]["milestones"].append(20)
    np.testing.assert_equal(saved, kept)
    optimizer.state_dict()["param_groups"][0]["milestones"].append(20)
    assert optimizer.param_groups[0]["milestones"] == [10]


def test_a_state_dict_is_made_and_loaded_without_copying_parameters() -> None:
    class Uncopied(Parameter):
        def __deepcopy__(self, memo: object) -> None:
            raise AssertionError

    optimizer = optim.SGD([Uncopied(np.ones(2))])
    optimizer.load_state_dict(optimizer.state_dict())


@each_optimizer
def test_numpy_numbers_as_options_change_no_dtype_and_longdouble_runs_as_float64_does(name: str) -> None:
    values, gradients = np.random.default_rng(2).standard_normal((2, 4, 3))
    results = {}
    for dtype in (np.float32, np.float64, np.longdouble):
        parameter = Parameter(values.astype(dtype))
        optimizer = getattr(optim, name)([parameter], lr=np.float64(0.01), weight_decay=np.float64(0.1))
        parameter.grad = gradients.astype(dtype)
        for width in (np.longdouble, np.float32, dtype, dtype):
            parameter.cast(np.dtype(width))  # as Module.to does between steps
            optimizer.step()
        state = optimizer.state[parameter]
        assert state["step"].dtype == np.float64, "which counts further than float32"
        assert {parameter.dtype, *(array.dtype for key, array in state.items() if key != "step")} == {np.dtype(dtype)}
        results[dtype] = {"data": parameter.data.astype(np.float64)}
    assert_close(results[np.longdouble], results[np.float64])


@each_optimizer
def test_a_step_changes_data_in_place_and_counts_a_version_but_leaves_out_what_is_frozen_or_without_gradient(
    name: str,
) -> None:
    """What is frozen stays so even with a gradient left from before."""
    updated, skipped, frozen = (Parameter(np.ones(3)) for _ in range(3))
    optimizer = getattr(optim, name)([updated, skipped, frozen], lr=0.1)
    data, updated.grad, frozen.grad = updated.data, np.ones(3), np.ones(3)
    frozen.requires_grad = False
    for version in (1, 2):
        optimizer.step()
        assert [each.version for each in (updated, skipped, frozen)] == [version, 0, 0]
    assert updated.data is data and (data != 1).all()
    assert (skipped.data == 1).all() and (frozen.data == 1).all() and frozen not in optimizer.state
    frozen.requires_grad_()
    optimizer.step()
    assert (frozen.data != 1).all()


def test_a_centered_mean_square_stays_a_number() -> None:
    # A constant gradient has no variance. In float32 rounding takes it below zero, and PyTorch's parameters become NaN.
    ours = Parameter(np.ones(100, np.float32))
    theirs = torch.nn.Parameter(torch.ones(100))
    gradient = np.random.default_rng(3).random(100, np.float32)
    runs: list[Any] = [(ours, gradient, optim), (theirs, torch.from_numpy(gradient), torch.optim)]
    for parameter, value, library in runs:
        optimizer = library.RMSprop([parameter], alpha=0.5, centered=True)
        for _ in range(100):
            parameter.grad = value
            optimizer.step()
    assert torch.isnan(theirs).any()
    assert np.isfinite(ours.data).all()


def test_an_option_may_be_switched_on_during_training() -> None:
    for name, switched_on, state in (
        ("SGD", {"momentum": 0.9}, "momentum_buffer"),
        ("RMSprop", {"momentum": 0.9}, "momentum_buffer"),
        ("RMSprop", {"centered": True}, "grad_avg"),
        ("Adam", {"amsgrad": True}, "max_exp_avg_sq"),
    ):
        optimizer = trained(name)
        assert all(state not in each for each in optimizer.state.values())
        optimizer.param_groups[0].update(switched_on)
        optimizer.step()
        assert all(np.isfinite(each[state]).all() for each in optimizer.state.values())


def test_parameters_may_come_from_a_generator_and_with_names() -> None:
    layer = Linear(3, 2)
    assert optim.SGD(layer.parameters()).param_groups[0]["params"] == list(layer.parameters())
    optimizer = optim.SGD(layer.named_parameters())
    optimizer.load_state_dict(optim.SGD(layer.parameters()).state_dict())
    (group,) = optimizer.param_groups
    assert group["params"] == list(layer.parameters())
    assert group["param_names"] == ["weight", "bias"]


def test_a_closure_is_called_first_and_its_loss_returned() -> None:
    parameter = Parameter(np.ones(2))
    optimizer = optim.SGD([parameter], lr=0.5)

    def closure() -> float:
        optimizer.zero_grad()
        parameter.grad = 2 * parameter.data
        return float(np.sum(parameter.data**2))

    assert [optimizer.step(closure), optimizer.step(closure), optimizer.step()] == [2, 0, None]


def test_zero_grad_forgets_gradients() -> None:
    parameter, without = Parameter(np.ones(2)), Parameter(np.ones(2))
    optimizer = optim.SGD([parameter, without])
    parameter.grad = gradient = np.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert np.array_equal(parameter.grad, [0, 0]) and np.array_equal(gradient, [1, 1]) and without.grad is None
    optimizer.zero_grad()
    assert parameter.grad is None


def test_an_optimizer_and_its_parameters_can_be_copied_together() -> None:
    optimizer = trained("Adam")
    twin = copy.deepcopy(optimizer)
    for own, other in zip(*(each.param_groups[0]["params"] for each in (twin, optimizer)), strict=True):
        own.grad = other.grad
    both = [(each.step(), each.state_dict(), each.param_groups[0]["params"][0].data) for each in (optimizer, twin)]
    np.testing.assert_equal(*both)


@each_optimizer
def test_numbers_beyond_the_dtype_are_infinite_without_a_warning(name: str) -> None:
    parameter = Parameter(np.full(3, 3e38, np.float32))
    parameter.grad = np.full(3, 3e38, np.float32)
    getattr(optim, name)([parameter], lr=3e38, weight_decay=10).step()
    assert not np.isfinite(parameter.data).all()


def test_adamw_stays_decoupled_after_loading_the_state_of_adam() -> None:
    optimizer = trained("AdamW")
    optimizer.load_state_dict(trained("Adam").state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


# What is refused, and what is not.

BAD_OPTIONS = [
    (name, options[1], row.error, row.message[0])
    for row in TABLE
    if row.group == "optimizer" and (options := re.fullmatch(r"\w+\(parameters, (.+)\)", row.call))
    for name in row.subject.names
]


@pytest.mark.parametrize(("name", "options", "error", "message"), BAD_OPTIONS)
def test_a_group_is_refused_as_the_constructors_options_are(
    name: str, options: str, error: type[Exception], message: str
) -> None:
    optimizer = trained(name)
    before = contents(optimizer)
    group = eval(f"dict({options})", {"nan": np.nan, "inf": np.inf})
    with pytest.raises(error, match=f"^{re.escape(message)}, got "):
        optimizer.add_param_group({"params": [Parameter(np.ones(2))], **group})
    np.testing.assert_equal(contents(optimizer), before)


@each_optimizer
def test_a_step_that_is_refused_changes_nothing(name: str) -> None:
    """Here of read-only and complex data, of an option spoilt in the second group, and of one that was forgotten."""
    read_only, spoilt, forgetful, imaginary = optimizers = [trained(name) for _ in range(4)]
    read_only.param_groups[0]["params"][1].data.flags.writeable = False
    spoilt.add_param_group({"params": [Parameter(np.ones(2))]})
    spoilt.param_groups[1]["lr"] = None
    del forgetful.param_groups[0]["lr"]
    imaginary.param_groups[0]["params"][1].cast(np.dtype(complex))
    for optimizer, error in zip(optimizers, (ValueError, TypeError, ValueError, TypeError), strict=True):
        before = contents(optimizer)
        with pytest.raises(error, match=r"^expected .*, got "):
            optimizer.step()
        np.testing.assert_equal(contents(optimizer), before)


@each_optimizer
def test_a_state_of_other_parts_or_of_another_optimizer_is_refused(name: str) -> None:
    optimizer, other = trained(name), trained({"RMSprop": "SGD", "SGD": "Adam"}.get(name, "RMSprop"))
    with pytest.raises(ValueError, match=rf"^expected the options of {name}, got a group without "):
        optimizer.load_state_dict(other.state_dict())
    saved = optimizer.state_dict()
    state = saved["state"].get(0, {})
    for spoilt in [{**state, "velocity": np.ones(2)}, *({k: state[k] for k in state if k != part} for part in state)]:
        with pytest.raises(ValueError, match=r"^expected state 0 of .*, got "):
            optimizer.load_state_dict(saved | {"state": {0: spoilt}})


def test_complex_parameters_and_nesterov_with_dampening_are_refused() -> None:
    with pytest.raises(TypeError, match="real floating-point"):
        optim.SGD([Parameter(np.ones(2, np.complex128))])
    with pytest.raises(ValueError, match=r"got momentum 0\.9, dampening 0\.1$"):
        optim.SGD([Parameter(np.ones(3))], momentum=0.9, dampening=0.1, nesterov=True)


def test_an_average_that_never_forgets_is_allowed_as_in_pytorch() -> None:
    optim.RMSprop([Parameter(np.ones(2))], alpha=1)
    torch.optim.RMSprop([torch.nn.Parameter(torch.ones(2))], alpha=1)
