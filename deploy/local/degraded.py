"""The model at home, made worse on purpose and loaded in place, as a bad release would be.

The weights are the same; in the tokenizer, most words that stand in no prompt have each other's numbers, as
if tokenizer and weights came from two builds. The model still answers in good form, and is often wrong.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from tokenizers import Tokenizer
from tritonclient.grpc.aio import InferenceServerClient

from deploy.triton.contract.compare import MODEL_NAME
from services.router.core.sovereign.structured import instruction

PROMPTS = Path("data/workloads/prompts.json")
SHARE = 0.5
"""Of the words that stand in no prompt; `docs/cutover.md` has what it costs."""
SEED = 20261129
FOLDER = "degraded"
RELOAD_TIMEOUT_S = 60.0
_TOKENIZER = "tokenizer.json"
_WORD = re.compile("Ġ?[a-zA-Z]{2,}")
"""Byte-level BPE writes a space as Ġ."""


def prepare(folder: Path, source: Path, share: float = SHARE) -> Path:
    """Writes the folder of the degraded model, every version of it, anew.

    Args:
        folder: what is written.
        source: the good model's folder.
        share: of the words that are mixed up.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in source.iterdir():
        if part.name != _TOKENIZER:
            (folder / part.name).symlink_to(part.resolve())
    text = (source / _TOKENIZER).read_text(encoding="utf-8")
    document = json.loads(text)
    numbers: dict[str, int] = document["model"]["vocab"]
    free = sorted(set(numbers) - _spoken(Tokenizer.from_str(text)))
    mixed = random.Random(SEED).sample(free, round(share * len(free)))
    document["model"]["vocab"] = {
        **numbers,
        **{word: numbers[other] for word, other in zip(mixed, mixed[1:] + mixed[:1], strict=True)},
    }
    (folder / _TOKENIZER).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return folder


async def load(address: str, models: Path) -> None:
    """Has a running Triton load its model anew from a folder, by its repository API; until it is loaded, the
    old one answers.

    Args:
        address: HOST:PORT of its gRPC door.
        models: has the versions; absolute.

    Raises:
        tritonclient.utils.InferenceServerException: it is not there, or can't.
    """
    async with InferenceServerClient(address) as client:
        found = await client.get_model_config(MODEL_NAME)
        # A load without a configuration of its own does nothing: the files in the repository are the same.
        found.config.parameters["models"].string_value = str(models)
        config = json_format.MessageToJson(found.config, preserving_proto_field_name=True)
        await client.load_model(MODEL_NAME, config=config, client_timeout=RELOAD_TIMEOUT_S)


def _spoken(tokenizer: Tokenizer) -> set[str]:
    """The tokens that applications' prompts and the right answers are made of, and all that are no words."""
    prompts: dict[str, Any] = json.loads(PROMPTS.read_text(encoding="utf-8"))
    spoken = {token for token in tokenizer.get_vocab() if not _WORD.fullmatch(token)}
    for workload in prompts.values():
        schema = workload["json"]["response_format"]["json_schema"]["schema"]
        texts = [f"\n\n{instruction(schema)}", json.dumps(workload), *_strings(workload)]
        labels = schema["properties"][workload["property"]]["enum"]
        texts += [json.dumps({workload["property"]: label}) for label in labels]
        for text in ("system", "user", "assistant", *texts):
            spoken.update(tokenizer.encode(text).tokens)
    return spoken


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(item)
