"""What all modules share, as code written for PyTorch's expects it: names, parameters, state dicts, modes, dtypes."""

from collections import OrderedDict
from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch

from scratch import nn

from .modules import CASES, EACH_CASE, Case
from .passes import assert_same, mapped, twin, upstream

SIZES = {"input_size": 3, "hidden_size": 4}
ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", SIZES | {"num_layers": 2, "nonlinearity": "relu", "dropout": 0.5}),
    ("LSTM", SIZES | {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    *((kind.module.__name__, SIZES | {"bias": False, "batch_first": True, "bidirectional": True, "num_layers": 2})
      for kind in nn.RECURRENCES.values()),
    *((kind.single.__name__, SIZES | {"bias": bias} | dict(kind.options))
      for kind in nn.RECURRENCES.values() for bias in (True, False)),
    ("Linear", {"in_features": 3, "out_features": 4, "bias": False}),
    ("Linear", {"in_features": 3, "out_features": 4}),
    *(("Embedding", {"num_embeddings": 300, "embedding_dim": 4, "padding_idx": k}) for k in (None, 0, 299, -1, -300)),
    ("Dropout", {"p": 0.25}),
    ("CrossEntropyLoss", {"ignore_index": 7, "reduction": "sum", "label_smoothing": 0.1}),
    ("MSELoss", {"reduction": "none"}),
]  # fmt: skip
DEFAULTS = {"num_layers": 1, "nonlinearity": "tanh", "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False}  # fmt: skip


def model(library: Any) -> Any:
    """Modules in modules, one of them there three times, and one with a parameter of another."""
    shared = library.Sequential(library.Linear(2, 2), library.Dropout(0.5))
    nested = library.Sequential(shared, library.Tanh(), library.Tanh(), shared, library.Sequential(shared, shared))
    last = OrderedDict(lstm=library.LSTM(3, 4, 2), activations=library.ModuleList([library.ReLU()]))
    outer = library.Sequential(nested, library.Sequential(last))
    outer.tied = library.Linear(2, 2)
    outer.tied.weight = nested[0][0].weight
    outer.extra_repr = lambda: "two\nlines"
    return outer


def named(state_dict: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(value.shape)) for name, value in state_dict.items()]


def assert_alike(ours: Any, theirs: Any) -> None:
    """The names and order of parameters."""
    assert named(ours.state_dict()) == named(theirs.state_dict())
    assert named(dict(ours.named_parameters("model"))) == named(dict(theirs.named_parameters("model")))
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))


def assert_shown_alike(ours: Any, theirs: Any) -> None:
    assert repr(ours) == repr(theirs).replace(", inplace=False", "")


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)
def test_arguments_and_parameters_are_pytorchs(name: str, arguments: dict[str, Any]) -> None:
    ours, theirs = (getattr(library, name)(**arguments) for library in (nn, torch.nn))
    for attribute in (DEFAULTS | arguments).keys() & vars(theirs).keys() - {"bias" if name == "Linear" else ""}:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
        assert type(getattr(ours, attribute)) is type(getattr(theirs, attribute)), attribute
    assert [*signature(ours.forward).parameters] == [*signature(theirs.forward).parameters]
    assert_alike(ours, theirs)
    assert_shown_alike(ours, theirs)


def test_modules_in_modules_are_named_and_visited_as_in_pytorch() -> None:
    ours, theirs = model(nn), model(torch.nn)
    assert_alike(ours, theirs)
    assert_shown_alike(ours, theirs)
    for names in ("named_modules", "named_children"):
        assert [name for name, _ in getattr(ours, names)()] == [name for name, _ in getattr(theirs, names)()]
    assert len(list(ours.modules())) == len(list(theirs.modules()))
    for part in (slice(1, 4), slice(None, None, -2)):
        assert_alike(ours[0][part], theirs[0][part])
    assert ours[0][1:4][-1] is ours[0][0] and len(ours[0][1:4].append(nn.Tanh())) == 4
    assert type(ours[1][1][:]) is nn.ModuleList and type(ours[0][:1]) is nn.Sequential
    for name, error in (("forward", KeyError), ("a.b", KeyError), ("", KeyError), (1, (KeyError, TypeError))):
        for library in (nn, torch.nn):
            with pytest.raises(error):
                library.Sequential(OrderedDict([("right", library.Tanh()), (name, library.Tanh())]))
    visited: dict[Any, list[str]] = {ours: [], theirs: []}
    for each in (ours, theirs):
        assert each.apply(lambda module, each=each: visited[each].append(type(module).__name__)) is each
    assert visited[ours] == visited[theirs]
    assert ours.get_parameter("1.lstm.weight_ih_l0") is ours[1][0].weight_ih_l0
    with pytest.raises(AttributeError, match="no parameter 'nothing'"):
        ours.get_parameter("nothing")
    with pytest.raises(TypeError, match="Module"):
        ours[1][1].append(3)
    assert len(ours[1]) == 2 and ours[1][-1] is list(ours[1])[1]


@pytest.mark.parametrize(
    ("name", "sizes", "bound"),
    [("RNN", (50, 100), 0.1), ("LSTM", (50, 100), 0.1), ("GRU", (50, 100), 0.1), ("RNNCell", (50, 100), 0.1),
     ("LSTMCell", (50, 100), 0.1), ("GRUCell", (50, 100), 0.1), ("Linear", (100, 300), 0.1), ("Linear", (1, 300), 1)],
)  # fmt: skip
def test_weights_start_as_pytorchs_and_a_seed_decides_them(name: str, sizes: tuple[int, int], bound: float) -> None:
    """Uniform: its bounds are nearly reached, on both sides; the mean and the deviation are what they have to be."""

    def drawn(rng: Any, dtype: Any = np.float32, again: int = 0) -> np.ndarray:
        module = getattr(nn, name)(*sizes, dtype=dtype, rng=rng)
        for _ in range(again):
            module.reset_parameters()
        return np.concatenate([each.data.ravel() for each in module.parameters()])

    values, generator = drawn(7), np.random.default_rng(7)
    assert values.dtype == np.float32 and -bound <= values.min() < -0.98 * bound < 0.98 * bound < values.max() <= bound
    assert abs(values.mean()) < 4 * bound / np.sqrt(3 * values.size)
    assert abs(values.std() / bound - 1 / np.sqrt(3)) < 0.05
    assert np.array_equal(values, drawn(7)) and np.array_equal(values, drawn(generator))
    assert np.array_equal(drawn(7, again=1), drawn(generator)) and not np.array_equal(drawn(None), drawn(None))
    assert not np.array_equal(values, drawn(7, again=1))
    assert np.array_equal(values, drawn(7, np.longdouble).astype(np.float32)), "the same in every dtype"


def test_weights_of_no_features_and_of_embeddings_start_as_pytorchs() -> None:
    """Standard normal: the mean of 30,000 draws lies within 4/√30,000 of 0, the variance within 4·√(2/30,000) of 1."""
    none = nn.Linear(0, 300, rng=0)
    assert none.weight.shape == (300, 0) and not none.bias.data.any()
    for row in (None, 3, -1):
        module = nn.Embedding(300, 100, row, rng=0)
        first = module.weight.data
        module.reset_parameters()
        weight = module.weight.data
        assert weight.dtype == np.float32 and abs(weight.mean()) < 0.025 and abs(weight.var() - 1) < 0.04
        assert np.flatnonzero((weight == 0).all(axis=1)).tolist() == ([] if row is None else [row % 300])
        assert np.array_equal(nn.Embedding(300, 100, row, rng=0).weight.data, first) and (weight != first).any()


def test_a_dtype_is_native_and_float32_unless_given() -> None:
    for dtype in (None, ">f4", "float32"):
        for module in (nn.RNN(2, 3, dtype=dtype), nn.RNNCell(2, 3, dtype=dtype), nn.Linear(2, 3, dtype=dtype)):
            assert all(parameter.dtype == np.float32 and parameter.dtype.isnative for parameter in module.parameters())


def test_a_kind_has_the_cell_of_its_modules() -> None:
    for kind in nn.RECURRENCES.values():
        assert kind.cell is kind.single(3, 4, **kind.options).cell is kind.module(3, 4, **kind.options).cell


# State dicts.


def test_a_state_dict_is_a_copy_and_goes_through_pytorch_unchanged() -> None:
    ours, theirs, back = model(nn), model(torch.nn), model(nn)
    state = ours.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    theirs.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    assert back.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()}) == ([], [])
    assert all(np.array_equal(back.state_dict()[name], value) for name, value in state.items())
    ours.load_state_dict({name: -value for name, value in state.items()})
    ours.tied.bias.data[...] = 0
    assert all(np.array_equal(value, before[name]) for name, value in state.items())
    state["tied.bias"][...] = 9
    assert not ours.tied.bias.data.any()


RAGGED = [[1.0, 2.0], [3.0]]
UNREAD = "'bias' that NumPy cannot read"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "no 'bias'"),
        ({"extra": np.zeros(1)}, "an unknown 'extra'"),
        ({"bias": np.zeros(4)}, r"'bias' of shape \(4,\) for \(5,\)"),
        ({"bias": np.array(["a"] * 5)}, "'bias' of dtype <U1 for float32"),
        ({"bias": RAGGED}, "'bias' of type list for an array"),
        ({"bias": np.zeros(5, complex)}, "'bias' of dtype complex128 for float32"),
        ({"weight": np.zeros((1, 5)), "bias": 3}, r"'weight' of shape \(1, 5\) for \(5, 4\); 'bias' of type int"),
        ({"weight": 3, "bias": torch.zeros(5, dtype=torch.bfloat16)}, f"'weight' of type int for an array; {UNREAD}"),
        ({"weight": RAGGED, "bias": torch.zeros(5, device="meta")}, f"'weight' of type list for an array; {UNREAD}"),
        ({"weight": torch.zeros(5, 4, device="meta"), "bias": 3}, "'weight' that NumPy cannot read.*; 'bias' of type"),
    ],
)
def test_a_wrong_state_dict_changes_nothing_and_all_that_does_not_fit_is_named(change: Any, message: str) -> None:
    module = nn.Linear(4, 5)
    before = module.state_dict()
    state = {name: value + 1 for name, value in before.items()} | change
    with pytest.raises(RuntimeError, match=message):
        module.load_state_dict({name: value for name, value in state.items() if value is not None})
    assert all(np.array_equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_lenient_load_names_what_did_not_fit() -> None:
    """And numbers beyond the dtype are loaded as infinity, without a warning."""
    module = nn.Linear(4, 5)
    result = module.load_state_dict({"bias": np.array([1e300, -1e300, 0, 1, 2]), "other": np.zeros(1)}, strict=False)
    assert result.unexpected_keys == ["other"] and result.missing_keys == ["weight"]
    assert np.array_equal(module.bias.data, np.array([np.inf, -np.inf, 0, 1, 2], np.float32))


# Modes, gradients, dtypes.


def test_modes_requires_grad_and_forgetting_reach_all_modules() -> None:
    ours = model(nn)
    assert ours.eval() is ours and not any(module.training for module in ours.modules())
    assert ours.train() is ours and all(module.training for module in ours.modules())
    assert all(parameter.requires_grad is True for parameter in ours.parameters())
    assert ours.requires_grad_(False) is ours and not any(each.requires_grad for each in ours.parameters())
    assert all(parameter.requires_grad is True for parameter in ours.requires_grad_().parameters())
    bias = ours.tied.bias
    bias.grad = handed_out = np.ones(2, np.float32)
    ours.zero_grad(set_to_none=False)
    assert not bias.grad.any() and handed_out.all()
    ours.zero_grad()
    assert bias.grad is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_parameters_and_gradients_change_their_dtype_with_the_module(dtype: type) -> None:
    module = nn.Sequential(nn.LSTM(3, 4, dtype=np.float64, rng=0), nn.Linear(3, 4, dtype=np.float64, rng=0))
    for parameter in module.parameters():
        parameter.grad = 1e300 * parameter.data  # in float32 that is infinite, without a warning
    before = [(parameter.data, parameter.grad) for parameter in module.parameters()]
    assert module.to(dtype) is module
    for parameter, (data, grad) in zip(module.parameters(), before, strict=True):
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(parameter.data, data.astype(dtype), strict=True)
            np.testing.assert_array_equal(parameter.grad, grad.astype(dtype), strict=True)


@EACH_CASE
def test_the_dtype_changes_with_everything_that_depends_on_it(case: Case) -> None:
    """Also with the weights of a loss."""
    if case.name == "CrossEntropyLoss":
        case = case._replace(options={"weight": np.array([1.0, 2, 3, 4, 5, 6])})
    module, same, rng = case.make(), case.make().float(), np.random.default_rng(0)
    wide = case.draw(rng)
    narrow = mapped(np.float32, wide)
    for _ in range(2):  # a tape that is spent, and one that waits
        d_output = upstream(module, module(*wide), rng)
    module.backward(*d_output)
    assert module.float() is module and {p.dtype for p in module.parameters()} <= {np.dtype(np.float32)}
    if list(module.parameters()):
        with pytest.raises(RuntimeError, match="changed"):
            module.backward(*d_output)
        with pytest.raises((RuntimeError, ValueError), match="float32"):
            module(*wide) if case.name != "Embedding" else setattr(module.weight, "data", np.ones((6, 4)))
    for each in (module, same):
        if hasattr(each, "rng"):
            each.rng = np.random.default_rng(1)
    output = module(*narrow)
    assert_same(output, same(*narrow), 1e-6)
    module.backward(*upstream(module, output, rng))
    assert module.double() is module
    fresh = twin(case, module)
    assert_same(module(*wide), fresh(*wide))  # in none of the memory of float32
    module.to(np.complex128)(*mapped(np.complex128, wide))
    with pytest.raises(RuntimeError, match="float16"):
        module.to(np.float16)


# Attributes.


def test_what_cannot_be_says_why() -> None:
    whys = {"cuda": "CPU", "register_forward_hook": ": scratch has no hooks", "half": "float32",
            "buffers": "no buffers", "hidden": "no attribute 'hidden'$"}  # fmt: skip
    for name, why in whys.items():
        with pytest.raises(AttributeError, match=why):
            getattr(nn.LSTM(3, 4), name)


@EACH_CASE
def test_a_module_may_be_called_in_a_loop_over_its_parameters(case: Case) -> None:
    """As when its gradients are compared with finite differences, here before it has been called at all."""
    module = case.make()
    for _ in module.named_parameters():
        module(*case.draw(np.random.default_rng(0)))
    assert len(module._pile.kept) == len(list(module.parameters()))


@EACH_CASE
def test_a_parameter_in_place_of_another_must_fit(case: Case) -> None:
    for name, parameter in case.make().named_parameters():
        module = case.make()
        owner, own = (module, name) if "." not in name else (module[0], "weight")
        setattr(owner, own, nn.Parameter(np.concatenate([parameter.data] * 2)))
        with pytest.raises(RuntimeError, match=f"expected {own} of shape"):
            module(*case.draw(np.random.default_rng(0)))


@pytest.mark.parametrize("name", ["hiden_size", "hidden_size", "num_layers", "bidirectional", "nonlinearity"])
def test_an_attribute_that_nothing_reads_is_refused(name: str) -> None:
    for module in (nn.RNN(3, 4), nn.LSTM(3, 4), nn.GRUCell(3, 4), nn.Linear(3, 4), nn.Dropout(), nn.MSELoss()):
        before = dict(vars(module))
        with pytest.raises(AttributeError, match="that can change after construction"):
            setattr(module, name, 3)
        assert vars(module) == before
    with pytest.raises(AttributeError, match=name):
        setattr(nn.Linear(2, 3).bias, name, False)


@pytest.mark.parametrize("library", [nn, torch.nn])
def test_a_module_is_not_lost_to_its_output(library: Any) -> None:
    model = library.Module()
    model.fc = library.Linear(2, 2)
    with pytest.raises(TypeError, match="Module or None"):
        model.fc = np.ones(2)
    model.fc = library.Linear(2, 3)
    model.fc = None


def test_an_attribute_that_can_change_is_checked_and_heard() -> None:
    module = nn.LSTM(3, 4, num_layers=2, dropout=0.5, rng=0)
    with pytest.raises(ValueError, match="dropout"):
        module.dropout = 2
    module.dropout, module.batch_first = 0.0, True
    assert module(np.ones((2, 5, 3), np.float32))[0].shape == (2, 5, 4) and module.dropout_masks == []


def test_a_subclass_may_have_attributes_of_its_own() -> None:
    class Named(nn.RNN):
        def __init__(self) -> None:
            super().__init__(3, 4)
            self.name = "encoder"

    assert Named().name == "encoder"


def test_arguments_may_be_given_by_name() -> None:
    rnn, x, h_0 = nn.RNN(3, 4, rng=0), np.ones((2, 1, 3), np.float32), np.ones((1, 1, 4), np.float32)
    assert np.array_equal(rnn(input=x, hx=h_0)[0], rnn(x, h_0)[0])
    assert not np.array_equal(rnn(x, hx=h_0)[0], rnn(x)[0])


@pytest.mark.parametrize("name", ["Tanh", "Sigmoid", "ReLU"])
def test_a_nonlinearity_refuses_what_is_no_array_of_floats(name: str) -> None:
    module = CASES[name].make()
    matrix, masked = np.eye(3).view(np.matrix), np.ma.masked_array(np.ones(3), [True, False, False])
    for bad, error in (([1.0], TypeError), (np.arange(3), RuntimeError), (matrix, TypeError), (masked, TypeError)):
        with pytest.raises(error, match="expected input"):
            module(bad)
    module(np.ones(3))
    with pytest.raises(RuntimeError, match="expected d_output"):
        module.backward(np.ones(4))


def test_a_call_is_undone_by_all_members_of_a_chain_or_by_none() -> None:
    chain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    output = chain(np.ones((2, 4), np.float32))
    chain[0].weight.data = 2 * chain[0].weight.data
    with pytest.raises(RuntimeError, match="changed"):
        chain.backward(output)
    assert all(parameter.grad is None for parameter in chain.parameters())


def test_a_call_that_nobody_undid_leaves_the_tapes_of_another_chain_alone() -> None:
    tanh, x = nn.Tanh(), np.ones((2, 4), np.float32)
    encoder, decoder = (nn.Sequential(nn.Linear(4, 4), tanh) for _ in range(2))
    decoder(x)  # an evaluation, without no_grad
    decoder[0].weight.data = 2 * decoder[0].weight.data
    encoder.backward(decoder.backward(decoder(encoder(x))))


def test_a_member_may_stand_twice_in_a_chain() -> None:
    """Its parameters count once, its gradient comes from both places, also where the call is retained."""
    rng = np.random.default_rng(0)
    first, second, shared = (nn.Linear(4, 4, dtype=np.float64, rng=0) for _ in range(3))
    x, d_y = rng.standard_normal((2, 3, 4))
    inner, tanh = nn.Sequential(shared, nn.Tanh()), nn.Tanh()
    apart = nn.Sequential(first, nn.Tanh(), second, *(nn.Tanh() for _ in range(3)))
    for chain in (nn.Sequential(inner, nn.Sequential(inner, tanh), tanh), apart):
        chain(x)
        for retain_graph in (True, True, False):
            chain.backward(d_y, retain_graph=retain_graph)
    np.testing.assert_allclose(shared.weight.grad, first.weight.grad + second.weight.grad, rtol=1e-13)


def test_a_chain_takes_a_callers_own_module() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, d_y: Any) -> Any:
            return 2 * d_y

    chain, d_y = nn.Sequential(nn.Tanh(), Doubled()), np.ones(3)
    chain(np.zeros(3))
    assert np.array_equal(chain.backward(d_y), 2 * d_y)


# Parameters.


def test_a_parameter_answers_as_pytorchs_does() -> None:
    ours, theirs = nn.Linear(3, 4).weight, torch.nn.Linear(3, 4).weight
    assert (ours.shape, ours.size(), ours.size(0), ours.size(-1)) == ((4, 3), tuple(theirs.size()), 4, theirs.size(-1))
    assert (ours.numel(), ours.ndim, len(ours)) == (theirs.numel(), theirs.ndim, len(theirs))
    assert ours.dtype == np.float32 and ours.requires_grad and np.asarray(ours) is ours.data
    assert np.array(ours, np.float64).dtype == np.float64 and not np.shares_memory(np.array(ours), ours.data)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(ours, np.float64, copy=False)
    assert repr(ours) == f"Parameter({ours.data!r})"
    assert repr(ours.requires_grad_(False)) == f"Parameter({ours.data!r}, requires_grad=False)"
    with pytest.raises(IndexError):
        ours.size(2)


def test_data_is_copied_when_assigned_and_every_assignment_counts_as_a_version() -> None:
    module, given = nn.Linear(3, 5), np.ones(5, np.float32)
    parameter = module.bias
    before = parameter.version
    assert not np.shares_memory(nn.Parameter(given).data, given)
    given.flags.writeable = False
    parameter.data = given
    parameter.data -= 1
    assert (given == 1).all() and not parameter.data.any()
    module.load_state_dict(module.state_dict())
    assert parameter.version == before + 3
    parameter.data = np.ones(5, np.float32).view(np.matrix).reshape(1, 5).A1
    assert type(parameter.data) is np.ndarray


@pytest.mark.parametrize("shape", [(5,), ()])
def test_gradients_add_up_in_new_arrays_beyond_the_dtype_too(shape: tuple[int, ...]) -> None:
    parameter = nn.Parameter(np.zeros(shape, np.float32))
    parameter.add_grad(np.ones(shape, np.float32))
    first = parameter.grad
    parameter.add_grad(np.full(shape, 2, np.float32))
    parameter.data = parameter.data - parameter.grad
    assert (first == 1).all() and (parameter.grad == 3).all() and (parameter.data == -3).all()
    with np.errstate(all="raise"):
        for _ in range(2):
            parameter.add_grad(np.full(shape, 3e38, np.float32))
    assert np.isinf(parameter.grad).all() and type(parameter.grad) is np.ndarray
