"""Lines of text that fit a terminal, in which commands stay whole. Pure."""

from __future__ import annotations

import re
from textwrap import wrap
from urllib.parse import urlsplit, urlunsplit

_COMMAND = re.compile(r"`[^`]+`")
_START = re.compile(r"\s*(- )?")
_HARD_SPACE = "\x00"


def fitted(text: str, width: int) -> str:
    """Text in lines of a width, each line's further ones indented below its words.

    Args:
        text: what is in backticks stays on one line, and no word is broken, whatever the width.
        width: in signs.
    """
    return "\n".join(_fitted(line, width) for line in text.split("\n"))


def _fitted(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    start = _START.match(line)
    begin = start[0] if start else ""
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _HARD_SPACE), line[len(begin) :])
    lines = wrap(
        whole,
        width,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_HARD_SPACE, " ")


def without_secrets(url: str) -> str:
    """A URL without user, password and query, any of which may be a secret."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
