"""Weights carried across: from `scratch` to PyTorch and back."""

from .pytorch import from_torch, to_torch, torch_dtype

__all__ = ["from_torch", "to_torch", "torch_dtype"]
