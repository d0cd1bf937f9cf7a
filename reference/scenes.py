"""Scenes: something of `scratch` or of PyTorch that has been at work, in which a line of `bad_calls.md` runs.

A library is the package itself, `scratch` or `torch`: both have `nn`, `optim` and `no_grad`.
"""

from functools import cache
from itertools import zip_longest
from types import CodeType
from typing import Any

import numpy as np
import torch

from scratch.types import Array

from .bad_calls import OPTIMIZERS, RECURRENCES, Subject
from .problems import state_of

SIZES = {"T": 4, "B": 3, "I": 5, "H": 6, "V": 7, "E": 2, "C": 8}
"""Time, batch, input, hidden; symbols and width of an embedding, classes: no two are the same."""

MODULES = {
    **dict.fromkeys(RECURRENCES, ("I, H", "x(T, B, I)")),
    **dict.fromkeys([f"{name}Cell" for name in RECURRENCES], ("I, H", "x(B, I)")),
    "Linear": ("I, H", "x(B, I)"),
    "Embedding": ("V, E", "array([0, 1, 2])"),
    "Dropout": ("0.5", "x(B, I)"),
    "CrossEntropyLoss": ("", "x(B, C), array([2, 0, 3])"),
    "MSELoss": ("", "x(B, C), -x(B, C)"),
}
"""What modules are made with, and a good input."""

TRAINED = "module = Linear(I, H, SEED); parameters = list(module.parameters())"
USE = "module.zero_grad(); result = module(x(B, I)); backward(*upstream())"
CLIPPED = "([parameter.data for parameter in parameters], [parameter.grad for parameter in parameters])"
HISTORY = {"SGD": ", momentum=0.9", "RMSprop": ", momentum=0.9, centered=True", "Adam": ", amsgrad=True"}
"""With these an optimizer has more to remember."""
OTHERS = {
    "Parameter": (
        "parameter = Parameter(x(H))",
        "parameter.data = x(H); parameter.grad = x(H)",
        "(parameter.data, parameter.grad)",
    ),
    **{
        name: (
            f"{TRAINED}; optimizer = {name}(parameters, lr=0.1{HISTORY.get(name, '')})",
            f"{USE}; optimizer.step()",
            f"(optimizer.state_dict(), {CLIPPED})",
        )
        for name in OPTIMIZERS
    },
    **{
        name: (TRAINED, f"{USE}; norm = {name}(parameters, 0.5)", f"(norm, {CLIPPED})")
        for name in ("clip_grad_norm_", "clip_grad_value_")
    },
}
"""Of what is no module: how it is made, how it is used, and what is to be seen of it then."""
PACKING = (
    "packed = pack(x(T, B, I), [2, 4, 3], enforce_sorted=False)",
    "padded = pad_packed_sequence(packed), pad_sequence([x(T, I)])",
    "padded",
)
"""The same for the functions that pack and pad."""
DTYPES = ("float16", "float64", "int64")
FUNCTIONS = ("pack_padded_sequence", "pad_packed_sequence", "pack_sequence", "pad_sequence", "PackedSequence")


@cache
def compiled(line: str) -> CodeType:
    """A line of Python, ready to be run."""
    return compile(line, "bad_calls.md", "exec")


class Scene:
    """One library, and in it what bad calls are made on; `do` runs a line, `work` uses everything as it should be used.

    Its methods are functions that a line may call, and so are those in its namespace. Raises LookupError where the
    library has no class of this name.
    """

    def __init__(self, library: Any, name: str, subject: Subject) -> None:
        self.library, self.name, self.subject = library, name, subject
        self.in_torch = library.no_grad is torch.no_grad
        self.given: list[tuple[Array, Array]] = []  # every array that a call was given, and a copy of it
        self.spoilt: list[tuple[Any, str, Any]] = []
        rnn = library.nn.utils.rnn
        places = (library.nn, library.optim, library.nn.utils, rnn)
        kind = next((getattr(place, name) for place in places if hasattr(place, name)), None)
        if kind is None:
            raise LookupError(name)
        self.namespace: dict[str, Any] = {
            **{"numpy": np, "nan": np.nan, "inf": np.inf, **SIZES},
            **{each: getattr(library.nn, each) for each in ("Linear", "Parameter")},
            **{each: getattr(torch, each) if self.in_torch else np.dtype(each) for each in DTYPES},
            **{each: getattr(rnn, each) for each in FUNCTIONS},
            **{each: getattr(self, each) for each, method in vars(Scene).items() if callable(method)},
            "ones": lambda *shape, dtype: self.array(np.ones(shape), dtype),
            "classes": lambda *shape: self.array(np.ones(shape), "int64"),
            "foreign": lambda *shape: np.ones(shape, np.float32) if self.in_torch else torch.ones(shape),
            "train": lambda: library.optim.SGD(self.namespace["module"].parameters(), lr=0.1).step(),
            "resize": lambda array: array.resize_(2) if self.in_torch else array.resize(2, refcheck=False),
            **dict.fromkeys(("Recurrence", "Cell", "Loss", "Optimizer", name), kind),
        }
        self.common = {*self.namespace, "__builtins__"}
        if name in MODULES:
            sizes, usual = MODULES[name]
            arguments = [sizes, subject.options, "" if name.endswith("Loss") else "SEED"]
            making = f"module = {name}({', '.join(filter(None, arguments))})"
            self.making, self.use, self.seen = making, f"result = module({subject.input or usual})", "result"
        else:
            self.making, self.use, self.seen = OTHERS.get(name, PACKING)
        self.do(self.making)

    def do(self, line: str) -> None:
        """Run a line of Python."""
        exec(compiled(line.replace("SEED", "" if self.in_torch else "rng=0")), self.namespace)

    @property
    def held(self) -> dict[str, Any]:
        """What the caller holds of the library: everything that was assigned."""
        return {name: value for name, value in self.namespace.items() if name not in self.common}

    def work(self) -> Any:
        """Use everything as it is meant, a module forward, backward and forward. Returns what is to be seen of it."""
        while self.spoilt:
            put(*self.spoilt.pop())
        self.do(self.use)
        first = None
        if self.name in MODULES:
            first = self.namespace["result"], self.from_tape()
            self.do(self.use)
        return first, eval(self.seen, self.namespace)

    def from_tape(self) -> Any:
        """The gradients that `backward` makes of the tape that `work` has left, which is then gone."""
        if self.name in MODULES:
            d_input = self.backward(*self.upstream())
            return d_input, [parameter.grad for parameter in self.namespace["module"].parameters()]
        return None

    # What a line may call.

    def x(self, *shape: int, dtype: str = "float32") -> Any:
        """An array of random numbers of the library, the same every time; in PyTorch one that gets a gradient."""
        numbers = self.remember(np.asarray(3 * np.random.default_rng(0).standard_normal(shape)).astype(dtype))
        return torch.from_numpy(numbers).requires_grad_(numbers.dtype.kind in "fc") if self.in_torch else numbers

    def array(self, values: Any, dtype: str | None = None) -> Any:
        """An array of the library."""
        value = self.remember(np.array(values, dtype))
        return torch.from_numpy(value) if self.in_torch else value

    def state(self, *shape: int, dtype: str = "float32") -> Any:
        """An array, or a tuple of as many as the state of the recurrence has parts."""
        parts = tuple(self.x(*shape, dtype=dtype) for _ in state_of(self.name.removesuffix("Cell")))
        return parts if len(parts) > 1 else parts[0]

    def pack(self, value: Any, lengths: Any, **options: Any) -> Any:
        """A PackedSequence; its arrays are the caller's, too."""
        packed = self.library.nn.utils.rnn.pack_padded_sequence(value, lengths, **options)
        for part in packed:
            if isinstance(part, np.ndarray):
                self.remember(part)
        return packed

    def like(self, result: Any) -> Any:
        """A good upstream gradient of a result: of the same form."""
        if hasattr(result, "batch_sizes"):
            return result._replace(data=self.like(result.data))
        if isinstance(result, tuple):
            return tuple(self.like(part) for part in result)
        return self.x(*result.shape, dtype=str(result.dtype).removeprefix("torch."))

    def results(self) -> tuple[Any, ...]:
        """The parts of the last result that have an upstream gradient of their own; none if there is no result."""
        result = self.namespace.get("result")
        return () if result is None else tuple(result) if self.name in RECURRENCES else (result,)

    def upstream(self) -> tuple[Any, ...]:
        """Good upstream gradients."""
        return tuple(self.like(result) for result in self.results())

    def backward(self, *upstream: Any, **options: Any) -> Any:
        """Run backward from the last result. In PyTorch it starts at each part that has an upstream gradient."""
        results, module = self.results(), self.namespace["module"]
        if not self.in_torch or not results:
            return module.backward(*upstream, **options)
        pairs = [(r, d) for r, d in zip_longest(results, upstream) if d is not None or len(results) == 1]
        gradients = [each for r, d in pairs for each in (flat(d) if type(d) is type(r) else [d])]
        return torch.autograd.backward([each for r, _ in pairs for each in flat(r)], gradients, **options)

    def renew(self) -> None:
        """Have a module that has never been called."""
        del self.namespace["result"]
        self.do(self.making)

    def renew_without_tape(self) -> None:
        """Have a module whose only forward pass has kept nothing."""
        self.renew()
        with self.library.no_grad():
            self.do(self.use)

    def later_state(self) -> dict[str, Any]:
        """The state dict of another optimizer, which has been at work for longer and has another learning rate."""
        other = Scene(self.library, self.name, self.subject)
        for _ in range(3):
            other.work()
        saved = other.namespace["optimizer"].state_dict()
        saved["param_groups"][0]["lr"] = 0.5
        return dict(saved)

    def spoil(self, holder: Any, name: str, value: Any) -> None:
        """Set an attribute or a key until `work` is next called."""
        self.spoilt.append((holder, name, holder[name] if isinstance(holder, dict) else getattr(holder, name)))
        put(holder, name, value)

    def remember(self, value: Array) -> Array:
        """The same array, which nobody may change from now on."""
        self.given.append((value, value.copy()))
        return value


def flat(value: Any) -> list[Any]:
    """The arrays of a result or a gradient of PyTorch."""
    return [value.data] if hasattr(value, "batch_sizes") else list(value) if isinstance(value, tuple) else [value]


def put(holder: Any, name: str, value: Any) -> None:
    """Set an attribute or a key."""
    holder.__setitem__(name, value) if isinstance(holder, dict) else setattr(holder, name, value)
