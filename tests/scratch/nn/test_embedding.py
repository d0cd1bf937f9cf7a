"""Embedding against PyTorch: look-up, gradients, padding and the start. (What is refused: reference/bad_calls.md)"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratch import nn

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


def by_pytorch(k, weight, d_y, padding_idx):
    """y and the gradient with respect to the weight."""
    weight = torch.tensor(weight, requires_grad=True)
    y = torch.nn.functional.embedding(torch.tensor(k.astype(np.int64)), weight, padding_idx)
    y.backward(torch.tensor(d_y))
    return y.detach().numpy(), weight.grad.numpy()


def run(embedding, k, d_y, retain_graph=False):
    """The same by our module, from no gradients."""
    embedding.zero_grad()
    y = embedding(k)
    assert embedding.backward(d_y, retain_graph=retain_graph) is None
    return y, embedding.weight.grad


# A sum of k numbers errs by at most k·ε of the sum of their absolute values (Higham 2002, section 4.2), in either
# library. k is at most 64 here, and ε is 1.1e-16 or 6.0e-8.
@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    num_embeddings=st.integers(1, 6),
    embedding_dim=st.integers(0, 5),
    integer=st.sampled_from(INTEGERS),
    fortran=st.booleans(),
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
)
def test_outputs_and_gradients_match_pytorch(
    dtype, bound, shape, num_embeddings, embedding_dim, integer, fortran, data, seed
):
    rng = np.random.default_rng(seed)
    padding_idx = data.draw(st.none() | st.integers(-num_embeddings, num_embeddings - 1))
    embedding = nn.Embedding(num_embeddings, embedding_dim, padding_idx, dtype, rng)
    k = rng.integers(0, num_embeddings, shape).astype(integer, order="F" if fortran else "C")
    d_y = rng.normal(size=(*shape, embedding_dim)).astype(dtype, order="F" if fortran else "C")
    k.flags.writeable = d_y.flags.writeable = False
    weight = embedding.weight.data
    wanted_y, wanted_d_weight = by_pytorch(k, weight, d_y, padding_idx)
    _, scale = by_pytorch(k, weight, np.abs(d_y), padding_idx)
    y, d_weight = run(embedding, k, d_y)
    np.testing.assert_array_equal(y, wanted_y, strict=True)
    assert (d_weight.shape, d_weight.dtype) == (wanted_d_weight.shape, wanted_d_weight.dtype)
    assert np.linalg.norm(d_weight - wanted_d_weight) <= bound * np.linalg.norm(scale)


@pytest.fixture
def embedding():
    return nn.Embedding(5, 3, dtype=np.float64, rng=0)


@pytest.fixture
def k():
    return np.array([[4, 0, 4], [1, 4, 0]])


@pytest.fixture
def d_y():
    return np.random.default_rng(1).normal(size=(2, 3, 3))


def test_what_stands_between_does_not_change_how_the_gradients_of_a_row_are_added():
    rng = np.random.default_rng(0)
    k, d_y = rng.integers(0, 3, 1000), rng.normal(size=(1000, 2)).astype(np.float32)
    by_row = np.argsort(k, kind="stable")
    embedding = nn.Embedding(3, 2)
    _, mixed = run(embedding, k, d_y)
    _, apart = run(embedding, k[by_row], d_y[by_row])
    np.testing.assert_array_equal(mixed, apart)  # to the last bit: another order would round otherwise


def test_the_padding_row_gets_no_gradient_even_from_nan(k, d_y):
    embedding = nn.Embedding(5, 3, padding_idx=-1, dtype=np.float64, rng=0)
    d_y[k == 4] = np.nan
    _, d_weight = run(embedding, k, d_y)
    np.testing.assert_array_equal(d_weight[4], 0)
    np.testing.assert_array_equal(d_weight[1], d_y[1, 0])


def test_one_index_may_be_a_numpy_integer(embedding):
    np.testing.assert_array_equal(embedding(np.int64(3)), embedding.weight.data[3])
    embedding.backward(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(embedding.weight.grad[3], [1, 2, 3])


@pytest.mark.parametrize("dtype", [np.longdouble, np.complex128])
def test_other_dtypes_compute_the_same(dtype, embedding, k, d_y):
    other = nn.Embedding(5, 3, dtype=dtype)
    other.load_state_dict(embedding.state_dict())
    for ours, wanted in zip(run(other, k, d_y.astype(dtype)), run(embedding, k, d_y), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, wanted, rtol=1e-13)


@pytest.mark.parametrize("padding_idx", [None, 0, 3, 299, -1, -300])
def test_starts_like_pytorch(padding_idx):
    ours, theirs = nn.Embedding(300, 100, padding_idx, rng=0), torch.nn.Embedding(300, 100, padding_idx)
    assert repr(ours) == repr(theirs)
    assert ours.padding_idx == theirs.padding_idx
    ((name, weight),) = ours.state_dict().items()
    assert (name, weight.shape, weight.dtype) == ("weight", (300, 100), np.float32)
    zero_rows = np.flatnonzero((weight == 0).all(axis=1)).tolist()
    assert zero_rows == ([] if padding_idx is None else [padding_idx % 300])
    # Standard normal: of 30,000 draws the mean lies within 4/√30,000 of 0, the variance within 4·√(2/30,000) of 1,
    # and 1 in 300 draws is zero where a row is padding.
    assert abs(weight.mean()) < 0.025
    assert abs(weight.var() - 1) < 0.04
    np.testing.assert_array_equal(nn.Embedding(300, 100, padding_idx, rng=0).weight.data, weight)
