"""Weights carried from `scratch` to PyTorch, Keras and ONNX, and back.

PyTorch's modules are filled directly. Of Keras and ONNX only the layout is known here, as arrays; neither is imported.
"""

from .formats import from_keras, from_onnx, to_keras, to_onnx
from .pytorch import from_torch, to_torch, torch_dtype

__all__ = ["from_keras", "from_onnx", "from_torch", "to_keras", "to_onnx", "to_torch", "torch_dtype"]
