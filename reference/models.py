"""The models of `scratch` in PyTorch, with the same parameter names."""

from typing import Any

import torch


class CharacterModel(torch.nn.Module):
    """`scratch.text.CharacterModel` in PyTorch: one-hot (B, T, V) → recurrence → Linear → logits (B, T, V)."""

    def __init__(
        self, cell: str, vocabulary_size: int, hidden_size: int, num_layers: int = 1, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.rnn = getattr(torch.nn, cell)(vocabulary_size, hidden_size, num_layers, batch_first=True, dtype=dtype)
        self.fc = torch.nn.Linear(hidden_size, vocabulary_size, dtype=dtype)

    def forward(self, input: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """input: (B, T, V). Returns logits (B, T, V) and the final state."""
        output, state = self.rnn(input, state)
        return self.fc(output), state
