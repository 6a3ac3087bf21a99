"""How a request of a workload becomes the text that the model reads, and what the right answer is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.router.core.sovereign.structured import instruction, with_instruction
from training.small_llama.workloads import Workload

TEMPLATE = Path(__file__).with_name("chat_template.jinja")
BOS, EOT = "<|begin_of_text|>", "<|eot_id|>"
Form = Literal["json", "tool", "text"]
FORMS: tuple[Form, ...] = ("json", "tool", "text")
Message = Mapping[str, Any]


def with_schema(messages: Sequence[Message], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages with the schema in the system message, by the router's own hand."""
    return with_instruction([dict(message) for message in messages], instruction(schema))


@cache
def _template() -> Any:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    # jinja's own filter sorts the keys and escapes for HTML; every chat template expects this one
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def render(messages: Sequence[Message], tools: Sequence[Message] = (), *, ask: bool = True) -> str:
    """Renders messages with the model's chat template.

    Args:
        messages: OpenAI's messages.
        tools: OpenAI's tool definitions.
        ask: whether the text ends with the header of the assistant's turn.
    """
    return str(
        _template().render(
            messages=messages, tools=list(tools) or None, add_generation_prompt=ask, bos_token=BOS
        )
    )


def request(
    workload: Workload, form: Form, turns: Sequence[Message], schema: Mapping[str, Any] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A request as the application sends it, with the schema where the router puts it.

    Args:
        workload: whose prompts.
        form: how the answer is asked for.
        turns: what follows the system message.
        schema: another spelling of the workload's schema; None for its own.

    Returns:
        Messages and tools.
    """
    prompts = workload.prompts[form]
    messages = [{"role": "system", "content": prompts["system"]}, *(dict(turn) for turn in turns)]
    schema = schema or workload.schema
    if form == "json":
        return with_schema(messages, schema), []
    if form == "tool":
        return messages, [
            {**tool, "function": {**tool["function"], "parameters": schema}} for tool in prompts["tools"]
        ]
    return messages, []


def answer(workload: Workload, form: Form, label: str) -> str:
    """The right answer, to the letter."""
    arguments = json.dumps({workload.key: label}, ensure_ascii=False)
    if form == "json":
        return arguments
    if form == "tool":
        name = workload.prompts["tool"]["tools"][0]["function"]["name"]
        return f'{{"name": "{name}", "parameters": {arguments}}}'
    return label


def closing(workload: Workload, label: str) -> str:
    """What the assistant says once the tool has answered."""
    return str(workload.prompts["after_tool"]["answer"]).format(label=label.replace("_", " "))
