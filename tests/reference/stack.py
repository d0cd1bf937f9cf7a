"""Layers, directions and the other options on top of any page with the textbook's functions, in two forms.

`Stack` has the interface of `scratch.nn`: NumPy, and the page's own backward pass. `TorchStack` is a PyTorch module
that runs the same page with tensors and leaves the way back to autograd. Neither has a step or a loop over time of its
own. They are right; the tests of the diagnosis plant faults in this text, as they do in the textbook's.

The textbook has no projection. `PROJECTION` gives its LSTM one, h = W_hr (o ⊙ tanh(c)): texts, and what replaces them.
"""

from types import SimpleNamespace

import numpy as np
import torch

import scratch.nn.utils.rnn

W_HR = 'parameters.get("weight_hr", xp.eye(o.shape[1], dtype=o.dtype))'
PROJECTION = (
    ("H = h_prev.shape[1]", "H = c_prev.shape[1]"),
    ("h = o * tanh_c", f"h = (o * tanh_c) @ {W_HR}.T"),
    ("    d_o = d_h", f"    d_hr, d_h = d_h.T @ (o * tanh_c), d_h @ {W_HR}\n    d_o = d_h"),
    ('{"weight_ih": d_a.T', '{"weight_hr": d_hr, "weight_ih": d_a.T'),
)


def whole(parts):
    """A state from its parts: h alone, or (h, c)."""
    return tuple(parts) if len(parts) > 1 else parts[0]


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


class Layers:
    """What the two forms share: everything but the way back."""

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        dtype=None,
    ):
        super().__init__()
        self.layers, self.D, self.dtype = num_layers, 1 + bidirectional, dtype
        self.H, self.P = hidden_size, proj_size or hidden_size
        self.batch_first, self.p, self.rng, self.masks = batch_first, dropout, np.random.default_rng(0), []
        self.options = {"nonlinearity": nonlinearity} if nonlinearity != "tanh" else {}  # only the RNN's page has it
        rows = {"RNN": 1, "LSTM": 4, "GRU": 3}[self.cell] * hidden_size
        values = {}
        for layer in range(num_layers):
            width = self.D * self.P if layer else input_size
            shapes = {"weight_ih": (rows, width), "weight_hh": (rows, self.P)}
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[: self.D]:
                for name, shape in shapes.items():
                    values[f"{name}_l{layer}{suffix}"] = self.xp.zeros(shape, dtype=dtype)
        self.hold(values)

    def own(self, layer, direction):
        """The parameters of one layer and direction, by the page's names."""
        suffix = f"_l{layer}" + "_reverse" * direction
        return {name.removesuffix(suffix): p for name, p in self.named_parameters() if name.endswith(suffix)}

    @property
    def dropout_masks(self):
        return [self.as_given(mask) for mask in self.masks]

    def time_first(self, value):
        """The caller's sequence as (T, B, features)."""
        if isinstance(value, self.packing.PackedSequence):
            return self.packing.pad_packed_sequence(value)[0]
        if value.ndim == 2:
            return value[:, None]
        return value.swapaxes(0, 1) if self.batch_first else value

    def as_given(self, value):
        if self.packed:
            return self.packing.pack_padded_sequence(value, self.lengths, enforce_sorted=False)
        if self.single:
            return value[:, 0]
        return value.swapaxes(0, 1) if self.batch_first else value

    def states(self, state):
        """The parts of the caller's state as (layers · D, B, features), zeros where there is none."""
        widths = (self.P, self.H) if self.cell == "LSTM" else (self.P,)
        given = (None,) * len(widths) if state is None else parts_of(state)
        shapes = [(self.layers * self.D, self.batch, width) for width in widths]
        return [
            self.xp.zeros(shape, dtype=self.dtype) if value is None else value.reshape(shape)
            for shape, value in zip(shapes, given, strict=True)
        ]

    def states_given(self, state):
        return whole([value[:, 0] if self.single else value for value in state])

    def runs(self, layer):
        """The runs of the page in one layer: sequences of one length in one direction, and where they are."""
        together = [(slice(None), self.steps)]
        if len(set(self.lengths)) > 1:
            together = [(slice(b, b + 1), self.lengths[b]) for b in range(self.batch)]
        for direction in range(self.D):
            k = layer * self.D + direction
            columns = slice(direction * self.P, (direction + 1) * self.P)
            for which, length in together:
                yield direction, k, columns, which, length

    def forward(self, input, state=None):
        self.packed = isinstance(input, self.packing.PackedSequence)
        self.single = not self.packed and input.ndim == 2
        x = self.time_first(input)
        self.steps, self.batch = x.shape[:2]
        self.lengths = [self.steps] * self.batch
        if self.packed:
            self.lengths = self.packing.pad_packed_sequence(input)[1].tolist()
        state = self.states(state)
        final = [self.xp.zeros_like(value) for value in state]
        self.tapes, self.masks = [], []
        for layer in range(self.layers):
            if layer > 0 and self.p and self.training:
                self.masks.append(self.mask(x))
                x = x * self.masks[-1]
            output, tapes = self.xp.zeros((self.steps, self.batch, self.D * self.P), dtype=self.dtype), []
            for direction, k, columns, which, length in self.runs(layer):
                part = x[:length, which]
                part = self.xp.flip(part, (0,)) if direction else part
                start = whole([value[k, which] for value in state])
                weights = self.weights(layer, direction)
                made, end, tape = self.page.forward(part, start, weights, xp=self.xp, **self.options)
                made = self.xp.flip(made, (0,)) if direction else made
                output[:length, which, columns] = made
                for value, new in zip(final, parts_of(end), strict=True):
                    value[k, which] = new
                tapes.append(tape)
            self.tapes.append((x.shape, tapes))
            x = output
        return self.as_given(x), self.states_given(final)


class Stack(Layers):
    xp, packing, training = np, scratch.nn.utils.rnn, True
    __call__ = Layers.forward

    def hold(self, values):
        self.held = {name: SimpleNamespace(data=value, grad=None) for name, value in values.items()}

    def weights(self, layer, direction):
        return {name: parameter.data for name, parameter in self.own(layer, direction).items()}

    def mask(self, x):
        return (self.rng.random(x.shape) >= self.p).astype(self.dtype) / (1 - self.p or 1)

    def named_parameters(self):
        return self.held.items()

    def zero_grad(self):
        for parameter in self.held.values():
            parameter.grad = None

    def train(self, mode=True):
        self.training = mode

    def backward(self, d_output=None, d_state=None):
        nothing = np.zeros((self.steps, self.batch, self.D * self.P), self.dtype)
        d_y = nothing if d_output is None else self.time_first(d_output)
        d_final = self.states(d_state)
        d_initial = [np.zeros_like(value) for value in d_final]
        for layer in reversed(range(self.layers)):
            shape, tapes = self.tapes[layer]
            d_x = np.zeros(shape, self.dtype)
            for (direction, k, columns, which, length), tape in zip(self.runs(layer), tapes, strict=True):
                piece = d_y[:length, which, columns]
                piece = piece[::-1] if direction else piece
                start = whole([value[k, which] for value in d_final])
                d_part, d_start, gradients = self.page.backward(piece, start, tape)
                d_part = d_part[::-1] if direction else d_part
                d_x[:length, which] += d_part
                for value, new in zip(d_initial, parts_of(d_start), strict=True):
                    value[k, which] = new
                for name, gradient in gradients.items():
                    parameter = self.own(layer, direction)[name]
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            if layer > 0 and self.masks:
                d_x = d_x * self.masks[layer - 1]
            d_y = d_x
        return self.as_given(d_x), self.states_given(d_initial)


class TorchStack(Layers, torch.nn.Module):
    xp, packing, weights = torch, torch.nn.utils.rnn, Layers.own

    def hold(self, values):
        for name, value in values.items():
            self.register_parameter(name, torch.nn.Parameter(value))

    def mask(self, x):
        return torch.nn.functional.dropout(torch.ones_like(x), self.p)
