"""What modules over whole sequences and modules of single steps share: cell, parameters, form of the state."""

from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ..types import Seed
from . import checks
from .bptt import Gradients
from .cell import Cell, State, Weights
from .module import Module
from .parameter import Parameter
from .pile import Versions
from .recomputation import Segment, Spent

StateT = TypeVar("StateT")
"""The state as the caller sees it: the array h for an RNN, the tuple (h, c) for an LSTM."""

Names = dict[str, str]
"""The attributes that hold the parameters of one layer in one direction: weight_ih → weight_ih_l0 and so on."""


class Recurrence(Module, Generic[StateT]):
    """What whole recurrent modules and single-step cells share: a cell, its parameters, and the form of its state."""

    cell: Cell
    """The equations of a step: an attribute of the class, or set before the constructor of the base is called."""
    _changeable: ClassVar = {**Module._changeable, "cell": checks.anything, "rng": checks.anything}

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: npt.DTypeLike, rng: Seed) -> None:
        self.input_size = checks.integer("input_size", input_size, least=1)
        self.hidden_size = checks.integer("hidden_size", hidden_size, least=1)
        self.bias = checks.flag("bias", bias)
        self.dtype = checks.dtype(dtype)
        self.rng = np.random.default_rng(rng)
        self._shapes: dict[str, tuple[int, ...]] = {}  # of the parameters, by name

    def reset_parameters(self) -> None:
        """Draw every parameter anew, uniform in ±1/√hidden_size, as PyTorch does (the forget bias included)."""
        bound = 1 / np.sqrt(self.hidden_size)
        for parameter in self.parameters():
            parameter.data = self.rng.uniform(-bound, bound, parameter.shape).astype(self.dtype)

    def _add_parameters(self, input_size: int, output_size: int, projected: bool, suffix: str = "") -> Names:
        """Make the parameters of one layer in one direction, in PyTorch's order, and return their names."""
        rows = len(self.cell.gates) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size), "weight_hh": (rows, output_size)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if projected:
            shapes["weight_hr"] = (output_size, self.hidden_size)
        for name, shape in shapes.items():
            self._shapes[name + suffix] = shape
            setattr(self, name + suffix, Parameter(np.zeros(shape, self.dtype)))
        return {name: name + suffix for name in shapes}

    def _weights(self, names: Names) -> Weights:
        """The data of these parameters. A caller may have replaced one: raises RuntimeError if it does not fit."""
        data: dict[str, Any] = {}
        for name, own in names.items():
            data[name] = getattr(self, own).data
            checks.floats(own, data[name], self.dtype, self._shapes[own])
        optional = (data.get(name) for name in ("bias_ih", "bias_hh", "weight_hr"))
        return Weights(data["weight_ih"], data["weight_hh"], *optional)

    def _wanted(self, names: Names) -> list[str]:
        """Those of the parameters that are not frozen."""
        return [name for name, own in names.items() if getattr(self, own).requires_grad]

    def _add_gradients(self, names: Names, gradients: Gradients) -> None:
        for name, gradient in gradients.items():
            getattr(self, names[name]).add_grad(gradient)

    def _versions(self) -> Versions:
        parameters = (getattr(self, name) for name in self._shapes)
        return [(parameter, parameter.version) for parameter in parameters]

    @property
    def _spent_tapes(self) -> Spent:
        """Memory for later passes. A copy has its own."""
        spent: Spent = vars(self).setdefault("_spent", Spent())
        return spent

    def _spend(self, retain_graph: bool, *passes: list[Segment]) -> None:
        """Take the newest tape off, unless it is to be retained, and give its memory to later passes."""
        self._undone(retain_graph)
        if not retain_graph:
            self._spent_tapes.extend(each.tape for segments in passes for each in segments if each.tape is not None)

    def _cast(self, dtype: np.dtype[Any]) -> None:
        super()._cast(dtype)
        vars(self)["dtype"] = dtype
        self._spent_tapes.clear()

    def _split(self, name: str, state: Any) -> tuple[Any, ...]:
        """The parts of a state that the caller gave, or None for each if it gave none."""
        parts = self.cell.state
        if state is None:
            return (None,) * len(parts)
        if len(parts) == 1:
            return (state,)
        form = f"a tuple ({', '.join(parts)})"
        if not isinstance(state, (tuple, list)):
            raise TypeError(f"expected {name} to be {form}, got {type(state).__name__}")
        if len(state) != len(parts):
            raise RuntimeError(f"expected {name} to be {form}, got {len(state)} parts")
        return tuple(state)

    def _join(self, parts: State) -> StateT:
        return cast(StateT, parts if len(parts) > 1 else parts[0])
