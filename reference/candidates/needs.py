"""What some problems need and a candidate may lack, and the errors by which it is said that something is lacking."""

from collections.abc import Iterable
from typing import Any

from ..problems import CELLS, Configuration

DTYPES = ("float64", "float32")
HALVES = ("float16", "bfloat16")
"""Those that are checked only where they are asked for."""
OF_FINAL, OF_OUTPUT = "upstream gradient of the final state", "upstream gradient of the output"
NEEDS: dict[str, dict[str, Any]] = {
    "nonlinearity": {},
    "initial state": {"initial_state": True},
    OF_FINAL: {"upstream": ("output", "h_n", "c_n")},
    "backward without d_output": {"upstream": ("h_n", "c_n")},
    "unbatched input": {"layout": "unbatched", "lengths": (5,)},
    "packed input": {"layout": "packed", "lengths": (3, 5)},
    "empty batch": {"lengths": ()},
    "num_layers": {"num_layers": 2},
    "bias": {"bias": False},
    "batch_first": {"batch_first": True},
    "bidirectional": {"bidirectional": True},
    "proj_size": {"proj_size": 2},
    "dropout": {"num_layers": 2, "dropout": 1.0},
}
"""What some problems need and a candidate may lack, and what is added to the simplest configuration to see."""
OPTIONS = ("nonlinearity", "num_layers", "bias", "batch_first", "bidirectional", "proj_size", "dropout")
"""Those among them that are options of the constructor."""


class NotOffered(Exception):
    """The candidate does not have an option that a problem needs. The arguments: the option, and how that was seen."""


class Raised(Exception):
    """The candidate raised an error where it should have computed something. The argument: the error in words."""


class Unfit(Raised):
    """It is no mathematics that is wrong: the call does not fit, or something is written over. The argument says it."""


class ToDo(Raised):
    """There is no backward yet. The argument: how that was seen."""


def requirements(texts: Iterable[str]) -> list[str]:
    """What can be required by these names, or clear parts of them; all of it by 'all'. Raises ValueError for others."""
    known = {name: name.replace("_", " ") for name in [*NEEDS, "backward", *DTYPES]}
    found: list[str] = []
    for text in texts:
        plain = text.lower().replace("-", " ").replace("_", " ")
        fitting = [name for name in known if known[name] == plain] or [name for name in known if plain in known[name]]
        if plain != "all" and len(fitting) != 1:
            raise ValueError(f"expected require as all, or one of {', '.join(known)}, got {text!r}")
        found += known if plain == "all" else fitting
    return list(dict.fromkeys(found))


def needs(configuration: Configuration) -> list[str]:
    """What the configuration needs of `NEEDS`."""
    c = configuration
    needed = {
        "nonlinearity": CELLS[c.cell].get("nonlinearity", "tanh") != "tanh",
        "initial state": c.initial_state,
        OF_FINAL: any(name.removesuffix("_n") in c.parts for name in c.upstream),
        "backward without d_output": "output" not in c.upstream,
        "unbatched input": c.layout == "unbatched",
        "packed input": c.layout == "packed",
        "empty batch": not c.lengths,
    }
    changed = c.changes()
    return [name for name in NEEDS if needed.get(name, name in changed)]
