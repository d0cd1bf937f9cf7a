"""Recurrence from scratch: an RNN, an LSTM and a GRU in plain NumPy, forward and backward through time.

>>> from scratch import nn, optim
"""

from . import nn, optim
from .nn.pile import no_grad

__all__ = ["nn", "no_grad", "optim"]
