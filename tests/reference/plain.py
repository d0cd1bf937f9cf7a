"""An RNN, an LSTM and a GRU as a student writes them from the textbook's equations, with nothing of `scratch` in them.

Three forms: pairs of functions for one layer in one direction; classes with layers, directions and the other options on
top of the functions; PyTorch modules step by step. They are right. The tests of the diagnosis plant faults in them, by
replacing lines of this text.
"""

# ruff: noqa: B905, RUF059, SIM108 — plain lines, and names that the planted faults use.

import numpy as np
import torch

from scratch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


# === RNN functions ===


def rnn_forward(x, state, parameters, phi="tanh"):
    W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
    b = parameters["bias_ih"] + parameters["bias_hh"] if "bias_ih" in parameters else 0
    h = state
    output, steps = [], []
    for t in range(len(x)):
        x_t = x[t]
        h_prev = h
        a = x_t @ W_ih.T + h_prev @ W_hh.T + b
        if phi == "tanh":
            h = np.tanh(a)
        else:
            h = np.maximum(a, 0)
        output.append(h)
        steps.append((a, h_prev, h))
    return np.stack(output), h, (x, steps, parameters, phi)


def rnn_backward(d_output, d_state, tape):
    x, steps, parameters, phi = tape
    W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
    gradients = {name: np.zeros_like(value) for name, value in parameters.items()}
    d_x = np.zeros_like(x)
    d_h_next = d_state
    for t in reversed(range(len(x))):
        x_t = x[t]
        a, h_prev, h = steps[t]
        d_h = d_output[t] + d_h_next
        if phi == "tanh":
            d_a = d_h * (1 - h * h)
        else:
            d_a = d_h * (a > 0)
        gradients["weight_ih"] += d_a.T @ x_t
        gradients["weight_hh"] += d_a.T @ h_prev
        if "bias_ih" in parameters:
            gradients["bias_ih"] += d_a.sum(axis=0)
            gradients["bias_hh"] += d_a.sum(axis=0)
        d_x[t] = d_a @ W_ih
        d_h_next = d_a @ W_hh
    return d_x, d_h_next, gradients


def relu_forward(x, state, parameters):
    return rnn_forward(x, state, parameters, "relu")


# === LSTM functions ===


def lstm_forward(x, state, parameters, phi="tanh"):
    W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
    W_hr = parameters.get("weight_hr")
    b = parameters["bias_ih"] + parameters["bias_hh"] if "bias_ih" in parameters else 0
    tanh = np.tanh
    h, c = state
    output, steps = [], []
    for t in range(len(x)):
        x_t = x[t]
        h_prev, c_prev = h, c
        a = x_t @ W_ih.T + h_prev @ W_hh.T + b
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
        i = sigmoid(a_i)
        f = sigmoid(a_f)
        g = tanh(a_g)
        o = sigmoid(a_o)
        c = f * c_prev + i * g
        tanh_c = tanh(c)
        m = o * tanh_c
        h = m if W_hr is None else m @ W_hr.T
        output.append(h)
        steps.append((a, h_prev, c_prev, i, f, g, o, c, tanh_c, m, h))
    return np.stack(output), (h, c), (x, steps, parameters)


def lstm_backward(d_output, d_state, tape):
    x, steps, parameters = tape
    W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
    W_hr = parameters.get("weight_hr")
    gradients = {name: np.zeros_like(value) for name, value in parameters.items()}
    d_x = np.zeros_like(x)
    d_h_next, d_c_next = d_state
    for t in reversed(range(len(x))):
        x_t = x[t]
        a, h_prev, c_prev, i, f, g, o, c, tanh_c, m, h = steps[t]
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
        d_h = d_output[t] + d_h_next
        d_m = d_h
        if W_hr is not None:
            gradients["weight_hr"] += d_h.T @ m
            d_m = d_h @ W_hr
        d_o = d_m * tanh_c
        d_c = d_c_next + d_m * o * (1 - tanh_c * tanh_c)
        d_i = d_c * g
        d_f = d_c * c_prev
        d_g = d_c * i
        d_c_next = d_c * f
        d_a_i = d_i * i * (1 - i)
        d_a_f = d_f * f * (1 - f)
        d_a_g = d_g * (1 - g * g)
        d_a_o = d_o * o * (1 - o)
        d_a = np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o], axis=1)
        gradients["weight_ih"] += d_a.T @ x_t
        gradients["weight_hh"] += d_a.T @ h_prev
        if "bias_ih" in parameters:
            gradients["bias_ih"] += d_a.sum(axis=0)
            gradients["bias_hh"] += d_a.sum(axis=0)
        d_x[t] = d_a @ W_ih
        d_h_next = d_a @ W_hh
    return d_x, (d_h_next, d_c_next), gradients


# === GRU functions ===


def gru_forward(x, state, parameters, phi="tanh"):
    W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
    b_ih = parameters.get("bias_ih", np.zeros(len(W_ih)))
    b_hh = parameters.get("bias_hh", np.zeros(len(W_hh)))
    h = state
    output, steps = [], []
    for t in range(len(x)):
        x_t = x[t]
        h_prev = h
        x_r, x_z, x_n = np.split(x_t @ W_ih.T + b_ih, 3, axis=1)
        h_r, h_z, h_n = np.split(h_prev @ W_hh.T + b_hh, 3, axis=1)
        r = sigmoid(x_r + h_r)
        z = sigmoid(x_z + h_z)
        n = np.tanh(x_n + r * h_n)
        h = (1 - z) * n + z * h_prev
        output.append(h)
        steps.append((h_prev, h_n, r, z, n))
    return np.stack(output), h, (x, steps, parameters)


def gru_backward(d_output, d_state, tape):
    x, steps, parameters = tape
    W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
    gradients = {name: np.zeros_like(value) for name, value in parameters.items()}
    d_x = np.zeros_like(x)
    d_h_next = d_state
    for t in reversed(range(len(x))):
        x_t = x[t]
        h_prev, h_n, r, z, n = steps[t]
        d_h = d_output[t] + d_h_next
        d_n = d_h * (1 - z)
        d_z = d_h * (h_prev - n)
        d_x_n = d_n * (1 - n * n)
        d_h_n = d_x_n * r
        d_r = d_x_n * h_n
        d_a_r = d_r * r * (1 - r)
        d_a_z = d_z * z * (1 - z)
        d_a_x = np.concatenate([d_a_r, d_a_z, d_x_n], axis=1)
        d_a_h = np.concatenate([d_a_r, d_a_z, d_h_n], axis=1)
        gradients["weight_ih"] += d_a_x.T @ x_t
        gradients["weight_hh"] += d_a_h.T @ h_prev
        if "bias_ih" in parameters:
            gradients["bias_ih"] += d_a_x.sum(axis=0)
            gradients["bias_hh"] += d_a_h.sum(axis=0)
        d_x[t] = d_a_x @ W_ih
        d_h_next = d_a_h @ W_hh + d_h * z
    return d_x, d_h_next, gradients


# === The stack ===


class Parameter:
    def __init__(self, shape, dtype):
        self.data, self.grad = np.zeros(shape, dtype), None


class Stack:
    parts, gates = ("h",), 1

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        dtype=float,
        nonlinearity="tanh",
    ):
        self.phi, self.layers, self.batch_first, self.p = nonlinearity, num_layers, batch_first, dropout
        self.D = 2 if bidirectional else 1
        self.H, self.P, self.dtype = hidden_size, proj_size or hidden_size, dtype
        self.training, self.rng, self.own, self.dropout_masks = True, np.random.default_rng(0), {}, []
        for layer in range(num_layers):
            for direction in range(self.D):
                width, rows = self.D * self.P if layer else input_size, self.gates * hidden_size
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, self.P)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    self.own[name + self.suffix(layer, direction)] = Parameter(shape, dtype)

    def suffix(self, layer, direction):
        return f"_l{layer}" + "_reverse" * direction

    def weights(self, layer, direction):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        suffix = self.suffix(layer, direction)
        return {name: self.own[name + suffix].data for name in names if name + suffix in self.own}

    def named_parameters(self):
        return self.own.items()

    def zero_grad(self):
        for parameter in self.own.values():
            parameter.grad = None

    def train(self, mode=True):
        self.training = mode

    def one_forward(self, x, state, parameters):
        return self.functions[0](x, state if len(state) > 1 else state[0], parameters, self.phi)

    def one_backward(self, d_output, d_state, tape):
        return self.functions[1](d_output, d_state if len(d_state) > 1 else d_state[0], tape)

    def parts_of(self, state):
        return state if isinstance(state, tuple) else (state,)

    def sequences(self, value):
        """The caller's sequence as (T, B, features)."""
        if isinstance(value, PackedSequence):
            return pad_packed_sequence(value)[0]
        if value.ndim == 2:
            return value[:, None]
        return value.swapaxes(0, 1) if self.batch_first else value

    def as_given(self, value):
        if self.packed:
            return pack_padded_sequence(value, self.lengths, enforce_sorted=False)
        if self.single:
            return value[:, 0]
        return value.swapaxes(0, 1) if self.batch_first else value

    def states(self, state):
        found = []
        for part, value in zip(self.parts, self.parts_of(state) if state is not None else (None, None)):
            shape = (self.layers * self.D, self.batch, self.P if part == "h" else self.H)
            found.append(np.zeros(shape, self.dtype) if value is None else value.reshape(shape))
        return found

    def states_given(self, state):
        state = tuple(value[:, 0] if self.single else value for value in state)
        return state if len(state) > 1 else state[0]

    def groups(self, time):
        """Sequences of one length together: which, and their length."""
        if len(set(self.lengths)) == 1:
            return [(slice(None), time)]
        return [(slice(b, b + 1), self.lengths[b]) for b in range(self.batch)]

    def forward(self, input, state=None):
        self.packed, self.single = isinstance(input, PackedSequence), not isinstance(input, tuple) and input.ndim == 2
        x = self.sequences(input)
        time, self.batch = x.shape[:2]
        self.lengths = pad_packed_sequence(input)[1].tolist() if self.packed else [time] * self.batch
        state = self.states(state)
        final = [np.zeros_like(value) for value in state]
        self.tapes, self.dropout_masks = {}, []
        for layer in range(self.layers):
            if layer > 0 and self.p and self.training:
                mask = (self.rng.random(x.shape) >= self.p).astype(self.dtype)
                if self.p < 1:
                    mask = mask / (1 - self.p)
                self.dropout_masks.append(mask)
                x = x * mask
            output = np.zeros((time, self.batch, self.D * self.P), self.dtype)
            for direction in range(self.D):
                k = layer * self.D + direction
                at = slice(direction * self.P, (direction + 1) * self.P)
                for n, (which, length) in enumerate(self.groups(time)):
                    part = x[:length, which]
                    if direction:
                        part = part[::-1]
                    start = tuple(value[k, which] for value in state)
                    made, end, tape = self.one_forward(part, start, self.weights(layer, direction))
                    if direction:
                        made = made[::-1]
                    output[:length, which, at] = made
                    for value, new in zip(final, self.parts_of(end)):
                        value[k, which] = new
                    self.tapes[layer, direction, n] = tape
            x = output
        self.dropout_masks = [self.as_given(mask) for mask in self.dropout_masks]
        return self.as_given(x), self.states_given(final)

    __call__ = forward

    def backward(self, d_output=None, d_state=None):
        time = max(self.lengths)
        d_y = np.zeros((time, self.batch, self.D * self.P), self.dtype)
        if d_output is not None:
            d_y = self.sequences(d_output)
        d_final = self.states(d_state)
        d_initial = [np.zeros_like(value) for value in d_final]
        for layer in reversed(range(self.layers)):
            d_x = 0
            for direction in range(self.D):
                k = layer * self.D + direction
                at = slice(direction * self.P, (direction + 1) * self.P)
                for n, (which, length) in enumerate(self.groups(time)):
                    piece = d_y[:length, which, at]
                    if direction:
                        piece = piece[::-1]
                    start = tuple(value[k, which] for value in d_final)
                    d_part, d_start, gradients = self.one_backward(piece, start, self.tapes[layer, direction, n])
                    if direction:
                        d_part = d_part[::-1]
                    whole = np.zeros((time, self.batch, d_part.shape[2]), self.dtype)
                    whole[:length, which] = d_part
                    d_x = d_x + whole
                    for value, new in zip(d_initial, self.parts_of(d_start)):
                        value[k, which] = new
                    for name, gradient in gradients.items():
                        parameter = self.own[name + self.suffix(layer, direction)]
                        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            if layer > 0 and self.dropout_masks:
                d_x = d_x * self.sequences(self.dropout_masks[layer - 1])
            d_y = d_x
        return self.as_given(d_x), self.states_given(d_initial)


class RNN(Stack):
    functions = rnn_forward, rnn_backward

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", **options):
        super().__init__(input_size, hidden_size, num_layers, nonlinearity=nonlinearity, **options)


class LSTM(Stack):
    parts, gates = ("h", "c"), 4
    functions = lstm_forward, lstm_backward

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        dtype=float,
    ):
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, dtype
        )


class GRU(Stack):
    gates = 3
    functions = gru_forward, gru_backward

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        dtype=float,
    ):
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype)


# === PyTorch ===


class TorchStack(torch.nn.Module):
    gates, parts = 1, 1

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        bidirectional=False,
        nonlinearity="tanh",
    ):
        super().__init__()
        self.hidden_size, self.layers, self.batch_first, self.phi = hidden_size, num_layers, batch_first, nonlinearity
        self.directions = 2 if bidirectional else 1
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: self.directions]:
                width = self.directions * hidden_size if layer else input_size
                rows = self.gates * hidden_size
                for name, columns in (("weight_ih", width), ("weight_hh", hidden_size)):
                    parameter = torch.nn.Parameter(torch.zeros(rows, columns))
                    self.register_parameter(f"{name}_l{layer}{suffix}", parameter)
                for name in ("bias_ih", "bias_hh") if bias else ():
                    self.register_parameter(f"{name}_l{layer}{suffix}", torch.nn.Parameter(torch.zeros(rows)))

    def forward(self, input, state=None):
        if isinstance(input, torch.nn.utils.rnn.PackedSequence):
            raise NotImplementedError("no packed input")
        x = input[:, None] if input.dim() == 2 else input
        if self.batch_first and input.dim() == 3:
            x = x.transpose(0, 1)
        if state is None:
            zeros = x.new_zeros(self.layers * self.directions, x.shape[1], self.hidden_size)
            state = (zeros,) * self.parts
        elif self.parts == 1:
            state = (state,)
        if input.dim() == 2:
            state = tuple(value.reshape(len(value), 1, self.hidden_size) for value in state)
        finals = []
        for layer in range(self.layers):
            halves = []
            for direction in range(self.directions):
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                own = {name.removesuffix(suffix): v for name, v in self.named_parameters() if name.endswith(suffix)}
                start = tuple(value[layer * self.directions + direction] for value in state)
                steps = x.flip(0) if direction else x
                half, final = self.run(steps, start, own)
                halves.append(half.flip(0) if direction else half)
                finals.append(final)
            x = torch.cat(halves, dim=2)
        if self.batch_first and input.dim() == 3:
            x = x.transpose(0, 1)
        final = tuple(torch.stack(values) for values in zip(*finals))
        if input.dim() == 2:
            x, final = x[:, 0], tuple(value[:, 0] for value in final)
        return x, final if self.parts > 1 else final[0]


# === PyTorch RNN ===


class TorchRNN(TorchStack):
    def run(self, x, state, parameters):
        W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
        b = parameters["bias_ih"] + parameters["bias_hh"] if "bias_ih" in parameters else 0
        (h,) = state
        output = []
        for t in range(len(x)):
            x_t = x[t]
            h_prev = h
            a = x_t @ W_ih.T + h_prev @ W_hh.T + b
            h = torch.tanh(a) if self.phi == "tanh" else torch.relu(a)
            output.append(h)
        return torch.stack(output), (h,)


# === PyTorch LSTM ===


class TorchLSTM(TorchStack):
    gates, parts = 4, 2

    def run(self, x, state, parameters):
        W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
        b = parameters["bias_ih"] + parameters["bias_hh"] if "bias_ih" in parameters else 0
        tanh, sigmoid = torch.tanh, torch.sigmoid
        h, c = state
        output = []
        for t in range(len(x)):
            x_t = x[t]
            h_prev, c_prev = h, c
            a = x_t @ W_ih.T + h_prev @ W_hh.T + b
            a_i, a_f, a_g, a_o = a.chunk(4, dim=1)
            i = sigmoid(a_i)
            f = sigmoid(a_f)
            g = tanh(a_g)
            o = sigmoid(a_o)
            c = f * c_prev + i * g
            tanh_c = tanh(c)
            m = o * tanh_c
            h = m
            output.append(h)
        return torch.stack(output), (h, c)


# === PyTorch GRU ===


class TorchGRU(TorchStack):
    gates = 3

    def run(self, x, state, parameters):
        W_ih, W_hh = parameters["weight_ih"], parameters["weight_hh"]
        b_ih = parameters.get("bias_ih", torch.zeros(len(W_ih), dtype=W_ih.dtype))
        b_hh = parameters.get("bias_hh", torch.zeros(len(W_hh), dtype=W_hh.dtype))
        tanh, sigmoid = torch.tanh, torch.sigmoid
        (h,) = state
        output = []
        for t in range(len(x)):
            x_t = x[t]
            h_prev = h
            x_r, x_z, x_n = (x_t @ W_ih.T + b_ih).chunk(3, dim=1)
            h_r, h_z, h_n = (h_prev @ W_hh.T + b_hh).chunk(3, dim=1)
            r = sigmoid(x_r + h_r)
            z = sigmoid(x_z + h_z)
            n = tanh(x_n + r * h_n)
            h = (1 - z) * n + z * h_prev
            output.append(h)
        return torch.stack(output), (h,)
