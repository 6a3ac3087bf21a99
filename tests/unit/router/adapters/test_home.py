"""What a home says of settings that can't be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from services.common.settings import SettingsError
from services.router.adapters.home import Home
from services.router.config import TritonSettings

MODEL = Path(__file__).parents[4] / "models" / "small-llama"


def test_a_folder_that_is_no_models_is_told_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"triton\.gpu\.model_dir: .*tokenizer\.json"):
        Home("gpu", TritonSettings(replicas=["127.0.0.1:1"], model_dir=tmp_path))


def test_a_context_that_nobody_names_is_told(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MODEL / name, tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(SettingsError, match=r"triton\.gpu\.context_tokens: missing"):
        Home("gpu", TritonSettings(replicas=["127.0.0.1:1"], model_dir=tmp_path))


def test_certificates_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"triton\.gpu\.tls_dir: "):
        Home("gpu", TritonSettings(replicas=["127.0.0.1:1"], model_dir=MODEL, tls_dir=tmp_path))
