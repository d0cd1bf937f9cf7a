"""Checkpoints: all of a training in one file that is either the old one or the new one, never half of each.

The file is a safetensors file: arrays by name, and texts. Nothing in it can be executed.

    model.NAME                  the parameters, by PyTorch's names
    optimizer.NAME.WHAT         what the optimizer remembers of each, by PyTorch's names
    state.h, state.c            the state of the recurrence between two segments (L, B, H)
    history.losses              of every step (N)
    history.validations         the step and the loss of each validation (M, 2)
    metadata "recurrence"       JSON: everything else, from the settings to the state of the random numbers
    metadata "sha256"           of all of the above, so that damage is noticed

It is written beside its place, flushed to the disk and then renamed, which the file system does at once or not at all.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import optim
from ..files import write_whole
from ..nn import checks
from ..types import Array
from .corpus import Vocabulary
from .model import CharacterModel
from .settings import Limits, Settings, string

FORMAT = 1
"""The version of the layout of the file."""

LARGEST_HEADER = 1 << 24
"""In bytes. All of Unicode as a vocabulary fits; reading a header takes some 25 times its size in memory."""


class CheckpointError(ValueError):
    """Raised for a file that is no checkpoint, or a damaged one."""


class Checkpoint(NamedTuple):
    """A training at rest."""

    settings: Settings
    vocabulary: str
    sources: tuple[str, ...]  # the paths of the text; none for the standard library
    digest: str  # of the text
    limits: Limits
    step: int
    seconds: float
    rng: Mapping[str, Any]  # the state of the random numbers, as NumPy gives it
    model: dict[str, Array]
    optimizer: dict[str, dict[str, Array]]  # what the optimizer remembers, by the parameter's name
    state: dict[str, Array]  # the parts of the state of the recurrence; none before the first step
    losses: Array
    validations: Array
    encoding: str = "utf-8"  # of the files of the text


def write(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of what is at `path`. Raises OSError; then what was there is there still."""
    text, arrays = header(checkpoint), arrays_of(checkpoint)
    write_whole(Path(path), content_of(arrays, {"recurrence": text, "sha256": checksum(text, arrays)}))


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint at `path`. Raises OSError if it cannot be read, CheckpointError if it is none or is damaged."""
    metadata, arrays = parsed(content_at(path))
    text = metadata["recurrence"]
    if "sha256" not in metadata:
        raise CheckpointError("expected a checkpoint, got an exported file: `python -m reference import` makes one")
    if metadata["sha256"] != checksum(text, arrays):
        raise CheckpointError("expected what was written, got something else: the file is damaged")
    return of_parts(text, arrays)


def built(checkpoint: Checkpoint) -> tuple[CharacterModel, optim.Optimizer]:
    """The model and the optimizer of a checkpoint, in training mode. Raises CheckpointError if its parts do not fit."""
    check_sizes(checkpoint)
    settings, memory = checkpoint.settings, checkpoint.optimizer
    model = settings.model(len(checkpoint.vocabulary))
    optimizer = settings.optimizer_of(model)
    places = {name: index for index, (name, _) in enumerate(model.named_parameters())}
    try:
        for name, parameter in model.named_parameters():
            checks.floats(name, checkpoint.model[name], parameter.data.dtype)
        model.load_state_dict(checkpoint.model)
        remembered = {*optimizer.required_state} | ({"momentum_buffer"} if settings.momentum else set())
        updated = remembered and (checkpoint.step or memory)  # weights may also be updated away from the text
        if memory.keys() != (places.keys() if updated else set()):
            raise ValueError(f"got an optimizer that remembers something of {', '.join(memory) or 'nothing'}")
        for name, values in memory.items():
            if values.keys() != remembered:
                raise ValueError(f"got an optimizer that remembers {', '.join(values)} of {name}")
            for what, value in values.items():
                dtype = np.dtype(np.float64) if what == "step" else checkpoint.model[name].dtype
                checks.floats(f"{what} of {name}", value, dtype)
        states = {places[name]: values for name, values in memory.items()}
        optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
        model.rng.bit_generator.state = checkpoint.rng
        if model.rng.bit_generator.state != checkpoint.rng:
            raise ValueError("got random numbers in a state that they cannot have")
        expected = model.rnn.cell.state if checkpoint.step else ()
        if tuple(checkpoint.state) != expected:
            raise ValueError(f"expected a state of {', '.join(expected) or 'nothing'}, got {list(checkpoint.state)}")
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"expected arrays that fit the settings: {briefly(error)}") from None
    return model, optimizer


def check_sizes(checkpoint: Checkpoint) -> None:
    """Refuse settings that need more memory than the arrays have, before it is taken. Raises CheckpointError."""
    settings, V = checkpoint.settings, len(checkpoint.vocabulary)
    L, H, E = settings.num_layers, settings.hidden_size, settings.embedding_size
    numbers = sum(array.size for array in checkpoint.model.values())
    if len(checkpoint.model) < L or V * (H + E) + H * (E or V) + L * H * H > numbers:
        raise CheckpointError(f"expected arrays of the sizes in the settings, got {numbers:,} numbers in all")


PLAIN = ("vocabulary", "sources", "encoding", "digest", "step", "seconds", "rng")
"""What is in the header as it is in the checkpoint."""


def header(checkpoint: Checkpoint) -> str:
    """What is not an array, as JSON."""
    settings, limits = checkpoint.settings.as_dict(), checkpoint.limits._asdict()
    values = {name: getattr(checkpoint, name) for name in PLAIN}
    return json.dumps({"format": FORMAT, "settings": settings, "limits": limits, **values}, allow_nan=False)


def arrays_of(checkpoint: Checkpoint) -> dict[str, Array]:
    """The arrays by their names in the file."""
    arrays = {f"model.{name}": value for name, value in checkpoint.model.items()}
    for name, values in checkpoint.optimizer.items():
        arrays |= {f"optimizer.{name}.{what}": value for what, value in values.items()}
    arrays |= {f"state.{name}": value for name, value in checkpoint.state.items()}
    arrays |= {"history.losses": checkpoint.losses, "history.validations": checkpoint.validations}
    return {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in arrays.items()}


def of_parts(text: str, arrays: Mapping[str, Array]) -> Checkpoint:
    """The checkpoint of a header and arrays. Raises CheckpointError for what `header` and `arrays_of` do not give."""
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("format") != FORMAT or values["format"] is True:
            raise ValueError(f"expected format {FORMAT}")
        groups: dict[str, dict[str, Array]] = {"model": {}, "optimizer": {}, "state": {}, "history": {}}
        for name, value in arrays.items():
            if not np.isfinite(value).all():
                raise ValueError(f"expected finite numbers in {name}")
            group, _, rest = name.partition(".")
            groups[group][rest] = value
        optimizer: dict[str, dict[str, Array]] = {}
        for name, value in groups["optimizer"].items():
            parameter, _, what = name.rpartition(".")
            optimizer.setdefault(parameter, {})[what] = value
        if not isinstance(values["sources"], list):
            raise TypeError("expected sources as a list")
        step, state, float64 = checks.integer("step", values["step"], least=0), groups["state"], np.dtype(np.float64)
        losses, validations = groups["history"].pop("losses"), groups["history"].pop("validations")
        if unknown := [*groups["history"], *(state.keys() - {"h", "c"})]:
            raise ValueError(f"got an unknown {unknown[0]!r}")
        steps = checks.floats("validations", validations, float64, (len(validations), 2))[:, 0]
        if not np.all((steps == np.floor(steps)) & (np.diff(steps, prepend=-1) > 0) & (steps <= step)):
            raise ValueError("expected validations after whole numbers of steps, one after the other")
        return Checkpoint(
            settings=Settings.of(values["settings"]),
            vocabulary=Vocabulary(string("vocabulary", values["vocabulary"])).characters,
            sources=tuple(string("each source", source) for source in values["sources"]),
            digest=string("digest", values["digest"]),
            limits=Limits.of(values["limits"]),
            step=step,
            seconds=checks.number("seconds", values["seconds"]),
            rng=values["rng"],
            model=groups["model"],
            optimizer=optimizer,
            state={name: state[name] for name in ("h", "c") if name in state},
            losses=checks.floats("losses", losses, float64, (step,)),
            validations=validations,
            encoding=string("encoding", values.get("encoding", "utf-8")),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"expected the header and the arrays of a checkpoint: {briefly(error)}") from None


def briefly(error: Exception) -> str:
    """What an error says, which may quote from any file: a line or two of printable characters."""
    return "".join(character if character.isprintable() else "?" for character in str(error)[:300])


def checksum(text: str, arrays: Mapping[str, Array]) -> str:
    """The SHA-256 of the header and of the arrays, with names, shapes and dtypes."""
    found = hashlib.sha256(json.dumps([text, [(n, a.dtype.str, a.shape) for n, a in sorted(arrays.items())]]).encode())
    for _, array in sorted(arrays.items()):
        found.update(array.data if array.size else b"")
    return found.hexdigest()


def content_of(arrays: dict[str, Array], metadata: dict[str, str]) -> bytes:
    """A safetensors file's content."""
    from safetensors.numpy import save

    return save(arrays, metadata)


def content_at(path: str | os.PathLike[str]) -> bytes:
    """What a file holds. Raises OSError if it cannot be read, CheckpointError for what is no file."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise CheckpointError(f"expected a file, got {'a folder' if path.is_dir() else 'a device'}")
    return path.read_bytes()


def parsed(content: bytes) -> tuple[dict[str, str], dict[str, Array]]:
    """The metadata and the arrays of a safetensors file, whoever wrote it; there is a "recurrence" in the metadata.

    Raises CheckpointError for anything else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if int.from_bytes(content[:8], "little") > LARGEST_HEADER:
        raise CheckpointError(f"expected a header of at most {LARGEST_HEADER} bytes: this is no checkpoint")
    try:
        arrays = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        string("recurrence", metadata["recurrence"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"expected a safetensors file of this project, got another ({briefly(error)})") from None
    return metadata, arrays
