"""The character model: a recurrence reads characters, a linear layer turns each h into the logits of the next one."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import nn
from ..nn import checks
from ..types import Array, Seed


class OneHot(nn.Module):
    """Indices (…) to vectors (…, V) that are 1 at the index and 0 elsewhere: an embedding with nothing to learn.

    Raises TypeError for no array, RuntimeError for another dtype, IndexError for indices outside [0, V).
    """

    def __init__(self, vocabulary_size: int, dtype: npt.DTypeLike = np.float32) -> None:
        self.size, self.dtype = checks.size("vocabulary_size", vocabulary_size), checks.dtype(dtype)

    def _cast(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def forward(self, input: Array) -> Array:
        """input: indices of any shape. Returns a new array."""
        k = checks.indices("input", input, self.size)
        output = np.zeros((*k.shape, self.size), self.dtype)
        np.put_along_axis(output, k[..., np.newaxis].astype(np.intp), 1, axis=-1)
        return output


class CharacterModel(nn.Module):
    """characters (B, T) → one-hot or embedding → recurrence → dropout → Linear → logits (B, T, V), batch first.

    cell: the name of a recurrence's class in `scratch.nn`, 'LSTM' for one. vocabulary_size: V. hidden_size: H.
    embedding_size: the width of the vectors that characters become; 0 for one-hot vectors of width V. dropout: between
    the layers, and before the linear layer (Zaremba, Sutskever and Vinyals 2014). rng draws the parameters and the
    dropout. The parameters are named embed.weight (with an embedding), rnn.… and fc.…

    Raises what the recurrence raises for its sizes.
    """

    def __init__(
        self,
        cell: str,
        vocabulary_size: int,
        hidden_size: int,
        num_layers: int = 1,
        embedding_size: int = 0,
        dropout: float = 0.0,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        self.rng = np.random.default_rng(rng)
        width = embedding_size or vocabulary_size
        self.embed: nn.Embedding | OneHot = (
            nn.Embedding(vocabulary_size, width, dtype=dtype, rng=self.rng)
            if embedding_size
            else OneHot(vocabulary_size, dtype)
        )
        between = dropout if num_layers > 1 else 0.0
        self.rnn = getattr(nn, cell)(
            width, hidden_size, num_layers, batch_first=True, dropout=between, dtype=dtype, rng=self.rng
        )
        self.dropout = nn.Dropout(dropout, rng=self.rng)
        self.fc = nn.Linear(hidden_size, vocabulary_size, dtype=dtype, rng=self.rng)

    def forward(self, input: Array, state: Any = None) -> tuple[Array, Any]:
        """input: indices (B, T); state: as the recurrence takes it. Returns logits (B, T, V) and the final state."""
        output, state = self.rnn(self.embed(input), state)
        return self.fc(self.dropout(output)), state

    def backward(self, d_logits: Array, d_state: Any = None, *, retain_graph: bool = False) -> Any:
        """d_logits: (B, T, V). Adds to every parameter's grad; returns the gradient of the initial state.

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises what the modules raise; nothing is
        undone then, neither for d_logits nor for d_state that do not fit.
        """
        self._check_state(d_state, checks.array("d_logits", d_logits).shape[:-2])
        with self._undoing():
            d_output = self.fc.backward(d_logits, retain_graph=retain_graph)
            d_output = self.dropout.backward(d_output, retain_graph=retain_graph)
            if isinstance(self.embed, OneHot):  # nothing to learn
                return self.rnn.backward(d_output, d_state, input_gradient=False, retain_graph=retain_graph)[1]
            d_embedded, d_initial = self.rnn.backward(d_output, d_state, retain_graph=retain_graph)
            self.embed.backward(d_embedded, retain_graph=retain_graph)
            return d_initial

    def _check_state(self, d_state: Any, batch: tuple[int, ...]) -> None:
        """Refuse what the recurrence would refuse once the layers above it are undone.

        Raises TypeError for another kind of value, RuntimeError for another shape or dtype.
        """
        parts = self.rnn.cell.state
        given = (d_state,) * len(parts) if d_state is None or len(parts) == 1 else d_state
        if not isinstance(given, (tuple, list)) or len(given) != len(parts):
            raise TypeError(f"expected d_state to be a tuple ({', '.join(parts)}), got {d_state!r:.60}")
        shape = (self.rnn.num_layers, *batch, self.rnn.hidden_size)
        for name, value in zip(parts, given, strict=True):
            if value is not None:
                checks.floats(f"d_{name}_n", value, self.rnn.dtype, shape)
