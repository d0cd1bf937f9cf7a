"""Dropout: what is dropped, how the rest is scaled, and the gradient. (What is refused: reference/bad_calls.md)"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratch import nn
from scratch.nn.pile import no_grad

FLOATS = [np.float16, np.float32, np.float64, np.longdouble, np.complex128]


@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    p=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    dtype=st.sampled_from(FLOATS),
    training=st.booleans(),
    fortran=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_drops_or_scales_and_backward_does_the_same(shape, p, dtype, training, fortran, seed):
    rng = np.random.default_rng(seed)
    dropout = nn.Dropout(p, rng).train(training)
    x, d_y = (rng.normal(size=shape).astype(dtype, order="F" if fortran else "C") for _ in range(2))
    x.flags.writeable = d_y.flags.writeable = False
    y, d_x = dropout(x), dropout.backward(d_y, retain_graph=True)
    assert y.shape == d_x.shape == x.shape
    assert y.dtype == d_x.dtype == x.dtype
    dropped = np.asarray(y == 0)
    if not training or p == 0:
        assert dropout.mask is None
    else:
        assert (dropout.mask.shape, dropout.mask.dtype) == (x.shape, x.dtype)
        np.testing.assert_array_equal(dropout.mask == 0, dropped)
    assert not dropped.any() or (training and p > 0)
    assert dropped.all() or not (training and p == 1)
    kept = dtype(1 - p if training and p < 1 else 1)
    rtol = 4 * np.finfo(dtype).eps  # two roundings: of 1/(1 − p), and of the product
    np.testing.assert_allclose(y, np.where(dropped, 0, x / kept), rtol=rtol)
    np.testing.assert_allclose(d_x, np.where(dropped, 0, d_y / kept), rtol=rtol)
    np.testing.assert_array_equal(dropout.backward(d_y), d_x)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_share_of_dropped_elements_is_p_and_the_mean_stays(p):
    x = np.full((300, 300), 2.0)
    y = nn.Dropout(p, rng=0)(x)
    deviation = np.sqrt(p * (1 - p) / x.size)  # of the share, over seeds
    assert abs((y == 0).mean() - p) < 4 * deviation
    assert abs(y.mean() - 2) < 4 * deviation * 2 / (1 - p)


def test_matches_pytorch_through_the_same_mask():
    theirs = torch.nn.Dropout(0.3)(torch.ones(1000, dtype=torch.float64)).numpy()
    dropout = nn.Dropout(0.3, rng=0)
    ours = dropout(np.ones(1000))
    assert set(ours) == set(theirs)
    np.testing.assert_array_equal(ours, dropout.mask)


def test_the_same_seed_drops_the_same_in_every_dtype_and_each_call_draws_anew():
    masks = [nn.Dropout(0.5, rng=7)(np.ones((9, 5), dtype)) for dtype in FLOATS]
    for mask in masks:
        np.testing.assert_array_equal(mask, masks[0])
    dropout = nn.Dropout(0.5, rng=7)
    assert (dropout(np.ones((9, 5))) != dropout(np.ones((9, 5)))).any()


def test_backward_needs_a_forward_pass_with_a_tape():
    dropout, x = nn.Dropout(0.5, rng=0), np.ones(50)
    assert dropout.mask is None
    with pytest.raises(RuntimeError, match="forward"):
        dropout.backward(x)
    with no_grad():
        y = dropout(x)
    assert 0 < (y == 0).mean() < 1
    assert dropout.mask is None
    with pytest.raises(RuntimeError, match="forward"):
        dropout.backward(x)
    dropout(x)
    dropout.backward(x)
    with pytest.raises(RuntimeError, match="forward"):
        dropout.backward(x)


def test_shows_its_argument():
    assert repr(nn.Dropout(0.3)) == "Dropout(p=0.3)"
