"""How the blend was chosen: what its candidates reach on the half of each set that is there to choose on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

from playbook.scorers.figures import figure, halves
from playbook.scorers.measuring import CLOUDS, Agree, Measured
from services.shadow.core.scorers.chrf import chrf
from services.shadow.core.scorers.meaning import NEAR_FROM, Embed, nearness
from services.shadow.core.scorers.token_f1 import token_f1

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of nearness."""
FLOORS = (0.0, NEAR_FROM)
"""The cosine that counts as 0."""
USED: Mapping[tuple[str, str], Sequence[str]] = {
    ("SummEval", "two human summaries"): ("Spearman, consistency", "Spearman, relevance"),
    ("WMT21 TED", "the human translation"): ("Spearman",),
    ("PandaLM", "a person's answer"): ("pairs",),
    ("PandaLM", "text-davinci-003"): ("pairs",),
    ("LLMFAO", CLOUDS[0]): ("pairs",),
}
"""What the choice looks at; each set has the same weight."""


class Candidate(NamedTuple):
    """A blend."""

    shared: str
    floor: float
    share: float


def candidates(embed: Embed) -> dict[Candidate, Agree]:
    """Each of the blends of shared words or characters with nearness."""
    shared: Mapping[str, Agree] = {
        "chrF1": cache(lambda a, b: chrf(a, b, beta=1)),
        "chrF2": cache(lambda a, b: chrf(a, b, beta=2)),
        "token F1": cache(token_f1),
    }
    nears = {floor: cache(partial(nearness, embed=embed, near_from=floor)) for floor in FLOORS}
    return {
        Candidate(name, floor, share): _blend(words, near, share)
        for name, words in shared.items()
        for floor, near in nears.items()
        for share in SHARES
    }


def means(rows: Iterable[Measured]) -> tuple[float, float]:
    """The mean over sets on the half to choose on, and on the other."""
    by_set: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.measure in USED.get((row.data, row.what), ()):
            chosen_on, reported = halves(row.cases)
            by_set.setdefault(row.data, []).append((figure(chosen_on).mean, figure(reported).mean))
    sets = [[sum(half) / len(half) for half in zip(*found, strict=True)] for found in by_set.values()]
    first, second = (sum(half) / len(half) for half in zip(*sets, strict=True))
    return first, second


def _blend(words: Agree, near: Callable[[str, str], float | None], share: float) -> Agree:
    def agree(text: str, reference: str) -> float:
        if not text.strip() or not reference.strip():
            return 0.0
        shared, nearness = words(text, reference), near(text, reference)
        # Rounded as the scorers are, so that what differs in the last bit is no win.
        return round(shared if nearness is None else (1 - share) * shared + share * nearness, 6)

    return agree
