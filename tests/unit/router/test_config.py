"""The router's settings: what they make, and what is told of mistakes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.common.budgets import AtCap, Rule
from services.common.settings import SettingsError
from services.common.words import Purpose, Target
from services.router.config import RouterConfig, load_router
from services.router.core.catalog import (
    ANTHROPIC,
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    OPENAI,
    TRITON,
    Upstream,
    at_home_only,
)
from services.router.core.data_classes import DataClass
from services.router.core.detectors import Kind
from services.router.core.keys import Key
from services.router.core.personal_data import Detectors, OnHit

MINIMAL = """
[upstreams.openai]
base_url = "https://api.openai.com/v1/"
models = ["gpt-4o*"]
"""
DIGEST = "ab" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "homeward.toml"


def read(file: Path, toml: str, **environment: str) -> RouterConfig:
    file.write_text(toml)
    return load_router(file, environment)


def test_the_least_that_is_needed_is_an_upstream(file: Path) -> None:
    config = read(file, MINIMAL)
    assert (config.router.http, config.limits.connections, config.timeouts.max_attempts) == (
        "127.0.0.1:8080",
        4096,
        3,
    )
    (route,) = config.catalog().routes("gpt-4o-mini")
    assert route.upstream == Upstream(
        name="openai",
        target=Target.CLOUD,
        protocol=OPENAI,
        base_url="https://api.openai.com/v1",
        provider="openai",
        region="",
        models=("gpt-4o*",),
        apis=frozenset({"chat.completions", "completions", "embeddings", "responses"}),
        stream_usage=True,
    )


def test_what_is_said_of_an_upstream_arrives_in_the_catalog(file: Path) -> None:
    config = read(
        file,
        """
        [upstreams.claude]
        target = "sovereign"
        protocol = "anthropic"
        base_url = "http://10.0.0.1:8000"
        provider = "anthropic"
        region = "eu"
        apis = ["messages"]
        stream_usage = false
        [upstreams.other]
        base_url = "http://10.0.0.2"
        [models.small]
        routes = [{upstream = "other", model = "a"}, {upstream = "claude", model = "b"}]
        """,
    )
    first, second = config.catalog().routes("small")
    assert (first.upstream.name, first.model, second.model) == ("other", "a", "b")
    assert second.upstream == Upstream(
        name="claude",
        target=Target.SOVEREIGN,
        protocol=ANTHROPIC,
        base_url="http://10.0.0.1:8000",
        provider="anthropic",
        region="eu",
        models=(),
        apis=frozenset({MESSAGES}),
        stream_usage=False,
    )


HOME = """
[upstreams.home]
target = "sovereign"
protocol = "triton"
models = ["llama"]
[triton.home]
replicas = ["10.0.0.1:8001", "10.0.0.2:8001"]
model_dir = "models/llama"
"""


def test_a_model_at_home_needs_no_url_and_offers_what_a_server_of_prompts_can(file: Path) -> None:
    catalog = read(file, HOME + "context_overflow = 'error'").catalog()
    upstream = catalog.routes("llama")[0].upstream
    assert (upstream.target, upstream.protocol, upstream.base_url) == (Target.SOVEREIGN, TRITON, "")
    assert upstream.apis == {CHAT, COMPLETIONS}
    assert not upstream.too_long_moves
    assert at_home_only(catalog.routes("llama"), CHAT)
    assert at_home_only(catalog.routes("llama"), MESSAGES)
    assert not at_home_only(catalog.routes("llama"), EMBEDDINGS)


def test_a_model_with_a_server_in_the_cloud_is_not_at_home_only(file: Path) -> None:
    toml = HOME + "[upstreams.cloud]\nbase_url = 'http://x'\nmodels = ['llama']"
    assert not at_home_only(read(file, toml).catalog().routes("llama"), CHAT)


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("", "upstreams: at least one [upstreams.NAME] is needed"),
        ("[upstreams.a]", "upstreams.a.base_url: missing"),
        (
            "[upstreams.a]\nbase_url = 'api.openai.com'",
            r"upstreams.a.base_url: string should match pattern '^https?://[^\s]+$', got 'api.openai.com'",
        ),
        (
            "[upstreams.a]\nbase_url = 'http://x'\nprotocol = 'anthropic'",
            'upstreams.a.apis: expected ["messages"] with protocol = "anthropic"',
        ),
        (
            "[upstreams.a]\nbase_url = 'http://x'\napis = ['messages']",
            'upstreams.a.apis: "messages" needs protocol = "anthropic"',
        ),
        (
            "[upstreams.a]\nbase_url = 'http://x'\napis = ['chat']",
            "upstreams.a.apis.0: input should be 'chat.completions', 'completions', 'embeddings',"
            " 'responses' or 'messages', got 'chat'",
        ),
        (
            MINIMAL + "[models.small]\nroutes = [{upstream = 'opnai', model = 'm'}]",
            "models.small.routes.0.upstream: expected one of openai, got 'opnai'",
        ),
        (
            MINIMAL + "[models.small]\nroutes = []",
            "models.small.routes: list should have at least 1 item after validation, not 0",
        ),
        (
            MINIMAL + "[models.small]\nroutes = [{upstream = 'openai'}]",
            "models.small.routes.0.model: missing",
        ),
        (
            MINIMAL + "[router]\nprocesses = 0",
            "router.processes: input should be greater than or equal to 1, got 0",
        ),
        (MINIMAL + "[router]\nport = 80", "router.port: unknown key"),
        (
            MINIMAL + "[limits]\nbody_bytes = 5",
            "limits.body_bytes: input should be greater than or equal to 1024, got 5",
        ),
        (MINIMAL + "[timeouts]\nconnect_s = 0", "timeouts.connect_s: input should be greater than 0, got 0"),
        (MINIMAL + "[keys.crm]", "keys.crm.sha256: missing"),
        (
            MINIMAL + f"[keys.crm]\nsha256 = '{DIGEST}'\nscopes = ['all']",
            "keys.crm.scopes.0: input should be 'approvals' or 'experiments', got 'all'",
        ),
        (
            MINIMAL + f"[keys.crm]\nsha256 = '{DIGEST}'\nrequests_per_minute = 0",
            "keys.crm.requests_per_minute: input should be greater than 0, got 0",
        ),
        (
            "[upstreams.home]\nprotocol = 'triton'",
            'upstreams.home: protocol = "triton" needs a section [triton.home]',
        ),
        (
            HOME
            + "[upstreams.other]\nbase_url = 'http://x'\n[triton.other]\nreplicas = ['a:1']\nmodel_dir = 'm'",
            'triton.other: expected an [upstreams.other] with protocol = "triton"',
        ),
        (
            HOME.replace("[triton", "apis = ['embeddings']\n[triton"),
            "upstreams.home.apis: expected some of chat.completions, completions",
        ),
        (
            "[upstreams.home]\nprotocol = 'triton'\n[triton.home]\nreplicas = []\nmodel_dir = 'm'",
            "triton.home.replicas: list should have at least 1 item after validation, not 0",
        ),
        (
            HOME + "context_overflow = 'cut'",
            "triton.home.context_overflow: input should be 'cloud' or 'error', got 'cut'",
        ),
    ],
)
def test_a_mistake_has_a_line(file: Path, toml: str, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(file, toml)
    assert str(caught.value) == f"{file}: {line}"


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        # The secret itself where its digest belongs.
        (MINIMAL + "[keys.crm]\nsha256 = 'hw-8642hunter2'", "keys.crm.sha256"),
        (MINIMAL + "api_key = 8642", "upstreams.openai.api_key"),
    ],
)
def test_a_key_is_not_repeated(file: Path, toml: str, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(file, toml)
    line = str(caught.value).removeprefix(f"{file}: ")
    assert line.startswith(f"{key}: ")
    assert "8642" not in line


def test_neither_is_a_key_in_what_is_printed_of_the_settings(file: Path) -> None:
    config = read(file, MINIMAL + f"api_key = 'sk-hunter2'\n[keys.crm]\nsha256 = '{DIGEST}'")
    assert "hunter2" not in repr(config)
    assert DIGEST not in repr(config)


@pytest.mark.parametrize(
    ("settings", "environment", "credentials"),
    [
        ("", {}, {}),
        ("api_key = 'sk-1'", {}, {"openai": "sk-1"}),
        ("api_key_env = 'KEY'", {"KEY": "sk-2"}, {"openai": "sk-2"}),
        ("api_key_env = 'KEY'", {}, {}),
        ("api_key = 'sk-1'\napi_key_env = 'KEY'", {"KEY": "sk-2"}, {"openai": "sk-1"}),
        ("", {"OPENAI_API_KEY": "sk-3"}, {}),
    ],
)
def test_an_upstreams_key_is_in_the_file_or_in_the_environment(
    file: Path, settings: str, environment: dict[str, str], credentials: dict[str, str]
) -> None:
    assert read(file, MINIMAL + settings).credentials(environment) == credentials


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ("", {}),
        ("workloads = ['*']", {}),
        ("workloads = ['triage', '*']", {"named": frozenset({"triage"})}),
        ("workloads = ['triage']", {"workloads": frozenset({"triage"}), "named": frozenset({"triage"})}),
        ("workloads = []", {"workloads": frozenset()}),
        ("default_workload = 'triage'", {"default_workload": "triage", "named": frozenset({"triage"})}),
        ("scopes = ['experiments', 'approvals']", {"scopes": frozenset({"experiments", "approvals"})}),
        (
            "requests_per_minute = 60\ntokens_per_minute = 1e5",
            {"requests_per_minute": 60, "tokens_per_minute": 100_000},
        ),
    ],
)
def test_a_key_is_what_its_section_says(file: Path, settings: str, fields: dict[str, Any]) -> None:
    config = read(file, MINIMAL + f"[keys.crm]\nsha256 = '{DIGEST}'\n{settings}")
    assert config.api_keys() == [Key("crm", bytes.fromhex(DIGEST), **fields)]


CLOUD = {"HOMEWARD_CLOUD_BASE_URL": "https://llm.example.org/v1", "HOMEWARD_CLOUD_API_KEY": "sk-9"}


@pytest.mark.parametrize(
    ("toml", "extra", "provider"),
    [
        ("", {}, "openai"),
        ("", {"HOMEWARD_CLOUD_PROVIDER": "mistral"}, "mistral"),
        ("[upstreams.cloud]\nbase_url = 'http://old'\nprovider = 'old'", {}, "openai"),
    ],
)
def test_the_environment_alone_can_name_a_cloud(
    file: Path, toml: str, extra: dict[str, str], provider: str
) -> None:
    environment = {**CLOUD, **extra}
    config = read(file, toml, **environment)
    (route,) = config.catalog().routes("any-model")
    assert (route.upstream.name, route.upstream.base_url) == ("cloud", "https://llm.example.org/v1")
    assert route.upstream.provider == provider
    assert config.credentials(environment) == {"cloud": "sk-9"}


def test_a_cloud_in_the_environment_leaves_the_other_upstreams(file: Path) -> None:
    assert set(read(file, MINIMAL, **CLOUD).upstreams) == {"openai", "cloud"}


@pytest.mark.parametrize(
    ("toml", "environment", "key"),
    [
        ("", {"HOMEWARD_CLOUD_BASE_URL": "llm.example.org"}, "upstreams.cloud.base_url"),
        ("upstreams = 5", CLOUD, "upstreams"),
    ],
)
def test_a_mistake_is_told_with_a_cloud_in_the_environment_too(
    file: Path, toml: str, environment: dict[str, str], key: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(file, toml, **environment)
    assert str(caught.value).startswith(f"{file}: {key}: ")


def test_sections_of_other_services_do_not_matter(file: Path) -> None:
    assert read(file, MINIMAL + "[workloads.triage]\nowner = 5") == read(file, MINIMAL)


# The data classes


@pytest.mark.parametrize(
    ("settings", "name", "wanted"),
    [
        ("", "unrestricted", DataClass("unrestricted")),
        ("[data_classes.internal]", "internal", DataClass("internal")),
        (
            "[data_classes.patients]\ntargets = ['sovereign']\nregions = ['eu']",
            "patients",
            DataClass("patients", frozenset({Target.SOVEREIGN}), frozenset({"eu"})),
        ),
        ("[data_classes.internal]", "patients", DataClass("patients", frozenset(), known=False)),
    ],
)
def test_a_data_class_is_what_its_section_says(
    file: Path, settings: str, name: str, wanted: DataClass
) -> None:
    assert read(file, MINIMAL + settings).classes().get(name) == wanted


# The budgets


def test_a_budget_is_what_its_section_says_and_processes_share_its_allowance(
    file: Path,
) -> None:
    settings = """
    [router]
    processes = 4

    [budgets.crm]
    limit_usd = 0.0000015
    key = "crm"

    [budgets.shadowing]
    limit_usd = 250
    period = "day"
    workload = "triage"
    purpose = "shadow"
    at_cap = "sovereign"
    offline_requests = 6
    """
    shadowing = Rule("shadowing", 250 * 10**9, "day", AtCap.SOVEREIGN, 2, workload="triage", purpose="shadow")
    first = read(file, MINIMAL + settings).budget_rules()
    assert first.covering("triage", "crm", Purpose.SHADOW) == (
        Rule("crm", 1500, "month", AtCap.REFUSE, 250, key_name="crm"),
        shadowing,
    )
    last = read(file, MINIMAL + settings, HOMEWARD_ROUTER__INDEX="3").budget_rules()
    assert last.covering("triage", "web", Purpose.SHADOW) == (replace(shadowing, offline_requests=1),)
    assert last.covering("triage", "web", Purpose.PRODUCTION) == ()


def test_a_workloads_detectors(file: Path) -> None:
    config = read(
        file,
        MINIMAL
        + """
        [workloads.mail]
        owner = "care"
        personal_data = { detectors = ["email", "iban"], on_hit = "mask" }
        [workloads.payroll]
        owner = "people"
        personal_data = { detectors = ["card"] }
        [workloads.plain]
        owner = "care"
        """,
    )
    assert config.personal_data().by_workload == {
        "mail": Detectors(frozenset({Kind.EMAIL, Kind.IBAN}), OnHit.MASK),
        "payroll": Detectors(frozenset({Kind.CARD}), OnHit.SOVEREIGN),
    }


def test_every_kind_can_be_named(file: Path) -> None:
    kinds = [kind.value for kind in Kind]
    config = read(file, f"{MINIMAL}\n[workloads.a]\nowner = 'a'\npersonal_data = {{ detectors = {kinds} }}")
    assert config.personal_data().by_workload["a"].kinds == set(Kind)


@pytest.mark.parametrize("detectors", ['["name"]', "[]", '"email"'])
def test_a_detector_that_is_not_there_is_a_mistake(file: Path, detectors: str) -> None:
    with pytest.raises(SettingsError, match=r"workloads\.a\.personal_data\.detectors"):
        read(file, f"{MINIMAL}\n[workloads.a]\nowner = 'a'\npersonal_data = {{ detectors = {detectors} }}")
