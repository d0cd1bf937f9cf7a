"""A problem run in `scratch` and in PyTorch.

Each run is a mapping from names to everything that is computed: output, h_n, c_n, d_input, d_h_0, d_c_0 and the
gradient of each parameter. Packed output and its gradients are padded with zeros.

Dropout is random, and the two libraries draw different random numbers. So a run also gives the masks that dropout
drew, and takes masks that another run has drawn.
"""

import warnings
from collections.abc import Callable, Mapping
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


class Unexpected(TypeError):
    """A candidate's call gives something of another form. The argument: what was expected, and what came."""


class NotGiven(Unexpected):
    """It does not give a tensor that the upstream gradient arrives at. The arguments: that, and the tensor's name."""


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
    """What a call gave, and its state: None if it gave an array alone. Raises Unexpected if there is more."""
    if not isinstance(result, (tuple, list)) or hasattr(result, "batch_sizes"):  # PackedSequence is a tuple
        return result, None
    if len(result) != 2:
        raise Unexpected(f"expected two things, the output and the state, got {described(result)}")
    first, second = result
    return first, second


def described(value: Any) -> str:
    """What was given, in a few words."""
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}: {', '.join(described(each) for each in value[:4])}"
    shape = getattr(value, "shape", None)
    kind = "an array" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    return "None" if value is None else kind + ("" if shape is None else f" {tuple(shape)}")


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
    if len(parts) != len(configuration.parts):
        form = " and ".join(configuration.parts)
        raise Unexpected(f"expected a state of {form}, each one array for all layers, got {described(state)}")
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
        self.masks = (layout.rows(pack(mask, c), copy=True) for mask in masks)

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
    """Copy values into all parameters of a module, which may have buffers besides. Raises Unexpected if they differ."""
    parameters = dict(module.named_parameters())
    found = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    expected = {name: tuple(value.shape) for name, value in values.items()}
    if found != expected:
        differing = {name for name in expected.keys() | found if expected.get(name) != found.get(name)}
        only = [{name: shape for name, shape in each.items() if name in differing} for each in (expected, found)]
        raise Unexpected(f"expected parameters {only[0] or 'none'}, got {only[1] or 'none'}")
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


def torch_type(problem: Problem) -> torch.dtype:
    """PyTorch's dtype for the problem's numbers."""
    return torch.bfloat16 if problem.rounded else torch_dtype(problem.input.dtype)


def run_torch(
    problem: Problem,
    masks: Masks | None = None,
    make: Callable[..., torch.nn.Module] = make_torch,
    device: str = "cpu",
    handed: Callable[[str, Any], Any] = lambda name, value: value,
    backward: bool = True,
) -> Run:
    """Run the problem in PyTorch, with its autograd, in the dtype of the problem's numbers.

    With masks the layers run one by one with these masks between them. `make` is called with the configuration and the
    constructor's arguments for each module. `handed` is told of each tensor that the module is given, by its name.
    backward: whether gradients are computed. Raises Unexpected for a module that is not as PyTorch's own.
    """
    c, dtype, directions = problem.configuration, torch_type(problem), 1 + problem.configuration.bidirectional

    def tensor(value: Array) -> torch.Tensor:
        return torch.tensor(value, device=device, dtype=dtype)

    def packed(padded: torch.Tensor) -> Any:
        if c.layout != "packed":
            return padded
        return torch.nn.utils.rnn.pack_padded_sequence(padded, torch.tensor(c.lengths), enforce_sorted=False)

    leaves = {name: tensor(v).requires_grad_() for name, v in {"input": problem.input, **problem.initial}.items()}
    value, finals, part = packed(leaves["input"]), [], slice(None)
    for layer in range(c.num_layers if masks else 1):
        arguments = c.arguments() | {"dtype": dtype, "device": device}
        if masks:
            width = directions * (c.proj_size or c.hidden_size) if layer else c.input_size
            arguments |= {"dropout": 0.0, "num_layers": 1, "input_size": width}
            part = slice(layer * directions, (layer + 1) * directions)
        module = make(c, **arguments)
        own = {n.replace(f"_l{layer}", "_l0"): n for n in problem.parameters if not masks or f"_l{layer}" in n}
        load(module, {name: torch.from_numpy(problem.parameters[theirs]) for name, theirs in own.items()})
        module.train(c.training)
        leaves |= {own[name]: parameter for name, parameter in module.named_parameters()}
        for name, leaf in leaves.items():
            handed(name, leaf)
        if masks and layer:
            mask = packed(tensor(masks[layer - 1]))
            value = value._replace(data=value.data * mask.data) if c.layout == "packed" else value * mask
        state = tuple(leaves[f"{name}_0"][part] for name in c.parts) if c.initial_state else None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous")  # only slower
            value, final = pair(module(value, state[0] if state and len(state) == 1 else state))
        finals.append(split(final, c, "{}_n"))
    output = torch.nn.utils.rnn.pad_packed_sequence(value)[0] if c.layout == "packed" and value is not None else value
    computed = {"output": output}
    computed |= {n: finals[0][n] if len(finals) == 1 else torch.cat([each[n] for each in finals]) for n in finals[0]}
    gradients = gradients_of(computed, leaves, {n: tensor(v) for n, v in problem.upstream.items()}) if backward else {}
    return {name: in_numpy(name, each, dtype) for name, each in {**computed, **gradients}.items()}


def in_numpy(name: str, value: Any, dtype: torch.dtype) -> Any:
    """A tensor that was computed as an array; None as it is. Raises Unexpected if it is no tensor."""
    if value is None:
        return None
    if not isinstance(value, torch.Tensor):
        raise Unexpected(f"expected {name} as a tensor, got {described(value)}")
    if dtype == torch.bfloat16 and value.dtype != dtype:  # NumPy could not tell
        raise Unexpected(f"expected {name} of dtype {dtype}, got {value.dtype}")
    value = value.detach().cpu()
    return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()


def gradients_of(
    computed: Mapping[str, Any], leaves: Mapping[str, torch.Tensor], upstream: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The gradient of each leaf. Raises NotImplementedError if nothing that was computed has one."""
    for name in upstream:
        if computed[name] is None:
            raise NotGiven(f"no {name} is returned", name)
    if not upstream:
        return {f"d_{name}": torch.zeros_like(leaf) for name, leaf in leaves.items()}
    loss: Any = sum((computed[name] * value).sum() for name, value in upstream.items())
    if not loss.requires_grad:
        raise NotImplementedError("autograd sees no way from the output back to the input and the parameters")
    found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return dict(zip((f"d_{name}" for name in leaves), found, strict=True))
