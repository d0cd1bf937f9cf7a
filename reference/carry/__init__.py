"""A training carried between `scratch` and PyTorch: begun in one, continued in the other, and brought back.

    run = carry.load("model.pt")        # what `python -m reference export` wrote, or a checkpoint of `scratch`
    for _ in range(100):
        loss = run.advance()            # run.model and run.optimizer are PyTorch's
    run.save("model.pt")                # for `python -m reference import`

A floor plan, ground first; each row uses only the rows below it:

    commands, losses    export, import and train; losses
    training            step by step through a text, in PyTorch
    files               a training at rest, as PyTorch's users keep it
    optimizers          what an optimizer remembers
    ranks               the processes that share a training
"""

from .files import export, read, write
from .ranks import Ranks
from .training import Training, load

__all__ = ["Ranks", "Training", "export", "load", "read", "write"]
