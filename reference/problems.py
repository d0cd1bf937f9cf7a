"""One recurrence with all its options, drawn at random from a seed, and run in both libraries.

A `Configuration` says which options; a `Problem` adds the numbers: parameters, input, initial state and the upstream
gradients of output and final state, all of them random. `run_scratch` and `run_torch` turn a problem into a mapping
from names to everything that is computed: output, h_n, c_n, d_input, d_h_0, d_c_0 and the gradient of each parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from scratch import nn
from scratch.nn.bptt import Cell, State
from scratch.nn.utils import rnn as packing
from scratch.types import Array

from .weights import torch_dtype

CELLS: dict[str, dict[str, Any]] = {
    "RNN tanh": {"module": "RNN", "nonlinearity": "tanh"},
    "RNN relu": {"module": "RNN", "nonlinearity": "relu"},
    "LSTM": {"module": "LSTM"},
}
"""The recurrences, by the name of their class and what tells them apart besides."""


@cache
def state_of(module: str) -> tuple[str, ...]:
    """The names of the parts of a recurrence's state."""
    return tuple(getattr(nn, module)(1, 1).cell.state)


@dataclass(frozen=True)
class Configuration:
    """Every option of a recurrence. Shows as the arguments that differ from the defaults."""

    cell: str
    input_size: int = 3
    hidden_size: int = 4
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    lengths: tuple[int, ...] = (5, 5)
    """The length of each sequence; all the same unless packed. An empty tuple is an empty batch, of 3 steps."""
    layout: str = "batched"
    """'batched', 'unbatched' or 'packed'."""
    initial_state: bool = True
    upstream: tuple[str, ...] = ("output", "h_n", "c_n")
    """Which upstream gradients are given; the others are left out."""
    weight_scale: float = 1.0
    """1: weights as PyTorch draws them, uniform in ±1/√hidden_size. More: gates saturate."""
    bias_shift: float = 0.0
    """Added to every input bias. Far below 0: gates close."""
    seed: int = 0

    @property
    def module(self) -> str:
        """'RNN' or 'LSTM', the name of the class in both libraries."""
        return str(CELLS[self.cell]["module"])

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the state: h, and c for an LSTM."""
        return state_of(self.module)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, the same for both libraries."""
        names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
        chosen = {name: getattr(self, name) for name in names}
        if self.proj_size:
            chosen["proj_size"] = self.proj_size
        return chosen | {name: value for name, value in CELLS[self.cell].items() if name != "module"}

    def __str__(self) -> str:
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)[1:] if getattr(self, f.name) != f.default]
        return f"{self.cell}({', '.join(shown)})"


@dataclass(frozen=True)
class Problem:
    """A configuration and its numbers: arrays in the form in which the caller of a recurrence gives them."""

    configuration: Configuration
    parameters: dict[str, Array]
    input: Array
    """Packed problems hold the padded input, (T, B, I), here."""
    initial: dict[str, Array]
    upstream: dict[str, Array]
    """Packed problems hold the padded gradient of the output here."""

    def map(self, function: Callable[[Array], Array]) -> Problem:
        """The same problem with `function` applied to each of its arrays."""
        groups = {
            group: {name: function(value) for name, value in getattr(self, group).items()}
            for group in ("parameters", "initial", "upstream")
        }
        return replace(self, input=function(self.input), **groups)

    def astype(self, dtype: Any) -> Problem:
        """The same numbers, rounded to `dtype`."""
        return self.map(lambda value: value.astype(dtype))


def draw(configuration: Configuration) -> Problem:
    """The problem that the configuration's seed stands for, in float64."""
    c = configuration
    rng = np.random.default_rng(c.seed)
    module = getattr(nn, c.module)(**c.arguments(), dtype=np.float64, rng=rng)
    directions, steps, batch = 1 + c.bidirectional, max(c.lengths, default=3), len(c.lengths)
    features = {"h": c.proj_size or c.hidden_size, "c": c.hidden_size}

    def sequence(width: int) -> Array:
        if c.layout == "unbatched":
            return rng.standard_normal((steps, width))
        swapped = c.batch_first and c.layout == "batched"
        return rng.standard_normal((batch, steps, width) if swapped else (steps, batch, width))

    def state(part: str) -> Array:
        layers = c.num_layers * directions
        return rng.standard_normal(
            (layers, features[part]) if c.layout == "unbatched" else (layers, batch, features[part])
        )

    upstream = {"output": sequence(directions * features["h"])} | {f"{part}_n": state(part) for part in c.parts}
    return Problem(
        configuration=c,
        parameters={
            name: c.weight_scale * value + (c.bias_shift if name.startswith("bias_ih") else 0)
            for name, value in module.state_dict().items()
        },
        input=sequence(c.input_size),
        initial={f"{part}_0": state(part) for part in c.parts} if c.initial_state else {},
        upstream={name: value for name, value in upstream.items() if name in c.upstream},
    )


def run_scratch(
    problem: Problem, disturb: Callable[[Array], Array] | None = None, module: Any = None
) -> tuple[dict[str, Array], list[Array]]:
    """Run the problem in `scratch`, in the dtype of its numbers. Returns the run and the masks that dropout drew.

    `disturb`, if given, is applied to every state on the way. `module`, if given, runs instead of a new one.
    """
    c = problem.configuration
    module = module or getattr(nn, c.module)(**c.arguments(), dtype=problem.input.dtype, rng=c.seed)
    module.load_state_dict(problem.parameters)
    module.zero_grad()
    if disturb is not None:
        module.cell = disturbed(module.cell, disturb)
    names = module.cell.state

    def packed(padded: Array) -> Any:
        return packing.pack_padded_sequence(padded, c.lengths, enforce_sorted=False) if c.layout == "packed" else padded

    def state(values: Mapping[str, Array], suffix: str) -> Any:
        found = [values.get(part + suffix) for part in names]
        return found[0] if len(found) == 1 else tuple(found)

    output, final = module(packed(problem.input), state(problem.initial, "_0") if c.initial_state else None)
    d_output = problem.upstream.get("output")
    d_input, d_initial = module.backward(
        None if d_output is None else packed(d_output), state(problem.upstream, "_n") if problem.upstream else None
    )
    final, d_initial = (value if isinstance(value, tuple) else (value,) for value in (final, d_initial))
    if c.layout == "packed":
        output, d_input = (packing.pad_packed_sequence(value)[0] for value in (output, d_input))
    run = {"output": output, "d_input": d_input}
    run |= {f"{part}_n": value for part, value in zip(names, final, strict=True)}
    run |= {f"d_{part}_0": value for part, value in zip(names, d_initial, strict=True) if c.initial_state}
    run |= {f"d_{name}": parameter.grad for name, parameter in module.named_parameters()}
    masks = module.dropout_masks
    return run, [packing.pad_packed_sequence(mask)[0] for mask in masks] if c.layout == "packed" else masks


def disturbed(cell: Cell, disturb: Callable[[Array], Array]) -> Cell:
    """The cell with `disturb` applied to what each step puts out and keeps."""

    def step(a: Array, state_prev: State, state: State, kept: State) -> None:
        cell.step(a, state_prev, state, kept)
        for value in (a, *state, *kept):
            value[...] = disturb(value)

    return cell._replace(step=step)


def run_torch(problem: Problem, masks: list[Array] | None = None) -> dict[str, Array]:
    """Run the problem in PyTorch, with its autograd, in the dtype of the problem's numbers.

    With `masks` (from `run_scratch`) the layers run one by one with these masks between them, since the two libraries
    draw dropout from different random numbers.
    """
    c = problem.configuration
    leaves = {
        name: torch.tensor(v, requires_grad=True) for name, v in {"input": problem.input, **problem.initial}.items()
    }
    directions = 1 + c.bidirectional
    width = directions * (c.proj_size or c.hidden_size)

    def layers() -> Iterator[tuple[torch.nn.Module, slice]]:
        """PyTorch modules that together have all layers, and which of the states are theirs."""
        arguments = c.arguments() | {"dropout": 0.0, "dtype": torch_dtype(problem.input.dtype)}
        if not masks:
            yield getattr(torch.nn, c.module)(**arguments), slice(None)
            return
        for layer in range(c.num_layers):
            sizes = {"input_size": width if layer else c.input_size, "num_layers": 1}
            yield getattr(torch.nn, c.module)(**arguments | sizes), slice(layer * directions, (layer + 1) * directions)

    def packed(padded: torch.Tensor) -> Any:
        lengths = torch.tensor(c.lengths)
        return torch.nn.utils.rnn.pack_padded_sequence(padded, lengths, enforce_sorted=False)

    value: Any = packed(leaves["input"]) if c.layout == "packed" else leaves["input"]
    finals = []
    for layer, (module, part) in enumerate(layers()):
        own = {name: name.replace("_l0", f"_l{layer}") if masks else name for name, _ in module.named_parameters()}
        module.load_state_dict({name: torch.from_numpy(problem.parameters[own[name]]) for name in own})
        leaves |= {own[name]: parameter for name, parameter in module.named_parameters()}
        if masks and layer > 0:
            mask = torch.from_numpy(masks[layer - 1])
            value = value._replace(data=value.data * packed(mask).data) if c.layout == "packed" else value * mask
        state = tuple(leaves[f"{name}_0"][part] for name in c.parts) if c.initial_state else None
        value, final = module(value, state[0] if state and len(state) == 1 else state)
        finals.append(final if isinstance(final, tuple) else (final,))
    output = torch.nn.utils.rnn.pad_packed_sequence(value)[0] if c.layout == "packed" else value
    computed = {"output": output}
    computed |= {f"{name}_n": torch.cat(parts) for name, parts in zip(c.parts, zip(*finals, strict=True), strict=True)}
    loss = sum((computed[name] * torch.from_numpy(upstream)).sum() for name, upstream in problem.upstream.items())
    gradients = (
        torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        if problem.upstream
        else [torch.zeros_like(leaf) for leaf in leaves.values()]
    )
    run = {name: value.detach().numpy() for name, value in computed.items()}
    return run | {f"d_{name}": gradient.numpy() for name, gradient in zip(leaves, gradients, strict=True)}
