"""The curvature of a loss: what second order (second_order.py) is good for.

Along a direction v of the parameters the loss is, to second order, L + r vᵀ∇L + ½ r² vᵀHv. The Hessian has two parts,

(1)  H = G + S,   G = Jᵀ H_L J        J the Jacobian of output and state, H_L the Hessian of the loss of these
(2)               S = Σ d_y ∂²y       the curvature of the recurrence itself, weighted by the gradient of each output y

If the loss is convex in output and state, the Gauss–Newton matrix G has no negative eigenvalue, even where H has one
(Schraudolph 2002). The derivation is in second_order.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..nn import Linear, checks
from ..nn.checks import without_warnings
from ..nn.layout import Order
from ..nn.recurrent import Recurrent
from ..nn.utils.rnn import PackedSequence
from ..types import Array, Seed
from .rtrl import Gradients
from .second_order import Loss, hvp


def linear_in_output(d_output: Any = None, d_state: Any = None) -> Loss:
    """The loss ⟨d_output, output⟩ + ⟨d_state, state⟩, with the same gradient everywhere and no curvature of its own."""
    return lambda output, state, output_dot, state_dot: (d_output, d_state, None, None)


def squared_error(target: Any) -> Loss:
    """½ ‖output − target‖². target: like the output.

        d_y = y − target,   d_y_dot = y_dot

    The loss raises TypeError for a target of another kind, RuntimeError for another shape or another order of packing.
    """

    @without_warnings
    def loss(output: Any, state: Any, output_dot: Any, state_dot: Any) -> tuple[Any, None, Any, None]:
        packed = isinstance(output, PackedSequence)
        if packed and not isinstance(target, PackedSequence):
            raise TypeError(f"expected target to be a PackedSequence, got {type(target).__name__}")
        if packed and not Order.of(target).agrees_with(Order.of(output)):
            raise RuntimeError("expected target packed in the order of the output, got another order")
        y, t = (output.data, target.data) if packed else (output, checks.array("target", target))
        if t.shape != y.shape:
            raise RuntimeError(f"expected target of shape {y.shape}, as the output is, got {t.shape}")
        return output._replace(data=y - t) if packed else y - t, None, output_dot, None

    return loss


def cross_entropy(linear: Linear, target: Array) -> Loss:
    """The mean cross-entropy of the logits that a linear layer computes from every output.

    target: the classes, integers; one for each output, (T, B) and so on, or for a packed output (N), one for each row
    of its data. The linear layer stays fixed: the Hessian is not with respect to its parameters.

    With logits y = output Wᵀ + b and p = softmax(y),

        d_y = (p − [class]) / N,   d_y_dot = (p ⊙ y_dot − p (pᵀ y_dot)) / N

    The loss raises RuntimeError for a target of another shape, IndexError for an unknown class.
    """

    @without_warnings
    def loss(output: Any, state: Any, output_dot: Any, state_dot: Any) -> tuple[Any, None, Any, None]:
        packed = isinstance(output, PackedSequence)
        x, x_dot = (output.data, output_dot.data) if packed else (output, output_dot)
        W = linear.weight.data
        classes = checks.indices("target", target, len(W))
        if classes.shape != x.shape[:-1]:
            raise RuntimeError(
                f"expected target of shape {x.shape[:-1]}, one class for each output, got {target.shape}"
            )
        y, y_dot = x @ W.T, x_dot @ W.T  # …, C
        if linear.bias is not None:
            y += linear.bias.data
        p = np.exp(y - y.real.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        d_y = (p - (classes[..., None] == np.arange(len(W)))) / classes.size
        d_y_dot = p * (y_dot - (p * y_dot).sum(axis=-1, keepdims=True)) / classes.size
        d_x, d_x_dot = d_y @ W, d_y_dot @ W
        if packed:
            d_x, d_x_dot = output._replace(data=d_x), output_dot._replace(data=d_x_dot)
        return d_x, None, d_x_dot, None

    return loss


def gauss_newton(module: Recurrent[Any], loss: Loss, *arguments: Any, **options: Any) -> Gradients:
    """The Gauss–Newton matrix of a loss times a direction, in the fields d_input, d_initial and d_parameters.

    The arguments, and what is raised when: see `hvp`. Source: Schraudolph (2002), Fast curvature matrix-vector products
    for second-order gradient descent, Neural Computation 14.
    """

    def change_of_gradient(*outputs: Any) -> tuple[Any, Any, None, None]:
        _, _, d_output_dot, d_state_dot = loss(*outputs)
        return d_output_dot, d_state_dot, None, None  # H_L J v, sent back as if it were a gradient

    return hvp(module, change_of_gradient, *arguments, **options).gradients


@without_warnings
def curvature_along(
    module: Recurrent[Any], loss: Loss, direction: Mapping[str, Array], *arguments: Any, **options: Any
) -> tuple[Any, Any]:
    """How the loss bends along a direction v of the parameters: vᵀHv / vᵀv, and of this the Gauss–Newton part.

    direction: as parameters_dot. The other arguments (input, hx, dropout_masks), and what is raised when: see `hvp`;
    ValueError for a direction that is zero.
    """
    options |= {"parameters_dot": direction}
    full = hvp(module, loss, *arguments, **options).d_parameters_dot
    part = gauss_newton(module, loss, *arguments, **options).d_parameters
    if not (size := inner(direction, direction)):
        raise ValueError("expected a direction that is not zero, got one of length 0")
    return inner(direction, full) / size, inner(direction, part) / size


@without_warnings
def largest_eigenvalue(
    module: Recurrent[Any],
    loss: Loss,
    input: Any,
    hx: Any = None,
    dropout_masks: Sequence[Any] = (),
    iterations: int = 100,
    rng: Seed = None,
) -> tuple[Any, dict[str, Array]]:
    """The eigenvalue, largest in magnitude, of the Hessian with respect to the parameters, and its eigenvector.

    By power iteration from a random vector: v ← Hv / ‖Hv‖. The error of the eigenvalue shrinks each time by the square
    of the ratio of the second largest magnitude to the largest. If these are nearly equal and opposite, the result lies
    between them.

    iterations: the number of products, at least 1. rng: for the first vector. Returns the eigenvalue, vᵀHv for the last
    v, and that v, of length 1, by name. Raises ValueError for less than one iteration, and what `hvp` raises.
    """
    checks.integer("iterations", iterations, least=1)
    rng = np.random.default_rng(rng)
    v = {name: rng.standard_normal(p.shape).astype(module.dtype) for name, p in module.named_parameters()}
    product = v
    for _ in range(iterations):
        size = np.sqrt(inner(product, product))
        if size == 0:  # v lies in the kernel
            break
        v = {name: value / size for name, value in product.items()}
        product = hvp(module, loss, input, hx, None, None, v, dropout_masks).d_parameters_dot
    return inner(v, product), v


def inner(one: Mapping[str, Array], other: Mapping[str, Array]) -> Any:
    """The inner product over all entries that both have."""
    return sum((one[name] * other[name]).sum() for name in one if name in other)
