"""Who owns the tape of a forward pass: every module, called in any order, copied, frozen, in threads, without end."""

import copy
import gc
import pickle
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scratch import nn, no_grad, optim
from scratch.nn import pile
from scratch.types import Array

from .modules import CASES, EACH_CASE, EACH_KIND, B, Case, H, I, with_state
from .passes import arrays, assert_same, gradients, twin, undone, upstream


def test_the_list_has_every_module_with_a_backward_pass() -> None:
    exported = [getattr(nn, name) for name in nn.__all__]
    modules = {each for each in exported if isinstance(each, type) and issubclass(each, nn.Module)}
    assert {type(case.make()) for case in CASES.values()} == {each for each in modules if hasattr(each, "backward")}


def write_over(given: tuple[Any, ...]) -> None:
    """The caller uses its memory for something else."""
    for array in arrays(given):
        if array.flags.writeable:
            array[...] = 0


NOTHING_TO_UNDO = r"undone yet, made in this thread and not inside no_grad\(\), got none \(retain_graph"


class Call(NamedTuple):
    """A forward pass that is waiting for its backward pass."""

    d_output: tuple[Any, ...]
    expected: list[Array]
    """What that will give."""
    changes: int
    """How often parameters had changed before."""


class Failing(nn.Module):
    """Calls another module, and is interrupted then."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def forward(self, *arguments: Any) -> None:
        self.inner(*arguments)
        raise KeyboardInterrupt


class Model:
    """A module, and beside it what the rule says: a list of calls, and what each must give."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case, self.module, self.rng = case, case.make(), np.random.default_rng(seed)
        self.calls: list[Call] = []
        self.changes = 0
        self.elsewhere = nn.Parameter(np.zeros(1))
        self.handed_out: list[tuple[Array, Array]] = []
        self.has_parameters = bool(list(self.module.parameters()))

    def hand_out(self, found: list[Array], to_keep: bool = False) -> None:
        """What the caller keeps must not change; what the caller writes over must not matter."""
        for array in found:
            if to_keep or array.dtype.kind != "f" or self.rng.random() < 0.5:
                self.handed_out.append((array, array.copy()))
            else:
                array[...] = np.nan

    def called(self, module: Any) -> Call:
        """Call a module, and compare with one that is called for the first time."""
        fresh, arguments = twin(self.case, module), self.case.draw(self.rng)
        given = copy.deepcopy(arguments)
        output, expected = module(*given), fresh(*arguments)
        assert_same(arrays(output), arrays(expected))
        write_over(given)
        d_output = upstream(module, output, self.rng)
        self.hand_out(arrays(output) + arrays(getattr(module, "mask", None)))
        self.hand_out(arrays(getattr(module, "dropout_masks", [])))
        if not pile.tape_is_on():
            return Call((), [], 0)
        return Call(d_output, undone(fresh, d_output), self.changes)

    def drop_useless(self) -> None:
        """What a forward pass does first."""
        old = [call for call in self.calls if call.changes != self.changes]
        if old:
            del self.calls[: len(old) if self.has_parameters else max(0, len(old) - pile.LEFT_OVER)]

    def forward(self) -> None:
        call = self.called(self.module)
        self.drop_useless()
        self.calls.append(call)

    def forward_without_a_tape(self) -> None:
        with no_grad():
            self.called(self.module)
        self.drop_useless()

    def backward(self, retain_graph: bool = False) -> None:
        if not self.calls:
            self.refused(NOTHING_TO_UNDO)
        elif self.has_parameters and self.calls[-1].changes != self.changes:
            self.refused("changed")
        else:
            call = self.calls[-1] if retain_graph else self.calls.pop()
            options = {"retain_graph": True} if retain_graph else {}
            before = gradients(self.module)
            given = copy.deepcopy(call.d_output)
            d_input = self.module.backward(*given, **options)
            write_over(given)
            after = gradients(self.module)
            added = [one if other is None else one - other for one, other in zip(after, before, strict=True)]
            assert_same(arrays([d_input, added]), call.expected)
            self.hand_out(arrays(d_input))
            self.hand_out(arrays(after), to_keep=True)

    def backward_and_retain(self) -> None:
        self.backward(retain_graph=True)

    def refused(self, why: str) -> None:
        before = gradients(self.module)
        with pytest.raises(RuntimeError, match=why):
            self.module.backward(None)
        assert all(one is other for one, other in zip(gradients(self.module), before, strict=True))

    def assign(self) -> None:
        """Change one parameter, of another module if there is none here."""
        parameters = list(self.module.parameters()) or [self.elsewhere]
        parameter = parameters[self.rng.integers(len(parameters))]
        parameter.data = self.rng.standard_normal(parameter.shape)
        self.changes += 1

    def optimize(self) -> None:
        parameters = list(self.module.parameters()) or [self.elsewhere]
        for parameter in parameters:
            parameter.grad = self.rng.standard_normal(parameter.shape)
        optim.SGD(parameters, lr=0.1).step()
        self.changes += 1

    def bad_input(self) -> None:
        with pytest.raises(TypeError):
            self.module(*["no array"] * len(self.case.draw(self.rng)))
        if self.calls and not (self.has_parameters and self.calls[-1].changes != self.changes):
            before = gradients(self.module)
            for bad, error in (({"retain_graph": 1}, TypeError), ({}, (TypeError, ValueError, RuntimeError))):
                with pytest.raises(error):
                    self.module.backward(np.ones((9, 9, 9, 9)), **bad)
            assert all(one is other for one, other in zip(gradients(self.module), before, strict=True))

    def copied(self) -> None:
        """A copy has no tape, computes the same, and leaves the tapes of what it is a copy of alone.

        It has no gradients, but for a shallow one, whose parameters are the same.
        """
        ways = copy.copy, copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))
        way = ways[self.rng.integers(3)]
        other = way(self.module)
        assert way is copy.copy or all(gradient is None for gradient in gradients(other))
        with pytest.raises(RuntimeError, match="undone"):
            other.backward(None)
        call = self.called(other)
        assert_same(undone(other, call.d_output), call.expected)

    def interrupted(self) -> None:
        """A call that raises leaves no tape, here or in a module inside that had done its part."""
        with pytest.raises(KeyboardInterrupt):
            Failing(self.module)(*self.case.draw(self.rng))
        self.drop_useless()

    def change_mode(self) -> None:
        self.module.train(not self.module.training)

    def forget_gradients(self) -> None:
        self.module.zero_grad()

    def forget(self) -> None:
        self.module.clear_tape()
        self.calls.clear()

    def check(self) -> None:
        """What was handed out is as it was, and the memory of the tapes is that of those that are there."""
        for module in self.module.modules():
            assert module._pile.nbytes == sum(kept.nbytes for kept in module._pile.kept)
        for array, before in self.handed_out:
            np.testing.assert_array_equal(array, before)


OFTEN = [Model.forward] * 6 + [Model.backward] * 5 + [Model.backward_and_retain] * 2
RARELY = [
    *(Model.forward_without_a_tape, Model.assign, Model.optimize, Model.bad_input, Model.change_mode, Model.forget),
    *(Model.forget_gradients, Model.interrupted, *[Model.copied] * 3),
]


@EACH_CASE
@settings(max_examples=max(1, settings().max_examples // 4))
@example(actions=[Model.forward, Model.assign, Model.bad_input, Model.backward], seed=0)
@example(actions=[Model.forward, *[Model.backward_and_retain] * 2, *[Model.backward] * 2], seed=0)
@example(actions=[Model.forward] * 2 + [Model.interrupted] * 2 + [Model.backward] * 3, seed=0)
@example(actions=[*[Model.forward] * 3, Model.backward, *[Model.copied] * 6, Model.forward], seed=0)
@example(actions=[*[Model.forward] * 4, Model.assign, Model.forward, *[Model.backward] * 4], seed=0)
@given(actions=st.lists(st.sampled_from(OFTEN + RARELY), min_size=1, max_size=25), seed=st.integers(0, 2**32 - 1))
def test_calls_in_any_order_are_undone_in_the_opposite_order(
    case: Case, actions: list[Callable[[Model], None]], seed: int
) -> None:
    with mock.patch.object(pile, "LEFT_OVER", 2):
        model = Model(case, seed)
        for action in actions:
            action(model)
        while model.calls:
            if model.has_parameters and model.calls[-1].changes != model.changes:
                model.calls.clear()
                model.module.clear_tape()
            else:
                model.backward()
        model.refused(NOTHING_TO_UNDO)
        model.check()


@EACH_KIND
@pytest.mark.parametrize("every", [None, 2])
def test_steps_with_carried_gradients_equal_one_call(kind: nn.Kind, every: int | None) -> None:
    """Pieces of one step, of two and of three, as in truncated backpropagation."""
    options = {**kind.options, "num_layers": 2, "dtype": np.float64, "rng": 0, "checkpoint_every": every}
    whole, pieces, rng = kind.module(I, H, **options), kind.module(I, H, **options), np.random.default_rng(1)
    x, now = with_state(kind, (6, B, I), (2, B, H))(rng)
    d_output, d_last = with_state(kind, (6, B, H), (2, B, H))(rng)
    output, last = whole(x, now)
    d_x, d_first = whole.backward(d_output, d_last)
    cuts, outputs, d_now = [slice(0, 1), slice(1, 3), slice(3, 6)], [], d_last
    for cut in cuts:
        piece, now = pieces(x[cut], now)
        outputs.append(piece)
    assert_same([*outputs, now], [*(output[cut] for cut in cuts), last])
    for cut in reversed(cuts):
        d_piece, d_now = pieces.backward(d_output[cut], d_now)
        assert_same([d_piece], [d_x[cut]])
    assert_same([d_now, gradients(pieces)], [d_first, gradients(whole)])


def test_no_grad_leaves_earlier_calls_alone_and_ends_with_an_error() -> None:
    cell, dropout, x = nn.RNNCell(3, 4, rng=0), nn.Dropout(rng=0), np.ones((2, 3), np.float32)
    cell(x)
    off = no_grad()  # one for a whole evaluation
    no_grad()(cell)(x)
    with off:
        with off:
            cell(x)
        assert not dropout(np.ones(50)).all() and dropout.mask is None
    cell.backward()
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = cell(x)[0, 0] * (1 / 0)
    with pytest.raises(RuntimeError, match="forward"):
        cell.backward()
    cell(x)
    cell.backward()
    with pytest.raises(TypeError, match="ended"):
        no_grad()(lambda: (yield cell(x)))  # its body runs later


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads take turns every 10 µs instead of every 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("busy_threads")
@EACH_CASE
def test_four_threads_compute_what_one_computes(case: Case) -> None:
    module, rng = case.make().eval(), np.random.default_rng(1)
    inputs = [case.draw(rng) for _ in range(30)]
    outputs = [case.make().eval()(*arguments) for arguments in inputs]
    d_outputs = [upstream(module, output, rng) for output in outputs]

    def infer(number: int) -> list[Array]:
        with no_grad():
            return arrays(module(*inputs[number]))

    def train(number: int) -> list[Array]:
        output = module(*inputs[number])
        return arrays(output) + arrays(module.backward(*d_outputs[number]))

    alone = [train(number) for number in range(len(inputs))]
    total = arrays(gradients(module))
    module.zero_grad()
    with ThreadPoolExecutor(4) as pool:
        for found, output in zip(pool.map(infer, range(len(inputs))), outputs, strict=True):
            assert_same(found, arrays(output))
        for found, expected in zip(pool.map(train, range(len(inputs))), alone, strict=True):
            assert_same(found, expected)
    assert_same(arrays(gradients(module)), total)


@pytest.mark.usefixtures("busy_threads")
def test_no_gradient_is_lost_where_several_threads_add_theirs() -> None:
    parameter = nn.Parameter(np.zeros(3))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: [parameter.add_grad(np.ones(3)) for _ in range(2000)], range(4)))
    np.testing.assert_array_equal(parameter.grad, 8000)


def test_a_thread_can_neither_undo_nor_clear_what_another_called() -> None:
    case = CASES["Linear"]
    module, (x,) = case.make(), case.draw(np.random.default_rng(0))
    y = module(x)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(module.clear_tape).result()
        with pytest.raises(RuntimeError, match="this thread"):
            pool.submit(module.backward, y).result()
    module.backward(y)


@EACH_CASE
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=max(1, settings().max_examples // 10))
def test_frozen_parameters_get_no_gradient_and_the_others_theirs(case: Case, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    module, arguments = case.make(), case.draw(rng)
    free = twin(case, module)
    names = [name for name, _ in module.named_parameters()]
    frozen = set(data.draw(st.lists(st.sampled_from(names), unique=True))) if names else set()
    for name in frozen:
        module.get_parameter(name).requires_grad = False
    output = module(*arguments)
    assert_same(arrays(output), arrays(free(*arguments)))
    d_output = upstream(module, output, rng)
    assert_same(arrays(module.backward(*d_output)), arrays(free.backward(*d_output)))
    for name, parameter in free.named_parameters():
        found = module.get_parameter(name).grad
        if name in frozen:
            assert found is None, name
        else:
            np.testing.assert_array_equal(found, parameter.grad)


STEPS = min(10_000, 5 * settings().max_examples)


def test_the_memory_of_a_training_does_not_grow() -> None:
    """With evaluations between that neither say `no_grad()` nor call backward."""
    embedding, lstm, dropout = nn.Embedding(5, 3, rng=0), nn.LSTM(3, 4, rng=0), nn.Dropout(0.5, rng=0)
    linear, criterion = nn.Linear(4, 5, rng=0), nn.CrossEntropyLoss()
    layers = nn.ModuleList([embedding, lstm, dropout, linear])
    optimizer, k = optim.SGD(layers.parameters(), lr=0.01), np.random.default_rng(0).integers(5, size=(4, 2))

    def loss() -> None:
        output, _ = lstm(embedding(k))
        criterion(linear(dropout(output)).reshape(-1, 5), k.ravel())

    def train(steps: int) -> int:
        for _ in range(steps):
            loss()
            d_output = dropout.backward(linear.backward(criterion.backward().reshape(4, 2, 5)))
            embedding.backward(lstm.backward(d_output)[0])
            optimizer.step()
            optimizer.zero_grad()
            layers.eval()
            loss()
            layers.train()
        gc.collect()
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)

    ours = tracemalloc.Filter(True, "*/scratch/*/*.py")  # not what pytest allocates meanwhile
    tracemalloc.start()
    before = train(2 * pile.LEFT_OVER)  # what evaluations may leave is there
    after = train(STEPS)
    tracemalloc.stop()
    assert after - before < 8 * STEPS, "less than a pointer for each step"


@pytest.mark.parametrize("count", [pile.LEFT_OVER, pile.LEFT_OVER + 1, 3 * pile.LEFT_OVER])
@pytest.mark.parametrize("name", ["Dropout", "CrossEntropyLoss", "MSELoss", "Linear", "LSTM"])
def test_what_nobody_trains_keeps_few_tapes_from_before_a_change(name: str, count: int) -> None:
    case = CASES[name]
    module, rng, other = case.make().requires_grad_(False), np.random.default_rng(0), nn.Parameter(np.zeros(1))
    for _ in range(count):
        d_output = upstream(module, module(*case.draw(rng)), rng)
    other.data = np.ones(1)
    for _ in range(count):
        module(*case.draw(rng))
    for _ in range(count + min(count, pile.LEFT_OVER)):
        module.backward(*d_output)
    with pytest.raises(RuntimeError, match="undone"):
        module.backward(*d_output)


def test_the_warning_about_dropped_tapes_names_the_callers_line() -> None:
    module = nn.Linear(3, 4)
    module.tape_limit = 1
    module(np.ones((2, 3), np.float32))
    with pytest.warns(UserWarning, match="tape_limit") as caught:
        module(np.ones((2, 3), np.float32))
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("case", [case for name, case in CASES.items() if name != "Sequential"])  # its members have one
def test_beyond_the_limit_the_oldest_tapes_are_dropped_with_one_warning(case: Case) -> None:
    model = Model(case, seed=0)
    module, calls = model.module, [model.called(model.module)]
    module.tape_limit = 3 * module._pile.nbytes
    assert module.tape_limit > 0
    calls += [model.called(module) for _ in range(2)]  # a warning would be an error
    with pytest.warns(UserWarning, match=f"tapes of this {type(module).__name__}.*tape_limit.*no_grad") as caught:
        calls += [model.called(module) for _ in range(7)]
    assert len(caught) == 1
    for call in calls[:-4:-1]:
        assert_same(undone(module, call.d_output), call.expected)
    with pytest.raises(RuntimeError, match=r"got none; the oldest were dropped, .* tape_limit bytes \(retain_graph"):
        module.backward(*calls[0].d_output)
    module.tape_limit = 1
    for _ in range(2):
        model.forward()
    assert len(module._pile.kept) == 1, "the newest stays, however large it is, and no other"
    model.backward()


SHAPES = {"a sequence": ((40, 4, 8), {}), "recomputed": ((40, 4, 8), {"checkpoint_every": 1}), "a step": ((4, 8), {})}


@pytest.mark.parametrize("form", SHAPES)
@EACH_KIND
def test_the_limit_counts_what_a_tape_holds_and_nothing_else(kind: nn.Kind, form: str) -> None:
    """Not the weights, which all tapes of a module share; but the states that are kept for computing again."""
    shape, options = SHAPES[form]
    make = kind.single if form == "a step" else kind.module
    module, x = make(8, 64, **kind.options, **options, dtype=np.float64, rng=0), np.ones(shape)
    module(x)
    before = module._pile.nbytes
    tracemalloc.start()
    for _ in range(10):
        module(x)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert module._pile.nbytes - before == pytest.approx(held, rel=0.25)  # objects of Python come on top
