"""Parameters, state dicts, modes, gradients: what all modules share."""

import copy

import numpy as np
import pytest
import torch

from scratch import nn


class Model(nn.Module):
    def __init__(self) -> None:
        self.rnn = nn.LSTM(3, 4, num_layers=2, rng=0)
        self.fc = nn.Linear(4, 5, rng=1)
        self.drop = nn.Dropout(0.5)


class TorchModel(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(3, 4, num_layers=2)
        self.fc = torch.nn.Linear(4, 5)
        self.drop = torch.nn.Dropout(0.5)


def test_names_and_order_are_pytorchs() -> None:
    assert list(Model().state_dict()) == list(TorchModel().state_dict())
    assert [name for name, _ in Model().named_parameters()] == [name for name, _ in TorchModel().named_parameters()]
    assert len(list(Model().parameters())) == len(list(TorchModel().parameters()))


def test_state_dict_goes_through_pytorch_unchanged() -> None:
    ours, theirs, back = Model(), TorchModel(), Model()
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})
    back.fc.weight.data = back.fc.weight.data * 0
    back.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    for name, value in ours.state_dict().items():
        assert np.array_equal(back.state_dict()[name], value)


def test_state_dict_is_a_copy() -> None:
    model = Model()
    state = model.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    model.fc.weight.data[...] = 0
    model.load_state_dict({name: -value for name, value in state.items()})
    assert all(np.array_equal(state[name], before[name]) for name in state)
    state["fc.bias"][...] = 9
    assert not (model.fc.bias.data == 9).any()


def broken(change: str) -> dict[str, object]:
    state: dict[str, object] = dict(Model().state_dict())
    if change == "missing":
        del state["fc.bias"]
    elif change == "unexpected":
        state["fc.extra"] = np.zeros(1)
    elif change == "shape":
        state["fc.bias"] = np.zeros(4)
    elif change == "text":
        state["fc.bias"] = np.array(["a"] * 5)
    elif change == "ragged":
        state["fc.bias"] = [[1.0, 2.0], [3.0]]
    else:
        state["fc.bias"] = np.zeros(5, complex)
    return state


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "text", "ragged", "complex"])
def test_a_wrong_state_dict_changes_nothing(change: str) -> None:
    model = Model()
    before = model.state_dict()
    with pytest.raises(RuntimeError, match=r"fc\.(bias|extra)"):
        model.load_state_dict({name: value if "fc" in name else value + 1 for name, value in broken(change).items()})
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())


def test_everything_that_does_not_fit_is_named() -> None:
    state = {"rnn.weight_ih_l0": [[1.0, 2.0], [3.0]], "fc.weight": np.zeros((1, 5)), "fc.bias": np.array("text")}
    with pytest.raises(RuntimeError) as caught:
        Model().load_state_dict(Model().state_dict() | state)
    for problem in (
        "'rnn.weight_ih_l0' of type list for an array",
        "'fc.weight' of shape (1, 5) for (5, 4)",
        "'fc.bias' of dtype <U4 for float32",
    ):
        assert problem in str(caught.value)


def test_numbers_beyond_the_dtype_are_loaded_as_infinity_without_a_warning() -> None:
    model = Model()
    model.load_state_dict({"fc.bias": np.array([1e300, -1e300, 0, 1, 2])}, strict=False)
    assert np.array_equal(model.fc.bias.data, np.array([np.inf, -np.inf, 0, 1, 2]))


def test_a_lenient_load_names_what_did_not_fit() -> None:
    model = Model()
    result = model.load_state_dict({"fc.bias": np.arange(5), "other": np.zeros(1)}, strict=False)
    assert result.unexpected_keys == ["other"] and "fc.weight" in result.missing_keys
    assert np.array_equal(model.fc.bias.data, np.arange(5, dtype=np.float32))


def test_modes_reach_all_children() -> None:
    model = Model()
    assert model.eval() is model
    assert not (model.training or model.rnn.training or model.drop.training)
    model.train()
    assert model.training and model.rnn.training and model.drop.training


def test_zero_grad_forgets() -> None:
    model = Model()
    model.fc.bias.grad = handed_out = np.ones(5, np.float32)
    model.zero_grad(set_to_none=False)
    assert not model.fc.bias.grad.any() and handed_out.all()
    model.zero_grad()
    assert model.fc.bias.grad is None


def test_data_is_copied_when_assigned_or_loaded() -> None:
    parameter, given = Model().fc.bias, np.ones(5, np.float32)
    assert not np.shares_memory(nn.Parameter(given).data, given)
    given.flags.writeable = False
    parameter.data = given
    parameter.data[...] = 2
    assert (given == 1).all()
    parameter.data = np.ones(5, np.float32).view(np.matrix).reshape(1, 5).A1
    assert type(parameter.data) is np.ndarray


def test_every_assignment_counts_as_a_version() -> None:
    model = Model()
    before = model.fc.bias.version
    model.fc.bias.data -= 1
    model.load_state_dict(model.state_dict())
    assert model.fc.bias.version == before + 2


def test_requires_grad_reaches_all_parameters() -> None:
    model = Model()
    assert all(parameter.requires_grad is True for parameter in model.parameters())
    assert model.requires_grad_(False) is model
    assert all(parameter.requires_grad is False for parameter in model.parameters())


@pytest.mark.parametrize("name", ["requires_gradient", "required_grad", "frozen", "gradient"])
def test_a_parameter_takes_no_attribute_that_nobody_reads(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(Model().fc.bias, name, False)


def test_prefix_is_joined_with_a_dot() -> None:
    assert next(Model().named_parameters("model"))[0] == "model.rnn.weight_ih_l0"


def test_gradients_add_up_in_new_arrays() -> None:
    parameter = Model().fc.bias
    parameter.add_grad(np.ones(5, np.float32))
    first = parameter.grad
    parameter.add_grad(np.full(5, 2, np.float32))
    assert (first == 1).all()
    assert (parameter.grad == 3).all()


def test_a_shared_parameter_is_counted_once_and_named_twice() -> None:
    model = Model()
    model.tied = nn.Linear(4, 5)
    model.tied.weight = model.fc.weight
    names = [name for name, _ in model.named_parameters()]
    assert "fc.weight" in names and "tied.weight" not in names
    assert "tied.weight" in model.state_dict()


def test_a_copied_module_is_independent_and_has_no_tape() -> None:
    lstm, x = nn.LSTM(3, 4, rng=0), np.ones((2, 1, 3), np.float32)
    output, _ = lstm(x)
    twin = copy.deepcopy(lstm)
    with pytest.raises(RuntimeError, match="forward"):
        twin.backward(output)
    twin(x)
    d_input, _ = twin.backward(output)
    assert lstm.weight_ih_l0.grad is None
    assert np.array_equal(lstm.backward(output)[0], d_input)
    twin.weight_ih_l0.data = -lstm.weight_ih_l0.data
    assert np.array_equal(lstm(x)[0], output)


def test_repr_is_pytorchs() -> None:
    assert repr(Model()) == repr(TorchModel()).replace(", inplace=False", "").replace("TorchModel", "Model")


def test_repr_of_modules_in_modules_is_pytorchs() -> None:
    outer, theirs = nn.Module(), torch.nn.Module()
    outer.inner, theirs.inner = Model(), TorchModel()
    outer.last, theirs.last = nn.Linear(2, 3), torch.nn.Linear(2, 3)
    assert repr(outer) == repr(theirs).replace(", inplace=False", "").replace("TorchModel", "Model")


def test_arguments_may_be_given_by_name() -> None:
    rnn, x, h_0 = nn.RNN(3, 4, rng=0), np.ones((2, 1, 3), np.float32), np.ones((1, 1, 4), np.float32)
    assert np.array_equal(rnn(input=x, hx=h_0)[0], rnn(x, h_0)[0])
    assert not np.array_equal(rnn(x, hx=h_0)[0], rnn(x)[0])
