"""What a module is given and what it gives, forward and backward, to compare it with what another one gives."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from reference.problems import Problem
from reference.runs import Run
from scratch.nn.recurrent import Recurrent
from scratch.types import Array


def mapped(function: Callable[[Array], Any], value: Any) -> Any:
    """The value with the function applied to each array of floats in it, and to each number."""
    if hasattr(value, "batch_sizes"):
        return copy.deepcopy(value)._replace(data=function(value.data))
    if isinstance(value, tuple):
        return tuple(mapped(function, part) for part in value)
    return function(value) if value is not None and np.asarray(value).dtype.kind in "fc" else value


def arrays(value: Any) -> list[Array]:
    """All arrays in what a module gave or takes."""
    if isinstance(value, (tuple, list)):
        return [array for part in value for array in arrays(part)]
    return [] if value is None else [np.asarray(value)]


def floats(value: Any) -> list[Array]:
    return [array for array in arrays(value) if array.dtype.kind in "fc"]


def upstream(module: Any, output: Any, rng: np.random.Generator) -> tuple[Any, ...]:
    """Random arguments of `backward` for what `forward` gave, of its dtype."""

    def like(value: Any) -> Any:
        drawn = np.asarray(rng.standard_normal(np.shape(value))).astype(value.dtype)
        return drawn if isinstance(value, np.ndarray) else drawn[()]

    d_output = mapped(like, output)
    return d_output if isinstance(module, Recurrent) else (d_output,)


def gradients(module: Any) -> list[Array | None]:
    return [parameter.grad for parameter in module.parameters()]


def undone(module: Any, d_output: tuple[Any, ...], **options: bool) -> list[Array]:
    """What one backward pass gives: the gradients of the arguments, and of each parameter."""
    module.zero_grad()
    d_input = module.backward(*d_output, **options)
    return arrays(d_input) + arrays(gradients(module))


def twin(case: Any, module: Any) -> Any:
    """A new module that has never been used, but will do what this one does next."""
    fresh = case.make().train(module.training)
    fresh.load_state_dict(module.state_dict())
    if hasattr(module, "rng"):
        fresh.rng.bit_generator.state = module.rng.bit_generator.state
    return fresh


def assert_same(found: list[Any], expected: list[Any], tolerance: float = 1e-12) -> None:
    """Shapes, dtypes and values. But for rounding, relative to the largest entry, or to 1: sums of numbers near 1."""
    found, expected = arrays(found), arrays(expected)
    assert [(each.shape, each.dtype) for each in found] == [(each.shape, each.dtype) for each in expected]
    for one, other in zip(found, expected, strict=True):
        size = max(1, np.abs(other[np.isfinite(other)]).max(initial=0))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * size)


def by_pytorch(theirs: Any, arguments: Any, d_output: Any) -> list[Array]:
    """The output, and the gradients of each argument that is an array of floats and of each parameter."""
    leaves: list[Any] = []

    def leaf(value: Array) -> Any:
        leaves.append(torch.tensor(value, requires_grad=True))
        return leaves[-1]

    def tensor(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(tensor, value))
        return leaf(value) if value.dtype.kind == "f" else torch.tensor(value.astype(np.int64))

    output = theirs(*map(tensor, arguments))
    outputs = output if isinstance(output, tuple) else (output,)
    loss = sum((one * torch.tensor(d)).sum() for one, d in zip(outputs, arrays(d_output), strict=True))
    leaves += theirs.parameters()
    found = torch.autograd.grad(loss, leaves) if leaves else []
    return [each.detach().numpy() for each in (*outputs, *found)]


def off_complex_steps(
    leaves: Mapping[Any, Array], gradients: Mapping[Any, Array], loss: Callable[[Any], Any], dtype: Any = np.complex128
) -> dict[Any, float]:
    """How far each gradient is from the derivative along a random direction, of what it may be at most.

    That derivative comes from the forward pass alone, by a step so small that only rounding is left as an error. `loss`
    computes it from the arrays that it is given a function for.
    """
    step, rng, errors = 1e-100, np.random.default_rng(0), {}
    for name, leaf in leaves.items():
        direction, gradient = rng.standard_normal(leaf.shape), gradients[name]

        def shifted(value: Array, leaf: Array = leaf, direction: Array = direction) -> Array:
            return value + 1j * step * direction if value is leaf else value.astype(dtype)

        error = abs(np.imag(loss(shifted)) / step - (gradient * direction).sum())
        size = np.linalg.norm(gradient) * np.linalg.norm(direction)
        errors[name] = float(error / size) if size else float("inf") if error else 0.0
    return errors


def complex_step_errors(problem: Problem, run: Callable[[Problem], Run]) -> dict[str, float]:
    """The same of a problem of `reference`."""

    def loss(shifted: Callable[[Array], Array]) -> Any:
        moved = run(problem.map(shifted))
        return sum((moved[name] * d).sum() for name, d in problem.upstream.items())

    return off_complex_steps({f"d_{name}": leaf for name, leaf in problem.leaves.items()}, run(problem), loss)
