"""Unnamed traffic of which is known what it is: public texts, sent as applications of several kinds would.

Each request has the workload that it truly is of; NOISE are requests of many kinds, of nobody's workload.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from playbook.requests import seen_of
from services.classifier.adapters.reader import Reader
from services.classifier.core.classify import kind_of_work
from services.classifier.core.discovery import Group
from services.classifier.core.traffic import Sighting, Unnamed, remembered
from services.common.seen import Seen, cut
from tests.support.stack import ROOT

NOISE = ""
INTENTS = 10
"""Intents of CLINC150 that come as bare messages, each a workload that only its meaning holds together."""
FIXED = ("voice", "route", "polite", "german", "tools", "handbook")
"""Workloads whose requests have fixed parts."""

_VOICE = (
    "You sort requests to {company}'s voice assistant (version {minor}.{patch}). Name the domain that the"
    " request belongs to. Today is {day} March 2026."
)
_ROUTE = "You route messages of a bank's customers. Name the one intent that fits best."
_POLITE = (
    "Rewrite this customer's message so that it is polite and short, and keep every fact of it:\n{text}\nGive"
    " only the new message."
)
_GERMAN = "Translate: {text}\n\nGerman, as a native speaker would say it, without any comment."
_HANDBOOK = (
    "Answer the customer's question from the following pages of the handbook and nothing else:\n{pages}"
)
_GENERIC = "You are a helpful assistant."


@dataclass(frozen=True, slots=True)
class Sent:
    """A request."""

    workload: str
    seen: Seen
    key_name: str


@dataclass(frozen=True, slots=True)
class Score:
    """How well groups fit the truth."""

    purity: float
    """Share of the grouped requests that are of their group's commonest workload; noise counts as one."""
    covered: float
    """Share of the requests of true workloads that are in a group whose commonest workload is theirs."""
    found: frozenset[str]
    """True workloads of which a group has at least half, and which are at least 80 % of that group."""


def mixed(seed: int) -> list[Sent]:
    """About 1,200 requests in random order."""
    rng = random.Random(seed)
    requests = list(_sent(rng))
    rng.shuffle(requests)
    return requests


def _sent(rng: random.Random) -> Iterator[Sent]:
    clinc = json.loads((ROOT / "data/workloads/clinc150_full.json").read_text())
    with (ROOT / "data/workloads/banking77_train.csv").open() as file:
        bank = [row["text"] for row in csv.DictReader(file)]
    voice = [text for text, _ in clinc["train"]]
    for text in rng.sample(voice, 120):
        company = rng.choice(("Contoso", "Fabrikam", "Acme"))
        prompt = _VOICE.format(
            company=company, minor=rng.randrange(9), patch=rng.randrange(40), day=rng.randint(1, 31)
        )
        yield Sent("voice", cut(prompt, [text]), "assistant")
    for text in rng.sample(bank, 90):
        yield Sent("route", cut(_ROUTE, [text]), "crm")
    for text in rng.sample(bank, 80):
        yield Sent("polite", cut("", [_POLITE.format(text=text)]), "crm")
    for text in rng.sample(voice, 60):
        yield Sent("german", cut("", [_GERMAN.format(text=text)]), "web")
    for text in rng.sample(voice, 40):
        yield Sent("tools", cut("", [text], tool_names=["refund", "find_order"]), "shop")
    for text in rng.sample(bank, 50):
        yield Sent("handbook", cut(_HANDBOOK.format(pages="\n".join(rng.sample(bank, 8))), [text]), "help")
    for intent in rng.sample(sorted({intent for _, intent in clinc["train"]}), INTENTS):
        own = [text for text, other in clinc["train"] if other == intent]
        for text in rng.sample(own, rng.choice((30, 40, 50))):
            yield Sent(intent, cut(rng.choice(("", _GENERIC)), [text]), "app")
    for text, _ in rng.sample(clinc["oos_test"], 150):
        yield Sent(NOISE, cut("", [text]), "app")
    for name, count in (("data/classifier/tune.jsonl", 150), ("data/conversations/sample.jsonl", 15)):
        rows = [json.loads(line) for line in (ROOT / name).read_text().splitlines()]
        for row in rng.sample(rows, count):
            yield Sent(NOISE, seen_of(row), "misc")


def read(sent: Sequence[Sent], reader: Reader, *, keep_prompts: bool = True) -> list[Unnamed]:
    """What the classifier remembers of the requests."""
    found = []
    for number, (item, reading) in enumerate(
        zip(sent, reader.read([item.seen for item in sent]), strict=True)
    ):
        task_type, confidence = kind_of_work(reading, reader.general.abstain_below)
        sighting = Sighting(
            request_id=hashlib.md5(str(number).encode(), usedforsecurity=False).digest(),
            time_unix_us=number,
            key_name=item.key_name,
            seen=item.seen,
            embedding=reading.embedding,
            task_type=task_type,
            task_type_confidence=confidence,
        )
        found.append(remembered(sighting, keep_prompts=keep_prompts))
    return found


def score(sent: Sequence[Sent], groups: Sequence[Group]) -> Score:
    """How well groups fit the truth."""
    sizes = Counter(item.workload for item in sent)
    grouped = pure = covered = 0
    found = set()
    for group in groups:
        truths = Counter(sent[at].workload for at in group.rows)
        ((workload, count),) = truths.most_common(1)
        grouped += len(group.rows)
        pure += count
        if workload != NOISE:
            covered += count
            if 2 * count >= sizes[workload] and count >= 0.8 * len(group.rows):
                found.add(workload)
    real = len(sent) - sizes[NOISE]
    return Score(pure / grouped, covered / real, frozenset(found))
