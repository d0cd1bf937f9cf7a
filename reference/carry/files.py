"""A training at rest, as PyTorch's users keep it: in a .pt or in a .safetensors file.

    model.pt            torch.save of {
      "model"             model.state_dict()
      "optimizer"         optimizer.state_dict()
      "state"             {"h", "c"}: the state of the recurrence between two segments (L, B, H); empty at the start
      "history"           {"losses": of every step (N), "validations": the step and the loss of each (M, 2)}
      "recurrence"        JSON: the settings, the vocabulary and the rest of the header of a checkpoint
    }
    model.safetensors   the arrays of a checkpoint by their names, and "recurrence" in the metadata

Nothing in either can be executed: .pt files hold tensors, numbers and texts, and are read with `weights_only=True`.

Whoever trains on by hand changes "model" and "optimizer". What was changed in `param_groups` is taken over where the
settings have it: `lr` (the learning rate of the first pass, which `learning_rate_decay` multiplies after every pass),
`weight_decay` and `momentum`. The place in the text is counted by the losses: a step that went through the text is one
whose loss was appended to "history" (and whose "state" was kept); steps without a loss have changed the weights alone,
and the training goes on at the place where it was. The optimizer's own count of its updates is its own affair.

`export` leaves the checksum out, so that the arrays can be edited; `write` gives one to every .safetensors file, which
is thereby a checkpoint of `scratch`. Where there is one it has to be right.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scratch.files import write_whole
from scratch.text import Checkpoint, CheckpointError, built
from scratch.text import checkpoint as at_rest
from scratch.types import Array

from ..models import CharacterModel, twin
from ..runs import is_in_torch
from . import optimizers

SUFFIXES = (".safetensors", ".pt")

PARTS = ("model", "optimizer", "state", "history", "recurrence")
"""Of a .pt file."""

Tree = Mapping[str, Any]


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """The training in a .pt or .safetensors file, a checkpoint of `scratch` included, completely checked.

    Raises OSError if it cannot be read, CheckpointError if it is something else, damaged, or not what can be trained.
    """
    content = at_rest.content_at(path)
    return from_pt(content) if suffix(path) == ".pt" else from_safetensors(content)


def write(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a training in place of what is at `path`; a .safetensors file gets its checksum.

    Raises OSError; then what was there is there still. Raises CheckpointError for another suffix.
    """
    if suffix(path) == ".pt":
        write_whole(Path(path), to_pt(checkpoint))
    else:
        at_rest.write(path, checkpoint)


def export(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a training from PyTorch's side, for others to change: without a checksum. Raises as `write` does."""
    content = to_pt(checkpoint)  # which refuses what PyTorch does not have
    if suffix(path) != ".pt":
        content = at_rest.content_of(at_rest.arrays_of(checkpoint), {"recurrence": at_rest.header(checkpoint)})
    write_whole(Path(path), content)


def suffix(path: str | os.PathLike[str]) -> str:
    """How a file's name ends. Raises CheckpointError unless in one of two ways."""
    found = Path(path).suffix
    if found not in SUFFIXES:
        raise CheckpointError(f"expected a name that ends in {' or '.join(SUFFIXES)}, got {Path(path).name!r}")
    return found


def in_torch(
    checkpoint: Checkpoint, device: torch.device | None = None
) -> tuple[CharacterModel, torch.optim.Optimizer]:
    """The model and the optimizer of a checkpoint in PyTorch, in training mode.

    Raises as `built` does, and CheckpointError for a recurrence that PyTorch does not have.
    """
    ours, _ = built(checkpoint)
    settings = checkpoint.settings
    if not is_in_torch(settings.cell):
        raise CheckpointError(f"expected a recurrence that PyTorch has, got {settings.cell}")
    model = twin(ours).to(device)
    return model, optimizers.in_torch(settings, model, checkpoint.optimizer)


def to_pt(checkpoint: Checkpoint) -> bytes:
    """A .pt file's content."""
    model, optimizer = in_torch(checkpoint)
    parts = {
        "model": dict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "state": {name: torch.from_numpy(value) for name, value in checkpoint.state.items()},
        "history": {
            "losses": torch.from_numpy(checkpoint.losses),
            "validations": torch.from_numpy(checkpoint.validations),
        },
        "recurrence": at_rest.header(checkpoint),
    }
    content = BytesIO()
    torch.save(parts, content)
    return content.getvalue()


def from_pt(content: bytes) -> Checkpoint:
    """The training in a .pt file's content. Raises CheckpointError."""
    saved = loaded(content)
    try:
        trees = {name: tree(name, saved[name]) for name in PARTS[:-1]}
        arrays = {
            f"{part}.{name}": optimizers.as_array(f"{part}.{name}", value)
            for part in ("model", "state")
            for name, value in trees[part].items()
        }
        arrays |= {f"history.{name}": numbers(name, value) for name, value in trees["history"].items()}
        checkpoint = of_parts(saved["recurrence"], arrays)
        at_rest.check_sizes(checkpoint)
        settings = checkpoint.settings
        names = [name for name, _ in settings.model(len(checkpoint.vocabulary)).named_parameters()]
        states = optimizers.from_torch(names, tree("state", trees["optimizer"]["state"]))
        groups = trees["optimizer"]["param_groups"]
        changed = optimizers.settings_with(settings, groups, len(names))
        if bool(changed.momentum) != bool(settings.momentum) and (states or checkpoint.step):
            states = optimizers.with_momentum(states, checkpoint.model, changed.momentum)
        checkpoint = checkpoint._replace(optimizer=states, settings=changed)
    except CheckpointError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"expected what was exported: {explained(error)}") from None
    return checked(checkpoint)


def from_safetensors(content: bytes) -> Checkpoint:
    """The training in a .safetensors file's content. Raises CheckpointError."""
    metadata, arrays = at_rest.parsed(content)
    text = metadata["recurrence"]
    if metadata.get("sha256", (right := at_rest.checksum(text, arrays))) != right:
        raise CheckpointError(
            "expected what was written, got something else: the file is damaged (export what to edit)"
        )
    return checked(of_parts(text, arrays))


def of_parts(text: Any, arrays: dict[str, Array]) -> Checkpoint:
    """The checkpoint of a header and arrays, its steps counted by the losses. Raises CheckpointError."""
    try:
        header = json.loads(text)
        losses = arrays["history.losses"].size
        if header["step"] > losses:
            raise ValueError(f"a loss for each of {header['step']} steps, got {losses}")
        text = json.dumps(header | {"step": losses})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"expected the header and the arrays of a checkpoint: {explained(error)}") from None
    return at_rest.of_parts(text, arrays)


def checked(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, if it can be trained on. Raises CheckpointError for parts that do not fit or are not finite."""
    built(checkpoint)
    settings = checkpoint.settings
    L, B, H = settings.num_layers, settings.batch_size, settings.hidden_size
    for name, value in checkpoint.state.items():
        # Of a short text there are fewer streams than B, in each part the same.
        shapes = {(L, *part.shape[1:2], H) for part in checkpoint.state.values()}
        if {value.shape} != shapes or not 1 <= value.shape[1] <= B or value.dtype != settings.dtype:
            raise CheckpointError(
                f"expected state.{name} of shape {(L, B, H)} and dtype {settings.dtype}, "
                f"got {value.shape} and {value.dtype}"
            )
    for name, value in at_rest.arrays_of(checkpoint).items():
        if not np.isfinite(value).all():
            raise CheckpointError(f"expected finite numbers, got others in {name}")
    return checkpoint


def loaded(content: bytes) -> Tree:
    """What a .pt file holds, if that is nothing but tensors, numbers and texts. Raises CheckpointError."""
    try:
        with warnings.catch_warnings(action="ignore"):
            saved = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # whatever the bytes of strangers lead to
        raise CheckpointError(
            "expected a PyTorch file of tensors, numbers and texts alone, got another or a damaged one"
        ) from None
    if not isinstance(saved, dict) or not saved.keys() >= set(PARTS):
        raise CheckpointError(f"expected a dict with {', '.join(PARTS)}, got another")
    # A tensor can repeat its elements without end, in no space. What comes out of a file has room in it.
    try:
        size = size_of(saved, set())
    except RecursionError:
        raise CheckpointError("expected a few mappings within each other, got too many") from None
    if size > len(content):
        raise CheckpointError("expected tensors that fit into the file, got larger ones")
    return saved


def size_of(part: Any, seen: set[int]) -> int:
    """How many bytes the tensors in mappings take. seen: the mappings that have been counted, by their ids."""
    if isinstance(part, torch.Tensor):
        return part.numel() * part.element_size()
    if not isinstance(part, Mapping) or id(part) in seen:
        return 0
    seen.add(id(part))
    return sum(size_of(value, seen) for value in part.values())


def tree(name: str, value: Any) -> Tree:
    """A mapping from texts or numbers. Raises TypeError for anything else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"expected {name} to be a mapping, got {type(value).__name__}")
    return value


def numbers(name: str, value: Any) -> Array:
    """Numbers in a tensor or a list as a float64 array. Raises TypeError for anything else."""
    if isinstance(value, list):
        if not all(type(each) in (int, float) for each in value):
            raise TypeError(f"expected {name} to be a tensor or a list of numbers")
        return np.array(value, np.float64)
    return optimizers.as_array(name, value).astype(np.float64)


def explained(error: Exception) -> str:
    """What an error says; a KeyError says what is missing."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def in_dtype(checkpoint: Checkpoint, dtype: str) -> Checkpoint:
    """The checkpoint of the same training in another dtype; from float64 to float32 it is rounded."""
    return checkpoint._replace(
        settings=replace(checkpoint.settings, dtype=dtype),
        model={name: value.astype(dtype) for name, value in checkpoint.model.items()},
        optimizer={
            name: {what: value if what == "step" else value.astype(dtype) for what, value in values.items()}
            for name, values in checkpoint.optimizer.items()
        },
        state={name: value.astype(dtype) for name, value in checkpoint.state.items()},
    )
