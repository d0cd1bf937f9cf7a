"""A problem run in `scratch` and in PyTorch.

Each run is a mapping from names to everything that is computed: output, h_n, c_n, d_input, d_h_0, d_c_0 and the
gradient of each parameter. Packed output and its gradients are padded with zeros.

Dropout is random, and the two libraries draw different random numbers. So a run also gives the masks that dropout
drew, and takes masks that another run has drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from scratch import nn, no_grad
from scratch.nn.cell import Cell, State
from scratch.nn.layout import Layout
from scratch.nn.utils import rnn as packing
from scratch.types import Array

from .problems import Configuration, Problem
from .weights import torch_dtype

Run = dict[str, Any]
"""What a run computed: arrays by name."""

Masks = list[Array]
"""What dropout multiplied the output of each layer but the last with, laid out like the output; empty if nothing."""


def run_scratch(problem: Problem, masks: Masks | None = None) -> tuple[Run, Masks]:
    """Run the problem in `scratch`, in the dtype of its numbers, with these masks or with those that it draws."""
    return run_module(make_scratch(problem, masks), problem)


def make_scratch(problem: Problem, masks: Masks | None = None) -> Any:
    """The module of `scratch` that the problem is for, which will draw these masks, if they are given."""
    c = problem.configuration
    module = getattr(nn, c.module)(**c.arguments(), dtype=problem.input.dtype, rng=c.seed)
    module.load_state_dict(problem.parameters)
    module.train(c.training)
    if masks:
        module.rng = Replay(problem, masks)
    return module


def run_module(module: Any, problem: Problem) -> tuple[Run, Masks]:
    """Run the problem in a module with `scratch.nn`'s interface, which has the parameters already, and no gradients."""
    c = problem.configuration
    state, (d_output, d_state) = initial_state(problem), upstream(problem)
    output, final = pair(module(pack(problem.input, c), *([] if state is None else [state])))
    d_input, d_initial = pair(module.backward(d_output, *([] if d_state is None else [d_state])))
    run = {"output": unpack(output)} | split(final, c, "{}_n") | {"d_input": unpack(d_input)}
    if c.initial_state:
        run |= split(d_initial, c, "d_{}_0")
    run |= {f"d_{name}": getattr(parameter, "grad", None) for name, parameter in module.named_parameters()}
    return run, [unpack(mask) for mask in getattr(module, "dropout_masks", [])]


def pair(result: Any) -> tuple[Any, Any]:
    """What a call gave, and its state: None if it gave an array alone."""
    if isinstance(result, (tuple, list)) and not isinstance(result, packing.PackedSequence):
        first, second = result
        return first, second
    return result, None


def forward_scratch(problem: Problem, masks: Masks | None = None) -> Run:
    """The forward pass alone: output, h_n, c_n."""
    c = problem.configuration
    with no_grad():
        output, final = make_scratch(problem, masks)(pack(problem.input, c), initial_state(problem))
    return {"output": unpack(output)} | split(final, c, "{}_n")


def pack(padded: Array, configuration: Configuration) -> Any:
    """A sequence as the module takes it."""
    if configuration.layout != "packed":
        return padded
    return packing.pack_padded_sequence(padded, configuration.lengths, enforce_sorted=False)


def unpack(sequence: Any) -> Any:
    """The inverse of `pack`."""
    return packing.pad_packed_sequence(sequence)[0] if isinstance(sequence, packing.PackedSequence) else sequence


def join(parts: Mapping[str, Array], configuration: Configuration, pattern: str) -> Any:
    """The state as the module takes it: one array, or a tuple with None for a part that is not there."""
    found = tuple(parts.get(pattern.format(part)) for part in configuration.parts)
    return found if len(found) > 1 else found[0]


def split(state: Any, configuration: Configuration, pattern: str) -> Run:
    """The inverse of `join`."""
    if state is None:
        return dict.fromkeys((pattern.format(part) for part in configuration.parts), None)
    parts = state if isinstance(state, (tuple, list)) else (state,)
    return {pattern.format(part): value for part, value in zip(configuration.parts, parts, strict=True)}


def initial_state(problem: Problem) -> Any:
    """The initial state as the module takes it."""
    c = problem.configuration
    return join(problem.initial, c, "{}_0") if c.initial_state else None


def upstream(problem: Problem) -> tuple[Any, Any]:
    """The gradients of output and final state as `backward` takes them."""
    c, given = problem.configuration, problem.upstream
    d_output = pack(given["output"], c) if "output" in given else None
    return d_output, join(given, c, "{}_n") if given.keys() - {"output"} else None


class Replay(np.random.Generator):
    """A generator of random numbers that makes `scratch`'s dropout draw these masks, whatever its probability."""

    def __init__(self, problem: Problem, masks: Masks) -> None:
        super().__init__(np.random.PCG64())
        c = problem.configuration
        layout = Layout.of(pack(problem.input, c), c.batch_first)
        self.masks = (layout.rows(pack(mask, c)) for mask in masks)

    def random(self, *_: Any, **__: Any) -> Array:
        """1, which is kept, where the mask keeps, and 0, which is dropped, where it drops."""
        return (next(self.masks) != 0).astype(float)


def disturbed(cell: Cell, disturb: Callable[[Array], Array]) -> Cell:
    """The cell with `disturb` applied to what each step puts out and keeps."""

    def step(a: Array, state_prev: State, state: State, kept: State) -> None:
        cell.step(a, state_prev, state, kept)
        for value in (a, *state, *kept):
            value[...] = disturb(value)

    return cell._replace(step=step)


def load(module: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Copy values into all parameters of a module, which may have buffers besides. Raises TypeError if they differ."""
    parameters = dict(module.named_parameters())
    found = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    expected = {name: tuple(value.shape) for name, value in values.items()}
    if found != expected:
        raise TypeError(f"expected parameters {expected}, got {found}")
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)


def is_in_torch(module: str) -> bool:
    """Whether PyTorch has a recurrence of this name. What it lacks is for the other witnesses alone to judge."""
    return hasattr(torch.nn, module)


def make_torch(configuration: Configuration, **arguments: Any) -> torch.nn.Module:
    """PyTorch's own module for the configuration's cell."""
    module: torch.nn.Module = getattr(torch.nn, configuration.module)(**arguments)
    return module


def run_torch(
    problem: Problem,
    masks: Masks | None = None,
    make: Callable[..., torch.nn.Module] = make_torch,
    device: str = "cpu",
) -> Run:
    """Run the problem in PyTorch, with its autograd, in the dtype of the problem's numbers.

    With masks the layers run one by one with these masks between them. `make` is called with the configuration and the
    constructor's arguments for each module.
    """
    c = problem.configuration

    def tensor(value: Array) -> torch.Tensor:
        return torch.tensor(value, device=device)

    leaves = {name: tensor(v).requires_grad_() for name, v in {"input": problem.input, **problem.initial}.items()}
    directions = 1 + c.bidirectional
    width = directions * (c.proj_size or c.hidden_size)

    def layers() -> Iterator[tuple[torch.nn.Module, slice]]:
        """PyTorch modules that together have all layers, and which of the states are theirs."""
        arguments = c.arguments() | {"dtype": torch_dtype(problem.input.dtype), "device": device}
        if not masks:
            yield make(c, **arguments), slice(None)
            return
        arguments["dropout"] = 0.0
        for layer in range(c.num_layers):
            sizes = {"input_size": width if layer else c.input_size, "num_layers": 1}
            yield make(c, **arguments | sizes), slice(layer * directions, (layer + 1) * directions)

    def packed(padded: torch.Tensor) -> Any:
        lengths = torch.tensor(c.lengths)
        return torch.nn.utils.rnn.pack_padded_sequence(padded, lengths, enforce_sorted=False)

    value: Any = packed(leaves["input"]) if c.layout == "packed" else leaves["input"]
    finals = []
    for layer, (module, part) in enumerate(layers()):
        own = {name.replace(f"_l{layer}", "_l0") if masks else name: name for name in problem.parameters}
        own = {name: theirs for name, theirs in own.items() if not masks or f"_l{layer}" in theirs}
        load(module, {name: torch.from_numpy(problem.parameters[theirs]) for name, theirs in own.items()})
        module.train(c.training)
        leaves |= {own[name]: parameter for name, parameter in module.named_parameters()}
        if masks and layer > 0:
            mask = tensor(masks[layer - 1])
            value = value._replace(data=value.data * packed(mask).data) if c.layout == "packed" else value * mask
        state = tuple(leaves[f"{name}_0"][part] for name in c.parts) if c.initial_state else None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            value, final = module(value, state[0] if state and len(state) == 1 else state)
        finals.append(tuple(final) if isinstance(final, (tuple, list)) else (final,))
    output = torch.nn.utils.rnn.pad_packed_sequence(value)[0] if c.layout == "packed" else value
    computed = {"output": output}
    computed |= {f"{name}_n": torch.cat(parts) for name, parts in zip(c.parts, zip(*finals, strict=True), strict=True)}
    loss = sum((computed[name] * tensor(value)).sum() for name, value in problem.upstream.items())
    gradients = (
        torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        if problem.upstream
        else [torch.zeros_like(leaf) for leaf in leaves.values()]
    )
    run = {name: value.detach().cpu().numpy() for name, value in computed.items()}
    return run | {f"d_{name}": gradient.cpu().numpy() for name, gradient in zip(leaves, gradients, strict=True)}
