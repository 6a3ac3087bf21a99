"""The degraded model of the tour: what it has of the good one."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from deploy.local import degraded

GOOD = Path("models/small-llama").resolve()


def test_what_applications_write_in_prompts_is_read_as_before_and_what_users_say_is_not(
    tmp_path: Path,
) -> None:
    bad = degraded.prepare(tmp_path / "bad", GOOD)
    before = Tokenizer.from_file(str(GOOD / "tokenizer.json"))
    after = Tokenizer.from_file(str(bad / "tokenizer.json"))
    prompts = json.loads(degraded.PROMPTS.read_text(encoding="utf-8"))
    for workload in prompts.values():
        labels = workload["json"]["response_format"]["json_schema"]["schema"]["properties"]
        for text in (workload["json"]["system"], json.dumps({workload["property"]: next(iter(labels))})):
            assert after.encode(text).ids == before.encode(text).ids
    said = "could you tell me how long it takes to drive to the nearest airport tonight"
    assert after.encode(said).ids != before.encode(said).ids
    assert sorted(after.get_vocab().values()) == sorted(before.get_vocab().values())


def test_all_but_the_tokenizer_is_the_good_model_s(tmp_path: Path) -> None:
    bad = degraded.prepare(tmp_path / "bad", GOOD)
    for part in GOOD.iterdir():
        if part.name != "tokenizer.json":
            assert (bad / part.name).resolve() == part
    degraded.prepare(bad, GOOD)
    assert (GOOD / "1" / "model.onnx").exists()
