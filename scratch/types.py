"""The types that every chapter shares."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Any NumPy array. Real or complex floating point, unless its name says that it holds indices."""

Seed = np.random.Generator | int | None
"""Where random numbers come from: a generator, a seed for a new one, or None for fresh entropy."""
