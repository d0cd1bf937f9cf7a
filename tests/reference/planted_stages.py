"""Mistakes to plant in the textbook's pages, and what the stages are to say of each."""

from typing import NamedTuple


class Planted(NamedTuple):
    """Texts of a page and what replaces them; and the function and the equation, or slot of its loop, that is named.

    Where nothing has an equation, as something is written where it should not be, `told` is what is said.
    """

    cell: str
    replacements: tuple[tuple[str, str], ...]
    function: str
    name: str
    told: str = ""


def planted(cell: str, old: str, new: str, function: str, name: str = "", told: str = "") -> Planted:
    return Planted(cell, ((old, new),), function, name, told)


W_IH, W_HH = 'parameters["weight_ih"]', 'parameters["weight_hh"]'
D_W_IH, D_W_HH = '"weight_ih": d_a.T @ x', '"weight_hh": d_a.T @ h_prev'
D_B_IH, D_B_HH = '"bias_ih": xp.sum(d_a, axis=0)', '"bias_hh": xp.sum(d_a, axis=0)'
BIAS = 'parameters["bias_ih"] + parameters["bias_hh"]'
PRODUCTS = f"a = x @ {W_IH}.T + h_prev @ {W_HH}.T"
SIDE_BY_SIDE = f"a = xp.concat([h_prev, x], axis=1) @ xp.concat([{W_IH}, {W_HH}], axis=1).T"
THERE, BACK = "for t in range(x.shape[0]):", "for t in reversed(range(len(steps))):"
CALL = "state, kept = step(x[t, :, :], state, parameters"
APPEND, D_APPEND, ADDED = "        steps.append(kept)", "        d_x.append(d_x_t)", "total + d_step[name]"
OUT, D_OUT = "return xp.stack(output), state,", "return xp.stack(d_x[::-1]), d_state,"
D_IN = "    steps, parameters = tape\n"
STEP, BACKWARD_STEP, FORWARD, BACKWARD = "step", "step_backward", "forward", "backward"

FROM_THE_ISSUE = [
    # The bias's gradient summed over everything: as one number, and in every entry.
    planted("lstm", D_B_IH, '"bias_ih": xp.sum(d_a)', BACKWARD_STEP, "d_b_ih"),
    planted("rnn", D_B_HH, '"bias_hh": 0 * d_a[0] + xp.sum(d_a)', BACKWARD_STEP, "d_b_hh"),
    # The loop backward stops one step early.
    Planted(
        "lstm",
        ((BACK, "for t in reversed(range(1, len(steps))):"), ("(d_x[::-1])", "([0 * steps[0][0], *d_x[::-1]])")),
        BACKWARD,
        "times",
    ),
    planted("gru", BACK, "for t in reversed(range(1, len(steps))):", BACKWARD, told="one step is missing"),
    # Something that is kept is changed in place.
    planted("lstm", "d_a_f = d_f * f", "f *= 1 - f; d_a_f = d_f * f", BACKWARD_STEP, told="in place"),
    planted("lstm", "d_a_f = d_f * f * (1 - f)", "f *= 1 - f; d_a_f = d_f * f", BACKWARD_STEP, told="in place"),
    planted("gru", "return d_x, d_h_prev", "n *= 0.9; return d_x, d_h_prev", BACKWARD_STEP, told="in place"),
    planted("lstm", "c = f * c_prev + i * g", "c = c_prev; c *= f; c += i * g", STEP, told="writes into `state`"),
    Planted(
        "gru",
        (
            (THERE, f"state = 1 * state\n    {THERE}"),
            (CALL, "new, kept = step(x[t, :, :], state, parameters"),
            (APPEND, f"{APPEND}; state[...] = new"),
            ("output.append(state)", "output.append(new)"),
        ),
        FORWARD,
        "",
        "in place",
    ),
    # The gradient is clipped within the loop.
    planted("lstm", D_APPEND, f"{D_APPEND}; d_state = tuple(d.clip(-1, 1) for d in d_state)", BACKWARD, "d_h_after"),
    planted("rnn", D_APPEND, f"{D_APPEND}; d_state = d_state.clip(-20, 20)", BACKWARD, "d_h_after"),
    planted("gru", ADDED, "total + d_step[name].clip(-5, 5)", BACKWARD, "total"),
    # The weights are updated within the loop.
    planted(
        "lstm",
        D_APPEND,
        f"{D_APPEND}\n        for name in parameters:\n            parameters[name] -= 0.1 * d_step[name]",
        BACKWARD,
        told="`parameters`",
    ),
    # d_h is added twice.
    planted("gru", "d_output[t, :, :] + d_state", "d_output[t, :, :] + d_state + d_state", BACKWARD, "d_h"),
    planted("lstm", "d_output[t, :, :] + d_h_after", "d_output[t, :, :] + 2 * d_h_after", BACKWARD, "d_h"),
    # x and h are exchanged in a concatenation.
    planted("lstm", PRODUCTS, SIDE_BY_SIDE, STEP, "a"),
    planted("rnn", PRODUCTS, SIDE_BY_SIDE, STEP, "a"),
    planted(
        "lstm",
        D_W_IH,
        '"weight_ih": (d_a.T @ xp.concat([h_prev, x], axis=1))[:, : x.shape[1]]',
        BACKWARD_STEP,
        "d_W_ih",
    ),
    # d_c_0 without its factor.
    planted("lstm", D_OUT, f"d_state = d_state[0], d_state[1] / steps[0][4]\n    {D_OUT}", BACKWARD, "d_c_0"),
    planted("lstm", "d_c_prev = d_c * f", "d_c_prev = d_c", BACKWARD_STEP, "d_c_prev"),
    # The bias is added at the first step only.
    *(
        planted(
            cell,
            CALL,
            'state, kept = step(x[t, :, :], state, parameters if t == 0 else {k: parameters[k] for k in ["weight_ih", '
            '"weight_hh"]}',
            FORWARD,
            name,
        )
        for cell, name in (("lstm", "a"), ("rnn", "a"), ("gru", "a_x"))
    ),
]

MORE = [
    # The step.
    planted("lstm", "i = sigmoid(a[:, :H], xp)", "i = xp.tanh(a[:, :H])", STEP, "i"),
    planted("lstm", "g = xp.tanh(a[:, 2 * H : 3 * H])", "g = sigmoid(a[:, 2 * H : 3 * H], xp)", STEP, "g"),
    planted("lstm", "tanh_c = xp.tanh(c)", "tanh_c = c", STEP, "tanh_c"),
    planted("lstm", "c = f * c_prev + i * g", "c = f * c_prev + g", STEP, "c"),
    planted("lstm", "c = f * c_prev + i * g", "c = f * c_prev + (1 - f) * g", STEP, "c"),
    planted("lstm", "c = f * c_prev + i * g", "c = i * c_prev + f * g", STEP, "a"),
    planted("lstm", "c = f * c_prev + i * g", "c = f * c_prev + i * g + 0.01 * g * o", STEP),
    planted("lstm", "f = sigmoid(a[:, H : 2 * H], xp)", "f = sigmoid(a[:, H : 2 * H] + 1, xp)", STEP, "f"),
    planted("lstm", f"a = a + {BIAS}", 'a = a + parameters["bias_ih"]', STEP, "a"),
    planted("gru", "h = (1 - z) * n + z * h_prev", "h = z * n + (1 - z) * h_prev", STEP, "h"),
    planted("gru", "n = xp.tanh(a_x[:, 2 * H :] + r * h_n)", "n = xp.tanh(a_x[:, 2 * H :] + h_n)", STEP, "n"),
    planted(
        "gru",
        "    n = xp.tanh(a_x[:, 2 * H :] + r * h_n)",
        f'    h_n = ((r * h_prev) @ {W_HH}.T + parameters.get("bias_hh", 0))[:, 2 * H :]\n'
        "    n = xp.tanh(a_x[:, 2 * H :] + h_n)",
        STEP,
        "n",
    ),
    planted("rnn", f"h_prev @ {W_HH}.T", f"h_prev @ {W_HH}", STEP, "a"),
    planted("rnn", f" + h_prev @ {W_HH}.T", "", STEP, "a"),
    planted("gru", 'a_h = a_h + parameters["bias_hh"]', 'a_h = a_h + parameters["bias_ih"]', STEP, "a_h"),
    # The step backward.
    planted("lstm", "d_o = d_h * tanh_c", "d_o = d_h * c_prev", BACKWARD_STEP, "d_o"),
    planted("lstm", "d_c = d_c_after + d_h", "d_c = d_h", BACKWARD_STEP, "d_c"),
    planted("lstm", "d_h * o * (1 - tanh_c * tanh_c)", "d_h * o * (1 - tanh_c)", BACKWARD_STEP, "d_c"),
    planted("lstm", "d_h * o * (1 - tanh_c * tanh_c)", "d_h * (1 - tanh_c * tanh_c)", BACKWARD_STEP, "d_c"),
    planted("lstm", "d_f = d_c * c_prev", "d_f = d_c_after * c_prev", BACKWARD_STEP, "d_f"),
    planted("lstm", "d_i = d_c * g", "d_i = d_c * i", BACKWARD_STEP, "d_i"),
    planted("lstm", "d_a_g = d_g * (1 - g * g)", "d_a_g = d_g * g * (1 - g)", BACKWARD_STEP, "d_a_g"),
    planted("lstm", "d_a_o = d_o * o * (1 - o)", "d_a_o = d_o * (1 - o * o)", BACKWARD_STEP, "d_a_o"),
    planted("lstm", "d_a_i = d_i * i * (1 - i)", "d_a_i = d_i", BACKWARD_STEP, "d_a_i"),
    planted("lstm", "[d_a_i, d_a_f, d_a_g, d_a_o]", "[d_a_i, d_a_f, d_a_o, d_a_g]", BACKWARD_STEP, "d_a"),
    planted("lstm", D_B_IH, '"bias_ih": xp.mean(d_a, axis=0)', BACKWARD_STEP, "d_b_ih"),
    planted("lstm", D_W_HH, '"weight_hh": d_a.T @ (o * tanh_c)', BACKWARD_STEP, "d_W_hh"),
    planted("lstm", f"d_h_prev = d_a @ {W_HH}", f"d_h_prev = d_h + d_a @ {W_HH}", BACKWARD_STEP, "d_h_prev"),
    planted("gru", "d_h_prev = d_h * z + ", "d_h_prev = ", BACKWARD_STEP, "d_h_prev"),
    planted("gru", "d_z = d_h * (h_prev - n)", "d_z = d_h * (n - h_prev)", BACKWARD_STEP, "d_z"),
    planted("gru", "d_h_n = d_x_n * r", "d_h_n = d_x_n", BACKWARD_STEP, "d_h_n"),
    planted("gru", "d_r = d_x_n * h_n", "d_r = d_x_n * h_prev", BACKWARD_STEP, "d_r"),
    planted("gru", "[d_a_r, d_a_z, d_h_n]", "[d_a_r, d_a_z, d_x_n]", BACKWARD_STEP, "d_h_n"),  # or d_a_h: the same
    planted("gru", "xp.sum(d_a_h, axis=0)", "xp.sum(d_a_x, axis=0)", BACKWARD_STEP, "d_b_hh"),
    planted("rnn", "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - h)", BACKWARD_STEP, "d_a"),
    planted("rnn", "d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - h_prev * h_prev)", BACKWARD_STEP, "d_a"),
    planted("rnn", "xp.where(h <= 0, xp.zeros_like(h), d_h)", "d_h", BACKWARD_STEP, "d_a"),
    planted("rnn", D_W_HH, '"weight_hh": h_prev.T @ d_a', BACKWARD_STEP, "d_W_hh"),
    planted("rnn", f"d_h_prev = d_a @ {W_HH}", f"d_h_prev = d_a @ {W_HH}.T", BACKWARD_STEP, "d_h_prev"),
    # Two at once.
    Planted(
        "lstm",
        (("d_f = d_c * c_prev", "d_f = d_c"), ("d_a_g = d_g * (1 - g * g)", "d_a_g = d_g")),
        BACKWARD_STEP,
        "d_f",
    ),
    Planted(
        "gru",
        (("d_n = d_h * (1 - z)", "d_n = d_h * z"), (D_W_IH.replace("d_a", "d_a_x"), '"weight_ih": d_a_h.T @ x')),
        BACKWARD_STEP,
        "d_n",
    ),
    # The loop.
    planted("lstm", CALL, "state, kept = step(x[0, :, :], state, parameters", FORWARD, "x_t"),
    planted("lstm", "output.append(state[0])", "output.append(state[1])", FORWARD, "output_t"),
    planted("gru", THERE, f"state = 0 * state\n    {THERE}", FORWARD, "h_0"),
    planted("lstm", OUT, "return xp.stack(output), state[::-1],", FORWARD, told="exchanged"),
    planted("lstm", OUT, "return xp.stack(output), (output[0], state[1]),", FORWARD, "h_n"),
    planted("rnn", OUT, "return xp.stack(output[::-1]), state,", FORWARD, "output"),
    Planted(
        "lstm",
        ((THERE, f"first = state\n    {THERE}"), (CALL, CALL.replace("state, p", "(state[0], first[1]), p"))),
        FORWARD,
        "c_prev",
    ),
    # The loop backward.
    planted("gru", "d_output[t, :, :] + d_state", "d_output[t, :, :]", BACKWARD, "d_h"),
    planted("lstm", "d_output[t, :, :] + d_h_after", "d_h_after", BACKWARD, "d_h"),
    planted("lstm", "(d_h, d_c_after)", "(d_h, 0 * d_c_after)", BACKWARD, "d_c"),
    planted("lstm", ADDED, "d_step[name]", BACKWARD, "total"),
    planted("rnn", "d_x[::-1]", "d_x", BACKWARD, "d_x"),
    planted("rnn", D_IN, f"{D_IN}    d_last, d_state = d_state, 0 * d_state\n", BACKWARD, "d_h"),
    planted("gru", ADDED, "total + d_step[name] / len(steps)", BACKWARD, "total"),
    planted("lstm", "steps[t], parameters", "steps[t - 1], parameters", BACKWARD, "kept"),
    planted("gru", D_APPEND, f"{D_APPEND}; d_state = d_state * (t != 2)", BACKWARD, "d_h_after"),
    planted("lstm", D_APPEND, f"{D_APPEND}; d_state = d_state[0], d_state[1] + d_c_after", BACKWARD, "d_c_after"),
    # The interface.
    planted("gru", "return h, (x", "return h, None, (x", STEP, told="it should return 2 things"),
    planted("lstm", "return (h, c), (x", "return h, (x", STEP, told="should be a tuple of 2 arrays"),
    planted("lstm", D_W_IH, '"weight_ih": x.T @ d_a', BACKWARD_STEP, told="only its axes are in another order"),
    planted("rnn", '"bias_hh": xp.sum', '"b_hh": xp.sum', BACKWARD_STEP, told="d_parameters should have"),
    planted("lstm", "d_o = d_h * tanh_c", "d_o = d_h * tanhc", BACKWARD_STEP, told="NameError"),
    planted("gru", 'if "bias_ih" in parameters:\n        a_x', "if True:\n        a_x", STEP, told="Ask for them"),
]

HELD_BACK = [
    # Written down after the table of mistakes was, to see what it finds of what it was not made for.
    planted("lstm", f"a = a + {BIAS}", f"a = a + 2 * ({BIAS})", STEP, "a"),
    planted("lstm", "h = o * tanh_c", "h = o * sigmoid(c, xp)", STEP, "tanh_c"),
    planted("lstm", "h = o * tanh_c", "h = tanh_c", STEP, "h"),
    planted("lstm", "c = f * c_prev + i * g", "c = f * c_prev + i * h_prev", STEP, "c"),
    planted("lstm", "o = sigmoid(a[:, 3 * H :], xp)", "o = sigmoid(a[:, 3 * H :] + c_prev, xp)", STEP, "o"),
    planted("lstm", "H = h_prev.shape[1]", "H = h_prev.shape[1]; a = a.clip(-1, 1)", STEP, "a"),
    planted("lstm", "tanh_c = xp.tanh(c)", "c = c.clip(-1, 1); tanh_c = xp.tanh(c)", STEP, "c"),
    planted("lstm", "return (h, c), (x", "return (c, h), (x", STEP, told="exchanged in what is returned"),
    planted(
        "lstm",
        "(x, h_prev, c_prev, i, f, g, o, tanh_c)\n",
        "(x, h, c_prev, i, f, g, o, tanh_c)\n",
        BACKWARD_STEP,
        "d_W_hh",
    ),
    planted(
        "lstm",
        "(x, h_prev, c_prev, i, f, g, o, tanh_c)\n",
        "(x, h_prev, c, i, f, g, o, tanh_c)\n",
        BACKWARD_STEP,
        "d_f",
    ),
    planted(
        "lstm",
        "(x, h_prev, c_prev, i, f, g, o, tanh_c)\n",
        "(x, h_prev, c_prev, f, f, g, o, tanh_c)\n",
        BACKWARD_STEP,
        "i",
    ),
    planted(
        "lstm", "return d_x, (d_h_prev, d_c_prev)", "return d_x, (d_c_prev, d_h_prev)", BACKWARD_STEP, told="exchanged"
    ),
    planted("lstm", "d_c_prev = d_c * f", "d_c_prev = d_c * f + d_h", BACKWARD_STEP, "d_c_prev"),
    planted("lstm", "d_c_prev = d_c * f", "d_c_prev = d_c_after * f", BACKWARD_STEP, "d_c_prev"),
    planted("lstm", D_W_IH, '"weight_ih": d_a.T @ x / x.shape[0]', BACKWARD_STEP, "d_W_ih"),
    planted("lstm", D_B_HH, '"bias_hh": 0 * d_a[0]', BACKWARD_STEP, "d_b_hh"),
    planted("lstm", f"{D_B_IH}, {D_B_HH}", f"{D_B_IH} / 2, {D_B_HH} / 2", BACKWARD_STEP, "d_b_ih"),
    planted("lstm", f"{D_W_IH}, {D_W_HH}", f"{D_W_IH} / len(x), {D_W_HH} / len(x)", BACKWARD_STEP, "d_W_ih"),
    planted(
        "lstm", "d_f * f * (1 - f)", "(d_f * f * (1 - f)).clip(-0.05, 0.05)", BACKWARD_STEP, told="clips or rescales"
    ),
    planted("gru", "xp.tanh(a_x[:, 2 * H :] + r * h_n)", "xp.tanh(a_x[:, 2 * H :] + z * h_n)", STEP, "n"),
    planted("gru", "sigmoid(a_x[:, :H] + a_h[:, :H], xp)", "sigmoid(a_x[:, :H], xp)", STEP, "r"),
    planted("gru", "d_n = d_h * (1 - z)", "d_n = d_h", BACKWARD_STEP, "d_n"),
    planted("gru", "d_h_prev = d_h * z + ", "d_h_prev = d_h + ", BACKWARD_STEP, "d_h_prev"),
    planted("gru", "d_a_h.T @ h_prev", "d_a_h.T @ (r * h_prev)", BACKWARD_STEP, "d_W_hh"),
    planted("rnn", "d_a = d_h * (1 - h * h)", "d_a = 1 - h * h", BACKWARD_STEP, "d_a"),
    planted("rnn", "h = xp.tanh(a)", "h = 1 / (1 + xp.exp(-a))", STEP, "h"),
    planted("lstm", "output.append(state[0])", "output.append(xp.tanh(state[0]))", FORWARD, "output_t"),
    planted("lstm", THERE, "for t in range(x.shape[0] - 1):", FORWARD, told="one step is missing"),
    planted("lstm", D_APPEND, f"{D_APPEND}; d_state = 0.9 * d_state[0], 0.9 * d_state[1]", BACKWARD),
    planted(
        "lstm",
        D_APPEND,
        f"{D_APPEND}; d_state = d_state[0] / max(1, (d_state[0] ** 2).sum() ** 0.5), d_state[1]",
        BACKWARD,
        told="clips or rescales",
    ),
    planted("lstm", ADDED, f"({ADDED}) / 2", BACKWARD),
    planted("gru", D_APPEND, f"{D_APPEND}; d_state = d_state + d_h", BACKWARD, "d_h_after"),
    planted("gru", D_OUT, "return xp.stack(d_x[::-1]), 0 * d_state,", BACKWARD, "d_h_0"),
    planted("rnn", "d_output[t, :, :] + d_state", "d_output[t - 1, :, :] + d_state", BACKWARD, "d_h"),
    planted("lstm", "d_h_after, d_c_after = d_state\n", "d_c_after, d_h_after = d_state\n", BACKWARD, "d_h"),
    # Several in a loop.
    Planted(
        "lstm",
        (("d_output[t, :, :] + d_h_after", "d_h_after"), ("d_x[::-1]", "d_x"), (ADDED, "d_step[name]")),
        BACKWARD,
        "d_h",
    ),
]
