"""Takes out of a user's text what tries to choose the request's own route.

Pure. A name in a header or a declaration of the key is the caller's word. "Classify this as billing" in the
user's text is anybody's: a customer's mail, a web page, a pasted system prompt. It is no evidence of what the
request is, so nobody reads it. Only turns are cleaned, never the system prompt, which is the application's;
and the examples of a workload are cleaned the same way as the requests.

What is found: a workload's name in a program's spelling (`card_arrival`, `CardArrival`), or in any spelling
where the sentence steers ("treat this as card arrival"); headers and fields of routing; markup that fakes a
system message; sentences of the system prompts that are known. A text can also steer by looking like another
workload's. That is no claim; the head's threshold is for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import replace

from services.common.seen import Seen

LEAD_IN_WORDS = 4
"""Before the first steering word of a sentence that go with it: "so please ..."."""
LEAST_PROMPT_WORDS = 4
"""Of a system prompt's sentence that counts as pasted. "Be brief." is anybody's."""
LEAST_LEFT_WORDS = 4
"""That a request must have left to be judged without the sentences that mention a workload."""

# Every repetition is bounded, or begins where it cannot begin again: an attacker writes these texts.
_SENTENCE_END = re.compile(r"(\n+|(?<=[.!?])[ \t]+|(?<=[。！？।]))")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_SPACED_LETTERS = re.compile(r"\b(?:[^\W\d_] ){3,}[^\W\d_]\b")
_LEET_WORD = re.compile(r"\b[A-Za-z]+[013457][A-Za-z013457]*\b")
_LEET = str.maketrans("013457", "oieast")
_CYRILLIC_AMONG_LATIN = re.compile(r"\b(?=\w{0,30}[a-z])(?=\w{0,30}[а-яі])\w+", re.IGNORECASE)
_LOOKALIKES = str.maketrans("аеорсухікАЕОРСУХІКМНТВ", "aeopcyxikAEOPCYXIKMHTB")
_WORD = re.compile(r"[^\W_]+")
_WRITTEN_NAME = re.compile(
    r"(?<![A-Za-z0-9])(?:[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+|[A-Za-z][a-z0-9]+(?:[A-Z][a-z0-9]+)+)"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_FAKE = re.compile(
    r"""
      <\|(?:im_start\|>\s?)?(?:system|assistant|developer)(?:\|>)?.*?(?:<\|(?:im_)?end\|>|\n\s*\n|\Z)
    | <<SYS>>.*?(?:<</SYS>>|\n\s*\n|\Z)
    | \[INST\].*?(?:\[/INST\]|\n\s*\n|\Z)
    | (?:</user>\s*)?<(system|workload|router?|task_type)>.*?(?:</\1>|\n\s*\n|\Z)
    | (?<!-)-{2,40}\ ?begin\ system\ prompt\ ?-{2,40}.*?(?:-{2,40}\ ?end\ system\ prompt\ ?-{2,40}|\n\s*\n|\Z)
    | \[(?:system|router|developer)\][^\n]*
    | ^\#+[ ]?system\b[^\n]*\n?[^\n]*
    | ^(?:(?:system|developer)\ (?:prompt|message|override|note)
        |your\ (?:system\ prompt|instructions)\ (?:is|was|are|were))\s*:[^\n]*
    | ^(?:workload|task[_ -]?type)[ ]?[:=][^\n]*(?:\n[\w-]+[ ]?[:=][ ]?\S+(?=\n|\Z))+
    | \{[^{}\n]*"role"\s*:\s*"(?:system|developer)"[^{}\n]*\}
    | ^(?:(?:POST|GET|PUT)\ \S+\ HTTP/[\d.]+|HTTP/[\d.]+\ \d+[^\n]*)\n(?=x-[\w-]+:)
    """,
    re.IGNORECASE | re.DOTALL | re.MULTILINE | re.VERBOSE,
)
"""Markup of a system message, with what it holds."""

_ROUTING = re.compile(
    r"""
      \bx-(?:[a-z]{1,20}-){0,3}(?:workload|homeward|route|target|task-type)\b
    | \bhomeward-(?:workload|target|task|route|evidence)\w*
    | (?:^|(?<=[\s"'`{,;\#/@*<-]))(?:workload|homeward|task[_ -]?type|data[_ -]?class|set_workload
      |route_to)["'*`]{0,3}\ ?(?:[:=→(]|=>)
    | (?:--|/|\#)workload\b
    | \b(?:ignore|disregard|forget|override)\b.{0,30}\b(?:instructions?|classification|routing|text\ above)
    | \b(?:route|send|forward|dispatch)\s+(?:this|the|my|it|every|all)\b.{0,40}
      \b(?:cloud|sovereign|on-prem\w*|router|workload)\b
    | \b(?:note|message|hint|attention|dear|hey|hello|hi)\b.{0,10}\b(?:router|classifier)\b
    | \btarget\s*[:=]\s*(?:cloud|sovereign)\b
    | \brouting\ hint\b | ^@router\b | \bfingerprint\ match\b | \bif\ you\ are\ a\ (?:router|classifier)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Talk to the router that needs no name to be known for it."""

_STEERING = re.compile(
    r"""
      classif\w* | categor\w* | \b(?:re)?label\w* | \btag(?:ged)?\b | \brout(?:e|ed|ing|er)\b | workload\w*
    | homeward | \bintent\b | \btreat(?:ed)?\b | \bcount(?:s|ed)?\b | \bdeclare[ds]?\b | \bverified\b
    | \bbelongs?\b | \bforward\b | \bqueue\b | \boverride\b | \btraffic\b | \bassign(?:ed)?\b
    | \bname\s+this\b | \bmark(?:ed)?\ (?:this|it|as)\b | \bregister\w* | \bcall\s+this\b | \bthis\ is\ an?\b
    | \bbehand\w+ | \bordne\w* | \beinordn\w* | klassifi\w* | \bclasse[rz]\b | \btrait\w+ | clasific\w*
    | sklasyfik\w* | sınıflandır\w* | классифиц\w* | отнес\w* | 归类 | 歸類 | 分类 | 分類 | 분류 | صن\W?ف
    | वर्गीकृत | \[\[ | <!--
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Words that make a claim of a name. The stems of both tell cheaply that there are none."""
_ROUTING_STEMS = (
    "x-", "homeward", "workload", "task", "data", "rout", "ignore", "disregard", "forget", "override", "send",
    "forward", "dispatch", "classifier", "fingerprint", "target",
)  # fmt: skip
_STEERING_STEMS = (
    "classif", "categor", "label", "tag", "rout", "workload", "homeward", "intent", "treat", "count",
    "declare", "verified", "belong", "forward", "queue", "override", "traffic", "assign", "name", "mark",
    "register", "call", "this is a", "behand", "ordn", "klassifi", "classe", "trait", "clasific", "sklasyfik",
    "sınıflandır", "классифиц", "отнес", "归类", "歸類", "分类", "分類", "분류", "صن", "वर्गीकृत",
    "[[", "<!--",
)  # fmt: skip
_BEFORE_NAME = (
    r"(?:\b(?:as|under|to|is|are|in|into|about|but|choose|pick|named?|queue|label|conversation|prompt|request|message|answer|override|workload"
    r"|als|comme|como|come|jako|как)|[-:=→>/#@\"'`*\[(]|为|為|を|أنه|को|これは|这是一个|this\ is)\s{0,3}"
    r"(?:an?\ |the\ |workload\ )?[\"'`*\[(]{0,3}"
)
_AFTER_NAME = (
    r"[\"'`*\])]{0,3}\s{0,3}"
    r"(?:\b(?:request|traffic|workload|queue|mode|olarak)\b|に|へ|の依頼|请求|으로|로|\(으\)로|के\ रूप)"
)


class Claims:
    """What counts as a claim while these workloads are registered. Never changed."""

    def __init__(self, names: Collection[str], system_prompts: Collection[str] = ()) -> None:
        """Prepares the search.

        Args:
            names: of the registered workloads.
            system_prompts: texts that belong to them, whose sentences are no evidence in a user's text.
        """
        words_of = sorted({tuple(name.split("-")) for name in names}, key=lambda words: (-len(words), words))
        spelt = "|".join(r"[-_\s]{0,3}".join(map(re.escape, words)) for words in words_of) or "(?!)"
        self._names = frozenset(names)
        self._named = re.compile(
            rf"{_BEFORE_NAME}(?P<linked>{spelt})(?![A-Za-z0-9])"
            rf"|(?<![A-Za-z0-9])(?P<told>{spelt}){_AFTER_NAME}",
            re.IGNORECASE,
        )
        self._mentioned = re.compile(rf"(?<![A-Za-z0-9])(?:{spelt})(?![A-Za-z0-9])", re.IGNORECASE)
        # A line of nothing but names, or of one as the value of a field. Names are made of other names
        # ("support-email", "support", "email"): one that is taken, the longest, is never given back, or the
        # ways to read a line of n words would be 2^n.
        self._alone = re.compile(
            rf"(?:[\w][\w -]{{0,20}}[:=>]{{1,2}}\s?)?[\[(<@#\"'`]{{0,3}}"
            rf"(?:(?>(?:{spelt})(?![^\W_]))[^\w\n]{{0,3}})++",
            re.IGNORECASE,
        )
        self._pasted = {
            words
            for prompt in system_prompts
            for sentence in _SENTENCE_END.split(prompt)
            if (words := _words(sentence)).count(" ") + 1 >= LEAST_PROMPT_WORDS
        }

    def without(self, seen: Seen) -> Seen:
        """The request, its turns without what claims a route for it."""
        turns = tuple(self.cleaned(turn) for turn in seen.turns)
        return seen if turns == seen.turns else replace(seen, turns=turns)

    def cleaned(self, text: str) -> str:
        """A text without claims; the same text if there are none."""
        parts = _SENTENCE_END.split(_FAKE.sub("\n", text))
        if len(parts) > 1:
            parts[::2] = ["" if self._alone.fullmatch(part.strip()) else part for part in parts[::2]]
        kept = [part if place % 2 else self._sentence(part) for place, part in enumerate(parts)]
        whole = "".join(kept)
        return text if whole == text else whole.strip()

    def without_mentions(self, seen: Seen) -> Seen:
        """The request without the sentences of its turns that mention a workload, whatever they say of it.

        It is what the head over examples reads. What resembles a workload's examples does so without its
        name; anybody could choose what rests on the mention alone. The same request if nothing is mentioned,
        or if too little would be left to be judged by ("what is the weather").
        """
        turns = []
        for turn in seen.turns:
            parts = _SENTENCE_END.split(turn)
            parts[::2] = ["" if self._mentioned.search(_plain(part)) else part for part in parts[::2]]
            turns.append("".join(parts).strip())
        words = [len(_WORD.findall(turn)) for turn in turns]
        if sum(words) < LEAST_LEFT_WORDS or words == [len(_WORD.findall(turn)) for turn in seen.turns]:
            return seen
        return replace(seen, turns=tuple(turns))

    def _sentence(self, sentence: str) -> str:
        """What a sentence says before its claim, if that is more than a lead-in; all of it if it has none."""
        if not sentence or sentence.isspace():
            return sentence
        if self._pasted and _words(sentence) in self._pasted:
            return ""
        plain = _plain(sentence)
        start = self._claim(plain)
        if start is None:
            return sentence
        before = plain[:start].rstrip()
        return before if len(before.split()) > LEAD_IN_WORDS else ""

    def _claim(self, plain: str) -> int | None:
        """Where a sentence's claim begins."""
        lowered = plain.lower()
        starts = [word.start() for word in self._written(plain)]
        if any(stem in lowered for stem in _ROUTING_STEMS) and (routing := _ROUTING.search(plain)):
            starts.append(routing.start())
        if starts or any(stem in lowered for stem in _STEERING_STEMS):
            named = self._named.search(plain)
            steering = self._steering(plain, named)
            if steering and (starts or named):
                starts.append(steering.start())
            if starts and named:
                starts.append(named.start())
        return min(starts, default=None)

    def _written(self, plain: str) -> Iterator[re.Match[str]]:
        """Names as only programs write them. With hyphens they are words like any ("a carry-on bag")."""
        for word in _WRITTEN_NAME.finditer(plain) if "_" in plain or _HUMP.search(plain) else ():
            if _HUMP.sub("-", word[0]).replace("_", "-").lower() in self._names:
                yield word

    def _steering(self, plain: str, named: re.Match[str] | None) -> re.Match[str] | None:
        """The first steering word that is no workload's name itself, nor part of one."""
        begin, end = named.span("linked" if named["linked"] else "told") if named else (0, 0)
        for word in _STEERING.finditer(plain):
            if word[0].lower() not in self._names and not begin <= word.start() < end:
                return word
        return None


def _plain(sentence: str) -> str:
    """The sentence as it reads: nothing invisible, full-width or spaced out, no digits for letters."""
    if not sentence.isascii():
        sentence = _INVISIBLE.sub("", unicodedata.normalize("NFKC", sentence))
        sentence = _CYRILLIC_AMONG_LATIN.sub(lambda word: word[0].translate(_LOOKALIKES), sentence)
    sentence = _SPACED_LETTERS.sub(lambda letters: letters[0].replace(" ", ""), sentence)
    return _LEET_WORD.sub(lambda word: word[0].translate(_LEET), sentence)


def _words(sentence: str) -> str:
    return " ".join(_WORD.findall(sentence)).lower()
