"""The command `python -m scratch train`: a character model learns a text, and survives whatever happens meanwhile."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ..doors import python
from ..files import forget_partial
from ..processes import helpful_blas_threads
from ..terminal import count, drawable, option, taking, writable
from .checkpoint import Checkpoint, CheckpointError, read
from .corpus import read_texts, standard_library
from .display import Display, duration, loss_curve, measures, rate
from .sampling import generate
from .settings import OPTIMIZERS, Limits, Settings
from .training import Diverged, Training, resumed_anew, run

DEFAULTS = Settings()
OPTIONS = "|".join([each.name for each in fields(Settings)] + [*Limits._fields, "prime", "temperature", "top_p"])
"""What may be wrong that an option says, by its name in Python."""
RATES = ", ".join(f"{name} {rate}" for name, rate in OPTIMIZERS.items())
ANOTHER = "name the files of the text after the options"
MINUTES = 5.0
"""How long a training takes if no limit is given."""

Resumed = TypeVar("Resumed")


def one_of(choices: Iterable[str]) -> dict[str, Any]:
    """For an option that takes one of several names, in small letters or large."""
    names = {name.lower(): name for name in choices}

    def chosen(value: str) -> str:
        if value.lower() not in names:
            raise typer.BadParameter(f"expected one of {', '.join(names)}, got {value!r}")
        return names[value.lower()]

    return {"parser": chosen, "metavar": "|".join(names)}


SHOWN, MOST = vars(DEFAULTS) | {"learning_rate": RATES}, {"hidden_size": 65536, "num_layers": 1024}
SETTINGS = {
    each.name: option(
        type(each.default),
        each.metadata["help"],
        default=SHOWN[each.name],
        **one_of(choices) if (choices := each.metadata["choices"]) else {"max": MOST.get(each.name)},
    )
    for each in fields(Settings)
}


@taking(SETTINGS)
def train(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TEXT", help="Files to learn. Without any: the sources of Python's standard library."),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the texts [default: utf-8, or as it was].")] = None,
    out: Annotated[Path | None, typer.Option(help="The checkpoint [default: model.safetensors, or --resume].")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on from this checkpoint, as if uninterrupted.")] = None,
    new_text: Annotated[bool, typer.Option("--new-text", help="With --resume: its weights, another text.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint that is there already.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps in all.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Or so many passes over the text in all.")] = None,
    minutes: Annotated[float | None, typer.Option(help=f"Or minutes in all; without any limit {MINUTES:g}.")] = None,
    save_every: Annotated[float, typer.Option(min=0, help="Seconds from save to save; 0: after every step.")] = 10.0,
    plot: Annotated[Path | None, typer.Option(help="The loss curve [default: beside the checkpoint, .png].")] = None,
    **given: Any,
) -> int:
    """Train a character model on text, by truncated backpropagation through time, in NumPy.

    Everything that is needed to go on is kept in one file, the checkpoint, from the start on. Ctrl-C finishes the step,
    saves and says how to resume; after a kill, too, --resume goes on where the checkpoint is, and ends with the same
    weights, bit by bit, as without the interruption (on the same machine with as many threads). On a busy machine one
    BLAS thread can be faster than all: a short trial decides, and one is taken only if that is said.

    Exit status: 0; 1 if the loss is far above a guess or no number any more; 2 if the command or a file is wrong; 130
    after Ctrl-C.
    """
    if resume is not None and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise typer.BadParameter(f"a resumed training keeps its settings: {options} cannot be given with --resume")
    if new_text and resume is None:
        raise typer.BadParameter("--new-text goes with --resume: without, every training is on a new text")
    limits = limits_of(steps, epochs, minutes)
    path, curve = places(out or resume or Path("model.safetensors"), plot, resume, overwrite, new_text)
    if resume is None:
        training = begun(files or [], given, limits, encoding or "utf-8")
    else:
        going_on = resumed_anew if new_text else Training.resumed
        goes_on = f"{ANOTHER}, or --new-text goes on with the same weights on another text"
        hint = "a training without --resume learns all characters" if new_text else goes_on
        training = resumed(resume, files or [], limits, read, going_on, encoding, hint)
    written = {os.path.realpath(path), os.path.realpath(curve)}
    if len(written) < 2 or not written.isdisjoint(map(os.path.realpath, training.sources)):
        raise typer.BadParameter(f"expected three different files: {path}, its picture {curve}, and a text")
    show_beginning(training, resume is not None)
    again = f"{python()} -m scratch train --resume {shlex.quote(str(path))}"
    with helpful_blas_threads(rehearsal(training), lambda line: print(line, file=sys.stderr)):
        status = run_shown(training, path, save_every, again, "scratch")
    if status == 0:
        settings = training.settings
        title = f"{description(settings)}, {settings.optimizer} {settings.learning_rate:g}"
        loss_curve(training, curve, title)
        print(f"written: {path}, {curve}")
        print(f"a sample:     {python()} -m scratch sample {shlex.quote(str(path))}")
        print(f"to train on:  {again} --minutes {more_minutes(training):.0f}")
    return status


def places(path: Path, plot: Path | None, resume: Path | None, overwrite: bool, anew: bool) -> tuple[Path, Path]:
    """The checkpoint and its picture, before any work is done. Raises typer.BadParameter if they cannot be written."""
    refuse_special("--out", path)
    curve = plot or path.with_suffix(".png")
    refuse_special("--plot", curve)
    for place in (path, curve) if plot is None else (path,):
        if (path != resume or anew) and place.exists() and not overwrite:
            goes_on = "" if resume or place == curve else f"--resume {path} goes on with it, "
            helps = f"{goes_on}--overwrite replaces it, --out writes another"
            raise typer.BadParameter(f"{place} is there already: {helps}")
    writable("--out", path)
    drawable("--plot", curve)
    return path, curve


def run_shown(training: Training, path: Path, save_every: float, again: str, program: str) -> int:
    """Train to the end, and show how it goes and what came out. Returns the exit status.

    again: the command that goes on after an interrupt. program: the name before what goes wrong.
    """
    forget_partial(path)
    try:
        with Display() as display:
            came = run(training, path, save_every, display.stepped, lambda now: display.validated(now, sample_of(now)))
    except Diverged as error:
        print(f"{program}: {error}; the last good checkpoint is {path}", file=sys.stderr)
        return 1
    if came is not None:
        print(f"interrupted and saved after step {training.step:,}. To go on:\n  {again}")
        return 128 + came
    how_far = f"{count(training.step, 'step')}, {training.epochs:.2f} epochs"
    print(f"trained {how_far} in {duration(training.seconds)}, {rate(training)}")
    print(f"validation: {measures(training.validations[-1][1])}")
    return 0


def rehearsal(training: Training) -> Callable[[], None]:
    """Steps that a copy makes, and that the training does not see."""
    copy = deepcopy(training)

    def step() -> None:
        with suppress(Diverged):
            copy.advance()

    return step


def more_minutes(training: Training) -> float:
    """Minutes in all that let a finished training go on for a while."""
    return training.seconds / 60 + MINUTES


def refuse_special(option: str, path: Path) -> None:
    """Refuse what is there and is no file, such as a device or an endless link. Raises typer.BadParameter."""
    try:
        special = os.path.islink(os.path.realpath(path)) or (path.exists() and not path.is_file())
    except OSError as error:
        raise typer.BadParameter(f"cannot write {option} {path}: {error.strerror}") from None
    if special:
        raise typer.BadParameter(f"cannot write {option} {path}: it is no file")


def limits_of(steps: int | None, epochs: float | None, minutes: float | None) -> Limits | None:
    """The limits that were given, or None. Raises typer.BadParameter."""
    if steps is epochs is minutes is None:
        return None
    with refusing():
        return Limits.of({"steps": steps, "epochs": epochs, "minutes": minutes})


def text_of(files: Sequence[Path | str], encoding: str = "utf-8") -> str:
    """The text to learn; line ends that were changed are told. Raises typer.BadParameter for no good file."""
    with refusing():
        return read_texts(files, encoding, lambda note: print(note, file=sys.stderr)) if files else standard_library()


@contextmanager
def refusing(path: object = "") -> Iterator[None]:
    """Within this, a file or a value that is no good is told in one line, as typer.BadParameter. path: a checkpoint."""
    try:
        yield
    except OSError as error:
        if error.filename is None:  # it is the output that cannot be written
            raise
        raise typer.BadParameter(f"cannot read {error.filename}: {error.strerror}") from None
    except (TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise typer.BadParameter(f"{path}: {error}") from None
        hint = " (see --encoding)" if isinstance(error, UnicodeError) else ""
        told = re.sub(rf"^expected ({OPTIONS})\b", lambda found: f"expected --{found[1].replace('_', '-')}", str(error))
        raise typer.BadParameter(f"{told}{hint}") from None


def begun(files: Sequence[Path], given: dict[str, Any], limits: Limits | None, encoding: str) -> Training:
    """A new training. Raises typer.BadParameter for settings or a text that are no good."""
    learning_rate = OPTIMIZERS[given.get("optimizer", DEFAULTS.optimizer)]
    with refusing():
        settings = Settings(**{"learning_rate": learning_rate, **given})
        training = Training(settings, text_of(files, encoding), [os.path.abspath(file) for file in files])
    training.encoding = encoding
    training.limits = limits or Limits(minutes=MINUTES)
    return training


def resumed(
    checkpoint: Path,
    files: Sequence[Path],
    limits: Limits | None,
    read: Callable[[Path], Checkpoint],
    resume: Callable[[Checkpoint, str], Resumed],
    encoding: str | None = None,
    hint: str = ANOTHER,
) -> Resumed:
    """What goes on from a checkpoint. Raises typer.BadParameter for a file that is none, and for another text.

    read, resume: how. hint: what to do about another text.
    """
    with refusing(checkpoint):
        found = read(checkpoint)
        sources = tuple(os.path.abspath(file) for file in files) or found.sources
        found = found._replace(encoding=encoding or found.encoding, sources=sources, limits=limits or found.limits)
        for source in found.sources:
            if not (files or Path(source).is_file()):
                raise typer.BadParameter(f"there is no file {source!r}: {ANOTHER}")
        text = text_of(files or sources, found.encoding)
        try:
            return resume(found, text)
        except CheckpointError:
            raise
        except ValueError as error:
            where = ", ".join(map(str, files or sources)) or "the standard library"
            raise typer.BadParameter(f"{error}: {where}; {hint}") from None


def sample_of(training: Training) -> str:
    """A text that the model writes now, drawn without touching the random numbers of the training."""
    vocabulary = training.vocabulary
    training.model.eval()
    try:
        return generate(training.predict, vocabulary, vocabulary.prime, 200, 0.8, rng=training.step).strip()
    except ValueError:  # logits beyond all numbers: the next step will say so
        return ""
    finally:
        training.model.train()


def show_beginning(training: Training, again: bool) -> None:
    """What is trained, on standard error."""
    settings, streams = training.settings, training.streams
    parameters = sum(prod(parameter.data.shape) for parameter in training.model.parameters())
    after = f"after step {training.step:,} with" if training.step else "with the weights of"
    lines = [
        f"{f'going on {after}' if again else 'training'} {description(settings)}, {parameters:,} parameters,",
        f"on {streams.characters:,} characters ({len(training.vocabulary)} different), "
        f"{training.validation_streams.characters:,} held out",
    ]
    if (streams.batch_size, streams.length) != (settings.batch_size, settings.length):
        read = f"{streams.batch_size} streams of {streams.length} characters to a step"
        lines.append(f"the text is short: {read} instead of {settings.batch_size} of {settings.length}")
    print(*lines, sep="\n", file=sys.stderr)


def description(settings: Settings) -> str:
    """The model in a few words."""
    return f"{settings.cell} {settings.num_layers} × {settings.hidden_size}"
