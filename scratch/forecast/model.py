"""The forecaster: an LSTM reads a window, value by value, and a linear layer turns its last h into what comes next.

(1)  h_t, c_t = LSTM(z_t, h_{t−1}, c_{t−1})     for the W values of the window
(2)  ẑ = W_fc h_W + b_fc                         the next K values, all at once

With K = 1 this is the classic many-to-one model. With K > 1 it is the direct forecast of several steps: nothing that
was forecast is fed back, so that errors do not pile up from step to step.

Backward, only the last step has a gradient from outside:

     d_h_W = W_fcᵀ d_ẑ                          (2)
     d_z   = the LSTM's backward of d_h_W       (1)
"""

import numpy as np
import numpy.typing as npt

from .. import nn, no_grad
from ..types import Array, Seed

CHUNK = 1024
"""How many windows are read at once when nothing is learned: this bounds the memory that a long series takes."""


class Forecaster(nn.Module):
    """Windows (B, W, 1) → LSTM → the last h → Linear → the next values (B, K).

    horizon: K. hidden_size: H. rng draws the parameters, which are named lstm.… and fc.…; the dtype is that of the
    windows, too. Raises what `nn.LSTM` and `nn.Linear` raise for their sizes.
    """

    def __init__(
        self,
        horizon: int = 1,
        hidden_size: int = 32,
        num_layers: int = 1,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        generator = np.random.default_rng(rng)
        self.lstm = nn.LSTM(1, hidden_size, num_layers, batch_first=True, dtype=dtype, rng=generator)
        self.fc = nn.Linear(hidden_size, horizon, dtype=dtype, rng=generator)

    def forward(self, windows: Array) -> Array:
        """windows: (B, W, 1). Returns (B, K)."""
        _, (h_n, _) = self.lstm(windows)  # (1)  L, B, H: h after the last step, of each layer
        forecast: Array = self.fc(h_n[-1])  # (2)
        return forecast

    def backward(self, d_forecast: Array, *, retain_graph: bool = False) -> Array:
        """d_forecast: (B, K). Adds to every parameter's grad; returns d_windows: (B, W, 1).

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises what the modules raise.
        """
        with self._undoing():
            d_h = self.fc.backward(d_forecast, retain_graph=retain_graph)  # (2)
            d_h_n = np.zeros((self.lstm.num_layers, *d_h.shape), d_h.dtype)
            d_h_n[-1] = d_h
            d_windows: Array = self.lstm.backward(None, (d_h_n, None), retain_graph=retain_graph)[0]  # (1)
        return d_windows

    def predict(self, windows: Array) -> Array:
        """As `forward`, for windows of any dtype and number, and without a tape. Returns (B, K)."""
        dtype = self.fc.weight.data.dtype
        with no_grad():
            chunks = [
                self.forward(windows[start : start + CHUNK].astype(dtype)) for start in range(0, len(windows), CHUNK)
            ]
        return np.concatenate(chunks)
