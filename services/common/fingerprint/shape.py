"""The fixed parts of a request: what stays when only the user's content changes.

Pure. The router computes them for each request, the classifier for each registered workload, and both must
get the same, so they stand here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from services.common.fingerprint.normalise import folded, masked_words
from services.common.fingerprint.sketch import sketch_of
from services.common.fingerprint.vocabulary import PERSONA
from services.common.seen import MAX_SCHEMA_BYTES, MAX_TOOL_NAME_CHARS, MAX_TOOL_NAMES, Seen, excerpt

DIGEST_BYTES = 16
MAX_SHAPES = 64
"""Of one workload, as the contract says."""
MIN_MASKED_WORDS = 3
"""Words that a masked system prompt must have to stand for anything."""
MIN_SKETCHED_WORDS = 24
"""Words from which a system prompt is compared with others that are like it: one word of a short one is too
much of it."""
MIN_EXAMPLES = 5
"""Different examples that a template is derived from."""
MIN_HEAD = 6
"""Words that a template's head must have if its tail is short."""
MIN_ENDS = 4
"""Words that head and tail must have otherwise."""
MAX_ENDS = 48
"""Words of a head, and of a tail, that are kept."""

_WORD = re.compile(r"\w+")
_SPOKEN = re.compile(r"[\w']+")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Shape:
    """The fixed parts. The fields are those of `homeward.common.v1.Fingerprint`."""

    digest: bytes = b""
    """16 bytes; empty if there is no system prompt."""
    masked_digest: bytes = b""
    """16 bytes; empty if too few words of the system prompt are left."""
    sketch: tuple[int, ...] = ()
    """64 numbers of 32 bits; empty if the system prompt is short."""
    tool_names: tuple[str, ...] = ()
    """Sorted."""
    schema_digest: bytes = b""
    """16 bytes; empty if the answer has no schema."""
    template_head: str = ""
    """How the user's first message begins, in words; only of requests without a system prompt."""
    template_tail: str = ""
    """How it ends."""


def fingerprint(system_prompt: str) -> bytes:
    """16 bytes of SHA-256 over the system prompt with its white space folded.

    Args:
        system_prompt: the texts of the system and developer messages, joined by newlines.
    """
    return _digest(folded(system_prompt))


def shape_of_system_prompt(text: str) -> Shape:
    """The shape of requests that have this system prompt, whatever their tools."""
    if not text.strip():
        return Shape()
    words = masked_words(text)
    if len(words) < MIN_MASKED_WORDS:
        return Shape(digest=fingerprint(text))
    sketch = sketch_of(words) if len(words) >= MIN_SKETCHED_WORDS else ()
    return Shape(fingerprint(text), _digest(" ".join(words)), sketch)


def shape_of(seen: Seen) -> Shape:
    """The shape of one request; which part of a message is a template's can't be told from one."""
    return replace(
        shape_of_system_prompt(seen.system_prompt),
        tool_names=tool_names(seen),
        schema_digest=schema_digest(seen),
    )


def shapes_of_examples(examples: Sequence[Seen]) -> tuple[Shape, ...]:
    """The shapes of a workload's examples, at most 64, in the order of their first example.

    Examples without a system prompt have the template that they all share, if there is one; without template,
    tools and schema they have no shape. A system prompt that only says hello counts as none: many
    applications have it, so it must not become one workload's.
    """
    examples = [
        replace(seen, system_prompt="") if says_nothing(seen.system_prompt) else seen for seen in examples
    ]
    head, tail = _template([seen for seen in examples if not seen.system_prompt.strip()])
    shapes: dict[Shape, None] = {}
    for seen in examples:
        shape = shape_of(seen)
        if not shape.digest:
            shape = replace(shape, template_head=head, template_tail=tail)
        if shape != Shape():
            shapes[shape] = None
    return tuple(shapes)[:MAX_SHAPES]


def says_nothing(system_prompt: str) -> bool:
    """True if a system prompt has no word beyond who speaks, for whom, and that it helps."""
    words = _SPOKEN.findall(system_prompt.lower().replace("’", "'"))
    return bool(words) and PERSONA.issuperset(words)


def tool_names(seen: Seen) -> tuple[str, ...]:
    """The names of a request's tools as a shape has them."""
    names = seen.tool_names[:MAX_TOOL_NAMES]
    return tuple(sorted({excerpt(name, MAX_TOOL_NAME_CHARS * 4) for name in names} - {""}))


def schema_digest(seen: Seen) -> bytes:
    """16 bytes of SHA-256 over the answer's schema, cut as the classifier sees it; empty if there is none."""
    if not seen.response_schema:
        return b""
    try:
        document = orjson.loads(seen.response_schema)
        text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        # It was cut, or nests deeper than can be written.
        return _digest(excerpt(seen.response_schema, MAX_SCHEMA_BYTES))
    return _digest(excerpt(text, MAX_SCHEMA_BYTES))


def opening_words(seen: Seen) -> list[str]:
    """The normalised words of the message that opens a request; none if there is more than one."""
    if len(seen.turns) != 1:
        return []
    return template_words(seen.turns[0])


def template_words(text: str) -> list[str]:
    """The words of a message's head and tail: lower case, each number a zero."""
    half = MAX_ENDS * 20
    if len(text) > 2 * half:
        text = f"{text[:half]} {text[-half:]}"
    return _words(text)


def normalised(text: str) -> str:
    """A template's head or tail in the one spelling in which it is compared."""
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    return [_NUMBER.sub("0", word) for word in _WORD.findall(text.lower())]


def _template(examples: Sequence[Seen]) -> tuple[str, str]:
    texts = [opening_words(seen) for seen in examples]
    if len(set(map(tuple, texts))) < MIN_EXAMPLES:
        return "", ""
    head = _shared(texts)
    tail = _shared([words[len(head) :][::-1] for words in texts])[::-1]
    if len(head) < MIN_HEAD and not (len(head) >= MIN_ENDS and len(tail) >= MIN_ENDS):
        return "", ""
    return " ".join(head), " ".join(tail)


def _shared(texts: Sequence[list[str]]) -> list[str]:
    """The words with which all texts begin."""
    shared: list[str] = []
    for words in zip(*texts, strict=False):
        if len(set(words)) > 1 or len(shared) == MAX_ENDS:
            break
        shared.append(words[0])
    return shared


def _digest(text: str) -> bytes:
    # JSON can carry a lone surrogate, which UTF-8 has not.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]
