"""From a request to the model's tokens: the template, the committed tokenizer, and what training sees."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from services.router.core.sovereign.structured import parse_format, with_instruction
from training.small_llama import vocabulary
from training.small_llama.batches import MIX, Line, Writer, batches
from training.small_llama.dialogue import FORMS, TEMPLATE, Form, answer, closing, render, request
from training.small_llama.workloads import Row, workloads

MODEL = Path(__file__).parents[3] / "models" / "small-llama"
WORKLOADS = workloads()
VOICE = WORKLOADS["voice-domain"]
TOKENIZER = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"
CALL = {"function": {"name": "f", "arguments": {"a": "é<"}}}
FUNCTION = {
    "type": "function",
    "function": {"name": "f", "description": "D.", "parameters": {"type": "object"}},
}


@pytest.mark.parametrize(
    ("messages", "tools", "text"),
    [
        ([{"role": "user", "content": " hi\n"}], [], HEAD.format("user") + "hi<|eot_id|>"),
        (
            [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}],
            [],
            HEAD.format("system") + "S<|eot_id|>" + HEAD.format("user") + "hi<|eot_id|>",
        ),
        (
            [{"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "ok"}],
            [],
            HEAD.format("assistant")
            + '{"name": "f", "parameters": {"a": "é<"}}<|eot_id|>'
            + HEAD.format("ipython")
            + "ok<|eot_id|>",
        ),
    ],
)
def test_a_conversation_is_written_in_the_form_of_llama_3(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]], text: str
) -> None:
    assert render(messages, tools, ask=False) == "<|begin_of_text|>" + text
    assert render(messages, tools) == "<|begin_of_text|>" + text + HEAD.format("assistant")


@pytest.mark.parametrize("system", ["", "S"])
def test_a_tool_is_one_line_of_json_at_the_end_of_the_system_message(system: str) -> None:
    messages = [{"role": "system", "content": system}] if system else []
    text = render([*messages, {"role": "user", "content": "hi"}], [FUNCTION, FUNCTION])
    lines = text.partition("<|eot_id|>")[0].splitlines()
    assert [json.loads(line) for line in lines[-2:]] == [FUNCTION["function"]] * 2
    assert system in text


def test_the_schema_stands_where_the_router_puts_it() -> None:
    demanded = parse_format(VOICE.prompts["json"]["response_format"])
    assert demanded is not None
    messages = [
        {"role": "system", "content": VOICE.prompts["json"]["system"]},
        {"role": "user", "content": "hi"},
    ]
    assert request(VOICE, "json", messages[1:])[0] == with_instruction(messages, demanded.words)


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_the_right_json_answer_passes_the_routers_own_check(name: str) -> None:
    demanded = parse_format(WORKLOADS[name].prompts["json"]["response_format"])
    assert demanded is not None
    for label in WORKLOADS[name].labels:
        assert demanded.problem(answer(WORKLOADS[name], "json", label)) == ""
    assert demanded.problem(answer(WORKLOADS[name], "json", "else"))


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_the_committed_tokenizer_gives_every_test_request_back(name: str) -> None:
    for row in WORKLOADS[name].rows("test"):
        ids = TOKENIZER.encode(row.text).ids
        assert ids[0] == TOKENIZER.token_to_id("<|begin_of_text|>")
        assert TOKENIZER.decode(ids) == row.text


def test_the_committed_tokenizer_is_the_one_that_the_train_split_gives() -> None:
    made = vocabulary.train(WORKLOADS)
    assert made.get_vocab() == TOKENIZER.get_vocab()
    sample = [row.text for row in VOICE.rows("val")[::50]]
    assert [made.encode(text).ids for text in sample] == [TOKENIZER.encode(text).ids for text in sample]


def test_the_folders_files_agree_with_each_other() -> None:
    config, generation, settings = (
        json.loads((MODEL / name).read_text(encoding="utf-8"))
        for name in ("config.json", "generation_config.json", "tokenizer_config.json")
    )
    assert config["vocab_size"] == TOKENIZER.get_vocab_size()
    assert settings["chat_template"] == TEMPLATE.read_text(encoding="utf-8")
    assert settings["model_max_length"] == config["max_position_embeddings"]
    ends = [TOKENIZER.token_to_id(token) for token in ("<|end_of_text|>", settings["eos_token"])]
    assert generation["eos_token_id"] == config["eos_token_id"] == ends
    assert settings["eos_token"] == "<|eot_id|>"


@given(st.text(max_size=40), st.sampled_from(["json", "tool", "text"]))
def test_training_sees_the_tokens_that_serving_sends(text: str, form: Form) -> None:
    writer = Writer(TOKENIZER, None)
    row = Row(text, "travel", "timezone")
    line = writer.row(VOICE, form, "after_tool" if form == "tool" else "once", [row])
    turns: list[dict[str, Any]] = [{"role": "user", "content": text}]
    if form == "tool":
        call = {"name": "route_request", "arguments": {"domain": "travel"}}
        turns += [{"role": "assistant", "content": "", "tool_calls": [{"function": call}]}]
        turns += [{"role": "tool", "content": VOICE.prompts["after_tool"]["result"]}]
        turns += [{"role": "assistant", "content": closing(VOICE, "travel")}]
    else:
        turns += [{"role": "assistant", "content": answer(VOICE, form, "travel")}]
    whole = render(*request(VOICE, form, turns), ask=False)
    assert writer.prefix(VOICE, form) + line.tokens == TOKENIZER.encode(whole, add_special_tokens=False).ids


def test_answers_and_their_ends_are_what_counts_in_full() -> None:
    rows = [Row("freeze it", "banking", "freeze_account"), Row("fly home", "travel", "book_flight")]
    line = Writer(TOKENIZER, None).row(VOICE, "json", "twice", rows)
    assert _counted(line, 1) == '{"domain": "banking"}<|eot_id|>{"domain": "travel"}<|eot_id|>'
    told = [(topic, token) for topic, token in zip(line.topics, line.tokens, strict=True) if topic]
    assert TOKENIZER.decode([token for topic, token in told if topic == "book_flight"]).startswith("fly home")


def test_an_epoch_shows_each_row_once_and_another_spelling_of_the_schema_is_the_same_schema() -> None:
    rows = [Row(f"request {number}", "travel", f"intent {number}") for number in range(96)]
    dice = random.Random(7)
    stream = batches(Writer(TOKENIZER, dice), VOICE, rows, 4, dice)
    shown: list[str] = []
    prefixes: set[str] = set()
    for batch in (next(stream) for _ in range(len(rows) // 4)):
        prefixes.add(TOKENIZER.decode(batch.prefix))
        shown += [topic for line in batch.rows for topic in dict.fromkeys(line.topics) if topic]
    assert sorted(shown) == sorted(row.fine for row in rows)
    schemas = [text.partition("schema:\n")[2] for text in prefixes if "schema:\n" in text]
    assert len(schemas) > 1
    for schema in map(json.loads, schemas):
        assert sorted(schema["properties"]["domain"]["enum"]) == VOICE.labels
        assert schema["required"] == ["domain"]


def test_the_first_batches_ask_for_the_label_alone() -> None:
    dice = random.Random(7)
    stream = batches(Writer(TOKENIZER, dice), VOICE, VOICE.rows("train"), 8, dice, plain=5)
    forms = [
        "Answer with the domain's name alone." in TOKENIZER.decode(next(stream).prefix) for _ in range(40)
    ]
    assert all(forms[:5])
    assert not all(forms)
    assert sum(share for share, *_ in MIX) == pytest.approx(1)


def test_the_tokens_that_version_2_mixes_up_stand_in_no_prompt_and_no_answer() -> None:
    free = set(vocabulary.free_tokens(TOKENIZER, WORKLOADS))
    assert len(free) > 1_000
    turns = [{"role": "user", "content": ""}, {"role": "assistant", "content": closing(VOICE, "travel")}]
    for text in (render(*request(VOICE, form, turns)) for form in FORMS):
        assert free.isdisjoint(TOKENIZER.encode(text).ids)
    assert TOKENIZER.token_to_id("Ġflight") in free


def _counted(line: Line, weight: float) -> str:
    kept = [token for token, counts in zip(line.tokens, line.weights, strict=True) if counts == weight]
    return TOKENIZER.decode(kept, skip_special_tokens=False)
