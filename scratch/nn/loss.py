"""The losses: cross-entropy over classes, and the mean squared error.

Cross-entropy of logits x: (N, C) against classes y: (N), weighted by w: (C), with label smoothing ε:

(1)  log p = x − m − log Σ_j exp(x_j − m),   m = max_j x_j      log-softmax; m keeps exp from overflowing
(2)  q_j = (1 − ε) w_y [j = y] + ε w_j / C                      what p should be, weighted
(3)  ℓ = −Σ_j q_j log p_j
(4)  L = Σ_n ℓ_n / Σ_n w_{y_n}                                  'mean'; 'sum' does not divide, 'none' does not sum

Differentiated, with ∂ log p_i / ∂ x_j = [i = j] − p_j from (1):

     d_ℓ = d_L / Σ_n w_{y_n}                                    (4)
     d_x_j = d_ℓ (p_j Σ_i q_i − q_j)                            (1)–(3)

Without weights and smoothing this is the well-known p − y. N counts the targets that are not ignored.

Mean squared error of x against t, both of any shape, with N elements:

(5)  ℓ = (x − t)²
(6)  L = Σ ℓ / N                                                'mean'; 'sum' and 'none' as above

     d_x = 2 (x − t) d_ℓ                                        (5),  d_ℓ = d_L / N  (6)
"""

from typing import Any

import numpy as np

from ..types import Array
from . import checks
from .checks import without_warnings
from .module import Module


class Loss(Module):
    """What the losses share: how the losses of single elements become one.

    Raises ValueError for an unknown reduction.
    """

    def __init__(self, reduction: str) -> None:
        if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
            raise ValueError(f"expected reduction 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction


class CrossEntropyLoss(Loss):
    """Cross-entropy between logits and class indices, as `torch.nn.CrossEntropyLoss`.

    weight: (C), how much each class counts; it is copied. ignore_index: targets of this value count nothing, wherever
    it lies. reduction: 'mean' (weighted, over the targets that are not ignored), 'sum' or 'none'. label_smoothing: the
    part ε of the target that is spread evenly over all classes (Szegedy et al. 2016).

    Raises TypeError for arguments of another type, ValueError for an unknown reduction, RuntimeError for a weight that
    is not floating-point or not 1-D, and for a label_smoothing outside [0, 1].
    """

    def __init__(
        self,
        weight: Array | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else checks.array("weight", weight).copy()
        if self.weight is not None and self.weight.dtype.kind != "f":
            raise RuntimeError(f"expected weight of a floating-point dtype, got {self.weight.dtype}")
        if self.weight is not None and self.weight.ndim != 1:
            raise RuntimeError(f"expected weight of shape (C,), got {self.weight.shape}")
        self.ignore_index = checks.integer("ignore_index", ignore_index)
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing, outside=RuntimeError)
        self._seal()

    def _cast(self, dtype: np.dtype[Any]) -> None:
        if self.weight is not None:
            vars(self)["weight"] = self.weight.astype(np.finfo(dtype).dtype)  # real, also for complex inputs

    @without_warnings
    def forward(self, input: Array, target: Array) -> Any:
        """input: logits (C), (N, C) or (N, C, d1, …). target: classes, integers of shape (), (N) or (N, d1, …).

        Returns a NumPy scalar of the input's dtype; with reduction 'none' an array of the target's shape. The mean
        over no targets at all is NaN, and its gradient zero, as in PyTorch.

        Raises TypeError for anything but arrays, NotImplementedError for an input that is not floating-point,
        RuntimeError for an input without dimensions, a target that is not integer, another target shape, or a
        weight of another length or dtype, ValueError for another number of targets, IndexError for a class outside [0,
        C).
        """
        input, target = self._checked(input, target)
        counts = np.asarray(target != self.ignore_index)
        x = classes_last(input)[counts]  # N, C: a copy
        y = target[counts].astype(np.intp)  # N
        w = np.ones(x.shape[1], x.real.dtype) if self.weight is None else self.weight  # C
        x -= x.real.max(axis=1, keepdims=True)  # (1)
        log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))  # (1)  N, C
        peak = (1 - self.label_smoothing) * w[y]  # (2)  N: what q is at y, on top of
        spread = self.label_smoothing * w / len(w)  # (2)  C: what q is at every class
        losses = -peak * log_p[np.arange(len(y)), y]  # (3)  N
        if self.label_smoothing > 0:  # without it log p = −∞ at other classes is harmless: 0 · ∞ must not arise
            losses -= (spread * log_p).sum(axis=1)  # (3)
        total = w[y].sum() if self.reduction == "mean" else 1  # (4)
        loss = losses.sum() / total  # (4)
        if self.reduction == "none":
            loss = np.zeros(target.shape, input.dtype)
            loss[counts] = losses
        self._keep(input.shape, counts, y, log_p, peak, spread, total, self.reduction)
        return loss[()]

    @without_warnings
    def backward(self, d_loss: Any = None, *, retain_graph: bool = False) -> Array:
        """d_loss: the gradient of whatever follows with respect to the loss; None means 1. Returns d_input.

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises TypeError for another kind,
        RuntimeError for another shape or dtype than the loss's, for None with reduction 'none', and if there is no
        forward pass to undo.
        """
        shape, counts, y, log_p, peak, spread, total, reduction = self._newest(retain_graph)
        d_loss = upstream(d_loss, reduction, log_p.dtype, counts.shape)
        self._undone(retain_graph)
        d_losses = d_loss[counts] if reduction == "none" else d_loss / total  # (4)  N or ()
        d_x = np.exp(log_p)  # (1)  p: N, C
        d_x *= (peak + spread.sum())[:, np.newaxis]  # (1)  p Σ q
        d_x -= spread  # (3)  p Σ q − q
        d_x[np.arange(len(y)), y] -= peak  # (3)
        d_x *= d_losses[..., np.newaxis]  # (3)
        d_input = np.zeros(shape, d_x.dtype)
        classes_last(d_input)[counts] = d_x
        return d_input

    def _checked(self, input: Any, target: Any) -> tuple[Array, Array]:
        """The arguments of `forward`, if they fit."""
        input = floating("input", input)
        if input.ndim == 0:
            raise RuntimeError("expected input of at least 1 dimension, got 0")
        *counted, C = classes_last(input).shape
        if C == 0:
            raise IndexError("expected input of at least 1 class, got 0")
        if self.weight is not None and (self.weight.size != C or self.weight.dtype != input.real.dtype):
            raise RuntimeError(
                f"expected input of dtype {self.weight.dtype} and {self.weight.size} classes, as weight is, "
                f"got {input.dtype} and {C}"
            )
        target = checks.indices("target", target, C, besides=self.ignore_index)
        shape = tuple(counted)
        if target.shape != shape:
            wrong_count = target.shape[:1] != input.shape[:1] and (input.ndim > 1 or target.ndim == 1)
            error = ValueError if wrong_count else RuntimeError
            raise error(f"expected target of shape {shape}, as input is {input.shape}, got {target.shape}")
        return input, target


class MSELoss(Loss):
    """The squared error between input and target, as `torch.nn.MSELoss`, without its broadcasting.

    reduction: 'mean' (over all elements), 'sum' or 'none'. Raises ValueError for an unknown reduction.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._seal()

    @without_warnings
    def forward(self, input: Array, target: Array) -> Any:
        """input, target: any shape, the same for both. Complex numbers are squared as they are, not conjugated.

        Returns a NumPy scalar of the input's dtype; with reduction 'none' an array of the input's shape. The
        mean over no elements is NaN.

        Raises TypeError for anything but arrays, NotImplementedError for an input that is not floating-point,
        RuntimeError if shapes or dtypes differ (only a complex input may have a real target).
        """
        input, target = floating("input", input), checks.array("target", target)
        if target.dtype not in (input.dtype, input.real.dtype) or target.shape != input.shape:
            raise RuntimeError(
                f"expected target of dtype {input.dtype} and shape {input.shape}, as input is, "
                f"got {target.dtype} and {target.shape}"
            )
        difference = np.asarray(input - target)
        losses = difference * difference  # (5)
        total = losses.size if self.reduction == "mean" else 1
        loss = losses[()] if self.reduction == "none" else losses.sum() / total  # (6)
        self._keep(difference, total, self.reduction)
        return loss

    @without_warnings
    def backward(self, d_loss: Any = None, *, retain_graph: bool = False) -> Array:
        """d_loss: the gradient of whatever follows with respect to the loss; None means 1. Returns d_input.

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises TypeError for another kind,
        RuntimeError for another shape or dtype than the loss's, for None with reduction 'none', and if there is no
        forward pass to undo.
        """
        difference, total, reduction = self._newest(retain_graph)
        d_loss = upstream(d_loss, reduction, difference.dtype, difference.shape)
        self._undone(retain_graph)
        d_losses = d_loss / total  # (6)
        return np.asarray(2 * difference * d_losses)  # (5)


def classes_last(logits: Array) -> Array:
    """A view of (C), (N, C) or (N, C, d1, …) with the classes in the last dimension."""
    return np.moveaxis(logits, min(1, logits.ndim - 1), -1)


def floating(name: str, value: Any) -> Array:
    """A floating-point array.

    Raises TypeError for anything but an array and, as PyTorch does, NotImplementedError for integers.
    """
    result = checks.array(name, value)
    if result.dtype.kind not in "fc":
        raise NotImplementedError(f"expected {name} of a floating-point dtype, got {result.dtype}")
    return result


def upstream(d_loss: Any, reduction: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """The gradient of the loss as an array: `shape` is that of the loss with reduction 'none'; others have ()."""
    if d_loss is None and reduction == "none":
        raise RuntimeError(f"expected d_loss of shape {shape} (reduction 'none'), got None")
    if d_loss is None:
        d_loss = 1.0
    if type(d_loss) in (int, float):
        d_loss = np.asarray(d_loss, dtype)
    return checks.gradient("d_loss", d_loss, dtype, shape if reduction == "none" else ())
