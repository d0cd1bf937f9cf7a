"""Faults of the stack of layers and directions, made from its slots: values that are others, and places exchanged."""

from __future__ import annotations

from functools import cache

from .edits import Fault, edit

WIRING = {
    "layer_input": "what a layer reads",
    "h_start": "the initial h",
    "c_start": "the initial c",
    "placed": "the output of a direction",
    "h_final": "the final h",
    "layer_output": "the output of a layer",
    "given_h_n": "h_n",
    "given_c_n": "c_n",
    "given_output": "the output",
    "d_half": "the gradient of a direction's output",
    "d_h_end": "the gradient of the final h",
    "d_c_end": "the gradient of the final c",
    "d_placed": "a direction's part of the gradient of its input",
    "d_below": "the gradient that goes to the layer below",
    "d_input": "the gradient of the input",
    "given_d_h_0": "d_h_0",
    "given_d_c_0": "d_c_0",
    "d_parameter": "the gradient of the parameters",
}
"""The slots of the stack in which a value may be another, and what they are in words."""
CHANGED = {
    "0 * SLOT": "is zero",
    "-SLOT": "has its sign turned",
    "2 * SLOT": "counts twice",
    "SLOT / 2": "is halved",
    "SLOT / B": "is averaged over the batch",
    "SLOT / T": "is averaged over the steps",
    "SLOT[::-1]": "is in the opposite order along its first axis",
}
WHERE = {
    "layer == 0": "in layer 0 alone",
    "layer > 0": "above layer 0",
    "layer == m.L - 1": "in the last layer alone",
    "layer < m.L - 1": "below the last layer",
    "direction == 0": "in the forward direction alone",
    "direction == 1": "in the reverse direction alone",
}
PLACES_OF_STATE = {
    "k_in: PLACE; k_out: PLACE": "the states",
    "k_in: PLACE": "the initial states and their gradients",
    "forward.k_in: PLACE": "the initial states",
    "backward.k_in: PLACE": "the gradients of the initial states",
    "k_out: PLACE": "the final states and their gradients",
    "forward.k_out: PLACE": "the final states",
    "backward.k_out: PLACE": "the gradients of the final states",
    "k_weights: PLACE": "the weights",
    "backward.k_weights: PLACE": "the weights on the way back",
}
WRONG_PLACES = {
    "(m.L - 1 - layer) * m.D + direction": "the layers are in the opposite order: the first layer belongs first",
    "direction * m.L + layer": "all forward directions come first, then all reverse ones: layer 0 forward, layer 0 "
    "reverse, layer 1 forward, and so on is right",
    "(layer + 1) % m.L * m.D + direction": "each layer has those of the one above",
    "(layer - 1) % m.L * m.D + direction": "each layer has those of the one below",
    "k ^ 1": "the two directions are exchanged: each layer's forward direction belongs first, then its reverse",
    "direction": "those of layer 0 are there for every layer",
    "(m.L - 1) * m.D + direction": "those of the last layer are there for every layer",
    "layer * m.D": "those of the forward direction are there for both directions",
}


@cache
def of_wiring(layers: bool, directions: bool) -> tuple[Fault, ...]:
    """What goes wrong in the stack of layers and directions: values that are others there, and places exchanged."""
    found = []
    for slot, what in WIRING.items():
        for text, words in CHANGED.items():
            new = text.replace("SLOT", slot)
            found.append(Fault(f"{what} {words}", f"In the module, {what} {words}.", edit(f"{slot}: {new}"), 3))
        for condition, words in WHERE.items():
            in_a_layer = layers if condition.startswith("layer") else directions
            if in_a_layer and slot.startswith(("layer", "h_", "c_", "placed", "d_half", "d_h_", "d_c_", "d_p", "d_b")):
                for text, wrong in (("0 * SLOT", "is zero"), ("-SLOT", "has its sign turned")):
                    told = f"In the module, {what} {wrong} {words}."
                    changed = f"{slot}: {text.replace('SLOT', slot)} if {condition} else {slot}"
                    found.append(Fault(told, told, edit(changed), 2))
    for edits, what in PLACES_OF_STATE.items() if layers or directions else ():
        for place, words in WRONG_PLACES.items():
            told = f"In the order of layers and directions of {what}, {words}."
            found.append(Fault(f"{what}: {words}", told, edit(edits.replace("PLACE", place)), 1 + ("." not in edits)))
    return tuple(found)
