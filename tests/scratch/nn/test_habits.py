"""What code written for PyTorch's modules and parameters expects of ours."""

from typing import Any

import numpy as np
import pytest
import torch

from scratch import nn


def made(library: Any) -> Any:
    return library.Sequential(library.Linear(3, 4), library.Sequential(library.Tanh(), library.LSTM(4, 2)))


def test_modules_are_named_and_visited_as_in_pytorch() -> None:
    ours, theirs = made(nn), made(torch.nn)
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert [name for name, _ in ours.named_children()] == [name for name, _ in theirs.named_children()]
    visited: dict[Any, list[str]] = {ours: [], theirs: []}
    for model in (ours, theirs):
        assert model.apply(lambda module, model=model: visited[model].append(type(module).__name__)) is model
    assert visited[ours] == visited[theirs]
    assert len(list(ours.modules())) == len(list(theirs.modules()))
    assert ours.get_parameter("1.1.weight_ih_l0") is ours[1][1].weight_ih_l0
    with pytest.raises(AttributeError, match="no parameter 'nothing'"):
        ours.get_parameter("nothing")


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
    with pytest.raises(AttributeError):
        ours.requires_gard = False


def test_a_module_is_frozen_and_unfrozen_as_in_pytorch() -> None:
    for module in (nn.LSTM(3, 4), torch.nn.LSTM(3, 4)):
        assert module.requires_grad_(False) is module
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert all(parameter.requires_grad for parameter in module.requires_grad_().parameters())


@pytest.mark.parametrize("kind", nn.RECURRENCES.values(), ids=nn.RECURRENCES)
def test_a_kind_has_the_cell_of_its_modules(kind: nn.Kind) -> None:
    assert kind.cell is kind.single(3, 4, **kind.options).cell is kind.module(3, 4, **kind.options).cell


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_parameters_and_gradients_change_their_dtype_with_the_module(dtype: type) -> None:
    for module in (nn.LSTM(3, 4, dtype=np.float64, rng=0), nn.Linear(3, 4, dtype=np.float64, rng=0)):
        for parameter in module.parameters():
            parameter.grad = 1e300 * parameter.data  # in float32 that is infinite, without a warning
        before = [(parameter.data, parameter.grad) for parameter in module.parameters()]
        assert module.to(dtype) is module
        for parameter, (data, grad) in zip(module.parameters(), before, strict=True):
            assert parameter.data.dtype == dtype and parameter.grad is not None and parameter.grad.dtype == dtype
            np.testing.assert_array_equal(parameter.data, data.astype(dtype))
            with np.errstate(over="ignore"):
                np.testing.assert_array_equal(parameter.grad, grad.astype(dtype))


@pytest.mark.parametrize("kind", nn.RECURRENCES.values(), ids=nn.RECURRENCES)
def test_the_dtype_changes_with_everything_that_depends_on_it(kind: nn.Kind) -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    for make, shape in ((kind.module, x), (kind.single, x[0])):
        module, same = make(3, 4, **kind.options, rng=0), make(3, 4, **kind.options, rng=0)
        module(shape.astype(np.float32))
        assert module.double() is module and module.dtype == np.float64
        with pytest.raises(RuntimeError, match="changed"):
            module.backward()
        wide = [np.asarray(part) for part in parts(module(shape))]
        narrow = [np.asarray(part) for part in parts(same(shape.astype(np.float32)))]
        for one, other in zip(wide, narrow, strict=True):
            assert one.dtype == np.float64
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)  # float32's roundings over five steps
        assert module.float().dtype == np.float32
        with pytest.raises((RuntimeError, ValueError), match="float32"):
            module(shape)
    with pytest.raises(RuntimeError, match="float16"):
        module.to(np.float16)


def parts(value: Any) -> list[Any]:
    return [part for each in value for part in parts(each)] if isinstance(value, tuple) else [value]


def test_the_weights_of_a_loss_change_their_dtype_too() -> None:
    weight, logits, target = np.array([1.0, 2.0, 4.0]), np.eye(2, 3), np.array([0, 2])
    expected = nn.CrossEntropyLoss(weight=weight)(logits, target)
    for dtype in (np.float32, np.longdouble):
        loss = nn.CrossEntropyLoss(weight=weight).to(dtype)(logits.astype(dtype), target)
        assert loss.dtype == dtype
        np.testing.assert_allclose(loss, expected, rtol=1e-6)  # float32's roundings


def test_what_cannot_be_says_why() -> None:
    module = nn.LSTM(3, 4)
    for name, why in (
        ("cuda", "CPU"),
        ("register_forward_hook", ": scratch has no hooks"),
        ("half", "float32"),
        ("buffers", "no buffers"),
    ):
        with pytest.raises(AttributeError, match=why):
            getattr(module, name)
    with pytest.raises(AttributeError, match="no attribute 'hidden'"):
        _ = module.hidden


@pytest.mark.parametrize("name", ["hiden_size", "hidden_size", "num_layers", "bidirectional", "nonlinearity"])
def test_an_attribute_that_nothing_reads_is_refused(name: str) -> None:
    for module in (nn.RNN(3, 4), nn.LSTM(3, 4), nn.GRUCell(3, 4), nn.Linear(3, 4), nn.Dropout(), nn.MSELoss()):
        before = dict(vars(module))
        with pytest.raises(AttributeError, match="that can change after construction"):
            setattr(module, name, 3)
        assert vars(module) == before


def test_an_attribute_that_can_change_is_checked_and_heard() -> None:
    module = nn.LSTM(3, 4, num_layers=2, dropout=0.5, rng=0)
    with pytest.raises(ValueError, match="dropout"):
        module.dropout = 2
    module.dropout, module.batch_first = 0.0, True
    assert module(np.ones((2, 5, 3), np.float32))[0].shape == (2, 5, 4) and module.dropout_masks == []


def test_a_subclass_may_have_attributes_of_its_own() -> None:
    class Named(nn.LSTM):
        def __init__(self) -> None:
            super().__init__(3, 4)
            self.name = "encoder"

    assert Named().name == "encoder"


def test_a_state_dict_names_what_numpy_cannot_read() -> None:
    module = nn.Linear(2, 2)
    unread = "that NumPy cannot read"
    for bad in (torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, device="meta")):
        with pytest.raises(RuntimeError, match=f"'weight' of type int for an array; 'bias' {unread}"):
            module.load_state_dict({"weight": 3, "bias": bad})
        with pytest.raises(RuntimeError, match=f"'weight' {unread}.*'bias' of type int for an array"):
            module.load_state_dict({"weight": bad, "bias": 3})
