"""Vanishing and exploding gradients (Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013), measured.

The state s is h for an RNN, and for an LSTM (h, c) as one column: S numbers. One step and many have the Jacobians

(1)  J_t = ∂s_t/∂s_{t−1}                                       S, S; for an RNN it is diag(φ′(a_t)) W_hh
(2)  ∂s_T/∂s_{T−k} = J_T J_{T−1} ⋯ J_{T−k+1}                   over a distance of k steps

so that a loss L that reads the last state alone has at the distance k the gradient

(3)  ∂L/∂s_{T−k} = J_{T−k+1}ᵀ ⋯ J_Tᵀ ∂L/∂s_T

The bound (Pascanu, Mikolov and Bengio 2013, section 2.1) holds for an RNN. With σ_max the largest singular value and
γ the largest slope of the nonlinearity, which is 1 for tanh and for relu,

(4)  ‖∂s_T/∂s_{T−k}‖ ≤ (γ · σ_max(W_hh))ᵏ,   because   ‖J_t‖ ≤ ‖diag(φ′(a_t))‖ · ‖W_hh‖ ≤ γ · σ_max(W_hh)

If γ σ_max < 1, gradients must vanish; if they explode, γ σ_max must be above 1. An LSTM's Jacobian is no product of
W_hh with slopes, and (4) says nothing about it. Its own landmark is the path that never leaves the cell state,

(5)  f_T ⊙ f_{T−1} ⊙ ⋯ ⊙ f_{T−k+1}                              H; (textbook/lstm.md, section 4)

Spectral radius and largest singular value are two things. The radius ρ, the largest |eigenvalue|, says how powers of
one matrix grow in the long run; σ_max ≥ ρ says how much one product can stretch a vector. They are equal for a normal
matrix, which stretches the same directions again and again, as a multiple of an orthogonal one does. A matrix of
independent Gaussian numbers is not normal: as H grows, σ_max tends to 2ρ. So with ρ = 1 the bound (4) grows like 2ᵏ.

The Jacobians here are made by `step_tangent`, from causes to effects, not by the backward pass: that the two agree by
(3) is a finding, which the study reports. What the steps were given and made comes from the library's own pass
(trace.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import nn, optim
from ..nn import checks
from ..nn.cell import State
from ..nn.checks import without_warnings
from ..nn.recurrent import Recurrent
from ..nn.utils import clip_grad_norm_
from ..types import Array, Seed
from .trace import Step, trace

GAMMA = 1.0
"""The largest slope of tanh, and of relu."""

MATRICES = ("gaussian", "orthogonal")
"""How W_hh can be drawn."""


# One module over one sequence


def states(module: Recurrent[Any], x: Array, hx: Any = None) -> Array:
    """s_0, …, s_T for one sequence: (T + 1, S), with S = H for an RNN and 2H for an LSTM, h before c.

    module: one layer, one direction, no projection; it is read and left as it is. x: (T, I). hx: the state before, as
    the module takes it for one sequence; zeros if left out.

    Raises ValueError for another kind of module, RuntimeError for an x or a state that does not fit.
    """
    steps = steps_of(module, x, hx)
    return np.array([column(steps[0].state_prev), *(column(step.state) for step in steps)])


@without_warnings
def jacobians(module: Recurrent[Any], x: Array, hx: Any = None) -> Array:
    """J_1, …, J_T of (1): (T, S, S). The arguments, and what is raised, are as for `states`."""
    steps = steps_of(module, x, hx)
    cell, W_hh = module.cell, module.state_dict()["weight_hh_l0"]
    parts, H = len(cell.state), module.hidden_size
    one_each = np.eye(parts * H, dtype=module.dtype)  # column j: number j of the state before changes, by 1
    state_prev_dot = tuple(one_each.reshape(parts, H, -1))  # H, S each
    from_state_dot = (W_hh @ state_prev_dot[0]).reshape(len(cell.gates), H, -1)  # the same at every step
    a_dot = cell.joined(np.zeros_like(from_state_dot), from_state_dot)
    states_dot = (cell.step_tangent(a_dot, state_prev_dot, step.slopes) for step in steps)
    return np.array([np.concatenate(state_dot) for state_dot in states_dot])  # (1)


def products(steps: Array) -> Array:
    """(2) for the distances 1, …, T. steps: (T, S, S), the first step first. Returns (T, S, S)."""
    found = np.empty_like(steps)
    product = np.eye(steps.shape[-1], dtype=steps.dtype)
    for k, J in enumerate(steps[::-1]):
        found[k] = product = product @ J  # (2)
    return found


def pulled_back(steps: Array, d_state: Array) -> Array:
    """(3) for the distances 0, …, T. steps: (T, S, S), d_state: (S,), of the last step. Returns (T + 1, S)."""
    gradients = [d_state]
    for J in steps[::-1]:
        gradients.append(J.T @ gradients[-1])  # (3)
    return np.array(gradients)


def backward_gradients(module: Recurrent[Any], x: Array, d_state: Array, hx: Any = None) -> Array:
    """What (3) says, as the library's own backward pass has it: for the distances 0, …, T, (T + 1, S).

    d_state: (S,), the gradient with respect to the last state; the other arguments, and what is raised, are as for
    `states`.
    """
    check(module, x)
    d_parts = np.reshape(d_state, (len(module.cell.state), 1, module.hidden_size))
    found = trace(module, x, hx, None, module._join(tuple(d_parts)))
    d_initial = np.concatenate(module._split("d_initial", found.d_initial), axis=None)
    return np.array([*(column(step.d_state) for step in reversed(found.steps[0])), d_initial])


def forget_path(steps: Array) -> Array:
    """(5) for the distances 1, …, T. steps: (T, 2H, 2H), of an LSTM. Returns (T, H).

    With h_prev held fixed, c depends on c_prev through f alone: the lower right blocks are the diag(f_t).
    """
    H = steps.shape[-1] // 2
    forget = steps[:, H:, H:].diagonal(axis1=1, axis2=2)  # T, H
    found: Array = forget[::-1].cumprod(axis=0)  # (5)
    return found


def bound(W_hh: Array, distances: Any) -> Array:
    """The right side of (4). W_hh: (H, H), of an RNN. distances: numbers k of steps, of any shape.

    Infinite where it is beyond the range of float64.
    """
    with np.errstate(over="ignore"):
        found: Array = (GAMMA * np.linalg.norm(W_hh, 2)) ** np.asarray(distances, np.float64)  # (4)
    return found


def bands(matrices: Array) -> Array:
    """The largest, the median and the smallest singular value of each matrix: (…, S, S) to (…, 3).

    A singular value below S·ε times the largest is lost in the rounding of that one, and given as NaN: the smaller ones
    of a long product soon are. So is a 0, which units of a relu that are off make, unless all of the matrix is 0.
    """
    S = matrices.shape[-1]
    found = np.linalg.svd(matrices, compute_uv=False)  # …, S, the largest first
    chosen = np.stack([found[..., 0], np.median(found, axis=-1), found[..., -1]], axis=-1)
    largest = found[..., :1]
    lost = (chosen <= S * np.finfo(matrices.dtype).eps * largest) & (largest > 0)
    return np.where(lost, np.nan, chosen)


def steps_of(module: Recurrent[Any], x: Array, hx: Any) -> list[Step]:
    """The steps of a sequence, as the module takes them. Refuses what `states` refuses."""
    check(module, x)
    return trace(module, x, hx).steps[0]


def column(state: State) -> Array:
    """A state of one sequence, h before c, as the numbers s: (H, 1) each to (S,)."""
    return np.concatenate(state)[:, 0]


def check(module: Recurrent[Any], x: Array) -> None:
    """Refuse what is not one layer over one sequence. Raises TypeError, ValueError or RuntimeError."""
    if module.num_layers > 1 or module.bidirectional or module.proj_size:
        raise ValueError(f"expected one layer in one direction without a projection, got {module!r}")
    checks.floats("x", x, module.dtype)
    if x.ndim != 2 or len(x) == 0 or x.shape[1] != module.input_size:
        raise RuntimeError(f"expected x of shape (T, {module.input_size}) with at least 1 step, got {x.shape}")


# Models whose W_hh has a given spectral radius


def with_radius(radius: float, size: int, rng: np.random.Generator, matrix: str = "gaussian") -> Array:
    """A random W_hh (H, H) of this spectral radius, H = size.

    'gaussian': independent normal entries, scaled. 'orthogonal': radius times a random orthogonal matrix. Raises
    ValueError for another kind.
    """
    if matrix not in MATRICES:
        raise ValueError(f"expected a matrix 'gaussian' or 'orthogonal', got {matrix!r}")
    drawn = rng.standard_normal((size, size))
    if matrix == "orthogonal":
        Q, R = np.linalg.qr(drawn)
        drawn = Q * np.sign(R.diagonal())  # the signs make it uniform over all orthogonal matrices
    found: Array = drawn * (radius / np.abs(np.linalg.eigvals(drawn)).max())
    return found


def set_forget_bias(weights: dict[str, Array], module: Recurrent[Any], bias: float) -> None:
    """Write the bias into the forget gates of the first layer, in weights that are the module's.

    Raises ValueError for a cell that has none.
    """
    if "f" not in module.cell.gates:
        raise ValueError(f"expected a cell with a forget gate, got one with the gates {', '.join(module.cell.gates)}")
    first = module.cell.gates.index("f") * module.hidden_size
    forget = slice(first, first + module.hidden_size)
    weights["bias_ih_l0"][forget], weights["bias_hh_l0"][forget] = bias, 0


class Model(NamedTuple):
    """A kind of recurrence to be looked at."""

    name: str
    cell: str
    """One of `nn.RECURRENCES`."""
    forget_bias: float | None = None
    """b_f, where there is a forget gate f; None leaves it as it is drawn."""

    @property
    def state(self) -> tuple[str, ...]:
        """The names of the parts of its state."""
        return nn.RECURRENCES[self.cell].cell.state

    @property
    def is_bounded(self) -> bool:
        """Whether (4) holds: h = φ(a) with |φ′| ≤ 1, and nothing else."""
        cell = nn.RECURRENCES[self.cell].cell
        return len(cell.gates) == 1 and cell.state == ("h",)

    def build(self, radius: float, input_size: int, hidden_size: int, rng: Seed, matrix: str) -> Recurrent[Any]:
        """In float64, drawn as the library draws, but for W_hh: each of its blocks (H, H) has this spectral radius.

        The same seed gives two radii the same directions, and two forget biases the same weights.
        """
        rng = np.random.default_rng(rng)
        kind = nn.RECURRENCES[self.cell]
        module: Recurrent[Any] = kind.module(input_size, hidden_size, dtype=np.float64, rng=rng, **kind.options)
        weights = module.state_dict()
        blocks = [with_radius(radius, hidden_size, rng, matrix) for _ in module.cell.gates]
        weights["weight_hh_l0"] = np.concatenate(blocks)
        if self.forget_bias is not None:
            set_forget_bias(weights, module, self.forget_bias)
        module.load_state_dict(weights)
        return module


FORGET_BIASES = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0)

MODELS = (
    *(Model(name, name) for name in nn.RECURRENCES),
    *(
        Model(f"{name}, b_f = {bias:g}".replace("-", "−"), name, bias)
        for name, kind in nn.RECURRENCES.items()
        if "f" in kind.cell.gates
        for bias in FORGET_BIASES
    ),
)

RADII = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)


class Findings(NamedTuple):
    """What `study` measured, of M models, R radii and N draws over T steps. Distances run along the last axis."""

    models: tuple[Model, ...]
    radii: Array  # R
    gradient: Array  # M, R, N, T + 1   the norm of (3) at the distances 0 … T; L = uᵀ h_T with a random ‖u‖ = 1
    step: Array  # M, R, N, T, 3        the bands of the J_T, …, J_1
    product: Array  # M, R, N, T, 3     the bands of (2) at the distances 1 … T
    stretch: Array  # M, R, N           σ_max(W_hh); NaN where (4) does not hold
    bound: Array  # M, R, N, T          (4) at the distances 1 … T; NaN where it does not hold
    forget: Array  # M, R, N, T         the largest of (5) at the distances 1 … T; NaN where there is no c
    disagreement: float
    """The largest difference of the backward pass from (3), as a fraction of the gradient's norm."""

    def rate(self) -> Array:
        """By which factor a step changes the norm of ∂s_T/∂s_0, as a geometric mean over all steps: (M, R, N)."""
        T = self.product.shape[3]
        return np.asarray(self.product[..., -1, 0] ** (1 / T))


def study(
    models: Sequence[Model] = MODELS,
    radii: Sequence[float] = RADII,
    *,
    hidden_size: int = 32,
    input_size: int = 8,
    steps: int = 100,
    draws: int = 3,
    matrix: str = "gaussian",
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> Findings:
    """Measure every model at every radius, over a sequence of standard normal numbers that begins with a zero state.

    Each draw has weights, a sequence and an upstream gradient of its own, the same for all models and radii as far as
    their shapes allow. progress: is called M·R·N times.

    Raises FloatingPointError if numbers leave the range of float64, as those of a relu RNN do over enough steps.
    """
    M, R, N, T = len(models), len(radii), draws, steps
    gradient = np.empty((M, R, N, T + 1))
    step, product = np.empty((M, R, N, T, 3)), np.empty((M, R, N, T, 3))
    stretch, limit, forget = np.full((M, R, N), np.nan), np.full((M, R, N, T), np.nan), np.full((M, R, N, T), np.nan)
    disagreement = 0.0
    for m, model in enumerate(models):
        for r, radius in enumerate(radii):
            for n in range(N):
                rng = np.random.default_rng([seed, n])
                x, u = rng.standard_normal((T, input_size)), rng.standard_normal(hidden_size)
                module = model.build(radius, input_size, hidden_size, rng, matrix)
                J = jacobians(module, x)
                d_state = np.zeros(J.shape[-1])
                d_state[:hidden_size] = u / np.linalg.norm(u)  # L reads h, not c
                with np.errstate(over="ignore", invalid="ignore"):
                    J_products, gradients = products(J), backward_gradients(module, x, d_state)
                    expected = pulled_back(J, d_state)
                if not (np.isfinite(J_products).all() and np.isfinite(gradients).all()):
                    raise FloatingPointError(
                        f"expected gradients in the range of float64, got larger ones: {model.name}, "
                        f"spectral radius {radius:g}, {T} steps"
                    )
                at = m, r, n
                gradient[at] = np.linalg.norm(gradients, axis=-1)
                step[at], product[at] = bands(J[::-1]), bands(J_products)
                off = np.linalg.norm(gradients - expected, axis=-1)
                disagreement = max(disagreement, float((off / np.maximum(gradient[at], np.finfo(float).tiny)).max()))
                if "c" in model.state:
                    forget[at] = forget_path(J).max(axis=-1)
                if model.is_bounded:
                    W_hh = module.state_dict()["weight_hh_l0"]
                    stretch[at], limit[at] = np.linalg.norm(W_hh, 2), bound(W_hh, np.arange(1, T + 1))
                progress()
    return Findings(tuple(models), np.array(radii), gradient, step, product, stretch, limit, forget, disagreement)


# What clipping does


class Training(NamedTuple):
    """K trainings with one limit, over n steps. A step that never was, behind one that was not finite, is NaN."""

    max_norm: float
    """Infinity for no clipping."""
    loss: Array  # K, n
    norm: Array  # K, n   of all gradients together, before clipping

    def length(self) -> Array:
        """What is left of the norm after clipping, to which plain SGD makes its step proportional: (K, n)."""
        return np.minimum(self.norm, self.max_norm)


def latch(batch_size: int, steps: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The latching problem (after Bengio, Simard and Frasconi 1994): a sign to be kept through noise.

    Each sequence shows −1 or +1 in its first three steps, with noise of 0.3 over all steps; at its end it is asked for.
    Returns x: (T, B, 1), and 0 for −1 and 1 for +1: (B,).
    """
    x = 0.3 * rng.standard_normal((steps, batch_size, 1))
    shown = rng.integers(0, 2, batch_size)
    x[:3, :, 0] += 2 * shown - 1
    return x, shown


@without_warnings
def train_latch(
    max_norm: float,
    *,
    radius: float = 1.5,
    hidden_size: int = 32,
    batch_size: int = 16,
    steps: int = 50,
    updates: int = 400,
    learning_rate: float = 0.1,
    rng: Seed = 0,
) -> tuple[Array, Array]:
    """Train a tanh RNN to latch, with plain SGD. Returns of every update the loss and the norm of the gradients.

    Both are (updates,), from the first one on that is not finite NaN. steps: T.
    """
    rng = np.random.default_rng(rng)
    rnn = Model("RNN tanh", "RNN tanh").build(radius, 1, hidden_size, rng, "gaussian")
    linear = nn.Linear(hidden_size, 2, dtype=np.float64, rng=rng)
    parameters = [*rnn.parameters(), *linear.parameters()]
    optimizer, criterion = optim.SGD(parameters, lr=learning_rate), nn.CrossEntropyLoss()
    losses, norms = np.full((2, updates), np.nan)
    for update in range(updates):
        x, shown = latch(batch_size, steps, rng)
        _, h_n = rnn(x)
        loss = float(criterion(linear(h_n[0]), shown))
        optimizer.zero_grad()
        rnn.backward(None, linear.backward(criterion.backward())[None])
        norm = float(clip_grad_norm_(parameters, max_norm))
        if not np.isfinite(loss + norm):
            break
        losses[update], norms[update] = loss, norm
        optimizer.step()
    return losses, norms


def clipping(
    max_norms: Sequence[float] = (np.inf, 1.0),
    *,
    trainings: int = 5,
    updates: int = 400,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> tuple[Training, ...]:
    """Train with each of the limits, from the same weights and over the same sequences. progress: after each one."""
    found = []
    for max_norm in max_norms:
        runs = []
        for k in range(trainings):
            runs.append(train_latch(max_norm, updates=updates, rng=np.random.default_rng([seed, k])))
            progress()
        losses, norms = zip(*runs, strict=True)
        found.append(Training(float(max_norm), np.array(losses), np.array(norms)))
    return tuple(found)
