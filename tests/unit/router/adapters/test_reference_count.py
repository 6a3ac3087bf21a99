"""Prompts of real applications have as many tokens as Hugging Face's own code counts in them."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from services.router.adapters.model_folder import ModelFolder
from services.router.core.sovereign.plan import Plan, parse_chat
from training import public_rows

PROMPTS = 1000

Message = dict[str, Any]
Document = dict[str, Any]


def said_to_the_bank() -> list[str]:
    return [row.text for row in public_rows.banking77("test")]


def said_to_the_assistant() -> list[str]:
    return [row.text for row in public_rows.clinc150("test")]


def as_json(prompts: Document, texts: list[str]) -> Document:
    system = {"role": "system", "content": prompts["json"]["system"]}
    return {"messages": [system, user(texts[0])], "response_format": prompts["json"]["response_format"]}


def as_text(prompts: Document, texts: list[str]) -> Document:
    """A conversation of several turns."""
    system = {"role": "system", "content": prompts["text"]["system"]}
    turns = [turn for text in texts[1:] for turn in (user(text), {"role": "assistant", "content": text[:20]})]
    return {"messages": [system, *turns, user(texts[0])]}


def with_tools(prompts: Document, texts: list[str]) -> Document:
    system = {"role": "system", "content": prompts["tool"]["system"]}
    return {"messages": [system, user(texts[0])], "tools": prompts["tool"]["tools"]}


def after_a_call(prompts: Document, texts: list[str]) -> Document:
    document = with_tools(prompts, texts)
    function = {
        "name": prompts["tool"]["tools"][0]["function"]["name"],
        "arguments": json.dumps({prompts["property"]: texts[1]}),
    }
    call = {"id": "call_1", "type": "function", "function": function}
    result = {"role": "tool", "tool_call_id": "call_1", "content": prompts["after_tool"]["result"]}
    document["messages"] += [{"role": "assistant", "content": None, "tool_calls": [call]}, result]
    return document


def without_a_system(prompts: Document, texts: list[str]) -> Document:
    return {"messages": [user(texts[0])]}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def requests() -> Iterator[Document]:
    """Every application's texts by turns, each asked in every way that a workload asks."""
    prompts = public_rows.prompts()
    sides = (("bank-intent", said_to_the_bank()), ("voice-domain", said_to_the_assistant()))
    ways = (as_json, as_text, with_tools, after_a_call, without_a_system)
    for number in range(PROMPTS):
        name, texts = sides[number % 2]
        # Spread over the whole file, which is sorted by label.
        start = number * (len(texts) - 3) // PROMPTS
        yield ways[number % len(ways)](prompts[name], texts[start : start + 3])


@pytest.fixture(scope="module")
def plans(small_llama: Path) -> list[Plan]:
    """The real requests, read as the router reads them."""
    defaults = ModelFolder(small_llama).defaults
    return [parse_chat({"model": "m", **document}, defaults) for document in requests()]


def differences(path: Path, plans: list[Plan]) -> list[tuple[int, int, str]]:
    """(our count, the reference's, prompt) of each prompt on which they differ."""
    model, reference = ModelFolder(path), AutoTokenizer.from_pretrained(path, local_files_only=True)
    found = []
    for plan in plans:
        ids = reference.apply_chat_template(
            plan.turns,
            tools=list(plan.tools.functions) or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        prompt = model.chat(plan.turns, plan.tools.functions, plan.tools.opening)
        if prompt.tokens != len(ids):
            found.append((prompt.tokens, len(ids), prompt.text))
    return found


def test_a_thousand_real_prompts_have_as_many_tokens_as_the_reference_counts(
    plans: list[Plan], small_llama: Path
) -> None:
    assert len(plans) == PROMPTS
    assert differences(small_llama, plans) == []


def test_so_they_have_under_a_template_in_the_manner_of_llama_3_1(
    plans: list[Plan], folder: Callable[..., Path], template: str
) -> None:
    # Fewer, because it writes each tool over a hundred lines.
    assert differences(folder(template=template), plans[::7]) == []


def test_real_answers_have_as_many_tokens_as_the_reference_counts(small_llama: Path) -> None:
    model = ModelFolder(small_llama)
    reference = AutoTokenizer.from_pretrained(small_llama, local_files_only=True)
    texts = [text for pair in zip(said_to_the_bank(), said_to_the_assistant(), strict=False) for text in pair]
    for text in itertools.islice(texts, PROMPTS):
        assert model.count(text) == len(reference.encode(text, add_special_tokens=False)), text
