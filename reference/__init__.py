"""PyTorch beside `scratch`: the same models, the weights carried across, and the proof that both compute the same.

>>> from reference import Configuration, assert_equivalent
"""

from .assertion import assert_equivalent
from .problems import Configuration

__all__ = ["Configuration", "assert_equivalent"]
