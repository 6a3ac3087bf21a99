"""Puts an answer in words: extracted sentences, a tool's result, or a statement of what this is."""

from __future__ import annotations

import random
import re
from typing import Any

import orjson

from deploy.local.cloud import extract, listed
from deploy.local.cloud.ask import Ask, Image
from deploy.local.cloud.choose import Option, taught
from deploy.local.cloud.pick import Source
from deploy.local.cloud.schema import Filler

WHAT_IT_IS = "This is the stand-in cloud, which extracts from texts and does not reason"
ENOUGH = 2
"""Sentences besides the questions from which a text can be extracted from."""

_BARE = re.compile(r"\b(?:alone|only|just|nothing else)\b", re.IGNORECASE)
"""What instructions say that want a label and no sentence."""
_NAMED_KEY = re.compile(r"[\"'`]([A-Za-z_]\w{0,40})[\"'`]")


def say(ask: Ask, noise: random.Random | None) -> str:
    """The text of an answer, before `stop` and the limit on its length."""
    if ask.schema is not None:
        return _json(ask, ask.schema, noise)
    if ask.json_object:
        return _json(ask, _asked_object(ask), noise)
    last = ask.turns[-1]
    if last.role == "tool":
        return _of_tool(ask)
    if options := _options(ask):
        return options[Source(last.text, noise, ask.temperature).choose(options)].name
    images = _of_images(last.images) if last.images else ""
    return " ".join(part for part in (images, _of_text(ask, last.text, noise)) if part)


def may_choose(ask: Ask) -> bool:
    """Whether the answer may be one of several options, so that saying it may take the encoder."""
    instructions = ask.instructions
    return ask.schema is not None or bool(_BARE.search(instructions)) or bool(listed.options(instructions))


def _options(ask: Ask) -> list[Option]:
    """The options that the instructions list, or mean without listing them."""
    instructions = ask.instructions
    return listed.options(instructions) or (taught(instructions) if _BARE.search(instructions) else [])


def _of_text(ask: Ask, text: str, noise: random.Random | None) -> str:
    found = extract.sentences(text)
    questions = [sentence for sentence in found if sentence.endswith("?")]
    material = [sentence for sentence in found if not sentence.endswith("?")]
    focus = extract.stems(" ".join(questions))
    if len(material) < ENOUGH:
        # A short message may be about a text that came before it.
        earlier = " \n".join(turn.text for turn in ask.turns[:-1] if turn.role in ("user", "tool"))
        focus = extract.stems(text)
        material = extract.sentences(earlier)
        if len(material) < ENOUGH or not focus & extract.stems(earlier):
            return _of_question(text)
    return " ".join(
        extract.central(
            material, max_tokens=ask.max_tokens, focus=focus, noise=noise, temperature=ask.temperature
        )
    )


def _of_question(text: str) -> str:
    terms = extract.key_terms(text)
    return f"{WHAT_IT_IS}; this was about: {', '.join(terms)}." if terms else f"{WHAT_IT_IS}."


def _of_images(images: tuple[Image, ...]) -> str:
    sizes = [
        f"{image.media_type}, {image.size_bytes} bytes"
        if image.size_bytes is not None
        else "linked to, not read"
        for image in images
    ]
    noun = "image" if len(images) == 1 else "images"
    return f"The message has {len(images)} {noun} ({'; '.join(sizes)}), which the stand-in does not look at."


def _of_tool(ask: Ask) -> str:
    results: list[str] = []
    for turn in reversed(ask.turns):
        if turn.role != "tool":
            break
        results.insert(0, _flat(turn.text))
    return f"The tool answered: {'; '.join(results)}."


def _flat(result: str) -> str:
    try:
        document = orjson.loads(result)
    except orjson.JSONDecodeError:
        found = extract.sentences(result)
        return (" ".join(extract.central(found)) if len(found) > ENOUGH else result.strip()).rstrip(".")
    if isinstance(document, dict):
        return ", ".join(f"{key} {value}" for key, value in document.items())
    return ", ".join(map(str, document)) if isinstance(document, list) else str(document)


def _json(ask: Ask, schema: dict[str, Any], noise: random.Random | None) -> str:
    text = "\n".join(turn.text for turn in ask.turns if turn.role in ("user", "tool"))
    source = Source(text, noise, ask.temperature, question=ask.question)
    return orjson.dumps(Filler(schema, source).fill()).decode()


def _asked_object(ask: Ask) -> dict[str, Any]:
    """A schema for `json_object`: the keys that the instructions name in quotes, else `answer`."""
    text = "\n".join(turn.text for turn in ask.turns if turn.role in ("system", "user"))
    keys = list(dict.fromkeys(_NAMED_KEY.findall(text)))[:20] or ["answer"]
    return {"type": "object", "properties": {key: {"type": "string"} for key in keys}}
