"""A model at home whose files are wrong or elsewhere; integration/test_doctor.py has replicas that answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deploy.local.ports import free_ports
from playbook.doctor.facts import Home
from playbook.doctor.read_home import read_home
from services.router.config import TritonSettings

MODEL = Path(__file__).parents[4] / "models" / "small-llama"


async def read(model_dir: Path, tls_dir: Path | None = None) -> Home:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    settings = TritonSettings(replicas=[address], model_dir=model_dir, tls_dir=tls_dir)
    return await read_home("home", "eu", settings)


async def test_a_replica_that_is_down_is_told_and_the_folder_is_read(tmp_path: Path) -> None:
    found = await read(MODEL)
    (replica,) = found.replicas
    assert (replica.problem, replica.unasked) == ("nothing answers", "")
    assert (found.folder_here, found.folder_problem, found.context_tokens) == (True, "", 2048)


async def test_a_folder_that_is_elsewhere_is_told_from_one_that_is_wrong(tmp_path: Path) -> None:
    elsewhere = await read(tmp_path / "none")
    assert (elsewhere.folder_here, elsewhere.folder_problem) == (False, "")
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken, ignore=shutil.ignore_patterns("*.safetensors", "*.npz", "*.onnx"))
    (broken / "tokenizer_config.json").write_text("{}")
    found = await read(broken)
    assert found.folder_here
    assert "chat_template" in found.folder_problem


@pytest.mark.parametrize("files", [(), ("ca.crt",)], ids=["no folder", "half of it"])
async def test_certificates_that_are_elsewhere_leave_the_replica_unknown(
    files: tuple[str, ...], tmp_path: Path
) -> None:
    tls = tmp_path / "tls"
    if files:
        tls.mkdir()
    for name in files:
        (tls / name).write_text("x")
    (replica,) = (await read(MODEL, tls)).replicas
    assert "tls_dir" in replica.unasked
    assert replica.problem == ""
