"""Take a candidate with the textbook's functions stage by stage: step, step backward, loop, loop backward.

>>> from reference.stages import stages
>>> from scratch.textbook import lstm
>>> print(stages(lstm))
step           right
step_backward  right
forward        right
backward       right

From the command line: `python -m reference exercise lstm` writes my_lstm.py, with four functions to fill in, and
`python -m reference check --candidate my_lstm` says after every line what is right, wrong or still to do. It tells
the first thing that is wrong: the equation, the tensor and its shape, one entry by hand, and a hint; `--solution` shows
the textbook's line. `python -m reference grade FILE...` grades many, each in a process of its own (remote.py). No
PyTorch is needed.

How it works: each function is called alone, on random states, gradients and biases (problems.py, subject.py), in this
process or in one of its own (worker.py, remote.py, guard.py), and judge.py says how it stands. The truth is the
textbook in longdouble. `step_backward` is given what the candidate's own `step` kept, `backward` the tape of its own
`forward`, whatever these look like. Every result has an equation (equations.py). If one is wrong, the equations
(mutations.py) and the lines of the loops (loops.py, slots.py) are changed as people get them wrong, until one of these
mistakes gives the candidate's numbers on two problems of different sizes (models.py). If none does, none is named.
"""

from .findings import NOT_YET, RIGHT, TO_DO, WRONG, Finding, Report, Stage
from .judge import stages

__all__ = ["NOT_YET", "RIGHT", "TO_DO", "WRONG", "Finding", "Report", "Stage", "stages"]
