"""The character model: a recurrence reads characters, a linear layer turns each h into the logits of the next one."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import nn
from ..types import Array, Seed


class CharacterModel(nn.Module):
    """one-hot characters (B, T, V) → recurrence → Linear → logits (B, T, V), batch first.

    cell: 'RNN' or 'LSTM', the name of a class in `scratch.nn`. vocabulary_size: V. hidden_size: H. rng draws the
    parameters; the dtype is that of the input, too. The parameters are named rnn.… and fc.…

    Raises what the recurrence raises for its sizes.
    """

    def __init__(
        self,
        cell: str,
        vocabulary_size: int,
        hidden_size: int,
        num_layers: int = 1,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        generator = np.random.default_rng(rng)
        self.rnn = getattr(nn, cell)(
            vocabulary_size, hidden_size, num_layers, batch_first=True, dtype=dtype, rng=generator
        )
        self.fc = nn.Linear(hidden_size, vocabulary_size, dtype=dtype, rng=generator)

    def forward(self, input: Array, state: Any = None) -> tuple[Array, Any]:
        """input: (B, T, V); state: as the recurrence takes it. Returns logits (B, T, V) and the final state."""
        output, state = self.rnn(input, state)
        return self.fc(output), state

    def backward(self, d_logits: Array, d_state: Any = None) -> tuple[Array, Any]:
        """d_logits: (B, T, V). Adds to every parameter's grad; returns the gradients of input and initial state."""
        d_input, d_initial = self.rnn.backward(self.fc.backward(d_logits), d_state)
        return d_input, d_initial
