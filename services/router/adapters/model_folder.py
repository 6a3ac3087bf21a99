"""A model's own folder: its chat template, its tokenizer, and the sizes that its files name.

The tensor contract carries a prompt and returns no token counts, so the router writes the prompt with the
model's template and counts with the model's tokenizer, as the server will.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from services.common.errors import DomainError, Reason, invalid_request
from services.common.settings import SettingsError
from services.router.core.sovereign.sampling import Defaults

BREAK = "\u200b"
"""Zero-width space: put into what looks like a control token in a message, so that it is text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the server wants it."""

    text: str
    """Without the token at its beginning that the server's tokenizer adds."""
    tokens: int
    """All that the model reads, with that token."""


class ModelFolder:
    """One model's files, read once."""

    def __init__(self, folder: Path) -> None:
        """Reads `tokenizer.json`, `tokenizer_config.json`, `config.json` and `generation_config.json`, the
        last of which may be missing.

        Raises:
            SettingsError: a file is missing or is not what it should be.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises nothing narrower
            raise SettingsError(f"{folder / 'tokenizer.json'}: {error}") from None
        # A file may ask for prompts to be cut or filled up, as training had them; a server does neither.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        settings = _read(folder / "tokenizer_config.json")
        model = _read(folder / "config.json")
        generation = _read(folder / "generation_config.json", missing_ok=True)
        self.context_tokens = int(_number(folder / "config.json", model, "max_position_embeddings", 0))
        """Tokens that prompt and answer may have together."""
        file = folder / "generation_config.json"
        top_k = int(_number(file, generation, "top_k", 0))
        self.defaults = Defaults(
            temperature=_number(file, generation, "temperature", 1.0),
            top_p=_number(file, generation, "top_p", 1.0),
            # Hugging Face writes 0 for all, others -1.
            top_k=top_k if top_k > 0 else None,
        )
        self._bos = _token(settings.get("bos_token"))
        self._constants = {"bos_token": self._bos, "eos_token": _token(settings.get("eos_token"))}
        probe = self._tokenizer.encode("a", add_special_tokens=True)
        self._adds_bos = bool(self._bos) and probe.tokens[:1] == [self._bos]
        controls = [
            token.content
            for token in self._tokenizer.get_added_tokens_decoder().values()
            if token.special and len(token.content) > 1
        ]
        pattern = "|".join(re.escape(token) for token in sorted(controls, key=len, reverse=True))
        self._controls = re.compile(pattern) if pattern else None
        try:
            self._template = _environment().from_string(_template(folder, settings))
        except TemplateSyntaxError as error:
            raise SettingsError(f"{folder}: chat template, line {error.lineno}: {error.message}") from None

    def chat(
        self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], opening: str
    ) -> Prompt:
        """The prompt of a conversation, ending with how the answer begins.

        What looks like a control token within a message is broken up: a message must not be able to speak
        for another role.

        Raises:
            DomainError: INVALID_REQUEST, if the template refuses the conversation.
        """
        try:
            text = self._template.render(
                messages=[self._harmless(turn) for turn in turns],
                tools=[self._harmless(tool) for tool in tools] or None,
                add_generation_prompt=True,
                **self._constants,
            )
        except (TemplateError, TypeError) as error:
            raise DomainError(
                Reason.INVALID_REQUEST,
                f"`messages`: the model's chat template refuses them: {error}",
                field="messages",
                expected="a conversation that the model's chat template can write",
                got=error,
            ) from None
        return self.prompt(text + opening)

    def prompt(self, text: str) -> Prompt:
        """A prompt that is complete as it is.

        Raises:
            DomainError: INVALID_REQUEST, if it is no Unicode: half of a surrogate pair.
        """
        if self._adds_bos:
            text = text.removeprefix(self._bos)
        try:
            tokens = len(self._tokenizer.encode(text, add_special_tokens=True))
        except TypeError:
            raise invalid_request("", "text in Unicode", "half of a surrogate pair") from None
        return Prompt(text, tokens)

    def count(self, text: str) -> int:
        """Tokens of a piece of an answer."""
        return len(self._tokenizer.encode(text, add_special_tokens=False)) if text else 0

    def _harmless(self, value: Any) -> Any:
        if self._controls is None:
            return value
        if isinstance(value, str):
            return self._controls.sub(lambda match: match[0][0] + BREAK + match[0][1:], value)
        if isinstance(value, Mapping):
            return {self._harmless(key): self._harmless(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._harmless(item) for item in value]
        return value


def _read(file: Path, *, missing_ok: bool = False) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing_ok:
            return {}
        raise SettingsError(f"{file}: there is no such file; a model's folder has one") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"{file}: expected a JSON object")
    return document


def _number(file: Path, document: Mapping[str, Any], field: str, default: float) -> float:
    value = document.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SettingsError(f"{file}: {field}: expected a number, not {value!r}")
    return float(value)


def _token(value: object) -> str:
    # Hugging Face writes a token as its text, or as an object with the text in `content`.
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _template(folder: Path, settings: Mapping[str, Any]) -> str:
    own_file = folder / "chat_template.jinja"
    if own_file.exists():
        return own_file.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {item.get("name"): item.get("template") for item in template}
        template = named.get("default")
    if not isinstance(template, str):
        raise SettingsError(f"{folder / 'tokenizer_config.json'}: chat_template: expected a template")
    return template


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as Hugging Face's `apply_chat_template` sets it up, which the templates are written for."""
    # The output is a prompt and no page; HTML's escapes would change it.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: datetime.now(UTC).strftime(pattern)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
