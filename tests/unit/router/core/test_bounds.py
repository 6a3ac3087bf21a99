"""What is set aside for a request is never less than it can use."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.core import catalog, wire
from services.router.core.bounds import ANSWER_TOKENS, CONTEXT_TOKENS, IMAGE_TOKENS, bounds

TURN = {"role": "user", "content": "Where is my card?"}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}


def with_document(source: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "document", "source": source}]}


def parsed(api: str, document: dict[str, Any]) -> wire.Request:
    return wire.parse_request(api, orjson.dumps({"model": "m", **document}))


@pytest.mark.parametrize(
    ("api", "document", "output", "beyond_body"),
    [
        pytest.param(catalog.CHAT, {"messages": [TURN]}, ANSWER_TOKENS, 0, id="no limit"),
        pytest.param(catalog.CHAT, {"messages": [TURN], "max_tokens": 7}, 7, 0, id="a limit"),
        pytest.param(
            catalog.CHAT, {"messages": [TURN], "max_tokens": 7, "max_completion_tokens": 9}, 9, 0, id="two"
        ),
        pytest.param(catalog.CHAT, {"messages": [TURN], "max_tokens": 7, "n": 3}, 21, 0, id="three answers"),
        pytest.param(catalog.CHAT, {"messages": [TURN], "max_tokens": 0}, ANSWER_TOKENS, 0, id="zero"),
        pytest.param(
            catalog.CHAT, {"messages": [TURN], "max_tokens": "7"}, ANSWER_TOKENS, 0, id="text is no limit"
        ),
        pytest.param(
            catalog.CHAT,
            {"messages": [TURN], "max_tokens": 10**9},
            CONTEXT_TOKENS,
            0,
            id="too long",
        ),
        pytest.param(
            catalog.CHAT,
            {"messages": [TURN, IMAGE, IMAGE], "max_tokens": 1},
            1,
            2 * IMAGE_TOKENS,
            id="images",
        ),
        pytest.param(
            catalog.CHAT,
            {"messages": [{"role": "user", "content": "an image of a prompt"}], "max_tokens": 1},
            1,
            0,
            id="words are no images",
        ),
        pytest.param(catalog.COMPLETIONS, {"prompt": "a", "max_tokens": 5}, 5, 0, id="one prompt"),
        pytest.param(catalog.COMPLETIONS, {"prompt": [1, 2, 3], "max_tokens": 5}, 5, 0, id="in tokens"),
        pytest.param(catalog.COMPLETIONS, {"prompt": ["a", "b"], "max_tokens": 5}, 10, 0, id="two prompts"),
        pytest.param(
            catalog.COMPLETIONS, {"prompt": "a", "max_tokens": 5, "best_of": 4, "n": 2}, 20, 0, id="the best"
        ),
        pytest.param(catalog.EMBEDDINGS, {"input": "a"}, 0, 0, id="an embedding has no answer"),
        pytest.param(catalog.MESSAGES, {"messages": [TURN], "max_tokens": 8}, 8, 0, id="Anthropic's"),
        pytest.param(
            catalog.MESSAGES,
            {"messages": [with_document({"type": "url", "url": "https://x.example/a.pdf"})], "max_tokens": 8},
            8,
            CONTEXT_TOKENS,
            id="a document by its address",
        ),
        pytest.param(
            catalog.MESSAGES,
            {
                "messages": [with_document({"type": "text", "media_type": "text/plain", "data": "A."})],
                "max_tokens": 8,
            },
            8,
            0,
            id="a document that is there",
        ),
        pytest.param(catalog.RESPONSES, {"input": "a", "max_output_tokens": 6}, 6, 0, id="a response"),
        pytest.param(
            catalog.RESPONSES,
            {"input": "a", "max_output_tokens": 6, "previous_response_id": "resp_1"},
            6,
            CONTEXT_TOKENS,
            id="a stored response",
        ),
        pytest.param(
            catalog.RESPONSES,
            {"prompt": {"id": "p"}, "max_output_tokens": 6},
            6,
            CONTEXT_TOKENS,
            id="a stored prompt",
        ),
        pytest.param(
            catalog.RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            ANSWER_TOKENS,
            CONTEXT_TOKENS,
            id="a file",
        ),
    ],
)
def test_the_most_that_a_request_can_use(
    api: str, document: dict[str, Any], output: int, beyond_body: int
) -> None:
    request = parsed(api, document)
    found = bounds(request)
    assert (found.output_tokens, found.input_tokens) == (output, len(request.body) + beyond_body)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.booleans())
def test_the_input_is_at_least_the_bytes_of_its_text(texts: list[str], as_ascii: bool) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    document = {"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}
    body = json.dumps(document, ensure_ascii=as_ascii).encode()
    found = bounds(wire.parse_request(catalog.CHAT, body))
    # Eight tokens frame a message in the templates of today's models, at the most.
    assert found.input_tokens >= sum(len(text.encode()) + 8 for text in texts)
