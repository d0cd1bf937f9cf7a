"""Four witnesses agree with the truth, and each of them sees a gradient that is wrong."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from reference import witnesses
from reference.problems import CELLS, Configuration, draw
from reference.runs import run_scratch
from reference.witnesses import WITNESSES
from tests.strategies import configurations


def disagreeing(name: str, configuration: Configuration, wrong: Sequence[str] = ()) -> list[str]:
    """The tensors in which a witness disagrees with `scratch`, in whose run one entry of each of `wrong` is wrong."""
    exact = draw(configuration).astype(np.longdouble)
    truth, masks = run_scratch(exact)
    for tensor in wrong:
        entry = np.unravel_index(np.abs(truth[tensor]).argmax(), truth[tensor].shape)
        truth[tensor][entry] = truth[tensor][entry] * (1 + np.longdouble(1e-6)) or 1e-3
    said = WITNESSES[name](exact, masks, truth)
    return [tensor for tensor, (error, tolerance) in said.items() if not error <= tolerance]


@pytest.mark.parametrize("name", WITNESSES)
@given(configurations())
def test_witnesses_agree_with_the_backward_pass(name: str, configuration: Configuration) -> None:
    assert disagreeing(name, configuration) == []


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", WITNESSES)
def test_witnesses_see_one_wrong_entry_of_any_gradient_and_blame_no_other(name: str, cell: str) -> None:
    """Also of one that is 0, as all are without upstream gradients: an error has nothing to be relative to there."""
    configuration = Configuration(cell, num_layers=2, bidirectional=True, lengths=(2, 4), layout="packed", seed=1)
    gradients = [tensor for tensor in run_scratch(draw(configuration))[0] if tensor.startswith("d_")]
    for wrong in (gradients[::2], gradients[1::2]):
        assert sorted(disagreeing(name, configuration, wrong)) == sorted(wrong)
    still = Configuration(cell, upstream=())
    assert disagreeing(name, still) == []
    assert disagreeing(name, still, ["d_weight_hh_l0"]) == ["d_weight_hh_l0"]


def test_central_differences_step_less_far_where_they_step_over_a_kink(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relu whose pre-activation is 5e-8 from 0: the first step goes over the kink, the second does not."""
    configuration = Configuration(
        "RNN relu", input_size=1, hidden_size=1, bias=False, lengths=(1,), initial_state=False
    )
    drawn = draw(configuration)
    weights = drawn.parameters | {"weight_ih_l0": np.array([[1.0]])}
    exact = replace(drawn, parameters=weights, input=np.array([[[5e-8]]])).astype(np.longdouble)
    truth, masks = run_scratch(exact)
    assert all(error <= tolerance for error, tolerance in witnesses.central_differences(exact, masks, truth).values())
    monkeypatch.setattr(witnesses, "DIFFERENCE_STEPS", witnesses.DIFFERENCE_STEPS[:1])
    said = witnesses.central_differences(exact, masks, truth)
    assert said["d_input"].error > said["d_input"].tolerance


def test_a_witness_says_how_far_it_may_be_off() -> None:
    exact = draw(Configuration("LSTM")).astype(np.longdouble)
    truth, masks = run_scratch(exact)
    for name, witness in WITNESSES.items():
        most = 1e-7 if name == "central differences" else 1e-15
        assert all(one.tolerance < most for one in witness(exact, masks, truth).values())
