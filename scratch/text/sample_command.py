"""The command `python -m scratch sample`: a trained model writes."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from .checkpoint import built, read
from .corpus import Vocabulary
from .sampling import continuation
from .train_command import refusing


def sample(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What `train` has written.")],
    prime: Annotated[
        str | None, typer.Option(help="The beginning, which the model reads [default: a line end, if it knows one].")
    ] = None,
    length: Annotated[int, typer.Option(min=0, help="How many characters follow.")] = 500,
    temperature: Annotated[
        float, typer.Option(help="Divides the logits: below 1 bolder, above 1 wilder; 0: always the most likely.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k most likely characters alone.")] = None,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest most likely characters that have this probability in all.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same text.")] = 0,
) -> int:
    """Write text with a trained character model.

    The probabilities of the next character are softmax(logits / temperature). The text appears as it is written.

    Exit status: 0, or 2 if the command or the file is wrong.
    """
    with refusing(checkpoint):
        found = read(checkpoint)
        model, _ = built(found)
        vocabulary = Vocabulary(found.vocabulary)
        prime = vocabulary.prime if prime is None else prime
        following = continuation(model.eval(), vocabulary, prime, temperature, top_k, top_p, seed)
        print(prime, *islice(following, min(1, length)), sep="", end="", flush=True)
        for character in islice(following, max(0, length - 1)):
            print(character, end="", flush=True)
    print()
    return 0
