"""The page on which faults are planted is right without one, and so are its forms of the cells."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import space
from reference.candidates import candidate
from reference.check import check
from reference.diagnosis import diagnose
from reference.equivalence import TOLERANCE, relative_error
from reference.faults import Setting, catalogue, held_to, right_run
from reference.problems import Configuration, draw
from reference.runs import run_scratch

GRID = [configuration for configuration in space.grid() if configuration.lengths]


@given(st.sampled_from(GRID))
def test_the_page_without_a_fault_is_scratch(configuration: Configuration) -> None:
    problem = draw(configuration)
    truth, masks = run_scratch(problem)
    run = right_run(problem, masks)
    exact = Setting(problem, masks).exact(frozenset()) if problem.upstream else {}
    assert list(run) == list(truth)
    for name, right in truth.items():
        assert run[name].shape == right.shape
        assert relative_error(run[name], right) < TOLERANCE, name
        assert relative_error(exact.get(name, right), right) < TOLERANCE, f"{name}, by autograd"


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}, {"layout": "packed", "lengths": (4, 2)}]
)
def test_the_gradients_of_a_gru_that_resets_before_the_product(options: dict) -> None:
    """By complex step (Squire and Trapp 1998): the derivative in a random direction of all that has a gradient."""
    problem = draw(Configuration("GRU", **options))
    form, rng = "reset before", np.random.default_rng(0)
    run = right_run(problem, form=form)
    for name, value in problem.leaves.items():
        direction = rng.standard_normal(value.shape)
        groups = {
            group: {n: v + 1e-100j * direction if n == name else v + 0j for n, v in getattr(problem, group).items()}
            for group in ("parameters", "initial")
        }
        x = problem.input + (1e-100j * direction if name == "input" else 0j)
        ahead, *_ = Setting(replace(problem, input=x, **groups), form=form).forward(frozenset())
        loss = sum((ahead[n] * d).sum() for n, d in problem.upstream.items())
        slope = float(np.imag(loss)) / 1e-100
        assert slope == pytest.approx(float((run[f"d_{name}"] * direction).sum()), rel=1e-10), name


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def forward(x, state, parameters):
    """A GRU as most people write it by hand (Cho et al. 2014)."""
    H, output, tape = state.shape[1], [], []
    W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
    b_ih, b_hh = (parameters.get(name, np.zeros(3 * H, x.dtype)) for name in ("bias_ih", "bias_hh"))
    for x_t in x:
        a = x_t @ W_ih.T + b_ih + b_hh
        gates = sigmoid(a[:, : 2 * H] + state @ W_hh[: 2 * H].T)
        r, z = gates[:, :H], gates[:, H:]
        n = np.tanh(a[:, 2 * H :] + (r * state) @ W_hh[2 * H :].T)
        tape.append((x_t, state, r, z, n))
        state = (1 - z) * n + z * state
        output.append(state)
    return np.stack(output), state, (tape, parameters)


def backward(d_output, d_state, tape, slip=""):
    steps, parameters = tape
    H, W_hh, d_x = d_state.shape[1], parameters["weight_hh"], []
    gradients = {name: np.zeros_like(value) for name, value in parameters.items()}
    for (x, h, r, z, n), d_h in zip(reversed(steps), d_output[::-1], strict=True):
        d_h = d_h + d_state
        d_n = d_h * (1 - z) * (1 if slip == "tanh" else 1 - n * n)
        d_u = d_n @ W_hh[2 * H :]
        d_r, d_z = (d_u if slip == "d_r" else d_u * h) * r * (1 - r), d_h * (h - n) * z * (1 - z)
        d_a = np.concatenate([d_r, d_z, d_n], axis=1)
        d_x.append(d_a @ parameters["weight_ih"])
        d_state = d_h * z + (0 if slip == "u" else d_u * r) + d_a[:, : 2 * H] @ W_hh[: 2 * H]
        u = h if slip == "W_hh" else r * h
        gradients["weight_ih"] += d_a.T @ x
        gradients["weight_hh"] += np.concatenate([d_a[:, : 2 * H].T @ h, d_n.T @ u])
        for name in gradients.keys() - {"weight_ih", "weight_hh"}:
            gradients[name] += d_a.sum(axis=0)
    return np.stack(d_x[::-1]), d_state, gradients


def test_a_gru_may_be_held_to_the_reset_before_the_product() -> None:
    configurations = [Configuration("GRU"), Configuration("GRU", bias=False), Configuration("GRU", lengths=(7,))]
    subject = candidate((forward, backward), "GRU")
    told = str(diagnose(subject, configurations[0]))
    assert "r acts before the product with W_hh" in told
    assert "gradients are none of those" not in told  # they are those of this form
    found = check(configurations, held_to(subject, "reset before"), ("float64",))
    assert len(found.configurations) == len(configurations)
    assert not found.failures


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ("tanh", "d_a_n is d_n ⊙ (1 − n²) (3); yours is exactly d_n: a factor is missing"),
        ("d_r", "d_r is d_u ⊙ h_prev (3); yours is exactly d_u: a factor is missing"),
        ("u", "yours is exactly d_h ⊙ z + d_a_r"),
        ("W_hh", "the rows of n are formed with h_prev"),
    ],
)
def test_the_faults_of_that_form_are_named(slip: str, told: str) -> None:
    subject = held_to(candidate((forward, partial(backward, slip=slip)), "GRU"), "reset before")
    assert check([Configuration("GRU")], subject, ("float64",), witnesses=False).failures
    assert told in str(diagnose(subject, Configuration("GRU")))


def test_what_cannot_be_held_to_a_form_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a form among 'reset before', got 'after'"):
        held_to(candidate((forward, backward), "GRU"), "after")
    with pytest.raises(ValueError, match="expected a GRU for the form 'reset before', got LSTM"):
        held_to(candidate((forward, backward), "LSTM"), "reset before")


@pytest.mark.parametrize("cell", ["RNN tanh", "LSTM", "GRU"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True}])
def test_the_catalogue_has_no_fault_twice(cell: str, options: dict) -> None:
    faults = catalogue(Configuration(cell, **options))
    assert len(faults) > 250
    assert len({fault.edits for fault in faults}) == len(faults)
    assert [fault.rank for fault in faults] == sorted(fault.rank for fault in faults)
    assert all(fault.explanation[-1] == "." and "NAME" not in fault.explanation for fault in faults)
