"""The core: modules with PyTorch's interface, each with a hand-written backward pass.

A floor plan, ground first; each row uses only the rows below it:

    rnn, lstm                            the cells, and their classes
    recurrent                            the stack: layers, directions, dropout between layers
    layout, linear, embedding, dropout, loss
    bptt                                 time: the loop forward and the loop backward
    activations, module, checks, utils
"""

from . import utils
from .dropout import Dropout
from .embedding import Embedding
from .linear import Linear
from .loss import CrossEntropyLoss, MSELoss
from .lstm import LSTM, LSTMCell
from .module import Module, Parameter
from .rnn import RNN, RNNCell

__all__ = [
    "LSTM",
    "RNN",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "LSTMCell",
    "Linear",
    "MSELoss",
    "Module",
    "Parameter",
    "RNNCell",
    "utils",
]
