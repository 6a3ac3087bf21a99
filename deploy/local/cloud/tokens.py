"""Cuts text into tokens by a regular expression.

This is not any model's tokenizer, it only has a similar grain: a token is up to seven letters with the
space before them, up to three digits, up to three punctuation marks, underscores, or white space. The text
of the GPL gives 1.34 tokens a word; OpenAI's help centre ("What are tokens and how to count them?") states
100 tokens for 75 words. The tokens of a text put together are the text.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\s?[^\W\d_]{1,7}|\s?\d{1,3}|\s?[^\w\s]{1,3}|_+|\s+|\w")

MESSAGE_TOKENS = 3
"""Added for each message: what separates it and names its role."""
REPLY_TOKENS = 3
"""Added once a chat: the answer's opening. As in OpenAI's cookbook ("How to count tokens with tiktoken")."""
IMAGE_TOKENS = 85
"""For each image: what OpenAI's guide to vision gives for low detail."""


def split(text: str) -> list[str]:
    """The tokens of a text, in order."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """The number of tokens of a text."""
    return len(_TOKEN.findall(text))
