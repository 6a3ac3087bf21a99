"""Settings: every mistake has a line that names the file, the key and what was expected."""

from pathlib import Path
from typing import Any

import pytest

from services.common.settings import (
    SECTIONS,
    UNRESTRICTED,
    ClickHouse,
    Cutover,
    DataClass,
    Name,
    Registry,
    Section,
    SettingsError,
    Telemetry,
    Workload,
    load,
    read_document,
)


class Example(Section):
    """Sections as a service would put them together."""

    clickhouse: ClickHouse = ClickHouse()
    telemetry: Telemetry = Telemetry()
    workloads: dict[Name, Workload] = {}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "homeward.toml"


def read(file: Path, toml: str, **environment: str) -> Example:
    file.write_text(toml)
    return load(Example, "clickhouse", "telemetry", "workloads", path=file, environment=environment)


def mistakes(file: Path, toml: str, **environment: str) -> list[str]:
    """The lines of the error, each without the file's name, which each must begin with."""
    with pytest.raises(SettingsError) as caught:
        read(file, toml, **environment)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{file}: ") for line in lines)
    return [line.removeprefix(f"{file}: ") for line in lines]


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            "[telemetry]\nsample_ratio = 2",
            "telemetry.sample_ratio: input should be less than or equal to 1, got 2",
        ),
        (
            "[telemetry]\nsample_ratio = 'all'",
            "telemetry.sample_ratio: input should be a valid number, unable to parse string as a number,"
            " got 'all'",
        ),
        (
            "[telemetry]\nlog_level = 'loud'",
            "telemetry.log_level: input should be 'debug', 'info', 'warning' or 'error', got 'loud'",
        ),
        ("[telemetry]\nlevel = 'info'", "telemetry.level: unknown key"),
        (
            "[clickhouse]\nurl = 'localhost:8123'",
            "clickhouse.url: string should match pattern '^https?://', got 'localhost:8123'",
        ),
        ("[workloads.triage]", "workloads.triage.owner: missing"),
        (
            "[workloads.triage]\nowner = ''",
            "workloads.triage.owner: string should have at least 1 character, got ''",
        ),
        (
            "[workloads.Triage]\nowner = 'crm'",
            "workloads.Triage: string should match pattern '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',"
            " got 'Triage'",
        ),
        (
            "[workloads.triage]\nowner = 'crm'\ncutover.approval = 'all'",
            "workloads.triage.cutover.approval: input should be 'none', 'first' or 'each', got 'all'",
        ),
        (
            "[workloads.triage]\nowner = 'crm'\n[workloads.triage.cutover]\nerror_rate_max = 5",
            "workloads.triage.cutover.error_rate_max: input should be less than or equal to 1, got 5",
        ),
        (
            "[workloads.triage]\nowner = 'crm'\ncutover = { breaker_requests = 0 }",
            "workloads.triage.cutover.breaker_requests: input should be greater than or equal to 1, got 0",
        ),
        ("workloads = 5", "workloads: input should be a valid dictionary, got 5"),
    ],
)
def test_a_mistake_is_named_by_its_key_and_what_was_expected(file: Path, toml: str, line: str) -> None:
    assert mistakes(file, toml) == [line]


def test_several_mistakes_are_all_told(file: Path) -> None:
    toml = """
        [telemetry]
        sample_ratio = -1
        colour = true
        [clickhouse]
        url = "ftp://x"
        [workloads.triage]
        task_type = "poetry"
    """
    keys = [line.split(":")[0] for line in mistakes(file, toml)]
    assert sorted(keys) == [
        "clickhouse.url",
        "telemetry.colour",
        "telemetry.sample_ratio",
        "workloads.triage.owner",
        "workloads.triage.task_type",
    ]


def test_an_unknown_section_is_told_with_those_that_there_are(file: Path) -> None:
    (line,) = mistakes(file, "[telemetri]\nx = 1")
    assert line == f"telemetri: unknown section; expected one of {', '.join(sorted(SECTIONS))}"


def test_two_unknown_sections_are_both_told(file: Path) -> None:
    lines = mistakes(file, "[telemetri]\n[clickhous]")
    assert [line.split(":")[0] for line in lines] == ["clickhous", "telemetri"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file; copy homeward.toml from the repository"),
        (b"[telemetry\n", "not valid TOML: "),
        (b"x = '\xff'", "can't be read: "),
    ],
)
def test_a_file_that_is_no_toml_is_told(file: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_document(file, {})
    assert str(caught.value).startswith(f"{file}: {told}")


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("password = ['hunter2']", "clickhouse.password"),
        ("password = {is = 'hunter2'}", "clickhouse.password"),
        ("password = 8642", "clickhouse.password"),
        ("secret = 'hunter2'", "clickhouse.secret"),
        # Long texts may be secrets under a wrong key.
        (f"url = '{'hunter2' * 8}'", "clickhouse.url"),
    ],
)
def test_a_secret_is_not_repeated(file: Path, toml: str, key: str) -> None:
    (line,) = mistakes(file, f"[clickhouse]\n{toml}")
    assert line.startswith(f"{key}: ")
    assert "hunter2" not in line
    assert "8642" not in line


def test_a_password_is_not_printed_with_the_settings(file: Path) -> None:
    assert "hunter2" not in repr(read(file, "[clickhouse]\npassword = 'hunter2'"))


@pytest.mark.parametrize(
    ("variable", "value", "where", "expected"),
    [
        ("HOMEWARD_TELEMETRY__SAMPLE_RATIO", "0.25", ("telemetry", "sample_ratio"), 0.25),
        ("HOMEWARD_TELEMETRY__LOG_LEVEL", "debug", ("telemetry", "log_level"), "debug"),
        ("HOMEWARD_TELEMETRY__LOG_LEVEL", '"debug"', ("telemetry", "log_level"), "debug"),
        ("HOMEWARD_CLICKHOUSE__URL", "https://ch:8443", ("clickhouse", "url"), "https://ch:8443"),
        ("HOMEWARD_CLICKHOUSE__USER", "'8642'", ("clickhouse", "user"), "8642"),
        ("HOMEWARD_CLICKHOUSE__USER", "", ("clickhouse", "user"), ""),
        ("HOMEWARD_WORKLOADS__TICKET_TRIAGE__OWNER", "ops", ("workloads", "ticket-triage", "owner"), "ops"),
        (
            "HOMEWARD_WORKLOADS__TICKET_TRIAGE__SYSTEM_PROMPTS",
            '["one", "two"]',
            ("workloads", "ticket-triage", "system_prompts"),
            ["one", "two"],
        ),
    ],
)
def test_the_environment_overrides_the_file(
    file: Path, variable: str, value: str, where: tuple[str, ...], expected: object
) -> None:
    toml = """
        [telemetry]
        sample_ratio = 0.5
        log_level = "error"
        [workloads.ticket-triage]
        owner = "crm"
    """
    found: Any = read(file, toml, **{variable: value}).model_dump()
    for key in where:
        found = found[key]
    assert found == expected


@pytest.mark.parametrize("password", ["8642", "1e5", "[x", "'"])
def test_a_password_in_the_environment_is_text_whatever_it_looks_like(file: Path, password: str) -> None:
    settings = read(file, "", HOMEWARD_CLICKHOUSE__PASSWORD=password)
    assert settings.clickhouse.password == password


def test_a_hash_in_the_environment_is_text_whatever_it_looks_like(file: Path) -> None:
    file.write_text("")
    document = read_document(file, {"HOMEWARD_KEYS__DEMO__SHA256": "1" * 64})
    assert document["keys"]["demo"]["sha256"] == "1" * 64


@pytest.mark.parametrize(
    "variable",
    [
        "HOMEWARD_CLOUD_BASE_URL",
        "HOMEWARD_OTHER__KEY",
        "TELEMETRY__LOG_LEVEL",
        "homeward_telemetry__log_level",
    ],
)
def test_other_variables_change_nothing(file: Path, variable: str) -> None:
    assert read(file, "", **{variable: "loud"}) == Example()


def test_an_override_is_checked_like_the_file(file: Path) -> None:
    (line,) = mistakes(file, "", HOMEWARD_TELEMETRY__SAMPLE_RATIO="7")
    assert line == "telemetry.sample_ratio: input should be less than or equal to 1, got 7"


def test_an_override_below_a_plain_value_leaves_the_mistake_to_be_told(file: Path) -> None:
    (line,) = mistakes(file, "telemetry = 5", HOMEWARD_TELEMETRY__LOG_LEVEL="debug")
    assert line.startswith("telemetry: ")


def test_a_workload_goes_home_carefully_unless_it_is_told_otherwise(file: Path) -> None:
    toml = """
        [workloads.triage]
        owner = "crm"
        [workloads.minutes]
        owner = "staff"
        [workloads.minutes.cutover]
        approval = "each"
        approvers = ["ops", "quality"]
        step_s = 0.5
    """
    settings = read(file, toml, HOMEWARD_WORKLOADS__MINUTES__CUTOVER__STEP_REQUESTS="7")
    usual = settings.workloads["triage"].cutover
    assert usual == Cutover()
    assert (usual.approval, usual.step_s, usual.step_requests, usual.breaker_requests) == (
        "first",
        86_400,
        100,
        20,
    )
    assert settings.workloads["minutes"].cutover == Cutover(
        approval="each", approvers=["ops", "quality"], step_s=0.5, step_requests=7
    )


def test_approvers_that_nobody_would_ask_are_a_mistake(file: Path) -> None:
    cutover = "{ approval = 'none', approvers = ['ops'] }"
    (line,) = mistakes(file, f"[workloads.triage]\nowner = 'crm'\ncutover = {cutover}")
    assert line.startswith("workloads.triage.cutover: approvers: expected none of them")


REGISTRY = """
    [data_classes.personal]
    targets = ["sovereign"]
    regions = ["eu"]
    [workloads.triage]
    owner = "crm"
    data_class = "{data_class}"
"""


@pytest.mark.parametrize(
    ("data_class", "expected"),
    [("personal", DataClass(targets=["sovereign"], regions=["eu"])), ("unrestricted", UNRESTRICTED)],
)
def test_a_workload_has_its_data_class(file: Path, data_class: str, expected: DataClass) -> None:
    file.write_text(REGISTRY.format(data_class=data_class))
    registry = load(Registry, "workloads", "data_classes", path=file, environment={})
    assert registry.data_class("triage") == expected


def test_a_data_class_that_is_not_declared_is_told(file: Path) -> None:
    file.write_text(REGISTRY.format(data_class="persona"))
    with pytest.raises(SettingsError) as caught:
        load(Registry, "workloads", "data_classes", path=file, environment={})
    assert str(caught.value) == (
        f"{file}: workloads.triage.data_class: expected one of personal, unrestricted, got 'persona'"
    )
