"""Texts made alike where their difference means nothing: width, case, spaces, the quotes around them."""

from __future__ import annotations

import re
import unicodedata

_AROUND = "\"'`“”„‘’«»‹›「」『』*()[]{} "
_AFTER = _AROUND + ".,;:!?。、，；：！？…"
"""What may stand around a label, and after it; but no sign that means something, as in `-1` and `.5`."""
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
"""Kana, Han and Thai."""
_TOKEN = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")


def folded(text: str) -> str:
    """In NFKC, without case, with single spaces and none around."""
    wide = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(wide.split())


def bare(text: str) -> str:
    """Folded, without the quotes and the punctuation around; as it is if there is nothing else."""
    whole = folded(text)
    return whole.rstrip(_AFTER).lstrip(_AROUND) or whole


def tokens(text: str) -> list[str]:
    """The words of a folded text; of scripts without spaces, the characters."""
    return _TOKEN.findall(folded(text))
