"""The weights of a recurrence, layer by layer, with the gates in another format's order.

The rows of a weight matrix are one block of H for each gate. `cell.gates` names them in PyTorch's order; the table of a
format gives its own order for each class, in the same letters: {nn.RNN: "h", nn.LSTM: "iofg"}.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scratch.nn import checks
from scratch.nn.cell import Weights
from scratch.nn.recurrent import Recurrent
from scratch.types import Array

Orders = Mapping[type[Recurrent[Any]], str | None]
"""A format's order of the gates, for each recurrence; None for one that it does not have."""

Layers = list[list[Weights]]
"""For each layer, for each direction, the parameters."""

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""The parameters of one layer in one direction, in the order of `Weights`; no format has the projection."""


def read(source: Recurrent[Any], orders: Orders) -> Layers:
    """Copies of the parameters, in the format's order.

    Raises TypeError for a module that the format has no counterpart of, ValueError for a projection.
    """
    order, D = _order(source, orders), 1 + source.bidirectional
    values = [_reordered(value, source.cell.gates, order) for value in source.state_dict().values()]
    each = 4 if source.bias else 2
    weights = [Weights(*values[at : at + each]) for at in range(0, len(values), each)]
    return [weights[at : at + D] for at in range(0, len(weights), D)]


def write(layers: Layers, target: Recurrent[Any], orders: Orders) -> None:
    """Copy parameters that are in the format's order into the module. They are of the right shapes and dtype."""
    order, gates = _order(target, orders), target.cell.gates
    values = [value for layer in layers for weights in layer for value in weights if value is not None]
    reordered = (_reordered(value, order, gates) for value in values)
    target.load_state_dict(dict(zip(target.state_dict(), reordered, strict=True)))


def checked(source: Any, fitting: Sequence[Mapping[str, Array]]) -> list[list[Array]]:
    """The arrays of each layer, if there are as many of them as in `fitting`, of the same shapes and dtypes.

    Raises TypeError for what is no array, or no list of them, RuntimeError for another number, shape or dtype.
    """
    layers = [checks.members(f"layer {k}", layer) for k, layer in enumerate(checks.members("source", source))]
    if len(layers) != len(fitting):
        raise RuntimeError(f"expected a list of arrays for each layer ({len(fitting)}), got {len(layers)}")
    for k, (layer, like) in enumerate(zip(layers, fitting, strict=True)):
        if len(layer) != len(like):
            raise RuntimeError(f"expected layer {k} to be {len(like)} arrays ({', '.join(like)}), got {len(layer)}")
        for value, (name, array) in zip(layer, like.items(), strict=True):
            checks.floats(f"layer {k}'s {name}", value, array.dtype, array.shape)
    return layers


def _order(module: Any, orders: Orders) -> str:
    had = {kind: order for kind, order in orders.items() if order is not None}
    for kind, order in had.items():
        if isinstance(module, kind):
            if module.proj_size > 0:
                raise ValueError(f"expected proj_size 0 (the format has no projection), got {module.proj_size}")
            return order
    raise TypeError(f"expected a scratch.nn.{' or '.join(kind.__name__ for kind in had)}, got {type(module).__name__}")


def _reordered(value: Array, source: Sequence[str], target: Sequence[str]) -> Array:
    """The same rows with the gates in another order, copied."""
    blocks = value.reshape(len(source), -1, *value.shape[1:])  # G, H, …
    return blocks[[source.index(gate) for gate in target]].reshape(value.shape)
