"""The floor of a training step: its matrix products alone, in the same shapes, number and order, in the same library.

Nothing can be faster that makes these products with this library's BLAS: the loop, the gates and the copies are gone.
A state may lie in memory as columns (features, B) or as rows (B, features), which no shape tells and the rate depends
on; each product takes the layout in which it is the faster, tried beforehand. Weights and their gradients lie as the
parameters do. A library that makes its recurrences' products in another way than its `matmul` can come out above 100 %:
PyTorch's float32 LSTM on the CPU is oneDNN's, while its `matmul` there is MKL's. Where the products are tiny, calling
for them takes the time, and the floor is that of the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from .problems import Problem, Product

Make = Callable[[int, int], Any]
"""Makes a matrix of random numbers, row by row in memory."""

Multiply = Callable[..., Any]
"""`np.matmul` or `torch.matmul`: (a, b, out=c)."""


class Operands(NamedTuple):
    """Two factors and where their product goes, as they lie in memory."""

    left: Any
    right: Any
    out: Any


def operands(product: Product, in_columns: bool, make: Make) -> Operands:
    """Matrices for a product, with its activations as columns or as rows."""
    rows, inner, columns = product.rows, product.inner, product.columns

    def activations(features: int, number: int) -> Any:
        return make(features, number) if in_columns else make(number, features).T

    if product.kind == "gradient":
        return Operands(activations(rows, inner), activations(columns, inner).T, make(rows, columns))
    weight = make(rows, inner) if product.kind == "weight" else make(inner, rows).T
    right, out = activations(inner, columns), activations(rows, columns)
    return Operands(weight, right, out) if in_columns else Operands(right.T, weight.T, out.T)


class Floor:
    """The products of a problem, ready to be made.

    synchronize: waits until the products are there; for a GPU.
    """

    def __init__(
        self, problem: Problem, make: Make, multiply: Multiply, synchronize: Callable[[], object] = lambda: None
    ) -> None:
        self.multiply = multiply
        self.layouts: dict[str, str] = {}
        self.calls: dict[bool, list[tuple[Operands, int]]] = {False: [], True: []}
        for product in problem.products():
            tried = [(operands(product, in_columns, make), in_columns) for in_columns in (True, False)]
            times = [self.seconds(one, synchronize) for one, _ in tried]
            chosen, in_columns = tried[times.index(min(times))]
            self.layouts[product.what] = "columns" if in_columns else "rows"
            self.calls[product.backward].append((chosen, product.times))

    def seconds(self, operands: Operands, synchronize: Callable[[], object]) -> float:
        """How long one product takes: the best of three, after one that is not counted."""
        times = []
        for _ in range(4):
            start = perf_counter()
            self.multiply(operands.left, operands.right, out=operands.out)
            synchronize()
            times.append(perf_counter() - start)
        return min(times[1:])

    def forward(self) -> None:
        """The products of the forward pass."""
        self.make_products(backward=False)

    def backward(self) -> None:
        """The products of the backward pass."""
        self.make_products(backward=True)

    def make_products(self, backward: bool) -> None:
        """The products of one pass."""
        multiply = self.multiply
        for (left, right, out), times in self.calls[backward]:
            for _ in range(times):
                multiply(left, right, out=out)
