"""Settings that are legal and dangerous, from real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook.doctor.dangers import loopback
from playbook.doctor.read_settings import read_settings

SAFE = """
[upstreams.openai]
base_url = "https://api.openai.com/v1"
api_key_env = "OPENAI_API_KEY"
provider = "openai"
region = "us"
models = ["gpt-4o-mini"]

[upstreams.home]
target = "sovereign"
base_url = "http://127.0.0.1:8001/v1"
provider = "own"
region = "eu"
models = ["llama"]

[pools.gpus]
upstreams = ["home"]

[keys.ops]
sha256 = "{hash}"
scopes = ["approvals", "experiments"]
""".format(hash="0" * 64)


def checks(folder: Path, settings: str, **environment: str) -> dict[str, str]:
    """What is said of settings, by the check."""
    file = folder / "homeward.toml"
    file.write_text(settings)
    read = read_settings(file, environment)
    assert read.mistakes == ()
    return {danger.check: f"{danger.found} {danger.todo}" for danger in read.dangers}


def test_safe_settings_have_no_danger(tmp_path: Path) -> None:
    assert checks(tmp_path, SAFE) == {}


@pytest.mark.parametrize(
    ("old", "new", "check", "words"),
    [
        (
            "[keys.ops]",
            '[data_classes.health]\ntargets = ["sovereign"]\nregions = ["us"]\n'
            '[workloads.notes]\nowner = "a"\n'
            'data_class = "health"\n[keys.ops]',
            "workload notes",
            "sovereign in us",
        ),
        ('upstreams = ["home"]', 'upstreams = ["hom"]', "upstream home", "in no pool"),
        ('upstreams = ["home"]', 'upstreams = ["home", "gone"]', "pool gpus", "'gone'"),
        ("[keys.ops]", '[ledger]\ngrpc = "0.0.0.0:8084"\n[keys.ops]', "open inside", "ledger at 0.0.0.0"),
        ("[keys.ops]", '[router]\nhttp = "0.0.0.0:8080"\n[keys.ops]', "open outside", "no TLS"),
        ("[keys.ops]", '[router]\nledger = "127.0.0.1:9084"\n[keys.ops]', "router.ledger", "127.0.0.1:9084"),
        ("https://api.openai.com", "http://api.openai.com", "upstream openai", "in the clear"),
        ('api_key_env = "OPENAI_API_KEY"', 'api_key = "sk-secret"', "upstream openai", "api_key_env"),
        ('scopes = ["approvals", "experiments"]', 'scopes = ["experiments"]', "keys", "approvals"),
        ('scopes = ["approvals", "experiments"]', 'scopes = ["approvals"]', "keys", "experiments"),
        ("[keys.ops]", '[keys.ops]\nworkloads = ["gone"]', "key ops", "gone"),
        ("[keys.ops]", '[budgets.b]\nlimit_usd = 1\nkey = "gone"\n[keys.ops]', "budget b", "covers no leg"),
        ('"gpt-4o-mini"', '"no-such-model"', "upstream openai", "no-such-model"),
    ],
    ids=[
        "a data class without an upstream",
        "no pool",
        "a pool without its upstream",
        "an open ledger",
        "an open router",
        "another port",
        "a cloud without TLS",
        "a secret in the file",
        "nobody may approve",
        "shadow may not ask",
        "a key of no workload",
        "a budget of no key",
        "no price",
    ],
)
def test_a_danger_is_named(tmp_path: Path, old: str, new: str, check: str, words: str) -> None:
    assert old in SAFE
    found = checks(tmp_path, SAFE.replace(old, new))
    assert words in found[check]


def test_a_triton_on_another_machine_needs_tls(tmp_path: Path) -> None:
    triton = """
[upstreams.far]
target = "sovereign"
protocol = "triton"
region = "eu"
models = ["big"]

[triton.far]
replicas = ["gpu-1:8001"]
model_dir = "models/small-llama"
"""
    assert "gpu-1:8001" in checks(tmp_path, SAFE + triton)["triton far"]


def test_no_secret_is_repeated(tmp_path: Path) -> None:
    found = checks(tmp_path, SAFE.replace('api_key_env = "OPENAI_API_KEY"', 'api_key = "sk-secret"'))
    assert "sk-secret" not in str(found)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8080", True),
        ("127.8.0.1:8080", True),
        ("[::1]:8080", True),
        ("localhost:8080", True),
        ("0.0.0.0:8080", False),
        ("[::]:8080", False),
        ("10.0.0.1:8080", False),
        ("homeward-router:8081", False),
    ],
)
def test_loopback(address: str, expected: bool) -> None:
    assert loopback(address) is expected


def test_every_mistake_is_told_and_what_can_be_read_is_read(tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text(SAFE + '[router]\nhttp = 5\n[plan]\nnonsense = 1\n[clickhouse]\nurl = "http://here:1"\n')
    read = read_settings(file, {})
    assert any("router.http" in line for line in read.mistakes)
    assert any("plan.nonsense" in line for line in read.mistakes)
    assert len(read.mistakes) == len(set(read.mistakes))
    assert read.dangers == ()


@pytest.mark.parametrize(
    ("listens", "expected"),
    [("0.0.0.0:8084", "ledger.internal:8084"), ("127.0.0.1:8084", "127.0.0.1:8084")],
)
def test_a_service_is_asked_where_its_callers_ask_it(tmp_path: Path, listens: str, expected: str) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text(
        SAFE + f'[router]\nledger = "ledger.internal:8084"\n[shadow]\nledger = "ledger.internal:8084"\n'
        f'[ledger]\ngrpc = "{listens}"\n'
    )
    assert read_settings(file, {}).addresses()["ledger"] == expected


def test_each_model_at_home_is_probed_by_one_name(tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    routes = (
        '[models.assistant]\nroutes = [{ upstream = "home", model = "llama" }]\n'
        '[models.other]\nroutes = [{ upstream = "home", model = "mistral" }]\n'
    )
    file.write_text(SAFE + routes)
    assert read_settings(file, {}).models_at_home() == [("llama", "home"), ("other", "home")]
