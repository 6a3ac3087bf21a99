"""What is asked and what is answered, whatever API it came through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a message."""

    media_type: str
    size_bytes: int | None
    """None for an image that is only linked to; the stand-in fetches nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message."""

    role: str
    """system, user, assistant or tool; developer is read as system."""
    text: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called."""

    name: str
    description: str
    parameters: dict[str, Any]
    """The JSON schema of its arguments."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for generated text."""

    model: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """auto, required, none, or `=NAME` for the tool of that name."""
    schema: dict[str, Any] | None = None
    """The JSON schema that the answer must keep to."""
    json_object: bool = False
    """Whether the answer must be any JSON object."""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float = 1.0
    seed: int | None = None
    n: int = 1
    """How many answers."""
    chat: bool = True
    """Whether the turns cost tokens of their own, as messages do."""

    @property
    def instructions(self) -> str:
        """What the system messages say."""
        return "\n".join(turn.text for turn in self.turns if turn.role == "system")

    @property
    def question(self) -> str:
        """The last message of the user."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool."""

    id: str
    name: str
    arguments: str
    """JSON; cut off if the answer ended for its length."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    text: str
    call: Call | None
    finish: str
    """stop, length or tool_calls."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request consumed, in tokens."""

    prompt: int
    cached: int
    """Those of the prompt that were in the cache."""
    completion: int
