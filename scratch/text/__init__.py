"""Character models: text as numbers, a recurrence that predicts the next character, and text generated from it."""

from .corpus import Vocabulary, read_text
from .model import CharacterModel
from .sampling import generate

__all__ = ["CharacterModel", "Vocabulary", "generate", "read_text"]
