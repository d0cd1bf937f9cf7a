"""Truncated backpropagation through time (Williams and Peng 1990): how far its gradient is from the whole one.

The loss of a sequence is a sum over its steps, L = Σ ℓ_t, and ℓ_t reads h_t. A parameter acts at every step s; ∂_s is
the derivative that counts its effect at step s alone. The gradient is a sum over pairs of a cause and an effect, and
truncation leaves some of them out:

(1)  g      = Σ_t Σ_{s ≤ t} ∂_s ℓ_t                           all pairs
(2)  g_k    = Σ_t Σ_{s ≤ t, ⌊s/k⌋ = ⌊t/k⌋} ∂_s ℓ_t            `segments`: the pairs within one segment of k steps
(3)  g′_k   = Σ_t Σ_{t − k < s ≤ t} ∂_s ℓ_t                    `windows`: the pairs less than k steps apart

(steps counted from 0). (2) is what people call truncated BPTT: the state is carried from each segment to the next, the
gradient is not. It costs no more than (1), but a loss looks back from 1 to k steps, depending on its place in the
segment. In (3) every loss looks back k steps, where there are as many: the method of Williams and Peng, for weights
that stand still. It costs k passes over the sequence. At k = T both are the full gradient.

Both are biased: they leave out the same pairs in every sequence, and no average brings these back (Tallec and Ollivier
2017). The error of (2) falls only like 1/k, as the number of cuts does, that of (3) as gradients vanish over k steps
(Aicher, Foti and Fox 2019). The study measures this for k = 1, 2, 4, …, T as

(4)  relative error ‖g_k − g‖ / ‖g‖   and   cosine ⟨g_k, g⟩ / (‖g_k‖ ‖g‖)

over the parameters of the recurrence as one vector. Those of the layer that reads h are left out: h_t is computed
whole, and their gradient is exact at any k.
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from .. import nn, optim
from ..nn.recurrent import Recurrent
from ..terminal import count, say, table
from ..text.corpus import code_points
from ..text.settings import CELLS
from ..types import Array
from .models import Network, trials
from .pictures import COLOURS, DASHED, DOTTED, finish, heading, new_figure, over_runs, powers_of_two
from .trace import trace

Gradients = dict[str, Array]
"""For each parameter by its name, in its shape."""

COLUMNS = 4096  # about how many steps of windows run at once: enough for large products, and little memory
CLOSE = 0.1  # the relative error that the verdict asks for
NAMES = ("cut every k", "look back k")  # the two methods
LEAST = 1e-7  # smaller errors are not drawn: they are rounding, and of no interest to anyone who trains


def segments(module: Recurrent[Any], x: Array, d_output: Array, k: int) -> Gradients:
    """(2): the gradients of the module's parameters, with the gradient cut after every k steps.

    module: one direction, batch_first False; it stays as it is. x: (T, B, I). d_output: the ∂ℓ_t/∂h_t, (T, B, P or H).
    k: at least 1; k ≥ T gives (1). The initial state is zero, and nothing is dropped out.

    Raises ValueError for another kind of module, and what the module raises for such arrays.
    """
    module, state = copied(module), None
    for start in range(0, len(x), k):
        part = slice(start, start + k)
        _, state = module(x[part], state)
        module.backward(d_output[part])
    return gradients_of(module)


def windows(module: Recurrent[Any], x: Array, d_output: Array, k: int) -> Gradients:
    """(3): the gradients of the module's parameters, where every step's loss looks back at k steps.

    The arguments, and what is raised, are as for `segments`. The first k − 1 losses look back to the beginning. The
    windows of the others run side by side, as sequences of k steps, each from the state that the whole one has there.
    """
    module, k = copied(module), min(k, len(x))
    layers, parts = trace(module, x).steps, range(len(module.cell.state))
    before = [np.array([[step.state_prev[n].T for step in steps] for steps in layers]) for n in parts]  # L, T, B, F
    if k > 1:
        module(x[: k - 1])
        module.backward(d_output[: k - 1])
    windows, many = len(x) - k + 1, max(1, COLUMNS // (k * x.shape[1]))
    for first in range(0, windows, many):
        starts = np.arange(first, min(first + many, windows))
        state = module._join(tuple(part[:, starts].reshape(len(part), -1, part.shape[-1]) for part in before))
        output, _ = module(x[starts + np.arange(k)[:, None]].reshape(k, -1, x.shape[2]), state)
        d_last = np.zeros_like(output)
        d_last[-1] = d_output[starts + k - 1].reshape(output[-1].shape)  # the loss of a window is that of its last step
        module.backward(d_last)
    return gradients_of(module)


def copied(module: Recurrent[Any]) -> Recurrent[Any]:
    """The module with gradients of its own. Raises ValueError for a kind that is not cut here."""
    if module.bidirectional or module.batch_first:
        raise ValueError(f"expected one direction and batch_first False, got {module!r}")
    module = deepcopy(module).requires_grad_().eval()
    module.zero_grad()
    return module


def gradients_of(module: Recurrent[Any]) -> Gradients:
    """The gradients that have been added up."""
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def distance(gradients: Gradients, whole: Gradients) -> tuple[float, float]:
    """(4): the relative error of the gradients, all as one vector, and their cosine with the whole ones.

    Where the whole ones are 0 both are NaN, and where the others are, the cosine.
    """
    a, b = (np.concatenate([each[name].ravel() for name in whole]) for each in (gradients, whole))
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    error = float(np.linalg.norm(a - b)) / norms[1] if norms[1] > 0 else np.nan
    cosine = float(a / norms[0] @ (b / norms[1])) if min(norms) > 0 else np.nan
    return error, cosine


METHODS: dict[str, Callable[..., Gradients]] = {"segments": segments, "windows": windows}


def pages() -> str:
    """The text that is read by default: this library's pages about the RNN and the LSTM."""
    folder = Path(nn.__file__).parent.parent
    return "".join((folder / name).read_text(encoding="utf-8") for name in ("textbook/rnn.md", "textbook/lstm.md"))


def encoded(text: str, kinds: int = 32) -> Array:
    """A text as numbers below V = `kinds`: its most frequent characters in this order, the last for all others. (n,).

    Raises ValueError for fewer than two different characters.
    """
    characters, at, counts = np.unique(code_points(text), return_inverse=True, return_counts=True)
    if len(characters) < 2:
        raise ValueError(f"expected a text of at least 2 different characters, got {len(characters)}")
    rank = np.empty(len(characters), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(characters))
    return np.minimum(rank, kinds - 1)[at]


def pieces(text: Array, steps: int, batch_size: int, kinds: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Pieces of a text from random places: one-hot characters (T, B, V), and for each the one that follows, (T, B).

    Raises ValueError for a text of no more than T characters.
    """
    if len(text) <= steps:
        raise ValueError(f"expected a text of more than {steps:,} characters, got {len(text):,}")
    found = text[rng.integers(0, len(text) - steps, batch_size) + np.arange(steps + 1)[:, None]]
    return np.eye(kinds)[found[:-1]], found[1:]


class Findings(NamedTuple):
    """What `study` measured for C cells in N runs, with K truncation lengths and two methods."""

    cells: tuple[str, ...]
    lengths: Array  # K
    loss: Array  # C, N, 2         nats per character, as drawn and trained
    error: Array  # C, N, 2, 2, K   relative; as drawn and trained; of segments and of windows
    cosine: Array  # C, N, 2, 2, K
    noise: Array  # C, N, 2         by how much of its norm the whole gradient varies with the choice of the sequences
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

    One-hot characters go through the recurrence and a linear layer, in float64. text: `pages()` if left out. steps: T.
    batch_size: B, of the gradients; training takes twice as many, by Adam with the whole gradient. Each run has weights
    and sequences of its own. The noise is the standard deviation of the whole gradient over the choice of B sequences,
    estimated from two choices: ‖g − g₂‖ / (√2 ‖g‖). progress: is called C·N times.

    Raises ValueError for a text that is too short.
    """
    characters = encoded(pages() if text is None else text)
    kinds = int(characters.max()) + 1
    lengths = np.unique(np.append(2 ** np.arange(int(np.log2(steps)) + 1), steps))

    def measured(point: tuple[str, int]) -> tuple[Any, ...]:
        cell, n = point
        rng = np.random.default_rng([seed, n])
        rnn = getattr(nn, cell)(kinds, hidden_size, dtype=np.float64, rng=rng)
        network = Network(rnn, kinds, nn.CrossEntropyLoss(), None, rng)
        batches = [pieces(characters, steps, batch_size, kinds, rng) for _ in range(2)]
        found = []
        for made in (0, updates):
            train(network, characters, steps, made, 2 * batch_size, rng)
            (loss, d_output), (_, another) = ((network.loss(*batch), network.d_output()) for batch in batches)
            x, y = batches[0][0], batches[1][0]
            whole, other = segments(rnn, x, d_output, steps), segments(rnn, y, another, steps)
            cuts = np.array([[distance(cut(rnn, x, d_output, k), whole) for k in lengths] for cut in METHODS.values()])
            found.append((loss, cuts[..., 0], cuts[..., 1], distance(other, whole)[0] / np.sqrt(2)))
        return tuple(map(np.array, zip(*found, strict=True)))

    loss, error, cosine, noise = trials(measured, CELLS, range(runs), progress=progress)
    return Findings(CELLS, lengths, loss, error, cosine, noise, steps, batch_size, updates)


def train(
    network: Network, text: Array, steps: int, updates: int, batch_size: int, rng: np.random.Generator
) -> list[float]:
    """Some updates by Adam, each over other pieces of the text. Returns the losses."""
    optimizer, kinds = optim.Adam(network.parameters(), lr=5e-3), network.rnn.input_size
    return [network.update(optimizer, *pieces(text, steps, batch_size, kinds, rng))[0] for _ in range(updates)]


def show(out: Console, found: Findings) -> None:
    """The relative errors, how long a truncation is long enough, and how large chance is beside it."""
    lengths, runs = found.lengths, count(found.loss.shape[1], "run")
    for trained, when in enumerate(("weights as drawn", f"after {count(found.updates, 'update')}")):
        what = f"relative error of the truncated gradient over {count(found.steps, 'step')}, mean of {runs}"
        say(out, f"{when}: {what}", "bold")
        errors = table("k", *map(str, lengths[:-1]))
        for cell, of_cell in zip(found.cells, found.error[:, :, trained].mean(axis=1), strict=True):
            for name, values in zip(NAMES, of_cell, strict=True):
                shown = (f"{x:.2f}" if x >= 0.095 else f"{x:.0e}".replace("e-0", "e-") for x in values[:-1])
                errors.add_row(f"{cell}, {name}", *shown)
        out.print(errors)

    middle = len(lengths) // 2
    for c, cell in enumerate(found.cells):
        close = (found.error[c, :, 1].max(axis=0) <= CLOSE)[:, ::-1]  # 2, K   in all runs, the whole gradient first
        cut, back = (lengths[::-1][np.logical_and.accumulate(each)][-1] for each in close)
        noise = found.noise[c, :, 1]
        say(
            out,
            f"{cell}, trained to {found.loss[c, :, 1].mean():.2f} nats per character: in all runs below {CLOSE:.0%} of "
            f"error from k = {cut} where the gradient is cut every k steps, from k = {back} where each loss looks back "
            f"k steps. Cut every {count(lengths[middle], 'step')} its cosine with the whole gradient is at least "
            f"{found.cosine[c, :, 1, 0, middle].min():.2f}. The choice of {count(found.batch_size, 'sequence')} moves "
            f"the whole gradient by {noise.min():.0%} to {noise.max():.0%} of its norm.",
        )
    say(
        out,
        "What chance moves is averaged away over many updates; what truncation leaves out is always left out. Once k "
        "is longer than gradients last, the error of a cut gradient falls only like 1/k, as the number of cuts does; "
        "the other falls as gradients vanish.",
    )


def picture(found: Findings) -> Any:
    """The relative error above and the cosine below, of the weights as drawn on the left and trained on the right."""
    figure = new_figure(10, 7.4)
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    lines = (("-", "o", "cut every k steps"), (DASHED, "s", "each loss looks back k steps"))
    for trained, name in enumerate(("weights as drawn", f"after {count(found.updates, 'update')}")):
        errors, cosines = panels[:, trained]
        for c, (cell, colour) in enumerate(zip(found.cells, COLOURS, strict=False)):
            for m, (style, marker, method) in enumerate(lines):
                line = {"color": colour, "linestyle": style, "marker": marker, "markersize": 4}
                for panel, values, K in ((errors, found.error, len(found.lengths) - 1), (cosines, found.cosine, None)):
                    of_runs = values[c, :, trained, m, :K]
                    label = f"{cell}: {method}"
                    over_runs(panel, found.lengths[:K], of_runs, of_runs.mean(axis=0), label=label, **line)
            label = f"{cell}: chance of the {count(found.batch_size, 'sequence')}"
            noise = found.noise[c, :, trained].mean()
            errors.axhline(noise, color=colour, linewidth=1.1, linestyle=DOTTED, label=label)
        loss = ", ".join(f"{cell} {found.loss[c, :, trained].mean():.2f}" for c, cell in enumerate(found.cells))
        error, cosine = ("", "") if trained else ("relative error ‖$g_k$ − g‖ / ‖g‖", "cosine of $g_k$ and g")
        finish(errors, f"{name}\nloss: {loss} nats per character", "", error)
        finish(cosines, "", f"truncation length k, steps (of T = {found.steps})", cosine)
        errors.set(yscale="log", ylim=(LEAST, 3))
        where = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "va": "bottom", "rotation": 90}
        errors.annotate("the whole gradient: no error", (found.steps, LEAST), fontsize=8, **where)
        powers_of_two(errors, found.lengths)
        powers_of_two(cosines, found.lengths)
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(found.cells), frameon=False)
    spread = f"mean and range of {count(found.loss.shape[1], 'run')}"
    heading(figure, f"Truncated backpropagation: the gradient $g_k$ beside the whole one, g ({spread})")
    return figure
