"""What a request's form says of its kind of work, whatever its words mean: sizes, marks, blocks, first verbs.

Pure. Each feature lies between 0 and about 1, so that a linear head can weigh them side by side.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from services.common.seen import Seen

HEAD_CHARS = 1200
TAIL_CHARS = 600
"""Of the turns that are looked at: instructions stand at the ends."""

# Verbs that begin an instruction, by the task type that they most often ask for.
_VERBS = {
    "summarize": "summari[sz]e|condense|shorten|recap|tl;?dr|abridge",
    "extract": "extract|identify|list|find|name|detect|recogni[sz]e|locate|tag|highlight|pull",
    "classify": "classify|categori[sz]e|label|determine|decide|choose|select|judge|assign|rate",
    "write": "write|draft|compose|generate|create|make|produce"
    "|rewrite|rephrase|paraphrase|edit|improve|correct",
    "translate": "translate|convert",
    "answer": "answer|read|based on|according to|given|use the|refer",
    "program": "implement|code|debug|refactor|fix|program|build|develop|complete",
    "reason": "solve|calculate|compute|prove|derive|evaluate|simplify|if|suppose|let|consider|think",
    "tell": "tell|explain|describe|give|suggest|recommend|help|discuss"
    "|imagine|act as|pretend|you are|roleplay",
    "ask": "what|who|why|how|when|where|which|is|are|do|does|did|can|could|should|would|will|has|have",
    "greet": "hi|hello|hey|thanks|thank|i|my|we|please",
}
_FIRST = {name: re.compile(rf"[\W_]*(?:{words})\b") for name, words in _VERBS.items()}
# Words anywhere near the ends that give a kind of work away.
_SIGNS = {
    "sign_summary": r"summar|tl;?dr|main points|key points|in (?:one|a few|\w+) sentences?",
    "sign_extract": r"extract|entit|attribute|all (?:the )?(?:names|dates|mentions)|json",
    "sign_classes": r"one of (?:the )?(?:following|these)|categor|sentiment|labels?\b"
    r"|yes or no|options?:|true or false",
    "sign_translate": r"translat"
    r"|in(?:to)? (?:english|french|german|spanish|chinese|italian|portuguese|russian|japanese)",
    "sign_context": r"passage|context|based on the|according to the|article|document|paragraph|excerpt",
    "sign_code": r"python|java|function|code|sql|html|script|program|algorithm|regex"
    r"|\bapi\b|css|c\+\+|def |import ",
    "sign_maths": r"how many|how much|equation|probability|percent|total|\bsum\b"
    r"|value of|triangle|integer|proof|prove",
    "sign_creative": r"story|poem|song|lyrics|essay|novel|joke|character"
    r"|fiction|haiku|rhyme|screenplay|blog",
    "sign_business": r"e-?mail|letter|report|meeting|customer|product"
    r"|resume|cover|description|title|headline|slogan",
    "sign_role": r"act as|pretend|role-?play|persona|you are (?:a|an|the)\b"
    r"|in the style of|imagine",
    "sign_tools": r"\btools?\b|\bapi\b|\bcall\b|search engine|calculator"
    r"|function call|\baction\b|observation",
    "sign_rewrite": r"rewrite|rephrase|paraphras|correct|grammar|polish|improve|proofread|revise",
    "sign_steps": r"step by step|explain your|reasoning|think|logical|let's",
}
_FOUND = {name: re.compile(pattern) for name, pattern in _SIGNS.items()}
_CODE_MARK = re.compile(r"[{}();=<>\[\]\\|&]")
_LINE_LABEL = re.compile(r"^\s*[A-Z][\w ]{0,24}:", re.MULTILINE)
_CHOICE = re.compile(r"^\s*(?:\(?[A-Ea-e1-5][).:]|[-*•])\s", re.MULTILINE)
_QUOTED = re.compile(r"\"\"\"|'''|^-{3,}|^#{2,}|^={3,}|<[a-z_]+>|\[\[|\{\{|```", re.MULTILINE)

FEATURES = (
    "tools",
    "tool_count",
    "schema",
    "input_size",
    "system_size",
    "turns_size",
    "turns_short",
    "turns_long",
    "turn_count",
    "questions",
    "ends_in_question",
    "ends_in_colon",
    "lines",
    "first_line_size",
    "last_line_size",
    "line_labels",
    "ends_in_label",
    "choices",
    "delimiters",
    "fenced",
    "code_marks",
    "digits",
    "capitals",
    "foreign",
    "mathematics",
    *(f"first_{name}" for name in _VERBS),
    *(f"last_{name}" for name in _VERBS),
    *_SIGNS,
)
"""Names of the features, in their order."""


def structure(seen: Seen) -> NDArray[np.float32]:
    """The features of a request: (len(FEATURES),)."""
    turns = "\n".join(seen.turns).strip()
    head, tail = turns[:HEAD_CHARS], turns[HEAD_CHARS:][-TAIL_CHARS:]
    text = f"{head}\n{tail}" if tail else head
    lines = text.split("\n")
    last = lines[-1].strip()
    chars = max(1, len(text))
    lowered, last_lowered = text[:HEAD_CHARS].lower(), last.lower()
    ends = f"{seen.system_prompt[:300].lower()}\n{lowered[:500]}\n{text[500:][-300:].lower()}"
    values = [
        float(bool(seen.tool_names)),
        _log(len(seen.tool_names), 128),
        float(seen.has_response_schema),
        _log(seen.input_chars, 65536),
        _log(len(seen.system_prompt), 8192),
        _log(len(turns), 8192),
        float(len(turns) < 100),
        float(len(turns) > 1500),
        _log(len(seen.turns) - 1, 16),
        _log(text.count("?"), 16),
        float(turns.endswith("?")),
        float(turns.endswith(":")),
        _log(len(lines) - 1, 64),
        _log(len(lines[0]), 2048),
        _log(len(last), 2048),
        _log(len(_LINE_LABEL.findall(text)), 16),
        float(bool(_LINE_LABEL.match(last)) and len(last) < 40),
        _log(len(_CHOICE.findall(text)), 16),
        _log(len(_QUOTED.findall(text)), 16),
        float("```" in text),
        min(1.0, 10 * len(_CODE_MARK.findall(text)) / chars),
        min(1.0, 5 * sum(map(str.isdigit, text)) / chars),
        min(1.0, 5 * sum(map(str.isupper, text)) / chars),
        sum(char > "\u024f" for char in text) / chars,
        min(1.0, 20 * sum(map(text.count, ("+", "=", "^", "\\frac", "√", "≤", "$"))) / chars),
        *(float(bool(pattern.match(lowered))) for pattern in _FIRST.values()),
        *(float(len(lines) > 1 and bool(pattern.match(last_lowered))) for pattern in _FIRST.values()),
        *(float(bool(pattern.search(ends))) for pattern in _FOUND.values()),
    ]
    return np.array(values, np.float32)


def _log(count: int, most: int) -> float:
    """0 for none, 1 for `most` and more, by the logarithm."""
    return min(1.0, math.log1p(max(0, count)) / math.log1p(most))
