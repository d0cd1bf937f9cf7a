"""The core: modules with PyTorch's interface, each with a hand-written backward pass.

A floor plan, ground first; each row uses only the rows below it:

    rnn, lstm, gru, kind                 the cells, and their classes; listed in RECURRENCES, below
    recurrent, recurrent_cell            the stack: layers, directions, dropout between layers; and a single step
    recurrence                           what the two have in common
    recomputation, layout                a pass in segments; the caller's layout and the core's
    bptt, tape                           time: the loop forward and the loop backward, and what it leaves
    linear, embedding, dropout, loss, nonlinearities, containers
    module, pile, parameter              what every module has: parameters, and the tapes that wait for backward
    cell, activations, sums, checks, utils

`from_textbook_to_core.md` says what is done otherwise here than in the textbook, and what each difference gains.
"""

from . import utils
from .containers import ModuleList, Sequential
from .dropout import Dropout
from .embedding import Embedding
from .gru import GRU, GRUCell
from .kind import Kind
from .linear import Linear
from .loss import CrossEntropyLoss, MSELoss
from .lstm import LSTM, LSTMCell
from .module import Module
from .nonlinearities import ReLU, Sigmoid, Tanh
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
    "ModuleList",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "utils",
]
