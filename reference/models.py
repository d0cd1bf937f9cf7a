"""The models of `scratch` in PyTorch, with the same parameter names."""

from typing import Any

import torch

from scratch import text

from .weights import to_torch, torch_dtype


class CharacterModel(torch.nn.Module):
    """`scratch.text.CharacterModel` in PyTorch: characters (B, T) → recurrence → Linear → logits (B, T, V)."""

    def __init__(
        self,
        cell: str,
        vocabulary_size: int,
        hidden_size: int,
        num_layers: int = 1,
        embedding_size: int = 0,
        dropout: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        width = embedding_size or vocabulary_size
        self.embed = torch.nn.Embedding(vocabulary_size, width, dtype=dtype) if embedding_size else None
        between = dropout if num_layers > 1 else 0.0
        self.rnn = getattr(torch.nn, cell)(
            width, hidden_size, num_layers, batch_first=True, dropout=between, dtype=dtype
        )
        self.dropout = torch.nn.Dropout(dropout)
        self.fc = torch.nn.Linear(hidden_size, vocabulary_size, dtype=dtype)

    def forward(self, input: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """input: indices (B, T). Returns logits (B, T, V) and the final state."""
        if self.embed is None:
            embedded = torch.nn.functional.one_hot(input, self.vocabulary_size).to(self.fc.weight.dtype)
        else:
            embedded = self.embed(input)
        output, state = self.rnn(embedded, state)
        return self.fc(self.dropout(output)), state


def twin(ours: text.CharacterModel) -> CharacterModel:
    """The same model in PyTorch, with copies of the weights."""
    sizes = ours.fc.out_features, ours.rnn.hidden_size, ours.rnn.num_layers, getattr(ours.embed, "embedding_dim", 0)
    theirs = CharacterModel(type(ours.rnn).__name__, *sizes, ours.dropout.p, torch_dtype(ours.rnn.dtype))
    to_torch(ours, theirs)
    return theirs
