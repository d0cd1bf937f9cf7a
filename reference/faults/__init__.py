"""The faults that people make when they write a recurrence by hand, each as a model that can be run.

There is one idea: a module is a page of lines (page.py, and the textbook's equations), and a fault is one of the lines,
or several, with another right side (machine.py). So each fault can be computed on any problem, and if what somebody's
implementation gives is equal to that to rounding, in every tensor, the fault is found for certain.

catalogue.py makes the faults of the equations and of the loop from these themselves; what can be seen only from outside
stands in tables.py. forms.py has the forms of the cells with other equations, a GRU with its reset gate before the
product among them.
"""

from .catalogue import catalogue, clipped
from .forms import cell_of, held_to
from .machine import Fault, Setting, by_step, right_run, setting_of

__all__ = ["Fault", "Setting", "by_step", "catalogue", "cell_of", "clipped", "held_to", "right_run", "setting_of"]
