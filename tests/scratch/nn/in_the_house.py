"""What a copy of the project does that has the page's new cell: run there, it prints what its commands print, as JSON.

See test_new_cell.py.
"""

import contextlib
import importlib
import io
import json
import shlex
import sys
from typing import Any

import numpy as np
import pytest

from reference.carry import files
from reference.check import testify
from reference.problems import CELLS, draw
from reference.side_by_side_command import IN_BOTH
from reference.space import grid
from reference.weights import to_keras, to_onnx
from scratch import nn, study, text
from scratch.study.gradients import MODELS


def typed(command: str) -> tuple[int, str]:
    """The exit status of a command, `python -m package …`, and what it prints; a check stays in this process."""
    program, _, package, *arguments = shlex.split(command)
    assert program == "python"
    printed, sys.argv = io.StringIO(), [package, *arguments, *(["--jobs", "1"] if package == "reference" else [])]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = importlib.import_module(f"{package}.__main__").main()
    return status, printed.getvalue()


def a_lost_direct_path() -> list[str]:
    """The first witness's words, and who sees a fault in `step_backward`; then who sees one in `linearize`."""
    mgu = sys.modules[nn.MGU.__module__]
    first, whole = next(c for c in grid() if c.cell == "MGU"), mgu.CELL
    assert all(row.agrees for row in testify(draw(first)))

    def without_direct_path(d_state: Any, slopes: Any, d_a: Any) -> Any:
        whole.step_backward(d_state, slopes, d_a)
        return None, ()

    def wrong_slope(a: Any, state_prev: Any, state: Any, kept: Any, slopes: Any) -> None:
        whole.linearize(a, state_prev, state, kept, slopes)
        slopes[0] *= 0.9

    found = []
    for fault in ({"step_backward": without_direct_path}, {"linearize": wrong_slope}):
        nn.MGU.cell = whole._replace(**fault)
        wrong = [row for row in testify(draw(first)) if not row.agrees]
        found += [f"reference: disagreement: {wrong[0]}", ", ".join(dict.fromkeys(row.who for row in wrong))]
    nn.MGU.cell = whole
    return found


def steps_and_studies_take_it_by_themselves() -> None:
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((7, 2, 3)), rng.standard_normal((7, 2, 4))
    module, cell, h = nn.MGU(3, 4, dtype=np.float64, rng=0), nn.MGUCell(3, 4, dtype=np.float64), None
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.state_dict().items()})
    for x_t, output_t in zip(x, module(x)[0], strict=True):
        h = cell(x_t, h)
        assert np.allclose(h, output_t, rtol=0, atol=1e-14)  # some roundings of numbers below 1
    assert {"MGU", "MGUCell"} <= set(nn.__all__) and all(hasattr(nn, name) for name in nn.__all__)
    v = {name: rng.standard_normal(p.shape) for name, p in module.named_parameters()}
    study.jvp(module, x, parameters_dot=v)
    for product in (study.hvp, study.gauss_newton):
        product(module, study.squared_error(target), x, parameters_dot=v)
    assert {"MGU", "MGU, b_f = 1"} <= {model.name for model in MODELS}


def what_needs_pytorchs_own_leaves_it_out_or_refuses_it() -> None:
    assert [name for name in CELLS if name not in IN_BOTH] == ["MGU"]
    settings = text.Settings(cell="MGU", hidden_size=8, batch_size=2, length=5)
    checkpoint = text.Training(settings, "the minimal gated unit " * 9).checkpoint()
    for call, argument, error in (
        (to_keras, nn.MGU(2, 3), TypeError), (to_onnx, nn.MGU(2, 3), TypeError),
        (files.in_torch, checkpoint, text.CheckpointError),
    ):  # fmt: skip
        with pytest.raises(error, match=r"got MGU$"):
            call(argument)


if __name__ == "__main__":
    steps_and_studies_take_it_by_themselves()
    what_needs_pytorchs_own_leaves_it_out_or_refuses_it()
    print(json.dumps({"faults": a_lost_direct_path(), "answers": [typed(command) for command in sys.argv[1:]]}))
