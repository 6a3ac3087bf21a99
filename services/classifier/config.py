"""The classifier's settings: `[classifier]` and the registry of workloads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from services.classifier.core.registry import Registry as Table
from services.classifier.core.registry import Workload
from services.common.fingerprint import AmbiguousError, shape_of_system_prompt, shapes_of_examples
from services.common.fingerprint.shape import MAX_SHAPES
from services.common.seen import cut
from services.common.settings import ClickHouse, Registry, Section, SettingsError, Telemetry, load
from services.common.words import QualitySensitivity, TaskType


class Classifier(Section):
    """`[classifier]`: where it listens, what it keeps, and how much it takes on."""

    grpc: str = "127.0.0.1:8082"
    """HOST:PORT."""
    state_dir: Path = Path(".homeward/classifier")
    """Folder for the registered workloads, with their examples, and for what is remembered of unnamed
    requests. Only its owner can read the files."""
    models_dir: Path = Path("models/classifier")
    """Folder with the model: the encoder, its tokenizer and the heads."""
    batch_requests: int = Field(default=16, ge=1, le=256)
    """Requests that the model reads in one go when they have queued up. More would keep the last of them
    waiting past the router's `naming_budget_ms`."""
    workers: int = Field(default=2, ge=1, le=64)
    """Batches that are read at once, each on a core of its own."""
    queue_requests: int = Field(default=512, ge=1)
    """Requests that may wait for the model: more than a second's work. What comes beyond them is refused at
    once, and goes unnamed."""
    keep_unnamed_prompts: bool = False
    """Whether samples of unnamed prompts may be kept for `homeward inventory discover`. Nobody has said yet
    which data class they are of, so it has to be allowed. Prompts of named workloads are never kept."""
    unnamed_requests: int = Field(default=20_000, ge=100)
    """Unnamed requests that are remembered for discovery, the newest. A workload with half a per cent of them
    still has a hundred."""


class ClassifierConfig(Registry):
    """All that the classifier is told."""

    classifier: Classifier = Classifier()
    clickhouse: ClickHouse = ClickHouse()
    telemetry: Telemetry = Telemetry()


def load_classifier(path: Path, environment: Mapping[str, str] = os.environ) -> ClassifierConfig:
    """Reads the classifier's sections.

    Raises:
        SettingsError: something is wrong, or two workloads can't be told apart.
    """
    config = load(ClassifierConfig, *ClassifierConfig.model_fields, path=path, environment=environment)
    workloads = registered(config)
    for item in workloads:
        if len(item.shapes) > MAX_SHAPES:
            raise SettingsError(
                f"{path}: workloads.{item.name}: its system_prompts and examples have"
                f" {len(item.shapes)} fixed parts; at most {MAX_SHAPES} are allowed"
            )
    try:
        Table(workloads, version=1)
    except AmbiguousError as error:
        raise SettingsError(f"{path}: {error}") from None
    return config


def registered(config: ClassifierConfig) -> tuple[Workload, ...]:
    """The workloads that the settings register."""
    workloads = []
    for name, item in config.workloads.items():
        examples = tuple(dict.fromkeys(cut("", [text]) for text in item.examples))
        shapes = [*map(shape_of_system_prompt, item.system_prompts), *shapes_of_examples(examples)]
        workloads.append(
            Workload(
                name=name,
                owner=item.owner,
                task_type=TaskType[(item.task_type or "unspecified").upper()],
                data_class=item.data_class,
                quality_sensitivity=QualitySensitivity[(item.quality_sensitivity or "unspecified").upper()],
                description=item.description,
                version=1,
                shapes=tuple(dict.fromkeys(shapes)),
                examples=examples,
                from_settings=True,
            )
        )
    return tuple(workloads)
