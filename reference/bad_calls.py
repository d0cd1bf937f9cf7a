"""The table of bad calls: what users do wrong, what `scratch` raises, and why, where PyTorch does not raise the same.

A row is a call that is written once and made in both libraries, on a scene (`scenes.py`) that has been at work before:
`s.kind` is the class or the function that the row is about, `s.subject` one that was made of it, `s.x(shape)` an array.
Rows about recurrences are there for each recurrence in the house.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scratch.types import Array

from .problems import CELLS, can_project, state_of
from .scenes import (
    B,
    BatchFirst,
    C,
    Cell,
    Clipping,
    Double,
    E,
    H,
    I,
    Layer,
    Packed,
    Packing,
    Recurrence,
    Scene,
    Single,
    T,
    Training,
    Unbatched,
    V,
    like,
)


def nothing(scene: Scene) -> None:
    """Nothing has to be done."""


@dataclass(frozen=True, eq=False)
class Row:
    """One bad call."""

    group: str
    what: str
    """What is wrong, in words."""
    call: Callable[[Any], Any]
    """Makes the call on a scene of either library."""
    error: type[Exception]
    """What `scratch` raises."""
    stricter: str = ""
    """Why PyTorch does not raise the same; empty if it does."""
    sloppy: tuple[str, ...] = ()
    """The names for which `stricter` holds; all of them if it is empty."""
    of: tuple[str, ...] | None = None
    """The names of the classes or functions for which the call is made; None until `rows` fills it in."""
    scene: type[Scene] = Scene
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the subject is made with, besides its sizes."""
    prepare: Callable[[Any], Any] = nothing
    """Done to a scene after it has been at work, before the call: this is allowed, the call then is not."""
    mend: Callable[[Any], Any] = nothing
    """Undoes what `prepare` has done, so that the subject can be at work again."""

    def reason(self, name: str) -> str:
        """Why `scratch` is stricter than PyTorch for this name; empty if it is not."""
        return self.stricter if not self.sloppy or name in self.sloppy else ""


def bad(what: str, call: Callable[[Any], Any], error: type[Exception], stricter: str = "", **more: Any) -> Row:
    """A row whose group, scene and names come from `rows`, unless it has its own."""
    return Row("", what, call, error, stricter, **more)


def rows(group: str, scene: type[Scene], of: Iterable[str], *table: Row) -> list[Row]:
    """Rows of one group."""
    return [
        replace(
            row,
            group=group,
            scene=scene if row.scene is Scene else row.scene,
            of=tuple(of) if row.of is None else row.of,
        )
        for row in table
    ]


RECURRENCES = tuple(dict.fromkeys(str(options["module"]) for options in CELLS.values()))
"""The names of all recurrent modules in the house. Each has a cell of the same name and 'Cell'."""
WITH_NONLINEARITY = tuple(dict.fromkeys(str(o["module"]) for o in CELLS.values() if "nonlinearity" in o))
WITH_PROJECTION = tuple(name for name in RECURRENCES if can_project(name))
WITHOUT_PROJECTION = tuple(name for name in RECURRENCES if not can_project(name))
ONE_PART = tuple(name for name in RECURRENCES if len(state_of(name)) == 1)
"""Those whose state is one array, not a tuple."""
SEVERAL_PARTS = tuple(name for name in RECURRENCES if len(state_of(name)) > 1)
OPTIMIZERS = ("SGD", "Adagrad", "RMSprop", "Adam", "AdamW")


def cells(names: Iterable[str]) -> tuple[str, ...]:
    """The cells of recurrent modules."""
    return tuple(f"{name}Cell" for name in names)


# What is done to a scene, before a call or for it.


def set_option(name: str, value: Any) -> Callable[[Any], None]:
    """What sets an option of the first group."""

    def change(scene: Any) -> None:
        scene.subject.param_groups[0][name] = value

    return change


def set_parameter(scene: Any, name: str, value: Any) -> None:
    """Set one parameter of the subject, and remember the one that was there."""
    scene.replaced = name, getattr(scene.subject, name)
    setattr(scene.subject, name, value)


def put_back(scene: Any) -> None:
    """Undo `set_parameter`."""
    setattr(scene.subject, *scene.replaced)


def backward(scene: Any, **options: Any) -> None:
    """Run backward from the last result, with good gradients."""
    scene.backward(*scene.upstream(), **options)


def without_tape(scene: Any) -> None:
    """Have a subject whose only forward pass has kept nothing."""
    scene.renew()
    with scene.library.no_grad():
        scene.forward()


def assign_data(scene: Any) -> None:
    """Give every parameter other data, of the same shape."""
    for parameter in scene.subject.parameters():
        parameter.data = 2 * parameter.data


def cross_entropy(scene: Any, prediction: Any, target: Any) -> Any:
    """The loss of what may not fit."""
    return scene.subject(prediction, scene.array(target) if isinstance(target, np.ndarray) else target)


def classes(*shape: int) -> Array:
    """Good classes of any shape."""
    return np.ones(shape, np.int64)


def resize_gradient(scene: Any) -> None:
    """Give a gradient another shape behind the parameter's back."""
    gradient = scene.parameters[1].grad
    gradient.resize(2, refcheck=False) if isinstance(gradient, np.ndarray) else gradient.resize_(2)


def forget_gradients(scene: Any) -> None:
    """Forget the gradients."""
    scene.layer.zero_grad()


def without(scene: Any, name: str) -> dict[str, Any]:
    """The subject's state dict without one key, with other values."""
    return {key: value + 1 for key, value in scene.subject.state_dict().items() if key != name}


def spoil_gradient(scene: Any) -> None:
    """Give a parameter an infinite gradient."""
    scene.parameters[1].grad = scene.array(np.full(H, np.inf, np.float32))


def step(scene: Any) -> None:
    """Change every parameter, as training does."""
    scene.library.optim.SGD(scene.subject.parameters(), lr=0.1).step()


# Why PyTorch does not raise the same.

ATTRIBUTE = "PyTorch stumbles over a missing attribute"
PASSES = "PyTorch lets it pass"
NO_BACKWARD = "PyTorch has no backward of a module to call"
CASTS = "PyTorch casts it silently"
LATER = "PyTorch fails only when it is used"
HALF = "NumPy computes in half precision by way of float32; PyTorch has it"
ONCE = "PyTorch only warns"
PROBABILITIES = "PyTorch takes them for probabilities of classes"
DATA_ALONE = "PyTorch sees output.data alone"
LENGTHS = "PyTorch reads them as integers"
UNCHECKED = "PyTorch trusts a packing that was made by hand"
SKIPS = "PyTorch does not check packed input of this module"

CONSTRUCTOR = rows(
    "constructor",
    Recurrence,
    RECURRENCES,
    bad("input_size 0", lambda s: s.kind(0, H), ValueError),
    bad("input_size negative", lambda s: s.kind(-I, H), ValueError),
    bad("input_size a float", lambda s: s.kind(5.0, H), TypeError),
    bad("input_size a shape", lambda s: s.kind((B, I), H), TypeError),
    bad("input_size None", lambda s: s.kind(None, H), TypeError),
    bad("input_size a bool", lambda s: s.kind(True, H), TypeError, "a bool is an int for PyTorch"),
    bad("hidden_size 0", lambda s: s.kind(I, 0), ValueError),
    bad("hidden_size negative", lambda s: s.kind(I, -1), ValueError),
    bad("hidden_size a float", lambda s: s.kind(I, H / 2), TypeError),
    bad("hidden_size a text", lambda s: s.kind(I, "6"), TypeError),
    bad("num_layers 0", lambda s: s.kind(I, H, num_layers=0), ValueError),
    bad("num_layers negative", lambda s: s.kind(I, H, -1), ValueError),
    bad("num_layers a float", lambda s: s.kind(I, H, 1.5), TypeError),
    bad("num_layers None", lambda s: s.kind(I, H, None), TypeError),
    bad("num_layers a bool", lambda s: s.kind(I, H, True), TypeError, "a bool is an int for PyTorch"),
    bad("bias no bool", lambda s: s.kind(I, H, bias=1), TypeError),
    bad("bias None", lambda s: s.kind(I, H, bias=None), TypeError),
    bad("batch_first no bool", lambda s: s.kind(I, H, batch_first=1), TypeError),
    bad("batch_first a text", lambda s: s.kind(I, H, batch_first="yes"), TypeError),
    bad("bidirectional no bool", lambda s: s.kind(I, H, bidirectional=1), TypeError, LATER),
    bad("bidirectional None", lambda s: s.kind(I, H, bidirectional=None), TypeError, LATER),
    bad("dropout above 1", lambda s: s.kind(I, H, 2, dropout=1.5), ValueError),
    bad("dropout in percent", lambda s: s.kind(I, H, 2, dropout=50), ValueError),
    bad("dropout negative", lambda s: s.kind(I, H, 2, dropout=-0.1), ValueError),
    bad("dropout NaN", lambda s: s.kind(I, H, 2, dropout=float("nan")), ValueError),
    bad("dropout a bool", lambda s: s.kind(I, H, 2, dropout=True), ValueError),
    bad("dropout a text", lambda s: s.kind(I, H, 2, dropout="0.5"), ValueError),
    bad("dropout None", lambda s: s.kind(I, H, 2, dropout=None), ValueError, "PyTorch calls float() before its check"),
    bad("dtype of integers", lambda s: s.kind(I, H, dtype=s.dtype(np.int64)), RuntimeError),
    bad("dtype no dtype", lambda s: s.kind(I, H, dtype="no such"), TypeError),
    bad("dtype float16", lambda s: s.kind(I, H, dtype=s.dtype(np.float16)), RuntimeError, HALF),
    bad("nonlinearity unknown", lambda s: s.kind(I, H, nonlinearity="sigmoid"), ValueError, of=WITH_NONLINEARITY),
    bad("nonlinearity in capitals", lambda s: s.kind(I, H, nonlinearity="ReLU"), ValueError, of=WITH_NONLINEARITY),
    bad("nonlinearity None", lambda s: s.kind(I, H, nonlinearity=None), ValueError, of=WITH_NONLINEARITY),
    bad("bias where nonlinearity stands", lambda s: s.kind(I, H, 1, True), ValueError, of=WITH_NONLINEARITY),
    bad(
        "nonlinearity where bias stands",
        lambda s: s.kind(I, H, 1, "tanh"),
        TypeError,
        of=tuple(name for name in RECURRENCES if name not in WITH_NONLINEARITY),
    ),
    bad("proj_size where there is none", lambda s: s.kind(I, H, proj_size=2), ValueError, of=WITHOUT_PROJECTION),
    bad("proj_size negative", lambda s: s.kind(I, H, proj_size=-1), ValueError, of=WITH_PROJECTION),
    bad("proj_size of hidden_size", lambda s: s.kind(I, H, proj_size=H), ValueError, of=WITH_PROJECTION),
    bad("proj_size a float", lambda s: s.kind(I, H, proj_size=1.5), TypeError, of=WITH_PROJECTION),
)


FORWARD = rows(
    "forward",
    Recurrence,
    RECURRENCES,
    bad("wrong width", lambda s: s.subject(s.x(T, B, 9)), RuntimeError),
    bad("width 1", lambda s: s.subject(s.x(T, B, 1)), RuntimeError),
    bad("width 0", lambda s: s.subject(s.x(T, B, 0)), RuntimeError),
    bad("features first", lambda s: s.subject(s.x(I, T, B)), RuntimeError),
    bad("no step", lambda s: s.subject(s.x(0, B, I)), RuntimeError),
    bad("no step, batch_first", lambda s: s.subject(s.x(B, 0, I)), RuntimeError, scene=BatchFirst),
    bad("no step of one sequence", lambda s: s.subject(s.x(0, I)), RuntimeError, scene=Unbatched),
    bad("one sequence of wrong width", lambda s: s.subject(s.x(T, 9)), RuntimeError, scene=Unbatched),
    bad("one sequence, features first", lambda s: s.subject(s.x(I, T)), RuntimeError, scene=Unbatched),
    bad("0-D", lambda s: s.subject(s.x()), ValueError),
    bad("one step of one sequence, 1-D", lambda s: s.subject(s.x(I)), ValueError),
    bad("4-D", lambda s: s.subject(s.x(1, T, B, I)), ValueError),
    bad("float64 into float32", lambda s: s.subject(s.x(T, B, I, dtype=np.float64)), ValueError),
    bad("float32 into float64", lambda s: s.subject(s.x(T, B, I)), ValueError, scene=Double),
    bad("float16", lambda s: s.subject(s.x(T, B, I, dtype=np.float16)), ValueError),
    bad("complex", lambda s: s.subject(s.x(T, B, I, dtype=np.complex64)), ValueError),
    bad("integers", lambda s: s.subject(s.x(T, B, I, dtype=np.int64)), ValueError),
    bad("bools", lambda s: s.subject(s.x(T, B, I, dtype=bool)), ValueError),
    bad("indices of symbols, not one-hot", lambda s: s.subject(s.array(np.zeros((T, B), np.int64))), ValueError),
    bad("a list", lambda s: s.subject([[0.0] * I] * T), TypeError, ATTRIBUTE),
    bad("a list of arrays", lambda s: s.subject([s.x(B, I)] * T), TypeError, ATTRIBUTE),
    bad("output and state of another layer", lambda s: s.subject((s.x(T, B, I), s.x(1, B, H))), TypeError, ATTRIBUTE),
    bad("None", lambda s: s.subject(None), TypeError, ATTRIBUTE),
    bad("a text", lambda s: s.subject("hello"), TypeError, ATTRIBUTE),
    bad("an array of the other library", lambda s: s.subject(s.foreign(T, B, I)), TypeError, ATTRIBUTE),
    bad(
        "an array where a parameter was",
        lambda s: setattr(s.subject, "weight_hh_l0", s.x(H, H)),
        TypeError,
    ),
    bad(
        "a parameter of another shape",
        lambda s: s.subject(s.input()),
        RuntimeError,
        scene=Double,  # in float32 PyTorch hands an LSTM to oneDNN, which reads any shape as the right one
        prepare=lambda s: set_parameter(s, "weight_ih_l0", s.parameter(9 * H, 9, dtype=np.float64)),
        mend=put_back,
    ),
    bad("train() without a bool", lambda s: s.subject.train(1), ValueError),
    bad("requires_grad_() without a bool", lambda s: s.subject.requires_grad_(1), TypeError),
)

STATE = rows(
    "state",
    Recurrence,
    RECURRENCES,
    bad("of another batch", lambda s: s.subject(s.input(), s.state(1, 2, H)), RuntimeError),
    bad("of batch 1", lambda s: s.subject(s.input(), s.state(1, 1, H)), RuntimeError),
    bad("of another width", lambda s: s.subject(s.input(), s.state(1, B, 9)), RuntimeError),
    bad("of the input's width", lambda s: s.subject(s.input(), s.state(1, B, I)), RuntimeError),
    bad("of two layers for one", lambda s: s.subject(s.input(), s.state(2, B, H)), RuntimeError),
    bad(
        "of one layer for two",
        lambda s: s.subject(s.input(), s.state(1, B, H)),
        RuntimeError,
        options={"num_layers": 2},
    ),
    bad(
        "of one direction for two",
        lambda s: s.subject(s.input(), s.state(1, B, H)),
        RuntimeError,
        options={"bidirectional": True},
    ),
    bad("2-D for a batch", lambda s: s.subject(s.input(), s.state(1, H)), RuntimeError),
    bad("without its layer", lambda s: s.subject(s.input(), s.state(B, H)), RuntimeError),
    bad("3-D for one sequence", lambda s: s.subject(s.input(), s.state(1, 1, H)), RuntimeError, scene=Unbatched),
    bad("4-D", lambda s: s.subject(s.input(), s.state(1, 1, B, H)), RuntimeError),
    bad("batch first", lambda s: s.subject(s.input(), s.state(B, 1, H)), RuntimeError, scene=BatchFirst),
    bad("right, but the input is batch first", lambda s: s.subject(s.x(B, T, I), s.state(1, B, H)), RuntimeError),
    bad(
        "right, but the input is not batch first",
        lambda s: s.subject(s.x(T, B, I), s.state(1, B, H)),
        RuntimeError,
        scene=BatchFirst,
    ),
    bad("float64", lambda s: s.subject(s.input(), s.state(1, B, H, dtype=np.float64)), RuntimeError),
    bad("integers", lambda s: s.subject(s.input(), s.state(1, B, H, dtype=np.int64)), RuntimeError),
    bad("a number", lambda s: s.subject(s.input(), 0.0), TypeError, ATTRIBUTE, of=ONE_PART),
    bad("a number for a tuple", lambda s: s.subject(s.input(), 0.0), TypeError, of=SEVERAL_PARTS),
    bad("a text", lambda s: s.subject(s.input(), "zeros"), TypeError, ATTRIBUTE),
    bad("an array of the other library", lambda s: s.subject(s.input(), s.foreign(1, B, H)), TypeError, ATTRIBUTE),
    bad(
        "a tuple for one array",
        lambda s: s.subject(s.input(), s.state(1, B, H, count=2)),
        TypeError,
        ATTRIBUTE,
        of=ONE_PART,
    ),
    bad("a list with one array", lambda s: s.subject(s.input(), [s.x(1, B, H)]), TypeError, ATTRIBUTE, of=ONE_PART),
    bad(
        "one array for a tuple",
        lambda s: s.subject(s.input(), s.x(1, B, H)),
        TypeError,
        "PyTorch stumbles over an index",
        of=SEVERAL_PARTS,
    ),
    bad(
        "a tuple of one array",
        lambda s: s.subject(s.input(), (s.x(1, B, H),)),
        RuntimeError,
        "PyTorch stumbles over an index",
        of=SEVERAL_PARTS,
    ),
    bad(
        "a tuple of three arrays",
        lambda s: s.subject(s.input(), s.state(1, B, H, count=3)),
        RuntimeError,
        of=SEVERAL_PARTS,
    ),
    bad(
        "a tuple with None in it",
        lambda s: s.subject(s.input(), (s.x(1, B, H), None)),
        TypeError,
        ATTRIBUTE,
        of=SEVERAL_PARTS,
    ),
    bad(
        "the last part of another width",
        lambda s: s.subject(s.input(), (s.x(1, B, H), s.x(1, B, 9))),
        RuntimeError,
        of=SEVERAL_PARTS,
    ),
    bad(
        "h as wide as c despite a projection",
        lambda s: s.subject(s.input(), s.state(1, B, H)),
        RuntimeError,
        options={"proj_size": 2},
        of=WITH_PROJECTION,
    ),
)
PACKED = rows(
    "packing",
    Packed,
    RECURRENCES,
    bad("packed input of wrong width", lambda s: s.subject(s.pack(s.x(T, B, 9), [4, 3, 2])), RuntimeError),
    bad(
        "packed input of float64",
        lambda s: s.subject(s.pack(s.x(T, B, I, dtype=np.float64), [4, 3, 2])),
        ValueError,
        SKIPS,
        sloppy=("LSTM",),
    ),
    bad(
        "packed input of integers",
        lambda s: s.subject(s.pack(s.x(T, B, I, dtype=np.int64), [4, 3, 2])),
        ValueError,
        SKIPS,
        sloppy=("LSTM",),
    ),
    bad("packed input of 3 dimensions", lambda s: s.subject(s.pack(s.x(T, B, I, 1), [4, 3, 2])), RuntimeError),
    bad(
        "packed input, 2-D state", lambda s: s.subject(s.input(), s.state(1, H)), RuntimeError, SKIPS, sloppy=("LSTM",)
    ),
    bad("packed input, state of another batch", lambda s: s.subject(s.input(), s.state(1, 2, H)), RuntimeError),
    bad("packed input, state of another width", lambda s: s.subject(s.input(), s.state(1, B, 9)), RuntimeError),
    bad("batch_sizes that do not sum to the data", lambda s: s.subject(s.packed(s.x(5, I), [2, 2, 2])), RuntimeError),
    bad("batch_sizes that grow", lambda s: s.subject(s.packed(s.x(5, I), [1, 2, 2])), RuntimeError),
    bad("batch_sizes with a zero", lambda s: s.subject(s.packed(s.x(5, I), [3, 2, 0])), RuntimeError, UNCHECKED),
    bad(
        "batch_sizes that are floats",
        lambda s: s.subject(s.packed(s.x(5, I), [2.0, 2.0, 1.0])),
        RuntimeError,
        UNCHECKED,
    ),
    bad(
        "batch_sizes that are empty",
        lambda s: s.subject(s.packed(s.x(0, I), np.zeros(0, np.int64))),
        RuntimeError,
        UNCHECKED,
    ),
    bad("indices of another batch", lambda s: s.subject(s.packed(s.x(5, I), [2, 2, 1], [1, 0, 2])), RuntimeError),
    bad("data that is a list", lambda s: s.subject(s.packed([[0.0] * I] * 5, [2, 2, 1])), TypeError, ATTRIBUTE),
)
FUNCTIONS = [
    *rows(
        "packing",
        Packing,
        ["pack_padded_sequence"],
        bad("unsorted lengths", lambda s: s.kind(s.x(T, B, I), [2, 4, 3]), RuntimeError),
        bad("many unsorted lengths", lambda s: s.kind(s.x(2, 99, I), [1, 2] * 49 + [1]), RuntimeError),
        bad("a length of 0", lambda s: s.kind(s.x(T, B, I), [4, 2, 0]), RuntimeError),
        bad("a negative length", lambda s: s.kind(s.x(T, B, I), [4, -1, 3], enforce_sorted=False), RuntimeError),
        bad("no lengths", lambda s: s.kind(s.x(T, B, I), []), RuntimeError),
        bad("too few lengths", lambda s: s.kind(s.x(T, B, I), [4, 3]), RuntimeError),
        bad("too many lengths", lambda s: s.kind(s.x(T, B, I), [4, 3, 2, 1]), RuntimeError),
        bad("lengths for batch_first", lambda s: s.kind(s.x(B, T, I), [4, 3, 2]), RuntimeError),
        bad(
            "too few lengths, to be sorted",
            lambda s: s.kind(s.x(T, B, I), [3, 4], enforce_sorted=False),
            RuntimeError,
            "PyTorch drops the sequences without a length",
        ),
        bad("lengths of 2 dimensions", lambda s: s.kind(s.x(T, B, I), [[4, 3, 2]]), RuntimeError),
        bad("one length", lambda s: s.kind(s.x(T, B, I), 4), RuntimeError),
        bad("lengths None", lambda s: s.kind(s.x(T, B, I), None), TypeError),
        bad(
            "a length beyond the data",
            lambda s: s.kind(s.x(T, B, I), [5, 3, 2]),
            RuntimeError,
            "PyTorch counts rows that are not there",
        ),
        bad("lengths that are floats", lambda s: s.kind(s.x(T, B, I), [4.0, 2.7, 1.2]), TypeError, LENGTHS),
        bad("an array of floats", lambda s: s.kind(s.x(T, B, I), s.array([4.0, 3.0, 2.0])), TypeError, LENGTHS),
        bad("a mask for lengths", lambda s: s.kind(s.x(T, B, I), s.array([True] * B)), TypeError, LENGTHS),
        bad("one sequence without a batch", lambda s: s.kind(s.x(T), [T]), IndexError),
        bad("input without elements", lambda s: s.kind(s.x(T, B, 0), [4, 3, 2]), RuntimeError),
        bad("a list", lambda s: s.kind([[0.0] * B] * T, [4, 3, 2]), TypeError),
        bad("batch_first no bool", lambda s: s.kind(s.x(T, B, I), [4, 3, 2], batch_first=1), TypeError),
        bad("enforce_sorted no bool", lambda s: s.kind(s.x(T, B, I), [4, 3, 2], enforce_sorted=1), TypeError, PASSES),
    ),
    *rows(
        "packing",
        Packing,
        ["pad_packed_sequence"],
        bad("total_length too small", lambda s: s.kind(s.some(), total_length=T - 1), ValueError),
        bad("total_length a float", lambda s: s.kind(s.some(), total_length=9.0), TypeError),
        bad("padding_value a text", lambda s: s.kind(s.some(), padding_value="0"), TypeError),
        bad(
            "padding_value that the dtype cannot hold",
            lambda s: s.kind(s.some(T, I, dtype=np.uint8), padding_value=300),
            RuntimeError,
        ),
        bad(
            "padding_value that would be cut",
            lambda s: s.kind(s.some(T, I, dtype=np.int64), padding_value=0.5),
            RuntimeError,
            "PyTorch pads with 0 instead",
        ),
        bad("a padded array", lambda s: s.kind(s.x(T, B, I)), TypeError, ATTRIBUTE),
    ),
    *rows(
        "packing",
        Packing,
        ["pack_sequence"],
        bad("no sequences", lambda s: s.kind([]), RuntimeError),
        bad("a number", lambda s: s.kind(5), TypeError),
        bad("a list of numbers", lambda s: s.kind([1.0, 2.0]), TypeError, ATTRIBUTE),
        bad("unsorted sequences", lambda s: s.kind([s.x(2, I), s.x(T, I)]), RuntimeError),
        bad("a sequence without steps", lambda s: s.kind([s.x(T, I), s.x(0, I)]), RuntimeError),
        bad("sequences of different width", lambda s: s.kind([s.x(T, I), s.x(2, 9)]), RuntimeError),
        bad("a sequence of width 1", lambda s: s.kind([s.x(T, I), s.x(2, 1)]), RuntimeError, "PyTorch broadcasts it"),
        bad(
            "sequences of different dtype",
            lambda s: s.kind([s.x(T, I), s.x(2, I, dtype=np.float64)]),
            RuntimeError,
            CASTS,
        ),
    ),
    *rows(
        "packing",
        Packing,
        ["pad_sequence"],
        bad("no sequences", lambda s: s.kind([]), RuntimeError),
        bad("a list of numbers", lambda s: s.kind([1.0, 2.0]), TypeError),
        bad("sequences of different width", lambda s: s.kind([s.x(T, I), s.x(2, 9)]), RuntimeError),
        bad("padding_side unknown", lambda s: s.kind([s.x(T, I)], padding_side="top"), RuntimeError),
        bad("batch_first no bool", lambda s: s.kind([s.x(T, I)], batch_first=1), TypeError),
    ),
    *rows(
        "packing",
        Packing,
        ["unpad_sequence"],
        bad("too few lengths", lambda s: s.kind(s.x(T, B, I), s.array([4, 3])), ValueError),
        bad(
            "a length beyond the data",
            lambda s: s.kind(s.x(T, B, I), s.array([5, 3, 2])),
            ValueError,
            "PyTorch gives a shorter sequence",
        ),
        bad(
            "lengths that are floats",
            lambda s: s.kind(s.x(T, B, I), s.array([4.0, 2.5, 1.0])),
            TypeError,
            "PyTorch rounds them up",
        ),
    ),
    *rows(
        "packing",
        Packing,
        ["PackedSequence"],
        bad("indices that are no permutation", lambda s: s.packed(s.x(5, I), [2, 2, 1], [0, 2]), RuntimeError),
    ),
]

BACKWARD = rows(
    "backward",
    Recurrence,
    RECURRENCES,
    bad("d_output of another width", lambda s: s.backward(s.x(T, B, 9), None), RuntimeError),
    bad("d_output of fewer steps", lambda s: s.backward(s.x(T - 1, B, H), None), RuntimeError),
    bad("d_output of the last step alone", lambda s: s.backward(s.x(B, H), None), RuntimeError),
    bad("d_output that would broadcast", lambda s: s.backward(s.x(1, 1, 1), None), RuntimeError),
    bad("d_output not batch first", lambda s: s.backward(s.x(T, B, H), None), RuntimeError, scene=BatchFirst),
    bad("d_output with a batch", lambda s: s.backward(s.x(T, 1, H), None), RuntimeError, scene=Unbatched),
    bad(
        "d_output of one direction",
        lambda s: s.backward(s.x(T, B, H), None),
        RuntimeError,
        options={"bidirectional": True},
    ),
    bad("d_output of float64", lambda s: s.backward(s.x(T, B, H, dtype=np.float64), None), RuntimeError, CASTS),
    bad("d_output of integers", lambda s: s.backward(s.x(T, B, H, dtype=np.int64), None), RuntimeError, CASTS),
    bad("d_output a number", lambda s: s.backward(1.0, None), TypeError),
    bad("d_output a list", lambda s: s.backward([[[1.0] * H] * B] * T, None), TypeError),
    bad("d_output of the other library", lambda s: s.backward(s.foreign(T, B, H), None), TypeError),
    bad("d_output packed for a padded input", lambda s: s.backward(s.pack(s.x(T, B, H), [4, 3, 2]), None), TypeError),
    bad("d_state of another batch", lambda s: s.backward(None, s.state(1, 2, H)), RuntimeError),
    bad("d_state without its layer", lambda s: s.backward(None, s.state(B, H)), RuntimeError),
    bad("d_state of float64", lambda s: s.backward(None, s.state(1, B, H, dtype=np.float64)), RuntimeError, CASTS),
    bad("d_state a text", lambda s: s.backward(None, "zeros"), TypeError, of=ONE_PART),
    bad("d_state a tuple for one array", lambda s: s.backward(None, s.state(1, B, H, count=2)), TypeError, of=ONE_PART),
    bad(
        "d_state one array for a tuple",
        lambda s: s.backward(None, s.x(1, B, H)),
        TypeError,
        "PyTorch counts results and gradients",
        of=SEVERAL_PARTS,
    ),
    bad("d_state a tuple of one array", lambda s: s.backward(None, (s.x(1, B, H),)), RuntimeError, of=SEVERAL_PARTS),
    bad(
        "d_output right, d_state wrong",
        lambda s: s.backward(s.x(T, B, H), s.state(1, B, 9)),
        RuntimeError,
    ),
    bad(
        "of packed data alone",
        lambda s: s.backward(like(s, s.result[0].data), None),
        TypeError,
        DATA_ALONE,
        scene=Packed,
    ),
    bad(
        "packed in another order",
        lambda s: s.backward(s.pack(s.x(T, B, H), [3, 4, 2], enforce_sorted=False), None),
        RuntimeError,
        DATA_ALONE,
        scene=Packed,
    ),
    bad(
        "packed with other lengths",
        lambda s: s.backward(s.pack(s.x(T, B, H), [4, 4, 1]), None),
        RuntimeError,
        DATA_ALONE,
        scene=Packed,
    ),
    bad(
        "packed of another width",
        lambda s: s.backward(s.pack(s.x(T, B, 9), [4, 3, 2]), None),
        RuntimeError,
        scene=Packed,
    ),
    bad("before any forward", lambda s: s.backward(s.x(T, B, H)), RuntimeError, NO_BACKWARD, prepare=Scene.renew),
    bad(
        "after a forward in no_grad()",
        lambda s: s.backward(s.x(T, B, H)),
        RuntimeError,
        prepare=without_tape,
    ),
    bad(
        "after a step of an optimizer",
        lambda s: s.backward(s.x(T, B, H)),
        RuntimeError,
        prepare=step,
    ),
    bad(
        "after load_state_dict",
        lambda s: s.backward(s.x(T, B, H)),
        RuntimeError,
        prepare=lambda s: s.subject.load_state_dict(s.subject.state_dict()),
    ),
    bad(
        "after data was assigned",
        lambda s: s.backward(s.x(T, B, H)),
        RuntimeError,
        "PyTorch does not notice, and gives wrong gradients",
        prepare=assign_data,
    ),
)


def undone(group: str, scene: type[Scene], of: Iterable[str]) -> list[Row]:
    """Rows about a forward pass that backward takes back."""
    return rows(
        group,
        scene,
        of,
        bad("backward twice", backward, RuntimeError, prepare=backward),
        bad("retain_graph no bool", lambda s: backward(s, retain_graph=1), TypeError, PASSES),
        bad("retain_graph a text", lambda s: backward(s, retain_graph="yes"), TypeError),
        bad("retain_graph None", lambda s: backward(s, retain_graph=None), TypeError, "PyTorch takes it for False"),
    )


CELL = [
    *undone("cell", Cell, cells(RECURRENCES)),
    *rows(
        "cell",
        Cell,
        cells(RECURRENCES),
        bad("input_size 0", lambda s: s.kind(0, H), ValueError, "PyTorch does not check the sizes of cells"),
        bad("input_size negative", lambda s: s.kind(-1, H), ValueError, "PyTorch does not check the sizes of cells"),
        bad("hidden_size 0", lambda s: s.kind(I, 0), ValueError, "PyTorch does not check the sizes of cells"),
        bad("hidden_size a float", lambda s: s.kind(I, 1.5), TypeError),
        bad("bias no bool", lambda s: s.kind(I, H, bias=1), TypeError, PASSES),
        bad("wrong width", lambda s: s.subject(s.x(B, 9)), RuntimeError),
        bad("0-D", lambda s: s.subject(s.x()), ValueError),
        bad("a whole sequence", lambda s: s.subject(s.x(T, B, I)), ValueError),
        bad("float64", lambda s: s.subject(s.x(B, I, dtype=np.float64)), RuntimeError),
        bad("integers", lambda s: s.subject(s.x(B, I, dtype=np.int64)), RuntimeError),
        bad("a list", lambda s: s.subject([0.0] * I), TypeError, ATTRIBUTE),
        bad("None", lambda s: s.subject(None), TypeError, ATTRIBUTE),
        bad("state of another batch", lambda s: s.subject(s.x(B, I), s.state(2, H)), RuntimeError),
        bad("state of another width", lambda s: s.subject(s.x(B, I), s.state(B, 9)), RuntimeError),
        bad("state of a whole module", lambda s: s.subject(s.x(B, I), s.state(1, B, H)), ValueError),
        bad("1-D state for a batch", lambda s: s.subject(s.x(B, I), s.state(H)), RuntimeError),
        bad("2-D state without a batch", lambda s: s.subject(s.x(I), s.state(B, H)), RuntimeError),
        bad("state of float64", lambda s: s.subject(s.x(B, I), s.state(B, H, dtype=np.float64)), RuntimeError),
        bad("d_state of another shape", lambda s: s.backward(s.state(B, 9)), RuntimeError),
        bad("d_state of float64", lambda s: s.backward(s.state(B, H, dtype=np.float64)), RuntimeError, CASTS),
        bad(
            "backward before any call",
            lambda s: s.backward(s.state(B, H)),
            RuntimeError,
            NO_BACKWARD,
            prepare=Scene.renew,
        ),
        bad(
            "backward after a step of an optimizer",
            lambda s: s.backward(s.state(B, H)),
            RuntimeError,
            prepare=step,
        ),
    ),
    *rows(
        "cell",
        Cell,
        cells(ONE_PART),
        bad("a tuple for one array", lambda s: s.subject(s.x(B, I), s.state(B, H, count=2)), TypeError, ATTRIBUTE),
    ),
    *rows(
        "cell",
        Cell,
        cells(SEVERAL_PARTS),
        bad("one array for a tuple", lambda s: s.subject(s.x(B, I), s.x(B, H)), TypeError),
        bad("a tuple of one array", lambda s: s.subject(s.x(B, I), (s.x(B, H),)), RuntimeError),
    ),
    *rows(
        "cell",
        Cell,
        cells(WITH_NONLINEARITY),
        bad("nonlinearity unknown", lambda s: s.kind(I, H, nonlinearity="sigmoid"), ValueError, LATER),
    ),
]

LAYER = [
    *undone("layer", Layer, ["Linear", "Embedding", "Dropout"]),
    *rows(
        "layer",
        Layer,
        ["Linear"],
        bad("in_features a float", lambda s: s.kind(2.0, 1), TypeError),
        bad("in_features negative", lambda s: s.kind(-1, 2), RuntimeError),
        bad("out_features None", lambda s: s.kind(2, None), TypeError),
        bad("bias no bool", lambda s: s.kind(2, 3, bias=1), TypeError, PASSES),
        bad("wrong width", lambda s: s.subject(s.x(B, 9)), RuntimeError),
        bad("0-D", lambda s: s.subject(s.x()), RuntimeError),
        bad("float64", lambda s: s.subject(s.x(B, I, dtype=np.float64)), RuntimeError),
        bad("integers", lambda s: s.subject(s.x(B, I, dtype=np.int64)), RuntimeError),
        bad("a list", lambda s: s.subject([[0.0] * I]), TypeError),
        bad("output and state of a recurrence", lambda s: s.subject((s.x(T, B, I), s.x(1, B, I))), TypeError),
        bad("an array where a parameter was", lambda s: setattr(s.subject, "weight", s.x(H, I)), TypeError),
        bad("d_output of another shape", lambda s: s.backward(s.x(B, 9)), RuntimeError),
        bad("d_output of float64", lambda s: s.backward(s.x(B, H, dtype=np.float64)), RuntimeError, CASTS),
        bad("d_output a list", lambda s: s.backward([[1.0] * H] * B), TypeError),
        bad(
            "backward before any forward",
            lambda s: s.backward(s.x(B, H)),
            RuntimeError,
            NO_BACKWARD,
            prepare=Scene.renew,
        ),
        bad(
            "backward after a step of an optimizer",
            lambda s: s.backward(s.x(B, H)),
            RuntimeError,
            prepare=step,
        ),
    ),
    *rows(
        "layer",
        Layer,
        ["Embedding"],
        bad("num_embeddings a float", lambda s: s.kind(2.0, 1), TypeError),
        bad("embedding_dim negative", lambda s: s.kind(2, -1), RuntimeError),
        bad("padding_idx outside", lambda s: s.kind(3, 2, 3), AssertionError),
        bad("an index too large", lambda s: s.subject(s.array([0, V])), IndexError),
        bad("an index negative", lambda s: s.subject(s.array([0, -1])), IndexError),
        bad("floats", lambda s: s.subject(s.array([0.0, 1.0])), RuntimeError),
        bad("one-hot rows", lambda s: s.subject(s.array(np.eye(V, dtype=np.float32))), RuntimeError),
        bad("a list", lambda s: s.subject([0, 1]), TypeError),
        bad("a number", lambda s: s.subject(1), TypeError),
        bad("d_output of another shape", lambda s: s.backward(s.x(B, 9)), RuntimeError),
        bad("d_output of float64", lambda s: s.backward(s.x(B, E, dtype=np.float64)), RuntimeError, CASTS),
        bad(
            "backward before any forward",
            lambda s: s.backward(s.x(B, E)),
            RuntimeError,
            NO_BACKWARD,
            prepare=Scene.renew,
        ),
    ),
    *rows(
        "layer",
        Layer,
        ["Dropout"],
        bad("p above 1", lambda s: s.kind(1.5), ValueError),
        bad("p negative", lambda s: s.kind(-0.1), ValueError),
        bad("p NaN", lambda s: s.kind(float("nan")), ValueError, LATER),
        bad("p a text", lambda s: s.kind("0.5"), TypeError),
        bad("p None", lambda s: s.kind(None), TypeError),
        bad("integers", lambda s: s.subject(s.x(B, I, dtype=np.int64)), RuntimeError),
        bad("a list", lambda s: s.subject([1.0]), TypeError),
        bad("d_output of another shape", lambda s: s.backward(s.x(B, 9)), RuntimeError),
        bad("d_output of float64", lambda s: s.backward(s.x(B, I, dtype=np.float64)), RuntimeError, CASTS),
        bad(
            "backward before any forward",
            lambda s: s.backward(s.x(B, I)),
            RuntimeError,
            NO_BACKWARD,
            prepare=Scene.renew,
        ),
    ),
]

LOSS = [
    *undone("loss", Layer, ["CrossEntropyLoss", "MSELoss"]),
    *rows(
        "loss",
        Layer,
        ["CrossEntropyLoss", "MSELoss"],
        bad("reduction unknown", lambda s: s.kind(reduction="average")(s.x(B, C), s.x(B, C)), ValueError),
        bad("reduction None", lambda s: s.kind(reduction=None)(s.x(B, C), s.x(B, C)), ValueError),
        bad(
            "prediction a list",
            lambda s: s.subject([[0.0] * C], s.array([1])),
            TypeError,
            ATTRIBUTE,
            sloppy=("MSELoss",),
        ),
        bad("target a list", lambda s: s.subject(s.x(B, C), [0, 1, 2]), TypeError, ATTRIBUTE, sloppy=("MSELoss",)),
        bad("target None", lambda s: s.subject(s.x(B, C), None), TypeError, ATTRIBUTE, sloppy=("MSELoss",)),
        bad("d_loss of another shape", lambda s: s.backward(s.x(2)), RuntimeError),
        bad("d_loss of float64", lambda s: s.backward(s.array(1.0)), RuntimeError, CASTS),
        bad("d_loss a text", lambda s: s.backward("1"), TypeError),
        bad("d_loss None without reduction", lambda s: s.backward(None), RuntimeError, options={"reduction": "none"}),
        bad("backward before any forward", lambda s: s.backward(None), RuntimeError, NO_BACKWARD, prepare=Scene.renew),
        bad("backward after no_grad()", lambda s: s.backward(None), RuntimeError, prepare=without_tape),
    ),
    *rows(
        "loss",
        Layer,
        ["CrossEntropyLoss"],
        bad("a class too large", lambda s: cross_entropy(s, s.x(B, C), np.array([0, 1, C])), IndexError),
        bad("a class negative", lambda s: cross_entropy(s, s.x(B, C), np.array([0, 1, -1])), IndexError),
        bad("classes as floats", lambda s: cross_entropy(s, s.x(B, C), np.ones(B, np.float32)), RuntimeError),
        bad("classes as bools", lambda s: cross_entropy(s, s.x(B, C), np.ones(B, bool)), RuntimeError),
        bad("classes as a column", lambda s: cross_entropy(s, s.x(B, C), classes(B, 1)), RuntimeError),
        bad("one-hot integers", lambda s: cross_entropy(s, s.x(B, C), np.eye(B, C, dtype=np.int64)), RuntimeError),
        bad(
            "one-hot floats",
            lambda s: cross_entropy(s, s.x(B, C), np.eye(B, C, dtype=np.float32)),
            RuntimeError,
            PROBABILITIES,
        ),
        bad("too few targets", lambda s: cross_entropy(s, s.x(B, C), classes(2)), ValueError),
        bad("one target for a batch", lambda s: cross_entropy(s, s.x(B, C), classes()), ValueError),
        bad("a batch of targets for one row", lambda s: cross_entropy(s, s.x(C), classes(B)), ValueError),
        bad(
            "a batch of one target for one row",
            lambda s: cross_entropy(s, s.x(C), classes(1)),
            ValueError,
            "PyTorch returns a loss without the batch",
        ),
        bad("classes last in 3-D", lambda s: cross_entropy(s, s.x(B, T, C), classes(B, T)), RuntimeError),
        bad("a batch flattened on one side", lambda s: cross_entropy(s, s.x(B * T, C), classes(B, T)), ValueError),
        bad("no dimension", lambda s: cross_entropy(s, s.x(), classes()), RuntimeError),
        bad("no class", lambda s: cross_entropy(s, s.x(B, 0), classes(B)), IndexError),
        bad("integer prediction", lambda s: cross_entropy(s, s.array(classes(B, C)), classes(B)), NotImplementedError),
        bad("target a number", lambda s: cross_entropy(s, s.x(C), 1), TypeError),
        bad(
            "weight of another length",
            lambda s: s.subject(s.x(B, 9), s.array(classes(B))),
            RuntimeError,
            options={"weight": np.ones(C, np.float32)},
        ),
        bad(
            "weight of another dtype",
            lambda s: s.subject(s.x(B, C, dtype=np.float64), s.array(classes(B))),
            RuntimeError,
            options={"weight": np.ones(C, np.float32)},
        ),
        *(
            bad(
                what,
                lambda s, options=options: s.kind(**options(s))(s.x(B, C), s.array(classes(B))),
                error,
                stricter,
            )
            for what, options, error, stricter in [
                ("weight a list", lambda s: {"weight": [1.0] * C}, TypeError, ""),
                ("weight of 2 dimensions", lambda s: {"weight": s.x(C, 1)}, RuntimeError, ""),
                ("weight of integers", lambda s: {"weight": s.array(classes(C))}, RuntimeError, ""),
                ("ignore_index a float", lambda s: {"ignore_index": 1.0}, TypeError, ""),
                ("ignore_index a bool", lambda s: {"ignore_index": True}, TypeError, ""),
                ("label_smoothing above 1", lambda s: {"label_smoothing": 1.1}, RuntimeError, ""),
                ("label_smoothing negative", lambda s: {"label_smoothing": -0.1}, RuntimeError, "PyTorch ignores it"),
                ("label_smoothing NaN", lambda s: {"label_smoothing": np.nan}, RuntimeError, "PyTorch ignores it"),
                ("label_smoothing a text", lambda s: {"label_smoothing": "0.1"}, TypeError, ""),
                ("label_smoothing None", lambda s: {"label_smoothing": None}, TypeError, ""),
            ]
        ),
    ),
    *rows(
        "loss",
        Layer,
        ["MSELoss"],
        bad("too few targets", lambda s: s.subject(s.x(B, C), s.x(2, C)), RuntimeError),
        bad("a target that broadcasts", lambda s: s.subject(s.x(B, 1), s.x(B)), RuntimeError, "PyTorch broadcasts"),
        bad("float64", lambda s: s.subject(s.x(B, C), s.x(B, C, dtype=np.float64)), RuntimeError, CASTS),
        bad("integers", lambda s: s.subject(s.x(B, C), s.array(classes(B, C))), RuntimeError, CASTS),
        bad(
            "integer prediction",
            lambda s: s.subject(s.array(classes(B, C)), s.array(classes(B, C))),
            NotImplementedError,
        ),
    ),
]

OPTIMIZER = [
    *rows(
        "optimizer",
        Training,
        OPTIMIZERS,
        bad("lr negative", lambda s: s.kind(s.parameters, lr=-0.1), ValueError),
        bad("lr NaN", lambda s: s.kind(s.parameters, lr=float("nan")), ValueError, PASSES, sloppy=("SGD",)),
        bad("lr infinite", lambda s: s.kind(s.parameters, lr=float("inf")), ValueError, PASSES),
        bad("lr None", lambda s: s.kind(s.parameters, lr=None), TypeError),
        bad("lr a text", lambda s: s.kind(s.parameters, lr="0.1"), TypeError),
        bad("weight_decay negative", lambda s: s.kind(s.parameters, weight_decay=-1), ValueError),
        bad("maximize no bool", lambda s: s.kind(s.parameters, maximize=1), TypeError, PASSES),
        bad("no parameters", lambda s: s.kind([]), ValueError),
        bad("an iterator that is used up", lambda s: s.kind(iter(())), ValueError),
        bad("one parameter, not a list", lambda s: s.kind(s.parameters[0]), TypeError),
        bad("a module", lambda s: s.kind(s.layer), TypeError),
        bad("a number", lambda s: s.kind(3), TypeError),
        bad("an array among the parameters", lambda s: s.kind([*s.parameters, np.ones(3)]), TypeError),
        bad("a set", lambda s: s.kind(set(s.parameters)), TypeError, "PyTorch takes any order, a new one in each run"),
        bad("a parameter twice", lambda s: s.kind([*s.parameters, s.parameters[0]]), ValueError, ONCE),
        bad("a parameter in two groups", lambda s: s.kind([{"params": s.parameters}] * 2), ValueError),
        bad("a group without params", lambda s: s.kind([{"lr": 0.1}]), KeyError),
        bad("some parameters with names", lambda s: s.kind([("w", s.parameters[0]), s.parameters[1]]), ValueError),
        bad("a further group that is a list", lambda s: s.subject.add_param_group(s.parameters), TypeError),
        bad(
            "a further group with known parameters",
            lambda s: s.subject.add_param_group({"params": s.parameters}),
            ValueError,
        ),
        bad(
            "a further group with a bad option",
            lambda s: s.subject.add_param_group(s.group(lr=-1)),
            ValueError,
            "PyTorch checks options in the constructor alone",
        ),
        bad(
            "a step with a gradient of another shape",
            lambda s: s.subject.step(),
            RuntimeError,
            prepare=resize_gradient,
            mend=forget_gradients,
        ),
        bad(
            "a step with an option that was spoilt",
            lambda s: s.subject.step(),
            TypeError,
            prepare=set_option("lr", None),
            mend=set_option("lr", 0.1),
        ),
        bad("a state dict that is a list", lambda s: s.subject.load_state_dict([s.saved()]), TypeError),
        bad("a state dict without groups", lambda s: s.subject.load_state_dict({"state": {}}), KeyError),
        bad(
            "a state dict of two groups",
            lambda s: s.subject.load_state_dict(s.saved(param_groups=2 * s.saved()["param_groups"])),
            ValueError,
        ),
        bad(
            "a state dict of fewer parameters",
            lambda s: s.subject.load_state_dict(
                s.saved(param_groups=[{**s.saved()["param_groups"][0], "params": [0]}])
            ),
            ValueError,
        ),
        bad(
            "a state dict with a bad option",
            lambda s: s.subject.load_state_dict(s.saved(param_groups=[{**s.saved()["param_groups"][0], "lr": -1}])),
            ValueError,
            "PyTorch checks options in the constructor alone",
        ),
        bad(
            "a state dict with the state of nobody",
            lambda s: s.subject.load_state_dict(s.saved(state={7: s.saved()["state"][0]})),
            ValueError,
            PASSES,
        ),
    ),
    *rows(
        "optimizer",
        Training,
        ["SGD", "RMSprop"],
        bad("momentum negative", lambda s: s.kind(s.parameters, momentum=-1), ValueError),
        bad("momentum None", lambda s: s.kind(s.parameters, momentum=None), TypeError),
    ),
    *rows(
        "optimizer",
        Training,
        ["SGD"],
        bad("nesterov without momentum", lambda s: s.kind(s.parameters, nesterov=True), ValueError),
        bad(
            "nesterov with dampening",
            lambda s: s.kind(s.parameters, momentum=0.9, nesterov=True, dampening=0.1),
            ValueError,
        ),
        bad("nesterov no bool", lambda s: s.kind(s.parameters, momentum=0.9, nesterov=1), TypeError, PASSES),
    ),
    *rows(
        "optimizer",
        Training,
        ["Adagrad"],
        bad("lr_decay negative", lambda s: s.kind(s.parameters, lr_decay=-1), ValueError),
        bad(
            "initial_accumulator_value negative",
            lambda s: s.kind(s.parameters, initial_accumulator_value=-1),
            ValueError,
        ),
    ),
    *rows(
        "optimizer",
        Training,
        ["RMSprop"],
        bad("alpha negative", lambda s: s.kind(s.parameters, alpha=-1), ValueError),
        bad("alpha above 1", lambda s: s.kind(s.parameters, alpha=1.5), ValueError, PASSES),
        bad("centered no bool", lambda s: s.kind(s.parameters, centered=1), TypeError, PASSES),
    ),
    *rows(
        "optimizer",
        Training,
        ["Adagrad", "RMSprop", "Adam", "AdamW"],
        bad("eps negative", lambda s: s.kind(s.parameters, eps=-1), ValueError),
    ),
    *rows(
        "optimizer",
        Training,
        ["Adam", "AdamW"],
        bad("a beta of 1", lambda s: s.kind(s.parameters, betas=(1.0, 0.9)), ValueError),
        bad("a beta negative", lambda s: s.kind(s.parameters, betas=(0.9, -0.1)), ValueError),
        bad("a beta NaN", lambda s: s.kind(s.parameters, betas=(0.9, float("nan"))), ValueError),
        bad("one beta", lambda s: s.kind(s.parameters, betas=0.9), TypeError),
        bad("betas of texts", lambda s: s.kind(s.parameters, betas=("a", "b")), TypeError),
        bad("three betas", lambda s: s.kind(s.parameters, betas=(0.9, 0.9, 0.9)), ValueError, LATER),
        bad("amsgrad no bool", lambda s: s.kind(s.parameters, amsgrad=1), TypeError, PASSES),
    ),
]

LOADING = rows(
    "load_state_dict",
    Recurrence,
    RECURRENCES,
    bad("a key missing", lambda s: s.subject.load_state_dict(without(s, "bias_hh_l0")), RuntimeError),
    bad(
        "a key too many", lambda s: s.subject.load_state_dict({**s.subject.state_dict(), "extra": s.x(2)}), RuntimeError
    ),
    bad(
        "keys with the name of a larger model",
        lambda s: s.subject.load_state_dict({f"rnn.{key}": value for key, value in s.subject.state_dict().items()}),
        RuntimeError,
    ),
    bad("of a module with two layers", lambda s: s.subject.load_state_dict(s.kind(I, H, 2).state_dict()), RuntimeError),
    bad("of another hidden_size", lambda s: s.subject.load_state_dict(s.kind(I, 9).state_dict()), RuntimeError),
    bad(
        "a wrong shape although not strict",
        lambda s: s.subject.load_state_dict({"bias_hh_l0": s.x(9)}, strict=False),
        RuntimeError,
    ),
    bad(
        "a list for an array",
        lambda s: s.subject.load_state_dict({**s.subject.state_dict(), "bias_hh_l0": [0.0] * 99}),
        RuntimeError,
    ),
    bad(
        "lists for all arrays",
        lambda s: s.subject.load_state_dict({k: v.tolist() for k, v in s.subject.state_dict().items()}),
        RuntimeError,
    ),
    bad(
        "None for an array",
        lambda s: s.subject.load_state_dict({**s.subject.state_dict(), "bias_hh_l0": None}),
        RuntimeError,
    ),
    bad("a list of pairs", lambda s: s.subject.load_state_dict(list(s.subject.state_dict().items())), TypeError),
    bad("a module", lambda s: s.subject.load_state_dict(s.kind(I, H)), TypeError),
    bad("None", lambda s: s.subject.load_state_dict(None), TypeError),
)


CLIPPING = [
    *rows(
        "clipping",
        Clipping,
        ["clip_grad_norm_"],
        bad(
            "max_norm negative", lambda s: s.subject(s.parameters, -1), ValueError, "PyTorch turns the gradients round"
        ),
        bad(
            "max_norm NaN",
            lambda s: s.subject(s.parameters, float("nan")),
            ValueError,
            "PyTorch's gradients become NaN",
        ),
        bad("max_norm None", lambda s: s.subject(s.parameters, None), TypeError),
        bad("max_norm a text", lambda s: s.subject(s.parameters, "1"), TypeError, "PyTorch reads the number in it"),
        bad("norm_type a text", lambda s: s.subject(s.parameters, 1, "euclidean"), ValueError),
        bad("norm_type None", lambda s: s.subject(s.parameters, 1, None), TypeError),
        bad("norm_type NaN", lambda s: s.subject(s.parameters, 1, float("nan")), ValueError, PASSES),
        bad("a module", lambda s: s.subject(s.layer, 1), TypeError),
        bad("an array among the parameters", lambda s: s.subject([*s.parameters, np.ones(3)], 1), TypeError, ATTRIBUTE),
        bad(
            "a norm that is infinite",
            lambda s: s.subject(s.parameters, 1, error_if_nonfinite=True),
            RuntimeError,
            prepare=spoil_gradient,
        ),
        bad("error_if_nonfinite no bool", lambda s: s.subject(s.parameters, 1, 2, "no"), TypeError, PASSES),
    ),
    *rows(
        "clipping",
        Clipping,
        ["clip_grad_value_"],
        bad(
            "clip_value negative",
            lambda s: s.subject(s.parameters, -1),
            ValueError,
            "PyTorch sets all gradients to it",
        ),
        bad("clip_value NaN", lambda s: s.subject(s.parameters, float("nan")), ValueError, PASSES),
        bad("clip_value a text", lambda s: s.subject(s.parameters, "1"), TypeError, "PyTorch reads the number in it"),
        bad("clip_value None", lambda s: s.subject(s.parameters, None), TypeError),
        bad("a module", lambda s: s.subject(s.layer, 1), TypeError),
        bad("an array among the parameters", lambda s: s.subject([*s.parameters, np.ones(3)], 1), TypeError, ATTRIBUTE),
    ),
]


PARAMETER = rows(
    "parameter",
    Single,
    ["Parameter"],
    bad("of a list", lambda s: s.kind([1.0, 2.0]), TypeError, ATTRIBUTE),
    bad("of integers", lambda s: s.kind(s.array([1, 2])), RuntimeError),
    bad("of float16", lambda s: s.kind(s.x(2, dtype=np.float16)), RuntimeError, HALF),
    bad("requires_grad no bool", lambda s: s.kind(s.x(2), requires_grad=1), TypeError),
    bad(
        "requires_grad set to no bool",
        lambda s: setattr(s.subject, "requires_grad", 1),
        TypeError,
        "PyTorch raises RuntimeError",
    ),
    bad("requires_grad_() without a bool", lambda s: s.subject.requires_grad_(1), TypeError),
    bad("data a list", lambda s: setattr(s.subject, "data", [0.0] * H), TypeError),
    bad("data of another shape", lambda s: setattr(s.subject, "data", s.x(2)), RuntimeError, PASSES),
    bad("data of another dtype", lambda s: setattr(s.subject, "data", s.x(H, dtype=np.float64)), RuntimeError, PASSES),
    bad("grad a list", lambda s: setattr(s.subject, "grad", [0.0] * H), TypeError),
    bad("grad of another shape", lambda s: setattr(s.subject, "grad", s.x(2)), RuntimeError),
    bad("grad of another dtype", lambda s: setattr(s.subject, "grad", s.x(H, dtype=np.float64)), RuntimeError),
)

TABLE: list[Row] = [
    *CONSTRUCTOR,
    *FORWARD,
    *STATE,
    *PACKED,
    *FUNCTIONS,
    *BACKWARD,
    *undone("backward", Recurrence, RECURRENCES),
    *CELL,
    *LAYER,
    *LOSS,
    *OPTIMIZER,
    *CLIPPING,
    *LOADING,
    *PARAMETER,
]
