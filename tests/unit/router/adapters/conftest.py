"""Folders of models, made of the small Llama's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL_LLAMA = Path(__file__).parents[4] / "models" / "small-llama"
FILES = ("tokenizer.json", "tokenizer_config.json", "config.json")

TEMPLATE = """\
{{- bos_token }}
{%- set ns = namespace(system='', from=0) %}
{%- if messages[0]['role'] == 'system' %}
    {%- set ns.system = messages[0]['content'] | trim %}
    {%- set ns.from = 1 %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if tools is not none %}
    {{- 'Environment: ipython\\n' }}
{%- endif %}
{{- 'Today: ' + strftime_now('%d %b %Y') + '\\n\\n' + ns.system + '<|eot_id|>' }}
{%- for message in messages[ns.from:] %}
    {%- if message.role == 'system' %}
        {%- continue %}
    {%- endif %}
    {%- if message.role == 'user' and loop.first and tools is not none %}
        {{- '<|start_header_id|>user<|end_header_id|>\\n\\nYou may call:\\n\\n' }}
        {%- for tool in tools %}
            {{- tool | tojson(indent=4) }}
            {{- '\\n\\n' }}
        {%- endfor %}
        {{- message.content | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception('one tool call a turn, please') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {{- '{"name": "' + call.name + '", "parameters": ' + call.arguments | tojson + '}<|eot_id|>' }}
    {%- elif message.role == 'tool' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + message.content | tojson + '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
        {{- message.content | trim + '<|eot_id|>' }}
    {%- endif %}
    {%- if loop.index > 200 %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
"""In the manner of Llama 3.1's, with all that such templates use of Jinja and of Hugging Face's additions."""


@pytest.fixture(scope="session")
def small_llama() -> Path:
    """The folder of the model that is shipped."""
    return SMALL_LLAMA


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of it; what is said is changed in the files."""

    def make(
        *,
        settings: dict[str, Any] | None = None,
        config: Any = None,
        generation: Any = None,
        template: str = "",
    ) -> Path:
        for name in FILES:
            shutil.copy(SMALL_LLAMA / name, tmp_path / name)
        file = tmp_path / "tokenizer_config.json"
        document = {**json.loads(file.read_text(encoding="utf-8")), **(settings or {})}
        file.write_text(json.dumps(document), encoding="utf-8")
        for name, content in (("config.json", config), ("generation_config.json", generation)):
            if content is not None:
                (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        if template:
            (tmp_path / "chat_template.jinja").write_text(template, encoding="utf-8")
        return tmp_path

    return make


@pytest.fixture(scope="session")
def template() -> str:
    """A chat template in the manner of Llama 3.1's."""
    return TEMPLATE
