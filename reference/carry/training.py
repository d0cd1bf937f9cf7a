"""Training a character model in PyTorch, step by step as `scratch.text.Training` does it.

The same segments, the same state carried from each to the next, the same clipping and the same learning rate in every
pass: from one checkpoint both libraries compute the same losses, but for rounding. Dropout alone is drawn by PyTorch,
from the seed and the number of the step, so that a training that was interrupted draws the same again.

Several processes can share the training (see `ranks`). Of the B streams each reads B / N; DistributedDataParallel
averages the gradients of the N means, which gives the gradient of the mean over all B.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from scratch import text
from scratch.text import Checkpoint, CheckpointError
from scratch.text.corpus import Streams, read_texts, standard_library
from scratch.types import Array

from . import files, optimizers
from .ranks import ADVANCE, CHECKPOINT, VALIDATE, Ranks

ALONE = Ranks()


class Training(text.Training):
    """A training as in `scratch`, but in PyTorch. It is made by `resumed` or `load`.

    Of several processes rank 0 calls its methods; the others `follow`, until rank 0 says `ranks.tell(STOP)`.
    """

    begun: Checkpoint
    """What it goes on from."""
    ranks: Ranks
    model: Any
    """`reference.models.CharacterModel`."""
    optimizer: Any
    """PyTorch's."""
    shared: Any
    """The model, or what averages its gradients over the processes."""

    @classmethod
    def resumed(cls, checkpoint: Checkpoint, text: str, ranks: Ranks = ALONE) -> Self:
        """The training of a checkpoint, where `ranks` says. text: what is learned, as when the training began.

        Raises what it raises in `scratch`, and CheckpointError if the streams cannot be divided among the processes.
        """
        self = super().resumed(checkpoint, text)
        B = self.streams.batch_size
        if B % ranks.count:
            raise CheckpointError(f"expected a number of processes that divides the {B} streams, got {ranks.count}")
        self.begun, self.ranks = checkpoint, ranks
        self.model, self.optimizer = files.in_torch(checkpoint, ranks.device)
        self.shared = DistributedDataParallel(self.model) if ranks.count > 1 else self.model
        parts = [torch.from_numpy(value)[:, ranks.part(B)].to(ranks.device) for value in checkpoint.state.values()]
        self.state = as_state([part.contiguous() for part in parts])
        return self

    def predict(self, x: Array, state: Any) -> tuple[Array, Any]:
        """What the model says now: as `scratch.text.Predict`."""
        with torch.no_grad():
            logits, state = self.model(self._tensor(x), state)
        return logits.cpu().numpy(), state

    def advance(self) -> float:
        """One step, as in `scratch`. Returns the loss, the mean over all processes."""
        self.ranks.tell(ADVANCE)
        return super().advance()

    def _gradients(self, segment: int) -> tuple[float, float, Any]:
        x, y = self._part(self.streams, segment)  # B/N, T
        if self.settings.dropout:
            torch.manual_seed(self._seed())
        logits, state = self.shared(x, self.state)  # B/N, T, V
        criterion = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss = float(self.ranks.total(criterion.detach()) / self.ranks.count)
        self._check("loss", loss)
        self.optimizer.zero_grad()
        criterion.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        return loss, float(norm), as_state([each.detach() for each in parts_of(state)])

    def validate(self) -> float:
        """The loss on the text that is held out, as in `scratch`; each process reads its part of the streams."""
        self.ranks.tell(VALIDATE)
        return super().validate()

    def _held_out(self) -> float:
        streams, state = self.validation_streams, None
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        part = self.ranks.part(streams.batch_size)
        with torch.no_grad():
            for index in range(streams.segments if part.start < part.stop else 0):
                x, y = self._part(streams, index)
                logits, state = self.model(x, state)
                total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").double()
        return float(self.ranks.total(total) / streams.characters)

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on, in either library, as a copy. Raises Diverged if anything is not finite."""
        self.ranks.tell(CHECKPOINT)
        return super().checkpoint()

    def _learned(self) -> dict[str, Any]:
        names = [name for name, _ in self.model.named_parameters()]
        memory = optimizers.from_torch(names, self.optimizer.state_dict()["state"])
        state = [self.ranks.together(part, dim=1) for part in parts_of(self.state)]

        def copies(tensors: Mapping[str, Any]) -> dict[str, Array]:
            return {name: optimizers.as_array(name, value).copy() for name, value in tensors.items()}

        return {
            "rng": self.begun.rng,
            "model": copies(self.model.state_dict()),
            "optimizer": {name: {what: v.copy() for what, v in values.items()} for name, values in memory.items()},
            "state": copies(dict(zip(("h", "c"), state, strict=False))),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the training to a .pt or .safetensors file, in place of what is there. Raises as `files.write` does."""
        files.write(path, self.checkpoint())

    def _part(self, streams: Streams, segment: int) -> list[torch.Tensor]:
        """Input and target of a segment, in the streams that this process reads."""
        return [self._tensor(each[self.ranks.part(streams.batch_size)]) for each in streams.segment(segment)]

    def _tensor(self, indices: Array) -> torch.Tensor:
        return torch.from_numpy(indices.astype(np.int64)).to(self.ranks.device)

    def _seed(self) -> int:
        """Of the next step's dropout, in this process."""
        sequence = np.random.SeedSequence([self.settings.seed, self.step, self.ranks.rank])
        return int(sequence.generate_state(1, np.uint64)[0])


def follow(training: Training) -> None:
    """On every rank but 0: do what rank 0 does, until it stops.

    It alone hears Ctrl-C, which a terminal sends to all, and what `torchrun` sends to all to end them.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    orders = {ADVANCE: training.advance, VALIDATE: training.validate, CHECKPOINT: training.checkpoint}
    while order := training.ranks.told():
        with suppress(text.Diverged):  # as on rank 0, which then says what comes next
            orders[order]()


def load(path: str | os.PathLike[str], text: str | None = None, ranks: Ranks = ALONE) -> Training:
    """The training in a .pt or .safetensors file, to go on with in PyTorch.

    text: what is learned; without it, the files that it was read from when the training began.

    Raises OSError and ValueError for a file that cannot be read or is another, and for another text.
    """
    checkpoint = files.read(path)
    if text is None:
        text = read_texts(checkpoint.sources, checkpoint.encoding) if checkpoint.sources else standard_library()
    return Training.resumed(checkpoint, text, ranks)


def parts_of(state: Any) -> tuple[torch.Tensor, ...]:
    """The tensors of a recurrence's state: none of None."""
    return () if state is None else state if isinstance(state, tuple) else (state,)


def as_state(parts: list[torch.Tensor]) -> Any:
    """The state of a recurrence from its tensors."""
    return None if not parts else tuple(parts) if len(parts) > 1 else parts[0]
