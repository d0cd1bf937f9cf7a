"""The faults that people make when they write a recurrence by hand, each as a model that can be run.

There is one idea: a module is a page of lines (page.py, and the textbook's equations), and a fault is one of the lines,
or several, with another right side. So each fault can be computed on any problem, and if what somebody's implementation
gives is equal to that to rounding, in every tensor, the fault is found for certain.

The faults of the equations and of the loop are made from these themselves (generated.py). What can be seen only from
outside stands in a table (outside.py): how layers are wired, directions, layouts, dropout, what comes in and goes out.
forms.py has the forms of the cells with other equations, a GRU with its reset gate before the product among them.
"""

from __future__ import annotations

from functools import cache
from itertools import chain

from ..problems import Configuration
from .edits import Fault
from .forms import held_to
from .generated import clipped, of_equations, of_loops, orders_of_gradients
from .machine import Setting, by_step, cell_of, right_run, setting_of
from .outside import from_outside, is_wired
from .wiring import of_wiring

__all__ = ["Fault", "Setting", "by_step", "catalogue", "cell_of", "clipped", "held_to", "right_run", "setting_of"]


@cache
def catalogue(configuration: Configuration, form: str = "") -> tuple[Fault, ...]:
    """Every known fault that a recurrence of this configuration can have, the least far-fetched first.

    Where there are layers, directions or lengths, the equations have been found right without these: their faults are
    left out.
    """
    cell, T = cell_of(configuration, form), max(configuration.lengths, default=3)
    generated = (of_equations(cell), of_loops(cell, T), orders_of_gradients(cell))
    wiring = of_wiring(configuration.num_layers > 1, configuration.bidirectional)
    every = chain(from_outside(cell, configuration), wiring, *(() if is_wired(configuration) else generated))
    unique: dict[object, Fault] = {}
    for fault in sorted(every, key=lambda fault: fault.rank):
        unique.setdefault(fault.edits, fault)
    return tuple(unique.values())
