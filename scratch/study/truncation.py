"""Truncated backpropagation through time (Williams and Peng 1990): how far its gradient is from the whole one.

The loss of a sequence is a sum over its steps, L = Σ ℓ_t, and ℓ_t reads h_t. A parameter acts at every step s; write
∂_s for the derivative that counts what it does at step s alone. The gradient is a sum over pairs of a cause and an
effect, and truncation leaves some of them out:

(1)  g      = Σ_t Σ_{s ≤ t} ∂_s ℓ_t                           all pairs
(2)  g_k    = Σ_t Σ_{s ≤ t, ⌊s/k⌋ = ⌊t/k⌋} ∂_s ℓ_t            `segments`: the pairs within one segment of k steps
(3)  g′_k   = Σ_t Σ_{t − k < s ≤ t} ∂_s ℓ_t                    `windows`: the pairs less than k steps apart

(steps counted from 0). (2) is what people call truncated BPTT: the state is carried from each segment to the next, the
gradient is not. It costs no more than (1), but a loss looks back from 1 to k steps, as its place in the segment has it.
In (3) every loss looks back k steps, where there are as many: the method of Williams and Peng, their BPTT(h) with
h = k, for weights that stand still. It costs k passes over the sequence, and the full gradient is its k = T.

Both are biased: what is left out is left out in every sequence, and no average brings it back (Tallec and Ollivier
2017). In (2) the losses just behind a cut lose most, and there are T/k cuts: once k is longer than gradients last, the
error falls only as fast as their number, like 1/k. That of (3) falls as the gradients themselves vanish over k steps
(Aicher, Foti and Fox 2019). What that amounts to for k = 1, 2, 4, …, T is measured as

(4)  relative error ‖g_k − g‖ / ‖g‖   and   cosine ⟨g_k, g⟩ / (‖g_k‖ ‖g‖)

over the parameters of the recurrence as one vector. Those of the layer that reads h are left out: h_t is computed
whole, and their gradient is exact at any k.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import nn, optim
from ..nn import checks
from ..nn.recurrent import Recurrent
from ..nn.utils import clip_grad_norm_
from ..nn.utils.rnn import pack_padded_sequence
from ..text.corpus import code_points
from ..text.settings import CELLS
from ..types import Array, Seed
from .trace import trace

Gradients = dict[str, Array]
"""For each parameter by its name, in its shape."""


COLUMNS = 4096
"""About how many steps of windows are worked on at once: enough for large products, and little memory."""


# One module over given sequences


def segments(module: Recurrent[Any], x: Array, d_output: Array, k: int, hx: Any = None) -> Gradients:
    """(2): the gradients of the module's parameters, with the gradient cut after every k steps.

    module: any but a bidirectional one, with batch_first False; its `grad`s and tapes are left as they are.
    x: (T, B, I). d_output: (T, B, P or H), what ∂ℓ_t/∂h_t is. hx: the state before, zeros if left out. k ≥ T gives (1).

    Raises TypeError or ValueError for a k that is no number of steps, ValueError for another kind of module, TypeError
    or RuntimeError for arrays that do not fit.
    """
    check(module, x, d_output, k)
    state = hx

    def pass_over() -> None:
        nonlocal state
        for start in range(0, len(x), k):
            part = slice(start, start + k)
            _, state = module(x[part], state)
            module.backward(d_output[part])

    return gradients_of(module, pass_over)


def windows(module: Recurrent[Any], x: Array, d_output: Array, k: int, hx: Any = None) -> Gradients:
    """(3): the gradients of the module's parameters, where every step's loss looks back at k steps.

    The arguments, and what is raised, are as for `segments`. The windows of many steps run side by side, as a packed
    batch of sequences of at most k steps, each from the state that the whole sequence has there.
    """
    check(module, x, d_output, k)
    T, B = x.shape[:2]
    before = states(module, x, hx)  # of each part L, T, B, features
    many = max(1, COLUMNS // (min(k, T) * B))

    def pass_over() -> None:
        for first in range(0, T, many):
            ends = np.arange(first, min(first + many, T))
            starts = np.maximum(ends - k + 1, 0)
            rows = np.minimum(starts + np.arange((ends - starts).max() + 1)[:, None], ends)  # beyond its end: padding
            lengths = np.repeat(ends - starts + 1, B)
            padded = x[rows].reshape(len(rows), len(lengths), x.shape[2])
            module(
                pack_padded_sequence(padded, lengths, enforce_sorted=False),
                joined([part[:, starts].reshape(len(part), len(lengths), -1) for part in before]),
            )
            d_h_n = np.zeros((len(before[0]), len(lengths), d_output.shape[2]), module.dtype)
            d_h_n[-1] = d_output[ends].reshape(len(lengths), -1)  # the loss of a window is that of its last step
            module.backward(None, joined([d_h_n, *(None for _ in before[1:])]))

    return gradients_of(module, pass_over)


def states(module: Recurrent[Any], x: Array, hx: Any) -> list[Array]:
    """The state before every step: for each of its parts (L, T, B, features)."""
    layers = trace(module, x, hx).steps
    return [
        np.array([[step.state_prev[n].T for step in steps] for steps in layers]) for n in range(len(module.cell.state))
    ]


def joined(parts: list[Any]) -> Any:
    """The parts of a state as the module takes it."""
    return tuple(parts) if len(parts) > 1 else parts[0]


def gradients_of(module: Recurrent[Any], pass_over: Callable[[], None]) -> Gradients:
    """What the function adds to the gradients of the module; these are as they were before, afterwards."""
    parameters = dict(module.named_parameters())
    before = {name: parameter.grad for name, parameter in parameters.items()}
    module.zero_grad()
    try:
        pass_over()
        return {name: np.zeros(p.shape, module.dtype) if p.grad is None else p.grad for name, p in parameters.items()}
    finally:
        for name, parameter in parameters.items():
            parameter.grad = before[name]


def check(module: Recurrent[Any], x: Array, d_output: Array, k: int) -> None:
    """Refuse what cannot be cut in time, and what does not fit. Raises TypeError, ValueError or RuntimeError."""
    checks.integer("k", k, least=1)
    if module.bidirectional or module.batch_first or (module.dropout > 0 and module.training):
        raise ValueError(f"expected one direction, batch_first False and no dropout, got {module!r}")
    checks.floats("x", x, module.dtype)
    if x.ndim != 3 or len(x) == 0 or x.shape[2] != module.input_size:
        raise RuntimeError(f"expected x of shape (T, B, {module.input_size}) with at least 1 step, got {x.shape}")
    checks.floats("d_output", d_output, module.dtype, (*x.shape[:2], module.proj_size or module.hidden_size))


def distance(gradients: Gradients, whole: Gradients) -> tuple[float, float]:
    """(4): the relative error of the gradients, all as one vector, and their cosine with the whole ones.

    NaN where it is not defined: the error if the whole ones are 0, the cosine if either are.
    """
    a, b = (np.concatenate([each[name].ravel() for name in whole]) for each in (gradients, whole))
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    error = float(np.linalg.norm(a - b)) / norms[1] if norms[1] > 0 else np.nan
    cosine = float(a / norms[0] @ (b / norms[1])) if min(norms) > 0 else np.nan
    return error, cosine


METHODS: dict[str, Callable[..., Gradients]] = {"segments": segments, "windows": windows}


# A character model, as drawn and after a short training


def pages() -> str:
    """The text that is read where none is given: the two pages of this library about the RNN and the LSTM."""
    folder = Path(nn.__file__).parent.parent
    return "".join((folder / name).read_text(encoding="utf-8") for name in ("textbook/rnn.md", "textbook/lstm.md"))


def encoded(text: str, kinds: int = 32) -> Array:
    """A text as numbers below V = `kinds`: its most frequent characters, in this order, the last for all others. (n,).

    Raises ValueError for fewer than two different characters.
    """
    characters, at, counts = np.unique(code_points(text), return_inverse=True, return_counts=True)
    if len(characters) < 2:
        raise ValueError(f"expected a text of at least 2 different characters, got {len(characters)}")
    rank = np.empty(len(characters), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(characters))
    return np.minimum(rank, kinds - 1)[at]


class Subject:
    """What is measured: one-hot characters → recurrence → Linear → the loss of the next character, from zeros.

    Time comes first, as `segments` and `windows` want it, and what the loss says of each h comes out by itself.

    cell: one of `CELLS`. kinds: V. rng draws the weights. In float64.
    """

    def __init__(self, cell: str, kinds: int, hidden_size: int, rng: Seed) -> None:
        rng = np.random.default_rng(rng)
        self.one_hot = np.eye(kinds)
        self.rnn: Recurrent[Any] = getattr(nn, cell)(kinds, hidden_size, dtype=np.float64, rng=rng)
        self.linear = nn.Linear(hidden_size, kinds, dtype=np.float64, rng=rng)

    def loss(self, characters: Array) -> tuple[float, Array, Array]:
        """characters: (T + 1, B). Returns the mean loss in nats, x: (T, B, V) and d_output: (T, B, H).

        Adds to the gradients of the linear layer, not of the recurrence.
        """
        x, criterion = self.one_hot[characters[:-1]], nn.CrossEntropyLoss()
        output, _ = self.rnn(x)
        logits = self.linear(output)  # T, B, V
        loss = float(criterion(logits.reshape(-1, logits.shape[-1]), characters[1:].reshape(-1)))
        return loss, x, self.linear.backward(criterion.backward().reshape(logits.shape))

    def train(self, text: Array, steps: int, updates: int, batch_size: int, rng: np.random.Generator) -> float:
        """Adam over pieces of the text, with the whole gradient, clipped to 1. Returns the mean loss of the last 20."""
        parameters = [*self.rnn.parameters(), *self.linear.parameters()]
        optimizer, losses = optim.Adam(parameters, lr=5e-3), []
        for _ in range(updates):
            optimizer.zero_grad()
            loss, _, d_output = self.loss(pieces(text, steps, batch_size, rng))
            self.rnn.backward(d_output)
            clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            losses.append(loss)
        return float(np.mean(losses[-20:])) if losses else np.nan


def pieces(text: Array, steps: int, batch_size: int, rng: np.random.Generator) -> Array:
    """Pieces of the text from random places: (T + 1, B). Raises ValueError for a text of no more than T characters."""
    if len(text) <= steps:
        raise ValueError(f"expected a text of more than {steps:,} characters, got {len(text):,}")
    found: Array = text[rng.integers(0, len(text) - steps, batch_size) + np.arange(steps + 1)[:, None]]
    return found


class Findings(NamedTuple):
    """What `study` measured for C cells in N runs, with K truncation lengths and two methods."""

    cells: tuple[str, ...]
    lengths: Array  # K
    loss: Array  # C, 2, N        nats per character, as drawn and trained
    error: Array  # C, 2, 2, N, K  relative; as drawn and trained; of segments and of windows
    cosine: Array  # C, 2, 2, N, K
    noise: Array  # C, 2, N        by how much of its norm the whole gradient varies with the choice of the sequences
    steps: int
    batch_size: int
    updates: int


def study(
    text: str | None = None,
    *,
    hidden_size: int = 32,
    steps: int = 128,
    batch_size: int = 8,
    updates: int = 300,
    runs: int = 3,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> Findings:
    """Measure truncation on character models of a text, the weights as drawn and after some updates.

    text: what is read, `pages()` if left out. steps: T. batch_size: B, of the gradients; training takes twice as many.
    Each run has weights and sequences of its own. The noise is the standard deviation of the whole gradient over the
    choice of B sequences, estimated from two choices: ‖g − g₂‖ / (√2 ‖g‖). progress: is called 2·C·N times.

    Raises ValueError for a text that is too short.
    """
    characters = encoded(pages() if text is None else text)
    kinds = int(characters.max()) + 1
    lengths = powers_of_two(steps)
    C, N, K = len(CELLS), runs, len(lengths)
    loss, noise = np.empty((2, C, 2, N))
    error, cosine = np.empty((2, C, 2, len(METHODS), N, K))
    for c, cell in enumerate(CELLS):
        for n in range(N):
            rng = np.random.default_rng([seed, n])
            model = Subject(cell, kinds, hidden_size, rng)
            batches = [pieces(characters, steps, batch_size, rng) for _ in range(2)]
            for trained in (0, 1):
                if trained:
                    model.train(characters, steps, updates, 2 * batch_size, rng)
                at = c, trained
                (loss[*at, n], x, d_output), (_, x_2, d_output_2) = (model.loss(batch) for batch in batches)
                whole, another = segments(model.rnn, x, d_output, steps), segments(model.rnn, x_2, d_output_2, steps)
                noise[*at, n] = distance(another, whole)[0] / np.sqrt(2)
                for m, method in enumerate(METHODS.values()):
                    for i, k in enumerate(lengths):
                        found = distance(method(model.rnn, x, d_output, int(k)), whole)
                        error[*at, m, n, i], cosine[*at, m, n, i] = found
                progress()
    return Findings(CELLS, lengths, loss, error, cosine, noise, steps, batch_size, updates)


def powers_of_two(most: int) -> Array:
    """1, 2, 4, … and at last `most` itself."""
    return np.unique(np.append(2 ** np.arange(int(np.log2(most)) + 1), most))
