"""The order of evidence: fingerprint, examples, task type, and the honest end of it.

What was declared never comes here. The kind of work is only told; it never names a workload.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.classifier.core.examples import ExampleHead
from services.classifier.core.reading import Reading
from services.classifier.core.registry import Registry
from services.common.seen import Seen
from services.common.words import Evidence, TaskType


@dataclass(frozen=True, slots=True)
class Answer:
    """What the classifier says of a request."""

    workload: str
    evidence: Evidence
    confidence: float
    """Probability that the name is right; without a name, that the task type is; 0 if there is neither."""
    task_type: TaskType
    task_type_confidence: float


ABSTAINED = Answer("", Evidence.ABSTAINED, 0.0, TaskType.UNSPECIFIED, 0.0)


def by_fixed_parts(registry: Registry, seen: Seen) -> Answer | None:
    """The name that the request's fixed parts give. Needs no model."""
    hit = registry.shapes.find(seen)
    if hit is None:
        return None
    return Answer(
        hit.workload,
        Evidence.FINGERPRINT,
        hit.confidence,
        registry.get(hit.workload).task_type,
        hit.confidence,
    )


def by_reading(
    registry: Registry, head: ExampleHead, reading: Reading, evidence: Reading, abstain_below: float
) -> Answer:
    """The name that resembling examples give, else the kind of work, else nothing.

    Args:
        reading: of the request without what claims a route for it: it tells the kind of work.
        evidence: of the request without what mentions a workload, too: it tells the name.
        abstain_below: probability under which the kind of work is not told.
    """
    if not reading.language_known:
        return ABSTAINED
    guess = head.guess(evidence)
    if guess is not None:
        task_type = registry.get(guess.workload).task_type
        return Answer(guess.workload, Evidence.EXAMPLES, guess.confidence, task_type, guess.confidence)
    task_type, confidence = kind_of_work(reading, abstain_below)
    if task_type is TaskType.UNSPECIFIED:
        return ABSTAINED
    return Answer("", Evidence.TASK_TYPE, confidence, task_type, confidence)


def kind_of_work(reading: Reading, abstain_below: float) -> tuple[TaskType, float]:
    """The likeliest task type and its probability; UNSPECIFIED and 0 if it is too unsure to be told."""
    best = int(reading.task_types.argmax())
    confidence = float(reading.task_types[best])
    return (TaskType(best + 1), confidence) if confidence >= abstain_below else (TaskType.UNSPECIFIED, 0.0)
