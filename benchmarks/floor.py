"""What no training step can beat: its matrix products alone, and what a device can do at most.

The floor makes the products in the same shapes, number and order, in the same library: the loop, the gates and the
copies are gone. A state may lie in memory as columns (features, B) or as rows (B, features), which no shape tells and
the rate depends on; each product takes the layout in which it is the faster, tried beforehand. Weights and their
gradients lie as the parameters do. A library that makes its recurrences' products in another way than its `matmul` can
come out above 100 %: PyTorch's float32 LSTM on the CPU is oneDNN's, while its `matmul` there is MKL's. Where the
products are tiny, calling for them takes the time, and the floor is that of the calls.

The ceiling is measured with what a device is told to do best, a large product and a large copy. A training step of so
many operations, which reads and writes so many bytes at least, takes no less than the longer of both takes at these
rates (the roofline of Williams, Waterman and Patterson 2009).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from .clock import Clock, each, quickest
from .problems import Problem, Product

Make = Callable[[int, int], Any]
"""Makes a matrix of random numbers, row by row in memory."""
Multiply = Callable[..., Any]
"""`np.matmul` or `torch.matmul`: (a, b, out=c)."""

LARGEST = 16384
"""Rows of a square product."""
ENOUGH = 0.02
"""Seconds of a product that is large enough."""
COPIED = 2**26
"""Numbers that are copied: more than a cache holds."""


def call(product: Product, in_columns: bool, make: Make, multiply: Multiply) -> Callable[[], object]:
    """Makes a product on matrices of its own, with its activations as columns or as rows."""
    rows, inner, columns = product.rows, product.inner, product.columns

    def activations(features: int, number: int) -> Any:
        return make(features, number) if in_columns else make(number, features).T

    if product.kind == "gradient":
        left, right = activations(rows, inner), activations(columns, inner).T
        return partial(multiply, left, right, out=make(rows, columns))
    weight = make(rows, inner) if product.kind == "weight" else make(inner, rows).T
    right, out = activations(inner, columns), activations(rows, columns)
    return partial(multiply, weight, right, out=out) if in_columns else partial(multiply, right.T, weight.T, out=out.T)


class Floor:
    """The products of a problem, ready to be made: its `parts`, forward and backward."""

    def __init__(self, problem: Problem, make: Make, multiply: Multiply, clock: Clock) -> None:
        self.layouts: dict[str, str] = {}
        calls: dict[bool, list[Callable[[], object]]] = {False: [], True: []}
        for product in problem.products():
            tried = {name: call(product, name == "columns", make, multiply) for name in ("columns", "rows")}
            best = self.layouts[product.what] = min(tried, key=lambda name: quickest(clock, tried[name]))
            calls[product.backward] += [tried[best]] * product.times
        self.parts: dict[str, Callable[[], object]] = {
            "forward": partial(each, calls[False]),
            "backward": partial(each, calls[True]),
        }


def ceiling(make: Callable[..., Any], multiply: Multiply, copy: Callable[..., Any], clock: Clock) -> dict[str, float]:
    """Operations in a second of the best of ever larger products, and bytes in a second, read and written, of a copy.

    make: random numbers of a shape; multiply: (a, b, out=c); copy: (to, from).
    """
    best, n, seconds = 0.0, 256, 0.0
    while n <= LARGEST and seconds < ENOUGH:
        a, b, out = (make(n, n) for _ in range(3))
        seconds = quickest(clock, partial(multiply, a, b, out=out))
        best = max(best, 2 * n**3 / seconds)
        n *= 2
    source, target = (make(COPIED // 2**13, 2**13) for _ in range(2))
    moved = 2 * source.nbytes / quickest(clock, partial(copy, target, source))
    return {"operations in a second": best, "bytes in a second": moved}
