"""Proposes workloads for unnamed traffic: by fixed parts, and what is left by meaning.

Pure and deterministic: the same requests give the same proposals under the same names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from services.classifier.core.alike import Rows, by_system_prompt, by_template, by_tools
from services.classifier.core.meaning import groups
from services.classifier.core.titles import numbered, telling_words, unique, words_of_tools
from services.classifier.core.traffic import Unnamed, unit_rows
from services.common.fingerprint import Shape, shapes_of_examples
from services.common.seen import Seen
from services.common.words import TaskType, label

LEAST_REQUESTS = 10
"""Requests of a group below which it is not worth a name."""
MAX_EXAMPLES = 30
"""Examples of a proposal; more make a registration slower and a workload hardly clearer."""
MAX_STARTS = 8
"""How often as many requests are looked at to find different ones."""
MAX_SHAPES = 16
"""Fixed parts of a proposal, the most frequent; its examples bring their own."""
MAX_SAMPLES = 5
SAMPLE_CHARS = 300
"""Characters of a sample prompt: of a longer one two thirds are its head and the rest its tail."""
CENTRAL = 0.9
"""Share of a group's requests, the most central, among which its examples are chosen."""
MAX_UNKNOWN = 0.02
"""Share of requests whose cost may be unknown before the spend is: calls that broke off, no missing price."""
AGREED = 0.6
"""Share of the confidence that the likeliest task type must have."""
TOLD = 0.25
"""Share of requests whose task type must be known."""


@dataclass(frozen=True, slots=True)
class Found:
    """A workload that unnamed traffic suggests."""

    name: str
    task_type: TaskType
    """UNSPECIFIED if the requests do not agree, or are mostly unknown."""
    shapes: tuple[Shape, ...]
    """Its fixed parts; none if it is held together by meaning alone."""
    request_count: int
    spend_share: float | None
    """Of the spend on all unnamed requests, 0 to 1; None if it is unknown."""
    sample_prompts: tuple[str, ...]
    examples: tuple[Seen, ...]
    """Different requests of it, the most central first; none if their texts were not kept."""
    key_names: tuple[str, ...]
    """The API keys that it came with, the most frequent first."""


class Bond(Enum):
    """What holds a group together."""

    PARTS = auto()
    """The system prompt but for what changes, or tools and schema."""
    TEMPLATE = auto()
    """How the system prompt, or the message where there is none, begins or ends."""
    MEANING = auto()


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that belong together."""

    rows: Rows
    """Their places in the list of requests, ascending."""
    bond: Bond


@dataclass(frozen=True, slots=True)
class Grouping:
    """The requests, put together."""

    groups: tuple[Group, ...]
    """No request is in two."""
    left_out: int
    """Requests in no group, or in one that is too small."""


def discover(
    requests: Sequence[Unnamed],
    costs: Mapping[bytes, int | None],
    taken_names: Collection[str],
    max_proposals: int,
) -> list[Found]:
    """Proposals, the largest share of the spend first, or the most frequent if it is unknown.

    Takes seconds for 20,000 requests.

    Args:
        requests: what is remembered, in any order that is always the same.
        costs: nano-dollars by request id; None or absent is unknown, which is not zero.
        taken_names: names that are no longer free.
        max_proposals: how many at most.
    """
    everything = grouped(requests).groups
    total = _spend(requests, costs)
    shares = [_share([requests[at] for at in group.rows], costs, total) for group in everything]
    order = sorted(
        range(len(everything)),
        key=lambda at: (-(shares[at] or 0.0), -len(everything[at].rows), everything[at].rows[0]),
    )[:max_proposals]
    examples = [_examples(requests, everything[at].rows) for at in order]
    telling = telling_words([*examples, _from_everywhere(requests)])
    names = set(taken_names)
    found = []
    for at, own, words in zip(order, examples, telling, strict=False):
        group = everything[at]
        members = [requests[row] for row in group.rows]
        task_type = _task_type(members)
        keys = [key for key, _ in Counter(item.key_name for item in members).most_common() if key]
        name = _name(words, members[0].shape, task_type, keys, names)
        names.add(name)
        found.append(
            Found(
                name=name,
                task_type=task_type,
                shapes=_shapes(requests, group, own),
                request_count=len(members),
                spend_share=shares[at],
                sample_prompts=tuple(map(_sample, own[:MAX_SAMPLES])),
                examples=tuple(own),
                key_names=tuple(keys),
            )
        )
    return found


def grouped(requests: Sequence[Unnamed]) -> Grouping:
    """Puts requests together, first by fixed parts, then the rest by meaning."""
    found = [
        Group(rows, Bond.PARTS)
        for rows in by_system_prompt(requests, LEAST_REQUESTS) + by_tools(requests, LEAST_REQUESTS)
    ]
    templates = by_template(requests, _rest(requests, found), LEAST_REQUESTS)
    found += [Group(sorted(rows), Bond.TEMPLATE) for rows in templates]
    rest = np.array(_rest(requests, found), np.int64)
    if len(rest):
        labels = groups(unit_rows([requests[at].embedding for at in rest]))
        for number in range(int(labels.max()) + 1):
            rows = rest[labels == number].tolist()
            if len(rows) >= LEAST_REQUESTS:
                found.append(Group(rows, Bond.MEANING))
    return Grouping(tuple(found), len(_rest(requests, found)))


def _rest(requests: Sequence[Unnamed], found: Sequence[Group]) -> Rows:
    taken = {at for group in found for at in group.rows}
    return [at for at in range(len(requests)) if at not in taken]


def _examples(requests: Sequence[Unnamed], rows: Rows) -> list[Seen]:
    """Different requests from the centre of a group to near its edge, evenly."""
    kept = [at for at in rows if requests[at].packed]
    if not kept:
        return []
    embeddings = unit_rows([requests[at].embedding for at in kept])
    central = np.argsort(-(embeddings @ embeddings.mean(axis=0)), kind="stable")
    central = central[: max(MAX_EXAMPLES, int(CENTRAL * len(central)))]
    chosen: dict[Seen, None] = {}
    # Where many are the same, the places between are tried too.
    step = max(1, len(central) // MAX_EXAMPLES)
    for start in range(min(step, MAX_STARTS)):
        for place in central[start::step]:
            seen = requests[kept[place]].seen
            if seen is not None and len(chosen) < MAX_EXAMPLES:
                chosen[seen] = None
    return list(chosen)


def _from_everywhere(requests: Sequence[Unnamed]) -> list[Seen]:
    """Some of all requests, so that what all have in common tells nothing of one group."""
    step = max(1, len(requests) // (10 * MAX_EXAMPLES))
    return [seen for item in requests[::step] if (seen := item.seen) is not None]


def _shapes(requests: Sequence[Unnamed], group: Group, examples: Sequence[Seen]) -> tuple[Shape, ...]:
    if group.bond is Bond.PARTS:
        # One of those that differ only in what changes stands for all of them.
        alike: dict[tuple[bytes, tuple[str, ...], bytes], Shape] = {}
        for shape, _ in Counter(requests[at].shape for at in group.rows).most_common():
            parts = (shape.masked_digest or shape.digest, shape.tool_names, shape.schema_digest)
            alike.setdefault(parts, shape)
        return tuple(alike.values())[:MAX_SHAPES]
    # Of a system prompt with a document in it each is another: nobody's mark.
    if group.bond is Bond.TEMPLATE and not requests[group.rows[0]].shape.digest:
        return shapes_of_examples(examples)
    return ()


def _share(
    requests: Sequence[Unnamed], costs: Mapping[bytes, int | None], total: float | None
) -> float | None:
    own = _spend(requests, costs)
    return own / total if own is not None and total else None


def _spend(requests: Sequence[Unnamed], costs: Mapping[bytes, int | None]) -> float | None:
    """Nano-dollars; the few whose cost is unknown count as much as the others do on average."""
    known = [cost for item in requests if (cost := costs.get(item.request_id)) is not None]
    if not known or len(requests) - len(known) > MAX_UNKNOWN * len(requests):
        return None
    return sum(known) / len(known) * len(requests)


def _task_type(requests: Sequence[Unnamed]) -> TaskType:
    """The majority's, each weighted by how sure it is."""
    weights: dict[TaskType, float] = {}
    told = 0
    for item in requests:
        if item.task_type is not TaskType.UNSPECIFIED:
            weights[item.task_type] = weights.get(item.task_type, 0.0) + item.task_type_confidence
            told += 1
    if told < TOLD * len(requests):
        return TaskType.UNSPECIFIED
    best, weight = max(weights.items(), key=lambda pair: (pair[1], -pair[0]))
    return best if weight >= AGREED * sum(weights.values()) else TaskType.UNSPECIFIED


def _name(
    telling: Sequence[str], shape: Shape, task_type: TaskType, keys: Sequence[str], taken: Collection[str]
) -> str:
    if telling:
        return unique(telling, taken)
    words = words_of_tools(shape.tool_names) or [label(task_type) or "requests"]
    return numbered([*words, *keys[:1]], taken)


def _sample(seen: Seen) -> str:
    text = seen.turns[-1] if seen.turns else seen.system_prompt
    tail = SAMPLE_CHARS // 3
    return text if len(text) <= SAMPLE_CHARS else f"{text[: 2 * tail]} … {text[-tail:]}"
