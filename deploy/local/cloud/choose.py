"""Chooses one of several named options for a text.

Options that the stand-in was taught are chosen by their head, all others by how near the encoder puts
their words to the text. Sampling noise draws from the softmax of the scores, scaled so that two calls at
temperature 1 differ on 2 to 4 % of Banking77's messages. `model/README.md` has the figures.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp

READ_CHARS = 600
"""About what the encoder reads of a text: its first 128 tokens."""
MAX_OPTIONS = 256
"""Most options whose words are encoded; each takes 7 ms the first time."""
HEAD_SCALE = 0.3
"""Divides the temperature's effect on a head's logits."""
NEARNESS_SCALE = 0.003
"""The difference of cosines that counts as one logit at temperature 1."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_+|-+")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Option:
    """What can be chosen."""

    name: str
    description: str = ""


def name_words(name: str) -> str:
    """The words of an identifier: `userName` and `user_name` are `user name`."""
    return " ".join(_CAMEL.split(name)).lower()


def can_tell(text: str, options: Sequence[Option]) -> bool:
    """Whether the encoder has something to go by: words in the text and in every option, of not too many."""
    if len(options) > MAX_OPTIONS or not _LETTER.search(text):
        return False
    return all(_LETTER.search(option.name) for option in options)


def choose(text: str, options: Sequence[Option], noise: random.Random | None, temperature: float) -> int:
    """The index of the option that fits best, or of a likely one where there is noise."""
    # Here, because numpy and the weights take their time and most requests ask for no choice.
    from deploy.local.cloud import encoder, heads

    vector = encoder.embed(text[: 2 * READ_CHARS])
    names = [option.name for option in options]
    head = heads.for_options(names)
    if head is not None:
        scores = [float(score) / HEAD_SCALE for score in head.scores(vector, names)]
    else:
        nearness = (float(vector @ encoder.embed(_words(option))) for option in options)
        scores = [cosine / NEARNESS_SCALE for cosine in nearness]
    return draw(scores, noise, temperature)


def taught(instructions: str) -> list[Option]:
    """The labels of the task that instructions ask for without listing them, if it was taught."""
    from deploy.local.cloud import encoder, heads

    head = heads.for_prompt(encoder.embed(instructions[: 2 * READ_CHARS]))
    return [Option(label) for label in head.labels] if head else []


def draw(scores: Sequence[float], noise: random.Random | None, temperature: float) -> int:
    """An index, by the softmax of the scores at a temperature; the best one without noise."""
    best = max(scores)
    if noise is None or temperature <= 0:
        return list(scores).index(best)
    sums = list(accumulate(exp((score - best) / temperature) for score in scores))
    mark = noise.random() * sums[-1]
    return next(index for index, reached in enumerate(sums) if mark < reached)


def _words(option: Option) -> str:
    words = f"a request about {name_words(option.name)}"
    return f"{words}: {option.description}" if option.description else words
