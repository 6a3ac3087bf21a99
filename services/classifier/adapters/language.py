"""The language gate: is a request, or what instructs in it, in a language that the model has learnt?

The encoder knows English and abstains from nothing by itself. py3langid tells the language of a text in the
Latin script (142 languages, naive Bayes over byte n-grams; BSD-3-Clause; its model is in the package, and it
needs numpy alone). What stands in another script needs no model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from enum import Enum

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from services.common.seen import Seen

KNOWN = "en"
PIECE_CHARS = 160
"""Of each end of a text: enough to tell a language, and where an instruction stands."""
LEAST_LETTERS = 9
"""In the Latin script. In fewer, "thanks" is as good as Danish."""
LEAST_FOREIGN = 2.0
"""How far another language must be ahead, as the logarithm of the odds over the square root of the bytes (the
scale on which py3langid's probabilities are calibrated)."""

_NOT_LATIN = re.compile(r"[^\W\d_\u0000-\u024f\u1e00-\u1eff]+")
"""Letters of all other scripts."""
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_LATER_WORD = re.compile(r"(?<=\w )\w[\w'-]*")
"""Not at a sentence's beginning: a name, if it is capitalised."""
_END_OF_CLAUSE = re.compile(r"[:\n.!?]")


class Verdict(Enum):
    """What a piece of text says of its language."""

    KNOWN = 1
    FOREIGN = 2
    UNSURE = 3
    """Too little, or no language at all: names, code, a greeting."""
    WORDLESS = 4
    """No letter in it."""


class LanguageGate:
    """Tells whether the model knows a request's language. `knows` may be called from several threads."""

    def __init__(self) -> None:
        """Loads the language model: about a second, and 80 MB."""
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE)

    def knows(self, seen: Seen) -> bool:
        """True if the system prompt's head or a turn's end is English, or nothing is in another language.

        False for what has no letters at all.
        """
        verdicts = set()
        for piece in _pieces(seen):
            verdict = self.verdict(piece)
            if verdict is Verdict.KNOWN:
                return True
            verdicts.add(verdict)
        return Verdict.UNSURE in verdicts and Verdict.FOREIGN not in verdicts

    def verdict(self, text: str) -> Verdict:
        """What a short text says of its language."""
        foreign_letters = sum(map(len, _NOT_LATIN.findall(text)))
        text = _NOT_LATIN.sub(" ", text)
        letters = len(_LATIN.findall(text))
        if letters < LEAST_LETTERS or letters * 4 < foreign_letters:
            if foreign_letters > letters:
                return Verdict.FOREIGN
            return Verdict.UNSURE if letters else Verdict.WORDLESS
        lead = self._lead(text)
        if lead >= 0:
            return Verdict.KNOWN
        # The names of people and firms are of all languages; whose sentence it is, the other words say.
        nameless = _LATER_WORD.sub(lambda word: "" if word[0][0].isupper() else word[0], text)
        if len(nameless) < len(text):
            lead = max(lead, self._lead(nameless)) if len(_LATIN.findall(nameless)) >= LEAST_LETTERS else 0
        return Verdict.FOREIGN if lead < -LEAST_FOREIGN else Verdict.UNSURE

    def _lead(self, text: str) -> float:
        """By how much the known language is more likely than any other; negative if it is less."""
        ranks = self._identifier.rank(text)
        scores = dict(ranks)
        best = next(score for name, score in ranks if name != KNOWN)
        return float(scores[KNOWN] - best) / math.sqrt(max(1, len(text.encode("utf-8", "replace"))))


def _pieces(seen: Seen) -> Iterator[str]:
    """Where an instruction may stand: the system prompt's head, each turn's head and tail.

    Each end is tried as a whole, then its first or last clause by itself: what an instruction is about may
    stand in any language.
    """
    ends = [seen.system_prompt[:PIECE_CHARS]]
    clauses = [_first_clause(ends[0])]
    for turn in seen.turns:
        text = turn.strip()
        head, tail = text[:PIECE_CHARS], text[PIECE_CHARS:][-PIECE_CHARS:]
        ends += [head, tail]
        clauses += [_first_clause(head), _last_clause(tail or head)]
    whole = [end for end in ends if end.strip()]
    yield from whole
    yield from (clause for clause in clauses if clause.strip() and clause not in whole)


def _first_clause(text: str) -> str:
    """Up to the first mark that has letters before it."""
    marks = (mark.start() for mark in _END_OF_CLAUSE.finditer(text))
    return next((text[:end] for end in marks if len(_LATIN.findall(text[:end])) >= LEAST_LETTERS), "")


def _last_clause(text: str) -> str:
    """From the last mark that has letters after it."""
    marks = reversed([mark.end() for mark in _END_OF_CLAUSE.finditer(text)])
    return next((text[start:] for start in marks if len(_LATIN.findall(text[start:])) >= LEAST_LETTERS), "")
