"""Faults inside a step: derivatives that are missing or another function's, and other equations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from scratch.nn.cell import Cell, State
from scratch.types import Array

from ..problems import Configuration
from .machine import Fault, Machine, Taps
from .taps import (
    listed,
    on_rows,
    on_weights,
    sigmoid,
    sigmoid_gates,
)


def derivatives(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The derivatives of σ, tanh and relu."""
    sigmoids = sigmoid_gates(cell)
    if len(cell.gates) == 1:
        yield from derivatives_of_one(cell, c)
        return
    wrong_sigmoids: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        ("σ′ missing", "the factor σ′(a) = s(1 − s) is missing", lambda a, s: np.ones_like(s)),
        ("1 − s missing from σ′", "σ′(a) is s(1 − s), and only s is there", lambda a, s: s),
        ("s missing from σ′", "σ′(a) is s(1 − s), and only 1 − s is there", lambda a, s: 1 - s),
        (
            "σ′ taken of the pre-activation",
            "σ′(a) is s(1 − s) of the gate s = σ(a), and a(1 − a) is there",
            lambda a, s: a * (1 - a),
        ),
        (
            "σ′ taken at the gate",
            "σ′ is taken at s = σ(a), as if σ were applied twice, where it belongs at a: σ′(a) = s(1 − s)",
            lambda a, s: sigmoid(s) * (1 - sigmoid(s)),
        ),
        ("tanh′ for σ′", "1 − s², which is tanh′, is there for σ′(a) = s(1 − s)", lambda a, s: 1 - s * s),
    ]
    wrong_tanhs: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        ("tanh′ missing", "the factor tanh′(a) = 1 − y² is missing", lambda a, y: np.ones_like(y)),
        ("1 − y for tanh′", "tanh′(a) is 1 − y², and 1 − y is there (the square is missing)", lambda a, y: 1 - y),
        (
            "tanh′ taken of the pre-activation",
            "tanh′(a) is 1 − y² of the value y = tanh(a), and 1 − a² is there",
            lambda a, y: 1 - a * a,
        ),
        (
            "tanh′ taken at the value",
            "tanh′ is taken at y = tanh(a), as if tanh were applied twice, where it belongs at a: tanh′(a) = 1 − y²",
            lambda a, y: 1 - np.tanh(y) ** 2,
        ),
        ("σ′ for tanh′", "y(1 − y), which is σ′, is there for tanh′(a) = 1 − y²", lambda a, y: y * (1 - y)),
    ]

    def with_factor(wrong: Callable[[Array, Array], Array], is_sigmoid: bool) -> Callable[[Array, Machine], Array]:
        def change(d_a: Array, m: Machine) -> Array:
            a = m.step.a[m.step.rows]
            y = sigmoid(a) if is_sigmoid else np.tanh(a)
            return d_a / (y * (1 - y) if is_sigmoid else 1 - y * y) * wrong(a, y)

        return change

    for is_sigmoid, wrongs in ((True, wrong_sigmoids), (False, wrong_tanhs)):
        own = [gate for gate in cell.summed if (gate in sigmoids) == is_sigmoid]
        groups = [(gate,) for gate in own] + ([tuple(own)] if len(own) > 1 else [])
        for name, told, wrong in wrongs:
            for gates in groups:
                tap = on_rows(with_factor(wrong, is_sigmoid), gates)
                yield Fault(
                    f"{name} in {listed(gates)}",
                    f"In the gradient of the pre-activation of {listed(gates)}, {told}.",
                    ({"d_a": tap},),
                )
    missing = [on_rows(with_factor(lambda a, y: np.ones_like(y), gate in sigmoids), (gate,)) for gate in cell.summed]

    def all_missing(d_a: Array, m: Machine) -> Array:
        for tap in missing:
            d_a = tap(d_a, m)
        return d_a

    yield Fault(
        "all derivatives of the gates missing",
        "The derivatives of the nonlinearities, σ′ and tanh′, are missing in the gradients of all gates, "
        f"{listed(cell.summed)}.",
        ({"d_a": all_missing},),
    )


def derivatives_of_one(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The derivative of a cell's only nonlinearity, h = φ(a)."""
    wrongs: list[tuple[str, str, Callable[[Array, Array], Array]]] = [
        (
            "φ′ missing",
            "the factor φ′(a) is missing (for tanh: 1 − h², for relu: [a > 0])",
            lambda a, h: np.ones_like(h),
        ),
        ("1 − h for tanh′", "tanh′(a) is 1 − h², and 1 − h is there (the square is missing)", lambda a, h: 1 - h),
        (
            "tanh′ taken of the pre-activation",
            "tanh′(a) is 1 − h² of the value h = tanh(a), and 1 − a² is there",
            lambda a, h: 1 - a * a,
        ),
        (
            "tanh′ taken at the value",
            "tanh′ is taken at h, which is tanh(a) already, where it belongs at a: tanh′(a) = 1 − h²",
            lambda a, h: 1 - np.tanh(h) ** 2,
        ),
        ("σ′ for φ′", "h(1 − h), which is σ′, is there for φ′(a)", lambda a, h: h * (1 - h)),
        ("tanh′ for φ′", "1 − h², which is tanh′, is there for φ′(a)", lambda a, h: 1 - h * h),
        ("relu′ for φ′", "[a > 0], which is relu′, is there for φ′(a)", lambda a, h: np.where(a > 0, 1.0, 0.0)),
        ("h for relu′", "h itself is there for relu′(a), which is 1 where a > 0 and 0 elsewhere", lambda a, h: h),
        ("2h for φ′", "−2h, the derivative of 1 − h², is there for φ′(a)", lambda a, h: -2 * h),
    ]
    a, h, right = derivative_of_one(cell)
    for name, told, wrong in wrongs:
        if np.allclose(wrong(a, h), right):
            continue

        def tap(d_a: Array, m: Machine, wrong: Callable[[Array, Array], Array] = wrong) -> Array:
            return m.step.d_h * wrong(m.step.a, m.step.state[0])

        yield Fault(name, f"In the gradient of the pre-activation, {told}.", ({"d_a": tap},))


SAMPLE = np.linspace(-2, 2, 8)
"""Pre-activations at which two nonlinearities are told apart."""


def one_step(cell: Cell) -> tuple[Array, State, State, State]:
    """A step of the cell at the sample: the pre-activations and the state before, and what the step makes of them."""
    prev = tuple(SAMPLE[None] / (n + 3) for n, _ in enumerate(cell.state))
    a = np.stack([np.roll(SAMPLE, n)[None] for n, _ in enumerate(cell.blocks)])
    state = tuple(np.zeros_like(part) for part in prev)
    kept = tuple(np.zeros_like(SAMPLE[None]) for _ in range(cell.kept))
    cell.step(a, prev, state, kept)
    return a, prev, state, kept


def derivative_of_one(cell: Cell) -> tuple[Array, Array, Array]:
    """a, h = φ(a) and φ′(a) of a cell with a single nonlinearity."""
    a, prev, state, kept = one_step(cell)
    slopes, right = np.zeros((cell.slopes, *state[0].shape)), np.zeros_like(a)
    cell.linearize(a, prev, state, kept, slopes)
    cell.step_backward((np.ones_like(state[0]),), slopes, right)
    return SAMPLE[None], state[0], right[0]


def inside_with_memory(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Backward through c = f ⊙ c_prev + i ⊙ g and h = o ⊙ tanh(c), for cells that have these."""
    if not ({"i", "f", "g", "o"} <= set(cell.gates) and "c" in cell.state):
        return
    memory = cell.state.index("c")
    wrongs: list[tuple[str, str, Callable[..., Array]]] = [
        (
            "tanh′(c) missing",
            "On the way from h = o ⊙ tanh(c) to c the factor tanh′(c) = 1 − tanh(c)² is missing: d_c += d_h ⊙ o ⊙ "
            "tanh′(c).",
            lambda o, c, y: o,
        ),
        (
            "the square missing in tanh′(c)",
            "On the way from h to c, tanh′(c) is 1 − tanh(c)², and 1 − tanh(c) is there.",
            lambda o, c, y: o * (1 - y),
        ),
        (
            "1 − c² for tanh′(c)",
            "On the way from h to c, tanh′(c) is 1 − tanh(c)², and 1 − c² is there.",
            lambda o, c, y: o * (1 - c * c),
        ),
        (
            "tanh′(c) taken at tanh(c)",
            "On the way from h to c, tanh′ is taken at tanh(c), as if tanh were applied twice: tanh′(c) = 1 − "
            "tanh(c)².",
            lambda o, c, y: o * (1 - np.tanh(y) ** 2),
        ),
        (
            "o missing on the way from h to c",
            "On the way from h = o ⊙ tanh(c) to c the factor o is missing: d_c += d_h ⊙ o ⊙ tanh′(c).",
            lambda o, c, y: 1 - y * y,
        ),
        (
            "c gets no gradient from h",
            "h = o ⊙ tanh(c) gives c a gradient at every step, d_c += d_h ⊙ o ⊙ tanh′(c), and it is lost.",
            lambda o, c, y: np.zeros_like(o),
        ),
    ]
    for name, told, wrong in wrongs:

        def from_h(d_state: State, m: Machine, wrong: Callable[..., Array] = wrong) -> State:
            o, c = sigmoid(m.step.a[m.gate("o")]), m.step.state[memory]
            y = np.tanh(c)
            extra = d_state[0] * (wrong(o, c, y) - o * (1 - y * y))
            return tuple(v + extra if n == memory else v for n, v in enumerate(d_state))

        yield Fault(name, told, ({"d_state": from_h},))

    def value(m: Machine, name: str) -> Array:
        if name in m.cell.gates:
            a = m.step.a[m.gate(name)]
            return sigmoid(a) if name in sigmoid_gates(m.cell) else np.tanh(a)
        c, c_prev = m.step.state[memory], m.step.prev[memory]
        return {"c": c, "c_prev": c_prev, "tanh(c)": np.tanh(c), "tanh(c_prev)": np.tanh(c_prev), "1": np.ones_like(c)}[
            name
        ]

    right = {"i": ("d_c", "g"), "f": ("d_c", "c_prev"), "g": ("d_c", "i"), "o": ("d_h", "tanh(c)")}
    for gate, others in {
        "i": ("i", "c_prev", "1", "o", "f"),
        "f": ("c", "f", "1", "tanh(c_prev)", "g"),
        "g": ("g", "f", "1", "o"),
        "o": ("c", "o", "1", "c_prev", "tanh(c_prev)"),
    }.items():
        source, factor = right[gate]
        for other in others:

            def tap(d: Array, m: Machine, factor: str = factor, other: str = other) -> Array:
                return d / value(m, factor) * value(m, other)

            there = f"{factor} is missing" if other == "1" else f"{other} is there instead of {factor}"
            yield Fault(
                f"the factor of d_{gate}: {other} for {factor}",
                f"d_{gate} = {source} ⊙ {factor}, and {there}.",
                ({"d_a": on_rows(tap, (gate,))},),
            )
    for other in ("1", "i", "o"):

        def rest(d_rest: State, m: Machine, other: str = other) -> State:
            return tuple(v / value(m, "f") * value(m, other) if n + 1 == memory else v for n, v in enumerate(d_rest))

        there = "f is missing" if other == "1" else f"{other} is there instead of f"
        yield Fault(
            f"the factor of d_c_prev: {other} for f",
            f"d_c_prev = d_c ⊙ f, because c = f ⊙ c_prev + i ⊙ g; {there}.",
            ({"d_rest": rest},),
        )

    def before_h(d_a: Array, m: Machine) -> Array:
        """d_i, d_f, d_g from the d_c of the step after alone."""
        o, c = sigmoid(m.step.a[m.gate("o")]), m.step.state[memory]
        whole = m.step.d_c_in + m.step.d_h * o * (1 - np.tanh(c) ** 2)
        return d_a * np.where(whole == 0, 0, m.step.d_c_in / whole)

    def note(d_state: State, m: Machine) -> State:
        m.step.d_c_in = d_state[memory].copy()
        return d_state

    def only_carried(d_rest: State, m: Machine) -> State:
        return tuple(m.step.d_c_in * value(m, "f") if n + 1 == memory else v for n, v in enumerate(d_rest))

    def only_own(d_a: Array, m: Machine) -> Array:
        o, c = sigmoid(m.step.a[m.gate("o")]), m.step.state[memory]
        own = m.step.d_h * o * (1 - np.tanh(c) ** 2)
        return d_a / (m.step.d_c_in + own) * own

    inner = ("i", "f", "g")
    yield Fault(
        "d_c_prev without what comes from h",
        "d_c_prev = d_c ⊙ f needs the whole d_c, this step's part d_h ⊙ o ⊙ tanh′(c) included; only what came from "
        "the step after is passed on.",
        ({"d_state": note, "d_rest": only_carried},),
    )
    yield Fault(
        "d_i, d_f and d_g without what comes from the step after",
        "d_i, d_f and d_g need the whole d_c; what came from the step after is left out there, though it is passed on.",
        ({"d_state": note, "d_a": on_rows(only_own, inner)},),
    )
    yield Fault(
        "d_i, d_f and d_g without what comes from h",
        "d_i, d_f and d_g need the whole d_c, this step's part d_h ⊙ o ⊙ tanh′(c) included; it is added too late.",
        ({"d_state": note, "d_a": on_rows(before_h, inner)},),
    )


def direct_paths(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """For cells in which h_prev also acts directly, not only through W_hh."""
    one = np.ones((1, 1))
    parts = tuple(one.copy() for _ in cell.state)
    kept = tuple(one.copy() for _ in range(cell.kept))
    a, slopes = np.ones((len(cell.blocks), 1, 1)), np.ones((cell.slopes, 1, 1))
    cell.step(a, parts, parts, kept)
    if cell.step_backward(parts, slopes, a)[0] is None:
        return
    yield Fault(
        "the direct path from h to h_prev lost",
        "h_prev acts on h also directly, not only through W_hh, and that part of d_h_prev is lost.",
        ({"d_h_direct": lambda direct, m: None},),
    )
    yield Fault(
        "d_h_prev without the path through W_hh",
        "h_prev also acts through W_hh, d_h_prev = W_hhᵀ d_a + …, and that part is lost.",
        ({"weights_backward": lambda w, m: w._replace(W_hh=0 * w.W_hh)},),
    )


def equations_of_gates(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """Other equations: gates and nonlinearities that are not what they should be."""
    sigmoids = sigmoid_gates(cell)

    def through(change: Callable[[Array], Array], chain: float, gates: Sequence[str]) -> tuple[Taps, ...]:
        tap: Taps = {"a": on_rows(lambda a, m: change(a), gates)}
        consistent: Taps = {"d_a": on_rows(lambda d, m: chain * d, gates)}
        return tap | consistent, tap

    groups = [(gate,) for gate in sigmoids] + ([tuple(sigmoids)] if len(sigmoids) > 1 else [])
    for gates in groups:
        are = listed(gates)
        yield Fault(
            f"σ(2a) for σ(a) in {are}",
            f"{are}: σ(2a) for σ(a), the slope of the sigmoid is twice what it should be.",
            through(lambda a: 2 * a, 2, gates),
            forward=True,
        )
        yield Fault(
            f"σ(a/2) for σ(a) in {are}",
            f"{are}: σ(a/2) for σ(a), the slope of the sigmoid is half what it should be.",
            through(lambda a: a / 2, 0.5, gates),
            forward=True,
        )
        yield Fault(
            f"1 − σ(a) for σ(a) in {are}",
            f"{are}: 1 − σ(a), that is σ(−a), is there for σ(a): the gate opens where it should close.",
            through(lambda a: -a, -1, gates),
            forward=True,
        )
    for gate in sigmoids:
        yield Fault(
            f"the gate {gate} missing",
            f"The gate {gate} is missing: the other equations are computed as if it were 1 everywhere.",
            through(lambda a: np.full_like(a, np.inf), 0, (gate,)),
            forward=True,
        )
    if "f" in sigmoids:
        yield Fault(
            "1 added to the bias of the forget gate",
            "1 is added to the pre-activation of the forget gate f at every step. (A forget bias is something to "
            "begin with: it belongs into the bias parameter.)",
            ({"a": on_rows(lambda a, m: a + 1, ("f",))},),
            forward=True,
        )
    yield Fault(
        "the input product missing",
        "W_ih x is missing in a = W_ih x + b_ih + W_hh h_prev + b_hh.",
        (
            {"weights": on_weights(lambda w: 0 * w, ("W_ih",))},
            {"weights_forward": on_weights(lambda w: 0 * w, ("W_ih",))},
        ),
        forward=True,
    )
    yield Fault(
        "the recurrent product missing",
        "W_hh h_prev is missing in a = W_ih x + b_ih + W_hh h_prev + b_hh: no step knows of the one before.",
        (
            {"weights": on_weights(lambda w: 0 * w, ("W_hh",))},
            {"weights_forward": on_weights(lambda w: 0 * w, ("W_hh",))},
        ),
        forward=True,
    )
    own = one_step(cell)[2]
    for name, told, equations in others(cell):
        theirs = one_step(made_of(cell, equations))[2]
        if all(np.allclose(one, other) for one, other in zip(own, theirs, strict=True)):
            continue  # what the cell computes itself
        yield Fault(name, told, ({"cell": lambda old, m, equations=equations: made_of(old, equations)},), forward=True)


Equations = Callable[[dict[str, Array], dict[str, Array]], dict[str, Array]]
"""One step, from the pre-activations by block and the state before by part, to the state by part."""


def others(cell: Cell) -> Iterator[tuple[str, str, Equations]]:
    """Equations that people have written for those of the cell: a name, an explanation, the equations."""
    if len(cell.gates) == 1 and cell.state == ("h",):
        (gate,) = cell.gates
        instead: dict[str, Callable[[Array], Array]] = {
            "σ": sigmoid,
            "tanh": np.tanh,
            "relu": lambda a: np.where(a.real > 0, a, 0),
            "leaky relu (0.01)": lambda a: np.where(a.real > 0, a, 0.01 * a),
            "tanh, applied twice": lambda a: np.tanh(np.tanh(a)),
            NONE: lambda a: a,
            "tanh of twice the pre-activation": lambda a: np.tanh(2 * a),
        }
        for name, function in instead.items():
            yield (
                f"{name} for the nonlinearity",
                "h = φ(a): here φ is missing."
                if name == NONE
                else f"h = φ(a): here φ is another one than it should be, {name}.",
                lambda a, prev, function=function: {"h": function(a[gate])},
            )
    if not ({"i", "f", "g", "o"} <= set(cell.gates) and set(cell.state) == {"h", "c"}):
        return

    def lstm(
        i: Callable[[Array], Array] = sigmoid,
        f: Callable[[Array], Array] = sigmoid,
        g: Callable[[Array], Array] = np.tanh,
        o: Callable[[Array], Array] = sigmoid,
        memory: Callable[..., Array] = lambda i, f, g, c_prev: f * c_prev + i * g,
        show: Callable[..., Array] = lambda o, c, c_prev: o * np.tanh(c),
    ) -> Equations:
        def equations(a: dict[str, Array], prev: dict[str, Array]) -> dict[str, Array]:
            c = memory(i(a["i"]), f(a["f"]), g(a["g"]), prev["c"])
            return {"h": show(o(a["o"]), c, prev["c"]), "c": c}

        return equations

    def identity(a: Array) -> Array:
        return a

    memory = {
        "1 − f for i": ("c = f ⊙ c_prev + (1 − f) ⊙ g", "1 − f is there for i", lambda i, f, g, c: f * c + (1 - f) * g),
        "1 − i for f": ("c = (1 − i) ⊙ c_prev + i ⊙ g", "1 − i is there for f", lambda i, f, g, c: (1 - i) * c + i * g),
        "c not remembered": ("c = i ⊙ g", "f ⊙ c_prev is missing", lambda i, f, g, c: i * g),
        "i ⊙ g missing": ("c = f ⊙ c_prev", "i ⊙ g is missing", lambda i, f, g, c: f * c),
        "i ⊙ g subtracted": ("c = f ⊙ c_prev − i ⊙ g", "the sign is wrong", lambda i, f, g, c: f * c - i * g),
        "i + g for i ⊙ g": ("c = f ⊙ c_prev + i + g", "i and g are added", lambda i, f, g, c: f * c + i + g),
    }
    for name, (equation, told, remember) in memory.items():
        yield name, f"{equation} is computed where it should be c = f ⊙ c_prev + i ⊙ g: {told}.", lstm(memory=remember)
    shows = {
        "tanh(c) missing": ("o ⊙ c", lambda o, c, c_prev: o * c),
        "tanh(o ⊙ c) for o ⊙ tanh(c)": ("tanh(o ⊙ c)", lambda o, c, c_prev: np.tanh(o * c)),
        "σ(c) for tanh(c)": ("o ⊙ σ(c)", lambda o, c, c_prev: o * sigmoid(c)),
        "c_prev shown for c": ("o ⊙ tanh(c_prev)", lambda o, c, c_prev: o * np.tanh(c_prev)),
        "relu(c) for tanh(c)": ("o ⊙ relu(c)", lambda o, c, c_prev: o * np.where(c.real > 0, c, 0)),
    }
    for name, (equation, shown) in shows.items():
        yield name, f"h = {equation} is computed where it should be h = o ⊙ tanh(c).", lstm(show=shown)
    for gate in ("i", "f", "o"):
        functions: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, NONE: identity}
        functions |= {"σ, applied twice": lambda a: sigmoid(sigmoid(a))}
        for name, function in functions.items():
            yield (
                f"{name} for σ in {gate}",
                f"{gate} = σ(a_{gate}): {instead_of('σ', name)}.",
                lstm(**{gate: function}),
            )
    candidates: dict[str, Callable[[Array], Array]] = {
        "σ": sigmoid,
        NONE: identity,
        "relu": lambda a: np.where(a.real > 0, a, 0),
        "tanh, applied twice": lambda a: np.tanh(np.tanh(a)),
    }
    for name, function in candidates.items():
        yield f"{name} for tanh in g", f"g = tanh(a_g): {instead_of('tanh', name)}.", lstm(g=function)


NONE = "no nonlinearity"


def instead_of(right: str, name: str) -> str:
    """What is in the place of a nonlinearity."""
    if name == NONE:
        return f"here {right} is missing"
    return f"here {name}{',' if ',' in name else ''} is in the place of {right}"


def made_of(cell: Cell, equations: Equations) -> Cell:
    """A cell of these equations. Its backward is exact for them: they act elementwise, so that one complex step
    (Squire and Trapp 1998) for each pre-activation and each part of the state gives all derivatives, those of h_prev
    itself among them.
    """
    tiny = 1e-100
    causes = [*cell.blocks, *cell.state]

    def inputs(a: Array, state_prev: State) -> tuple[dict[str, Array], dict[str, Array]]:
        return dict(zip(cell.blocks, a, strict=True)), dict(zip(cell.state, state_prev, strict=True))

    def step(a: Array, state_prev: State, state: State, kept: State) -> None:
        made = equations(*inputs(a, state_prev))
        for part, value in zip(cell.state, state, strict=True):
            value[...] = made[part]

    def linearize(a: Array, state_prev: State, state: State, kept: State, slopes: Array) -> None:
        blocks, prev = inputs(a, state_prev)
        at = iter(slopes)
        for cause in causes:
            of_a = cause in blocks
            group = blocks if of_a else prev
            moved = group | {cause: group[cause] + 1j * tiny}
            made = equations(moved, prev) if of_a else equations(blocks, moved)
            for part in cell.state:
                next(at)[...] = np.imag(made[part]) / tiny

    def step_backward(d_state: State, slopes: Array, d_a: Array) -> tuple[Array | None, State]:
        by_cause = slopes.reshape(len(causes), len(cell.state), *slopes.shape[1:])
        d_causes = [sum(d * slope for d, slope in zip(d_state, of_cause, strict=True)) for of_cause in by_cause]
        blocks = len(cell.blocks)
        d_a[...] = d_causes[:blocks]
        return d_causes[blocks], tuple(d_causes[blocks + 1 :])

    return cell._replace(
        keeps_a=True,
        kept=0,
        slopes=len(causes) * len(cell.state),
        step=step,
        linearize=linearize,
        step_backward=step_backward,
    )
