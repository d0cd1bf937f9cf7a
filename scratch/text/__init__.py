"""Character models: text as numbers, a recurrence that predicts the next character, its training, and generated text.

A floor plan, ground first; each row uses only the rows below it:

    train_command, sample_command        what `python -m scratch train` and `sample` do
    display                              what is to be seen of a training
    training                             step by step through a text
    checkpoint, sampling                 a training at rest, in a file; generated text
    settings                             what is trained, and how
    model, corpus
"""

from .checkpoint import Checkpoint, CheckpointError, built, read, write
from .corpus import Streams, Vocabulary, read_text
from .model import CharacterModel
from .sampling import Predict, continuation, generate, probabilities
from .settings import Settings
from .training import Diverged, Training

__all__ = [
    "CharacterModel",
    "Checkpoint",
    "CheckpointError",
    "Diverged",
    "Predict",
    "Settings",
    "Streams",
    "Training",
    "Vocabulary",
    "built",
    "continuation",
    "generate",
    "probabilities",
    "read",
    "read_text",
    "write",
]
