"""What one training step sees: a prefix, and rows that each go on from it. Knows no torch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import Tokenizer

from training.small_llama.dialogue import EOT, Form, answer, closing, render, request
from training.small_llama.workloads import Row, Workload

Shape = Literal["once", "twice", "after_tool"]
MIX: Sequence[tuple[float, Form, Shape]] = (
    (0.45, "json", "once"),
    (0.25, "tool", "once"),
    (0.10, "json", "twice"),
    (0.12, "tool", "after_tool"),
    (0.08, "text", "once"),
)
"""Share of steps, how the answer is asked for, and how the conversation goes."""
OTHER_SPELLING = 0.15
"""Share of steps whose schema has its keys and labels in another order."""
DROPPED, REPLACED = 0.08, 0.04
"""Chance of a user token to be left out, or to be another one: else a small model learns texts by heart."""
USER_WEIGHT = 0.15
"""What predicting a user's token counts; an answer's token counts 1."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what follows the prefix."""

    tokens: list[int]
    weights: list[float]
    """What the prediction of each token counts."""
    topics: list[str]
    """The finest label of the request that each token belongs to, up to its answer; empty elsewhere."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A prefix and the rows that follow it."""

    prefix: list[int]
    rows: list[Line]


class Writer:
    """Writes conversations as tokens."""

    def __init__(self, tokenizer: Tokenizer, dice: random.Random | None) -> None:
        """Takes the tokenizer, and the dice that spoil user texts; None leaves them whole."""
        self._tokenizer, self._dice = tokenizer, dice
        self._known: dict[str, list[int]] = {}
        self._user, self._assistant, self._tool = (
            self.encode(f"<|start_header_id|>{role}<|end_header_id|>\n\n")
            for role in ("user", "assistant", "ipython")
        )
        self._end = self.encode(EOT)

    def encode(self, text: str) -> list[int]:
        """Tokens of a piece of the rendered text. Pieces end where no token can cross."""
        if text not in self._known:
            self._known[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._known[text]

    def prefix(self, workload: Workload, form: Form) -> list[int]:
        """Everything before the first user turn."""
        schema = workload.schema
        if self._dice and self._dice.random() < OTHER_SPELLING:
            schema = _respelt(schema, self._dice)
        messages, tools = request(workload, form, [], schema)
        return self._tokenizer.encode(render(messages, tools, ask=False), add_special_tokens=False).ids

    def row(self, workload: Workload, form: Form, shape: Shape, rows: Sequence[Row]) -> Line:
        """One conversation.

        Args:
            workload: whose request it is.
            form: how the answer is asked for.
            shape: how the conversation goes.
            rows: the requests: two for `twice`, else one.
        """
        tokens: list[int] = []
        weights: list[float] = []
        topics: list[str] = []

        def say(piece: list[int], weight: float, topic: str = "") -> None:
            tokens.extend(piece)
            weights.extend([weight] * len(piece))
            topics.extend([topic] * len(piece))

        for row in rows:
            say(self._user, 0)
            say(self._spoilt(row.text), USER_WEIGHT, row.fine)
            say(self._end + self._assistant, 0, row.fine)
            say(self.encode(answer(workload, form, row.label)) + self._end, 1)
        if shape == "after_tool":
            say(self._tool, 0)
            say(self.encode(workload.prompts["after_tool"]["result"]) + self._end, 0)
            say(self._assistant, 0)
            say(self.encode(closing(workload, rows[-1].label)) + self._end, 1)
        return Line(tokens, weights, topics)

    def _spoilt(self, text: str) -> list[int]:
        dice = self._dice
        if dice is None:
            return self.encode(text.strip())
        tokens = self._tokenizer.encode(_retyped(text.strip(), dice), add_special_tokens=False).ids
        if dice.random() < 0.3:
            return tokens
        size = self._tokenizer.get_vocab_size()
        kept = [
            dice.randrange(300, size) if dice.random() < REPLACED else token
            for token in tokens
            if dice.random() >= DROPPED
        ]
        return kept or tokens


def batches(
    writer: Writer, workload: Workload, rows: Sequence[Row], size: int, dice: random.Random, plain: int = 0
) -> Iterator[Batch]:
    """Batches without end: every row once in an epoch, rows of like length side by side.

    Args:
        writer: of the tokens.
        workload: whose rows.
        rows: of the train split.
        size: user turns in a batch.
        dice: the order, the forms and the spoiling.
        plain: batches at first that ask for the label alone: the shortest way to learn what words mean.
    """
    made = 0
    while True:
        order = list(rows)
        dice.shuffle(order)
        pool = size * 12
        for start in range(0, len(order), pool):
            part = sorted(order[start : start + pool], key=lambda row: len(row.text))
            groups = [part[at : at + size] for at in range(0, len(part), size)]
            dice.shuffle(groups)
            for group in groups:
                _, form, shape = dice.choices(MIX, [share for share, *_ in MIX])[0]
                if made < plain:
                    form, shape = "text", "once"
                made += 1
                turns = 2 if shape == "twice" else 1
                dice.shuffle(group)
                yield Batch(
                    writer.prefix(workload, form),
                    [
                        writer.row(workload, form, shape, group[at : at + turns])
                        for at in range(0, len(group) - turns + 1, turns)
                    ],
                )


def _retyped(text: str, dice: random.Random) -> str:
    """The text as another person might type it."""
    chance = dice.random()
    if chance < 0.15:
        return text[:1].upper() + text[1:] + ("" if text[-1:] in ".?!" else dice.choice((".", "?", "!", "")))
    if chance < 0.3:
        return text.lower().rstrip(".?! ") or text
    return text


def _respelt(schema: Mapping[str, Any], dice: random.Random) -> dict[str, Any]:
    """The same schema with keys and labels in another order."""

    def mixed(value: Any) -> Any:
        if isinstance(value, Mapping):
            items = [(key, mixed(inner)) for key, inner in value.items()]
            dice.shuffle(items)
            return dict(items)
        if isinstance(value, list):
            return dice.sample(value, len(value))
        return value

    return dict(mixed(schema))
