"""An embedding: a table with one row for each symbol, and a look-up.

(1)  y_n = W[k_n]                   k: (N) indices, W: (V, E), y: (N, E)

It is the product of a one-hot matrix with W, without the zeros. So is its gradient: a row of W gathers the gradient
from every position where it was looked up.

     d_W[k] = Σ_{n: k_n = k} d_y_n      (1)

N is the number of indices, V is num_embeddings, E is embedding_dim. Kept for backward: k.
"""

import numpy as np
import numpy.typing as npt

from ..types import Array, Seed
from . import checks
from .checks import without_warnings
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """A vector for each index, as `torch.nn.Embedding`: indices (…) to vectors (…, embedding_dim).

    `weight`: (num_embeddings, embedding_dim) starts with the standard normal distribution. The row at `padding_idx`,
    which counts from the end if it is negative, starts with zeros and gets no gradient.

    Raises TypeError for sizes or a `padding_idx` that are not ints, RuntimeError for negative sizes and for a dtype
    that is not floating-point, AssertionError for a `padding_idx` outside the table.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        self.num_embeddings = checks.size("num_embeddings", num_embeddings)
        self.embedding_dim = checks.size("embedding_dim", embedding_dim)
        self.padding_idx = padding_idx
        if padding_idx is not None:
            row, V = checks.integer("padding_idx", padding_idx), self.num_embeddings
            if not -V <= row < V:
                raise AssertionError(f"expected padding_idx of at least {-V} and below {V} (num_embeddings), got {row}")
            self.padding_idx = row % V
        dtype = checks.dtype(dtype)
        self._rng = np.random.default_rng(rng)
        self.weight = Parameter(np.empty((self.num_embeddings, self.embedding_dim), dtype))
        self.reset_parameters()
        self._seal()

    def reset_parameters(self) -> None:
        """Draw the table anew, from the standard normal distribution, as PyTorch does; zeros at `padding_idx`."""
        weight = self._rng.standard_normal(self.weight.shape).astype(self.weight.dtype)
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        self.weight.data = weight

    @without_warnings
    def forward(self, input: Array) -> Array:
        """input: indices of any shape and any integer dtype. Returns (*input.shape, embedding_dim), a new array.

        Raises TypeError for anything but an array, RuntimeError for another dtype and if a parameter in place of weight
        has another shape, IndexError for indices outside [0, num_embeddings).
        """
        W = checks.floats("weight", self.weight.data, self.weight.dtype, (self.num_embeddings, self.embedding_dim))
        k = checks.indices("input", input, self.num_embeddings)
        y = W[k]  # (1)  …, E
        self._keep(k.astype(np.intp))
        return y

    @without_warnings
    def backward(self, d_output: Array, *, retain_graph: bool = False) -> None:
        """d_output: like the output. Adds to `weight.grad`; indices have no gradient to return.

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises TypeError for anything but an
        array, RuntimeError for another shape or dtype than the output's, if there is no forward pass to undo, and if
        `weight` has changed since.
        """
        (k,) = self._newest(retain_graph)
        W = self.weight.data
        d_output = checks.floats("d_output", d_output, W.dtype, (*k.shape, self.embedding_dim))
        self._undone(retain_graph)
        if not self.weight.requires_grad:
            return
        # Sorted by index, the gradients of one row of W stand together; each run of them becomes one sum.
        order = np.argsort(k, axis=None, kind="stable")
        k = k.reshape(-1)[order]
        d_y = d_output.reshape(k.size, self.embedding_dim)[order]
        starts = np.flatnonzero(np.diff(k, prepend=-1))
        d_W = np.zeros_like(W)
        d_W[k[starts]] = np.add.reduceat(d_y, starts, axis=0)  # (1)
        if self.padding_idx is not None:
            d_W[self.padding_idx] = 0
        self.weight.add_grad(d_W)

    def extra_repr(self) -> str:
        """The arguments shown by `repr`."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
