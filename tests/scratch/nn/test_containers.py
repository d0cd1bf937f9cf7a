"""Modules made of modules, and the nonlinearities: as PyTorch's, in every tensor."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratch import nn

NONLINEARITIES = ("Tanh", "Sigmoid", "ReLU")


def chain(library: Any, names: list[str]) -> Any:
    """Linear layers with a nonlinearity behind each."""
    modules = []
    for name in names:
        modules += [library.Linear(4, 4), getattr(library, name)()]
    return library.Sequential(*modules).double()


@given(st.lists(st.sampled_from(NONLINEARITIES), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_a_chain_computes_what_pytorchs_does(names: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = chain(nn, names), chain(torch.nn, names)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})
    x, d_output = rng.standard_normal((5, 4)), rng.standard_normal((5, 4))
    leaf = torch.from_numpy(x).requires_grad_()
    expected = theirs(leaf)
    expected.backward(torch.from_numpy(d_output))
    pairs = [(ours(x), expected.detach()), (ours.backward(d_output), leaf.grad)]
    pairs += [(one.grad, other.grad) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True)]
    for one, other in pairs:
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-12, atol=1e-12)  # a few dozen roundings


@pytest.mark.parametrize("name", NONLINEARITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_are_pytorchs(name: str, dtype: type) -> None:
    """Saturation, the kink, infinity and NaN, without a warning."""
    x = np.array([-np.inf, -1000, -90, -1e-30, -0.0, 0, 1e-30, 90, 1000, np.inf, np.nan], dtype)
    ours, leaf = getattr(nn, name)(), torch.from_numpy(x).requires_grad_()
    expected = getattr(torch.nn, name)()(leaf)
    expected.backward(torch.ones_like(expected))
    tiny = 2 * np.finfo(dtype).tiny  # PyTorch rounds some numbers below the normal ones to 0
    np.testing.assert_allclose(ours(x), expected.detach().numpy(), rtol=4 * np.finfo(dtype).eps, atol=tiny)
    assert leaf.grad is not None
    np.testing.assert_allclose(
        ours.backward(np.ones_like(x)), leaf.grad.numpy(), rtol=4 * np.finfo(dtype).eps, atol=tiny
    )


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_a_nonlinearity_refuses_what_is_no_array_of_floats(name: str) -> None:
    module = getattr(nn, name)()
    for bad, error in (([1.0], TypeError), (np.arange(3), RuntimeError)):
        with pytest.raises(error, match="expected input"):
            module(bad)
    output = module(np.ones(3))
    with pytest.raises(RuntimeError, match="expected d_output"):
        module.backward(np.ones(4))
    assert module.backward(output).shape == (3,)


def test_a_list_names_its_modules_by_their_numbers() -> None:
    ours, theirs = (library.ModuleList([library.Linear(2, 3), library.Linear(3, 1)]) for library in (nn, torch.nn))
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert len(ours) == 2 and ours[-1] is list(ours)[1]
    with pytest.raises(TypeError, match="Module"):
        ours.append(3)


def test_a_member_may_stand_twice_in_a_chain() -> None:
    """Its parameters count once, its gradient comes from both places."""
    rng = np.random.default_rng(0)
    shared = nn.Linear(4, 4, dtype=np.float64, rng=0)
    twice, x, d_y = nn.Sequential(shared, nn.Tanh(), shared), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    twice(x)
    twice.backward(d_y)
    first, second = (nn.Linear(4, 4, dtype=np.float64, rng=0) for _ in range(2))
    apart = nn.Sequential(first, nn.Tanh(), second)
    apart(x)
    apart.backward(d_y)
    assert len(list(twice.parameters())) == 2
    np.testing.assert_allclose(shared.weight.grad, first.weight.grad + second.weight.grad, rtol=1e-13)


def test_a_call_is_undone_by_all_members_or_by_none() -> None:
    chain_of_two = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    output = chain_of_two(np.ones((2, 4), np.float32))
    first = chain_of_two[0]
    assert isinstance(first, nn.Linear)
    first.weight.data = 2 * first.weight.data
    with pytest.raises(RuntimeError, match="changed"):
        chain_of_two.backward(output)
    assert all(parameter.grad is None for parameter in chain_of_two.parameters())


def test_a_module_that_is_there_twice_is_visited_once() -> None:
    """Under two names in one module, and in two modules."""

    def made(library: Any) -> Any:
        shared = library.Sequential(library.Linear(2, 2))
        return library.Sequential(shared, library.Tanh(), library.Tanh(), shared, library.Sequential(shared, shared))

    ours, theirs = made(nn), made(torch.nn)
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert [name for name, _ in ours.named_children()] == [name for name, _ in theirs.named_children()]
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
