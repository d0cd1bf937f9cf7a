"""The modes of a GPU: which of PyTorch's switches they turn, in every version of it, and that they turn them back."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reference.devices import Mode, laid_out_for_cudnn, precision_settings
from tests.pretended_gpu import Gpu


def switches() -> list[Any]:
    """What is on now."""
    return [torch.backends.cudnn.enabled, *(getattr(owner, name) for owner, name, _ in precision_settings("ieee"))]


@pytest.mark.parametrize("cudnn", [True, False])
@pytest.mark.parametrize("precision", ["ieee", "tf32"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_mode_turns_its_own_switches_alone_and_turns_them_back(dtype: str, precision: str, cudnn: bool) -> None:
    before = switches()
    expected = [cudnn, *(before[1:] if dtype in ("float16", "bfloat16") else [precision] * 2)]
    with suppress(KeyError), Mode(dtype, precision, cudnn).switched_on():
        assert switches() == expected
        raise KeyError
    assert switches() == before


def test_the_switch_is_found_in_every_version(monkeypatch: pytest.MonkeyPatch) -> None:
    module, switch = SimpleNamespace(), SimpleNamespace(fp32_precision="tf32")
    hidden = type("CudnnModule", (), {"rnn": switch})()
    hidden.rnn = module  # PyTorch 2.9 and 2.10, once an LSTM has been on a GPU
    for cudnn, expected in (
        (SimpleNamespace(rnn=switch), (switch, "fp32_precision", "ieee")),
        (hidden, (switch, "fp32_precision", "ieee")),
        (old := SimpleNamespace(rnn=module, allow_tf32=True), (old, "allow_tf32", False)),  # up to 2.8
        (old := SimpleNamespace(allow_tf32=True), (old, "allow_tf32", False)),
    ):
        monkeypatch.setattr(torch.backends, "cudnn", cudnn)
        found, products = precision_settings("ieee")
        assert found == expected and products[0] is torch.backends.cuda.matmul and products[1:] == expected[1:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cudnn_finds_the_weights_side_by_side_in_every_dtype(pretended_gpu: Any, dtype: torch.dtype) -> None:
    gpu: Gpu = pretended_gpu()
    known = set(torch.backends.cudnn.CUDNN_TENSOR_DTYPES)
    with laid_out_for_cudnn(dtype):
        lstm = torch.nn.LSTM(2, 3, device="cuda", dtype=dtype)
    lstm(torch.zeros(1, 1, 2, device="cuda", dtype=dtype))
    assert gpu.log[-1]["flat"] and known == torch.backends.cudnn.CUDNN_TENSOR_DTYPES


def test_a_mode_knows_how_far_its_dtype_rounds() -> None:
    found = {dtype: Mode(dtype, "ieee", True).eps for dtype in ("float64", "float32", "float16", "bfloat16")}
    assert found == {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
    assert Mode("float32", "tf32", True).eps == 2.0**-10
