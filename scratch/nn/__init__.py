"""The core: modules with PyTorch's interface, each with a hand-written backward pass.

A floor plan, ground first; each row uses only the rows below it:

    rnn, lstm, gru                       the cells, and their classes; listed in RECURRENCES, below
    recurrent                            the stack: layers, directions, dropout between layers
    layout, linear, embedding, dropout, loss
    bptt                                 time: the loop forward and the loop backward
    activations, module, checks, utils
"""

from . import utils
from .dropout import Dropout
from .embedding import Embedding
from .gru import GRU, GRUCell
from .kind import Kind
from .linear import Linear
from .loss import CrossEntropyLoss, MSELoss
from .lstm import LSTM, LSTMCell
from .module import Module
from .parameter import Parameter
from .rnn import RNN, RNNCell

RECURRENCES: dict[str, Kind] = {
    "RNN tanh": Kind(RNN, RNNCell, keras="h", onnx="h", options={"nonlinearity": "tanh"}),
    "RNN relu": Kind(RNN, RNNCell, keras="h", onnx="h", options={"nonlinearity": "relu"}),
    "LSTM": Kind(LSTM, LSTMCell, keras="ifgo", onnx="iofg"),
    "GRU": Kind(GRU, GRUCell, keras="zrn", onnx="zrn"),
}
"""The recurrences, listed once for everything that is done with all of them: tests, trainings, studies, formats."""

__all__ = [
    "GRU",
    "LSTM",
    "RECURRENCES",
    "RNN",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "GRUCell",
    "Kind",
    "LSTMCell",
    "Linear",
    "MSELoss",
    "Module",
    "Parameter",
    "RNNCell",
    "utils",
]
