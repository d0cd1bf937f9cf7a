"""Submissions for the tests of `grade`: what is handed in, and what is to become of it."""

from typing import NamedTuple

from reference import grade
from reference.exercise_command import text_of
from scratch.textbook import lstm

from .planted_stages import IN_FLOAT32
from .test_stages import D_C_PREV, source

LSTM, GRU = source("lstm"), source("gru")


class Kind(NamedTuple):
    """What becomes of a submission, its points, and what is told of it."""

    text: str | bytes
    status: str
    points: int
    told: str = ""
    name: str = "my_lstm.py"


def first(function: str, line: str) -> str:
    """The LSTM's page with a line before all others of a function."""
    before, after = LSTM.split(f"def {function}(")
    head, text, body = after.split('"""', 2)
    return f'{before}def {function}({head}"""{text}"""\n    {line}{body}'


FULL, PART, NONE = grade.FULL, grade.PART, grade.NONE
TO_DO, USES, NOT_GRADED = grade.TO_DO, grade.USES, grade.NOT_GRADED
PAIR = source("rnn", ("step_backward(", "_back("), (" step(", " _step("))
OVER_D_OUTPUT = first("backward", "d_output[0] = 0")
PATCHED = f"import __main__\nimport numpy as np\nnp.array_equal = __main__.same = lambda *a, **k: True\n{OVER_D_OUTPUT}"
KEPT, RETURNED = "x, h_prev, c_prev, i, f, g, o, tanh_c", "return (h, c), (x, h_prev, c_prev, i, f, g, o, tanh_c)"
KEEPS = f"kept = np.empty(9, object); kept[:] = [{KEPT}, [0.0] * 10**5]; return (h, c), kept"
OF_OBJECTS = source("lstm", (RETURNED, KEEPS), (f"{KEPT} = kept", f"{KEPT}, _ = kept"))
CIRCLE = source(
    "lstm",
    (
        RETURNED,
        f"kept = SimpleNamespace(all=({KEPT}), np=np); kept.own = [kept]; kept.own += [kept.own]; return (h, c), kept",
    ),
    (f"{KEPT} = kept", f"{KEPT} = kept.all"),
    ("import numpy", "from types import SimpleNamespace\nimport numpy"),
)
C_ON_TAPE = source(  # in place of tanh(c)
    "lstm",
    ("steps.append(kept)", "steps.append((*kept[:-1], state[1]))"),
    ("steps[t],", "(*steps[t][:-1], xp.tanh(steps[t][-1])),"),
)
COPIES = source(  # and goes on with the memory
    "lstm", ("steps.append(kept)", "steps.append(tuple(np.array(each) for each in kept)); kept[3][...] = 0")
)
WRITES = """
for _ in range(10): print('x' * 10**6)
open('mine.txt', 'w').write('x')
try: open('/tmp/not_here', 'w')
except OSError: pass
"""
OVER_KEPT = OF_OBJECTS.replace("output.append(state[0])", "kept[7][...] = 0; output.append(state[0])")
SLEEPS = "import time; time.sleep(99)"
KINDS = {
    "right by its text": Kind(GRU, FULL, 100, name="homework 3.py"),
    "a pair": Kind(PAIR, FULL, 100, name="my_rnn.py"),
    "in float32": Kind(source("lstm", *IN_FLOAT32), FULL, 100, "returns float32"),
    "one factor": Kind(source("lstm", D_C_PREV), PART, 71, "d_c_prev is wrong; it is d_c ⊙ f (5)"),
    "a half": Kind(LSTM.split("def step_backward")[0], PART, 25, "step_backward: to do"),
    "the exercise": Kind(text_of("gru"), TO_DO, 0, "step: to do", "my_gru.py"),
    "no byte": Kind("", TO_DO, 0, "nothing in it yet"),
    "hangs": Kind(first("step_backward", SLEEPS), PART, 50, "step_backward: it does not come back after 2"),
    "hangs at once": Kind(SLEEPS, NOT_GRADED, 0, "it does not come back after 2"),
    "leaves": Kind(first("forward", "raise SystemExit"), PART, 50, "forward: it raises SystemExit"),
    "ends the process": Kind(first("forward", "import os; os._exit(0)"), PART, 50, "forward: it ends the process"),
    "raises": Kind(first("backward", "1 / 0"), PART, 75, "ZeroDivisionError: division by zero (my_lstm.py, line "),
    "shows its stack": Kind(first("step", "import traceback; traceback.print_stack()"), FULL, 100),
    "too much memory": Kind(first("step", "np.ones((10**5, 10**5))"), NONE, 0, "MemoryError"),
    "another type": Kind(first("step", "return 'text', object()"), NONE, 0, "should be a tuple of 2 arrays"),
    "over x": Kind(first("forward", "x *= 2"), PART, 50, "forward: it writes into `x`"),
    "over the tape's parameters": Kind(
        first("backward", "tape[1]['weight_ih'] -= 1"), PART, 75, "it writes into `parameters`"
    ),
    "over d_output, in secret": Kind(PATCHED, PART, 75, "backward: it writes into `d_output`"),
    "an array of objects, and a long list": Kind(OF_OBJECTS, FULL, 100),
    "an object that knows itself, and NumPy": Kind(CIRCLE, FULL, 100),
    "all of NumPy": Kind(f"from numpy import *\n{LSTM}", FULL, 100),
    "a tape with other things than step keeps": Kind(C_ON_TAPE, FULL, 100),
    "a tape of copies": Kind(COPIES, FULL, 100),
    "over what step kept": Kind(OVER_KEPT, PART, 50, "forward: the numbers are right, but what `step` kept is changed"),
    "more parameters": Kind(first("step", "parameters['mine'] = x"), NONE, 0, "step: it writes into `parameters`"),
    "writes": Kind(WRITES + LSTM, FULL, 100, "it writes /tmp/not_here; wrote mine.txt; printed 10,000,010 bytes"),
    "a large file": Kind("open('a', 'wb').write(b'x' * 10**8)\n", NOT_GRADED, 0, "File too large"),
    "forks": Kind("import os\nwhile True: os.fork()\n", NOT_GRADED, 0, "it starts a process (os.fork)"),
    "scratch": Kind("from scratch.nn import LSTM\n", USES, 0, "uses scratch.nn"),
    "a name by the way": Kind(f"import importlib\nimportlib.import_module('ri' + 'ch')\n{LSTM}", USES, 0, "uses rich"),
    "no Python": Kind("def step(:\n", NOT_GRADED, 0, "cannot be read as Python: invalid syntax (line 1)"),
    "latin-1": Kind(LSTM.encode() + b"# M\xfcller\n", NOT_GRADED, 0, "codec can't decode"),
    "no functions": Kind("def train(): pass\n", NOT_GRADED, 0, "expected the functions step, step_backward, forward"),
    "which cell": Kind("def step(x): return x\n", NOT_GRADED, 0, "give --cell", "work.py"),
    "a name from Windows": Kind(LSTM, FULL, 100, name="MY_LSTM.PY"),
    "a name from a browser": Kind(LSTM, NOT_GRADED, 0, "got a .txt", "my_lstm.py.txt"),
    "a notebook": Kind("{}", NOT_GRADED, 0, "got a .ipynb", "my_lstm.ipynb"),
}

ZEROS = """
import numpy as np
def step(x, state, parameters):
    return (0 * state[0], 0 * state[1]), parameters
def step_backward(d_state, kept, parameters):
    d_x = np.zeros((len(d_state[0]), parameters["weight_ih"].shape[1]))
    return d_x, (0 * d_state[0], 0 * d_state[1]), {name: 0 * value for name, value in parameters.items()}
def forward(x, state, parameters):
    return np.zeros((len(x), *state[0].shape)), (0 * state[0], 0 * state[1]), (x, parameters)
def backward(d_output, d_state, tape):
    return 0 * tape[0], (0 * d_state[0], 0 * d_state[1]), {name: 0 * value for name, value in tape[1].items()}
"""
FAKE = '{"status": "full marks", "points": 100}'
TRIED = {
    "prints a result, writes into every descriptor": """
import atexit, os
atexit.register(print, FAKE)
def step(*_):
    print(FAKE, flush=True)
    for number in range(64):
        try: os.write(number, FAKE.encode() + b"\\n")
        except OSError: pass
    os._exit(0)
""",
    "changes what compares": """
import builtins, sys, types
np.allclose = np.array_equal = np.isclose = lambda *_, **__: True
np.linalg.norm = lambda *_, **__: 0.0
np.testing.assert_allclose = print
for name in ("reference", "reference.stages", "reference.stages.subject", "reference.stages.judge"):
    sys.modules[name] = types.SimpleNamespace(error_of=lambda *_: 0.0, alike=lambda *_: True)
builtins.abs = lambda _: 0.0
""",
    "changes who sends its results": """
import sys
right = {"value": {"other": "right"}, "wrote": [], "right": True}
sys.modules["__main__"].Server.called = lambda *_, **__: right
""",
    "searches its memory": """
import gc, sys
def step(x, state, parameters):
    found, frame = [state[0]], sys._getframe()
    while frame:
        found += [value for value in frame.f_locals.values() if getattr(value, "shape", None) == state[0].shape]
        frame = frame.f_back
    try: found += [each for each in gc.get_objects() if isinstance(each, np.ndarray)]
    except OSError: pass
    return (found[-1], found[-1]), parameters
""",
    "reads the textbook": """
import builtins, posixpath
before = dict(vars(builtins))
builtins.any = builtins.isinstance = lambda *_: True
posixpath._joinrealpath = lambda *_: ("/usr", True)
try: text = open(TEXTBOOK).read()
except Exception: text = ""
vars(builtins).update(before)
exec(text)
""",
    "asks for the textbook wherever it may be": """
import os, subprocess
def read(place):
    with open(place) as file: return file.read()
def linked():
    os.symlink(TEXTBOOK, "here.py")
    return read("here.py")
for ask in (
    linked,
    lambda: subprocess.check_output(["cat", TEXTBOOK], text=True),
    lambda: os.popen("cat " + TEXTBOOK).read(),
    lambda: read(f"/proc/{os.getppid()}/mem") and read(TEXTBOOK),
    lambda: os.kill(os.getppid(), 9),
):
    try: exec(ask())
    except OSError: pass
""",
    "lies as an array": """
class Yes(np.ndarray):
    def __array_ufunc__(self, *_, **__): return np.zeros(())
    def __eq__(self, _): return True
def step(x, state, parameters):
    return (state[0].view(Yes), state[1].view(Yes)), parameters
""",
    "sends what is no answer": """
import os, sys
def answer(*_, **__):
    data = b"[" * 10**6 + b"\\n"
    while data:
        data = data[os.write(int(sys.argv[1]), data) :]
sys.modules["__main__"].Server.called = answer
""",
}
HOSTILE = {name: f"FAKE, TEXTBOOK = {FAKE!r}, {lstm.__file__!r}\n{ZEROS}{text}" for name, text in TRIED.items()}
HOSTILE["nudges complex numbers"] = first("step_backward", "1e-30j")
"""Submissions that try to have full marks without the work."""
REFUSED = ("it writes ", "it starts a process", "it reads /proc/", "it sends signals")
"""What is refused to one that asks for the textbook."""
