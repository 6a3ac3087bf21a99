"""`homeward plan` and `homeward finance`: what they print, write and draw, with and without a book."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from playbook.cli import app
from playbook.commands import finance as finance_page
from playbook.commands import plan as plan_page
from playbook.finance.gather import Book, Config
from playbook.inventory.gather import put_together
from playbook.inventory.lines import inventory
from playbook.inventory.saving import PUBLISHED
from playbook.inventory.spend import Group
from playbook.plan.events import events
from playbook.plan.gather import Gathered, gather
from playbook.plan.schedule import Phase
from playbook.plan.stages import Stages
from playbook.plan.told import headline, remarks
from services.common.words import Stage
from tests.support.spend_groups import project

DOLLAR = 1_000_000_000
KNOWN = """
cloud_usd_per_month = { value = 20000 }
share_that_moves = { value = 0.5 }
renewal_change = { value = 0.1 }
running_usd_per_month = { value = 2000 }
home_share = { value = 0 }
infrastructure_usd = { value = 30000 }
engineering_usd = { value = 10000 }
parallel_share = { value = 0.1 }
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Settings whose ClickHouse nobody answers for."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    file = tmp_path / "homeward.toml"
    file.write_text(
        f'[clickhouse]\nurl = "http://127.0.0.1:{port}"\npassword = "x"\n'
        f'[classifier]\ngrpc = "127.0.0.1:{port}"\n[ledger]\ngrpc = "127.0.0.1:{port}"\n'
        f'[local]\nstate_dir = "{tmp_path / "state"}"\n'
        '[plan]\nworkloads = ["ticket-triage", "minutes"]\napproval_weeks = 4\nnotice_days = 30\n'
    )
    return file


def run(settings: Path, *arguments: str) -> Result:
    command = [*arguments, "--settings", str(settings), "--as-of", "2026-11-30"]
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, command)


def test_a_plan_without_a_book_has_dates_and_no_figures(settings: Path, tmp_path: Path) -> None:
    done = run(settings, "plan", "--renewal", "2027-06-30")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("Picture", "Calendar", "Next"))) <= 80
    for text in (
        "decide by 2027-02-17, in 79 days",
        "takes long, 2027-03-17 will do",
        "Notice to the provider by 2027-05-31",
        "ticket-triage  unknown  2027-02-08     2027-03-01  2027-03-22",
        "2027-02-28  2027-07-11  unknown",
        "does not tell what is spent",
    ):
        assert text in " ".join(done.stdout.split()) or text in done.stdout
    assert lines[-1].startswith("Next: ")
    assert (tmp_path / "state" / "pictures" / "plan.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "state" / "plan.ics").read_bytes().startswith(b"BEGIN:VCALENDAR\r\n")


@pytest.mark.parametrize(
    ("renewal", "standing", "said"),
    [
        (None, "unknown", "[plan] renewal is not set, so nothing says when to decide"),
        ("2027-06-30", "in time", "decide by 2027-02-17"),
        ("2027-03-20", "tight", "and lose none"),
        ("2027-02-01", "too late", "Too late by 42 days for new prices on 2027-02-01"),
        ("2026-11-29", "passed", "They have held for 1 day: too late by 106 days"),
    ],
)
def test_every_standing_is_told_and_ends_with_a_next_step(
    settings: Path, renewal: str | None, standing: str, said: str
) -> None:
    asked = ["--renewal", renewal] if renewal else []
    done = run(settings, "plan", *asked)
    assert said in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1].startswith("Next: ")
    assert ("What can still be done" in done.stdout) == (standing in ("too late", "passed"))
    told = json.loads(run(settings, "plan", "--json", *asked).stdout)
    assert (told["standing"], told["renewal"]) == (standing, renewal)


def test_json_writes_and_draws_only_where_it_is_told_to(settings: Path, tmp_path: Path) -> None:
    told = json.loads(run(settings, "plan", "--json").stdout)
    assert told["workloads"][0] == {"name": "ticket-triage", "month_nanos": None, "shadow_days": None}
    assert told["delays"][0]["cost"]["value"] is None
    assert not (tmp_path / "state").exists()
    run(
        settings,
        "plan",
        "--json",
        "--picture",
        str(tmp_path / "a.svg"),
        "--calendar",
        str(tmp_path / "a.ics"),
    )
    assert (tmp_path / "a.svg").exists()
    assert (tmp_path / "a.ics").exists()


def test_unknown_approvals_are_told(settings: Path) -> None:
    settings.write_text(settings.read_text().replace("approval_weeks = 4\n", ""))
    done = run(settings, "plan", "--renewal", "2027-06-30")
    assert "Approvals take time that is in no date" in done.stdout
    assert json.loads(run(settings, "plan", "--json").stdout)["approval_weeks"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--picture", "x.jpg"),
        ("plan", "--calendar", "x.txt"),
        ("plan", "--renewal", "31.3.2027"),
        ("plan", "--renewal", "0027-03-31"),
        ("plan", "--from", "nowhere"),
    ],
)
def test_what_is_asked_wrongly_is_refused(settings: Path, arguments: tuple[str, ...]) -> None:
    assert run(settings, *arguments).exit_code == 2


def test_known_figures_say_what_a_delay_costs(settings: Path) -> None:
    """8,000 a month are saved at the prices of today, 9,000 after the renewal."""
    settings.write_text(settings.read_text() + "[finance]\n" + KNOWN)
    told = json.loads(run(settings, "plan", "--json", "--renewal", "2027-06-30").stdout)
    assert told["saving_year"]["value"] == 108_000 * DOLLAR
    assert told["delay_month"]["value"] == 9_000 * DOLLAR
    costs = {item["months"]: item["cost"]["value"] for item in told["delays"]}
    assert costs[1] == 8_000 * DOLLAR
    assert 8_000 * 12 * DOLLAR < costs[12] < 9_000 * 12 * DOLLAR
    done = run(settings, "plan", "--renewal", "2027-06-30")
    assert "A month at the new prices: $9,000." in done.stdout


def test_finance_tells_results_inputs_and_sources_in_80_columns(settings: Path, tmp_path: Path) -> None:
    settings.write_text(settings.read_text() + "[finance]\n" + KNOWN)
    done = run(settings, "finance", "--renewal", "2027-06-30", "--pictures", str(tmp_path / "drawn"))
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("Picture", "Next"))) <= 80
    for text in ("saving a year", "$108,000", "[finance] engineering_usd", "What matters most"):
        assert text in done.stdout
    assert lines[-1].startswith("Next: `homeward plan`")
    for name in ("cash-flow.png", "tornado.png"):
        assert (tmp_path / "drawn" / name).read_bytes()[1:4] == b"PNG"


def test_finance_without_a_book_is_unknown_and_says_on_what(settings: Path, tmp_path: Path) -> None:
    done = run(settings, "finance", "--pictures", str(tmp_path / "drawn"))
    assert done.exit_code == 0
    assert "Unknown is what depends on: cloud spend at today's prices" in done.stdout
    assert not (tmp_path / "drawn").exists()
    told = json.loads(run(settings, "finance", "--json").stdout)
    assert told["results"]["npv"]["value"] is None
    assert told["flows_nanos"] is None
    assert told["draws"] == {}
    assert "make run" in told["next_step"]
    assert "does not tell what is spent" in told["problem"]


def test_wrong_settings_are_told_by_line(settings: Path) -> None:
    settings.write_text(settings.read_text() + "[finance]\nengineering_usd = { value = -1 }\n")
    for name in ("plan", "finance"):
        done = run(settings, name)
        assert done.exit_code == 1
        assert "engineering_usd: expected 0 or more, got -1" in done.stderr
    shipped = Path("homeward.toml").read_text()
    settings.write_text(
        shipped.replace(
            "[finance]\nengineering_usd", "[finance]\nrunning_usd_per_month = { value = -1 }\nengineering_usd"
        )
    )
    checked = CliRunner().invoke(app, ["settings", "check", str(settings)])
    assert "running_usd_per_month: expected 0 or more" in checked.stderr


def test_the_published_case_is_computed_again(settings: Path) -> None:
    done = run(settings, "finance", "--reference")
    said = " ".join(done.stdout.split())
    for text in (
        "The payback is 6.4 months: holds. $95,000 / $177,600 × 12 = 6.4 months.",
        "$177,600 a year is saved: does not hold. $250,000 × 70 % = $175,000 is all that moves",
        "$175,000 × 90 % = $157,500 a year",
        "= 7.2 months",
        "Told by Homeward's brief (issue 7)",
        "Only its beginning could be read, and the dollars are not in it",
        "Nobody saves more than what moves costs. $177,600 is more than $175,000",
        "support $157,500 a year and 7.2 months",
        "come back to nothing in month 11",
    ):
        assert text in said
    told = json.loads(run(settings, "finance", "--reference", "--json").stdout)
    assert [item["holds"] for item in told["findings"]] == [True, False, False]
    assert len(told["lesson"]) == 4
    assert told["results"]["saving_year"]["value"] == 157_500 * DOLLAR
    assert len(told["flows_nanos"]) == 37


@pytest.mark.parametrize(
    ("figures", "told", "step"),
    [
        (
            {"running_usd_per_month": "12000"},
            "Never, because a year saves nothing",
            "do not move for the money",
        ),
        (
            {"cloud_usd_per_month": "1", "running_usd_per_month": "0"},
            "All that goes to the cloud in three years is $36.00 at most",
            "`homeward inventory import FILE…` brings what the organisation spends",
        ),
        (
            {"infrastructure_usd": None},
            "Unknown is what depends on: infrastructure (paid once)",
            "set [finance] infrastructure_usd = { value = … }, 0 if it is rented",
        ),
    ],
    ids=["dearer", "cents", "no hardware"],
)
def test_odd_figures_are_explained_and_have_a_next_step(
    settings: Path, figures: dict[str, str | None], told: str, step: str
) -> None:
    text = KNOWN
    for key, value in figures.items():
        line = next(line for line in KNOWN.splitlines() if line.startswith(key))
        text = text.replace(line, "" if value is None else f"{key} = {{ value = {value} }}")
    settings.write_text(settings.read_text() + "[finance]\n" + text)
    done = run(settings, "finance", "--renewal", "2027-06-30")
    said = " ".join(done.stdout.split())
    assert told in said
    assert f"Next: {step}" in said
    assert not {"nan", "inf"} & set(said.lower().split())


@pytest.mark.parametrize("renewal", ["2000-01-01", "2026-11-30", "2026-12-01", "2029-11-30", "2200-12-31"])
def test_any_renewal_is_told_sensibly(settings: Path, renewal: str) -> None:
    settings.write_text(settings.read_text() + "[finance]\ndiscount_rate = { value = 0 }\n" + KNOWN)
    for name in ("plan", "finance"):
        done = run(settings, name, "--renewal", renewal)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[-1].startswith("Next: ")
        assert not {"nan", "inf", "none"} & set(done.stdout.lower().split()), done.stdout
    told = json.loads(run(settings, "plan", "--json", "--renewal", renewal).stdout)
    costs = [item["cost"]["value"] for item in told["delays"]]
    assert costs == sorted(costs)
    assert min(costs) >= 8_000 * DOLLAR


def test_what_is_not_set_is_called_so_and_not_unknown(settings: Path) -> None:
    settings.write_text(settings.read_text() + "[finance]\ncloud_usd_per_month = { value = 20000 }\n")
    lines = run(settings, "finance").stdout.splitlines()
    for name in ("price change at the renewal", "time to the renewal", "engineering (paid once)"):
        assert any(line.startswith(f"{name} ") and line.count("not set") == 2 for line in lines), name
    assert not any("share of the spend that moves" in line and "not set" in line for line in lines)


def test_an_example_asks_nobody_and_is_named_one(tmp_path: Path) -> None:
    """There are no settings and no services where it runs, and nothing is written unless it is asked for."""
    nowhere = tmp_path / "nowhere.toml"
    for name in ("plan", "finance"):
        done = run(nowhere, name, "--example")
        assert done.exit_code == 0, done.output
        lines = done.stdout.splitlines()
        assert lines[0].startswith("EXAMPLE: a made-up organisation")
        assert "leave out --example" in lines[-1]
        assert max(len(line) for line in lines if not line.startswith("Next")) <= 80
        told = json.loads(run(nowhere, name, "--example", "--json").stdout)
        assert told["title"].startswith("EXAMPLE")
    assert list(tmp_path.iterdir()) == []
    calendar = tmp_path / "plan.ics"
    run(nowhere, "plan", "--example", "--calendar", str(calendar))
    text = calendar.read_bytes().replace(b"\r\n ", b"").decode()
    titles = [line for line in text.splitlines() if line.startswith("SUMMARY:")]
    assert all(line.startswith("SUMMARY:Homeward\\, an example: ") for line in titles)
    assert run(nowhere, "finance", "--example", "--reference").exit_code == 2


def test_the_guide_shows_the_examples_figures_as_they_are() -> None:
    told = Path("docs/playbook.md").read_text(encoding="utf-8")
    block = told.partition("$ homeward finance --example --as-of 2026-11-30\n")[2].partition("\n…")[0]
    command = ["finance", "--example", "--as-of", "2026-11-30"]
    done = CliRunner(env={"COLUMNS": "96"}).invoke(app, command)
    printed_lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert block.count("\n") > 5
    assert [line for line in block.splitlines() if line not in printed_lines] == []


def test_a_note_of_the_terms_is_shown_beside_the_dates(settings: Path, tmp_path: Path) -> None:
    settings.write_text(settings.read_text().replace("[plan]\n", '[plan]\nnote = "a guess"\n'))
    done = run(settings, "plan", "--renewal", "2027-06-30")
    assert "which says of itself: a guess." in done.stdout
    assert "\\n[plan] note: a guess." in (tmp_path / "state" / "plan.ics").read_text(encoding="utf-8")
    told = json.loads(run(settings, "plan", "--json").stdout)
    assert told["note"] == "a guess"


def test_what_the_shipped_settings_make_up_says_so() -> None:
    """The demo's terms and estimates are examples, and every page that shows them says it."""
    from services.common.settings import load

    config = load(Config, *Config.model_fields, path=Path("homeward.toml"), environment={})
    assert "example" in config.plan.note
    estimates = [item for key in type(config.finance).model_fields if (item := getattr(config.finance, key))]
    assert estimates
    assert all("example" in item.note for item in estimates)


DAYS = [date(2026, 9, 1) + timedelta(days=past) for past in range(60)]


def group(who: str, usd: int, task_type: str) -> Group:
    """A project of 60 days."""
    return project(who, usd, task_type, DAYS, 100_000)


def book(*groups: Group) -> Book:
    return Book(inventory(put_together(groups, [("usage", "openai", DAYS)]), {}, PUBLISHED))


def printed(found: Any, page: Any) -> list[str]:
    console = Console(width=80, file=StringIO(), highlight=False)
    page(console, found)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # a StringIO


def test_a_book_fills_the_plan_and_the_case() -> None:
    """Two candidates, one that may be one, one that stays."""
    made = book(
        group("support-desk-with-a-long-name", 24_000, "context_qa"),
        group("triage", 12_000, "classification"),
        group("lab", 2_000, ""),
        group("code", 2_000, "code"),
    )
    found = gather(Config(), date(2026, 11, 30), renewal=date(2027, 6, 30), book=made)
    assert [mover.name for mover in found.plan.movers] == [
        "support-desk-with-a-long-name · gpt-4o",
        "triage · gpt-4o",
    ]
    lines = printed(found, plan_page._print)
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "$6,088" in text
    assert "unknown: $" in text
    assert "It depends on: price change at the renewal, cost at home of a cloud dollar." in text
    lines = printed(found.case, finance_page.print_case)
    assert max(map(len, lines)) <= 80
    assert "saving a year" in "\n".join(lines)
    told = plan_page.document(found)
    assert told["delay_month"]["value"] is None
    assert told["delay_month"]["low"] < told["delay_month"]["high"]
    assert "decide by" in told["next_step"]


@pytest.mark.parametrize(
    ("first", "step"),
    [
        ("inventory", "begin with support · gpt-4o: `homeward shadow start support · gpt-4o`."),
        ("cutover", "begin with support · gpt-4o: `homeward cutover support · gpt-4o`."),
        ("report", "`homeward report` writes down what moved"),
    ],
)
def test_too_late_begins_with_the_phase_that_is_next(first: Phase, step: str) -> None:
    made = book(group("support", 24_000, "context_qa"))
    found = gather(Config(), date(2026, 11, 30), renewal=date(2026, 12, 5), first=first, book=made)
    assert plan_page.document(found)["next_step"].startswith(step)


STANDING = ("support · gpt-4o", "triage · gpt-4o")


def moving(*stages: Stage, renewal: date = date(2027, 6, 30)) -> Gathered:
    """A plan whose two workloads stand somewhere."""
    made = book(group("support", 24_000, "context_qa"), group("triage", 12_000, "classification"))
    config = Config(plan={"approval_weeks": 4, "notice_days": 30})
    stood = Stages(dict(zip(STANDING, stages, strict=True)))
    return gather(config, date(2026, 11, 30), renewal=renewal, book=made, stages=stood)


@pytest.mark.parametrize(
    ("stages", "first", "bars", "begins", "approvals"),
    [
        (
            (Stage.OBSERVED, Stage.OBSERVED),
            "inventory",
            ["inventory", "plan", *["shadow", "cutover"] * 2, "report"],
            date(2026, 12, 28),
            4,
        ),
        ((Stage.SHADOWED, Stage.CANARY), "shadow", ["cutover", "shadow", "cutover", "report"], None, 0),
        ((Stage.ROLLED_BACK, Stage.HOME), "shadow", ["shadow", "cutover", "report"], None, 0),
        ((Stage.CANARY, Stage.HOME), "cutover", ["cutover", "report"], None, 0),
        ((Stage.HOME, Stage.HOME), "report", ["report"], None, 0),
    ],
    ids=["begin", "moving", "came back", "one left", "home"],
)
def test_what_is_done_is_not_planned_again(
    stages: tuple[Stage, Stage], first: Phase, bars: list[Phase], begins: date | None, approvals: int
) -> None:
    found = moving(*stages)
    plan = found.plan
    assert plan.terms.first == first
    assert [bar.phase for bar in plan.bars] == bars
    assert min(bar.begin for bar in plan.bars) == (begins or plan.terms.today)
    assert plan.terms.approval_weeks == approvals
    at_home = [name for name, stage in zip(STANDING, stages, strict=True) if stage is Stage.HOME]
    assert [mover.name for mover in plan.movers if mover.name in at_home] == []
    assert any("at home, and in no date" in text for text in remarks(found)) == bool(at_home)
    # Money is that of the whole migration, however far it is.
    assert found.case == moving(Stage.OBSERVED, Stage.OBSERVED).case
    assert max(map(len, printed(found, plan_page._print))) <= 80


@pytest.mark.parametrize(
    ("renewal", "said"),
    [
        (date(2027, 6, 30), "New prices begin on 2027-06-30. Notice to the provider by 2027-05-31."),
        (date(2026, 12, 5), "New prices begin on 2026-12-05."),
        (date(2026, 11, 1), "New prices began on 2026-11-01."),
    ],
)
def test_where_all_is_at_home_nothing_is_to_be_decided(renewal: date, said: str) -> None:
    found = moving(Stage.HOME, Stage.HOME, renewal=renewal)
    assert headline(found.plan).endswith(said)
    told = plan_page.document(found)
    assert told["delays"] == []
    assert told["next_step"].startswith("`homeward report`")
    words = " ".join([*told["remarks"], *told["still"], *printed(found, plan_page._print)])
    assert "What later costs" not in words
    assert "No workload is planned" not in words
    assert not {"day/decide", "day/latest"} & {event.key for event in events(found.plan)}


def test_a_comparison_that_runs_is_not_begun_anew() -> None:
    """A new epoch would have half of the error that is left."""
    late = date(2026, 12, 5)
    assert "shadow show support" in plan_page.next_step(moving(Stage.SHADOWED, Stage.OBSERVED, renewal=late))
    assert "shadow start support" in plan_page.next_step(
        moving(Stage.ROLLED_BACK, Stage.OBSERVED, renewal=late)
    )


def test_without_the_ledger_all_is_planned_and_the_page_says_so(settings: Path) -> None:
    told = json.loads(run(settings, "plan", "--json", "--renewal", "2027-06-30").stdout)
    assert told["first"] == "inventory"
    (said,) = [text for text in told["remarks"] if "does not tell where workloads stand" in text]
    assert said.endswith("all are planned from the beginning.")


def test_approvals_end_the_day_before_work_begins() -> None:
    lines = printed(moving(Stage.OBSERVED, Stage.OBSERVED), plan_page._print)
    days = {line.split()[0]: line.split()[1:3] for line in lines if line[:9] in ("approvals", "inventory")}
    assert days == {"approvals": ["2026-11-30", "2026-12-27"], "inventory": ["2026-12-28", "2027-01-17"]}


def test_more_credits_than_spend_end_in_no_defect() -> None:
    """Every page says what is unknown instead."""
    gift = replace(project("gift", -30_000, "", DAYS, 0), source="cost", requests=None, task_types={})
    made = book(group("support", 24_000, "context_qa"), gift)
    found = gather(Config(), date(2026, 11, 30), renewal=date(2027, 6, 30), book=made)
    assert "credits are more than what is spent" in " ".join(printed(found.case, finance_page.print_case))
    assert printed(found, plan_page._print)
    assert finance_page.document(found.case)["results"]["npv"]["value"] is None


def test_where_nothing_is_paid_first_nothing_is_made_up_for_in_month_0(settings: Path) -> None:
    """Rented GPUs, no engineering: until all is at home each month costs more than the cloud does."""
    text = KNOWN.replace("{ value = 30000 }", "{ value = 0 }").replace("{ value = 10000 }", "{ value = 0 }")
    settings.write_text(settings.read_text() + "[finance]\n" + text)
    done = run(settings, "finance", "--renewal", "2027-06-30")
    assert "made up for in month 5" in " ".join(done.stdout.split())
    free = text.replace("running_usd_per_month = { value = 2000 }", "running_usd_per_month = { value = 0 }")
    free = free.replace("parallel_share = { value = 0.1 }", "parallel_share = { value = 0 }")
    settings.write_text(settings.read_text().replace(text, free))
    said = " ".join(run(settings, "finance", "--renewal", "2027-06-30").stdout.split())
    assert "Nothing has to be made up for: the sum of the months is never below zero." in said


def test_a_book_without_candidates_plans_the_phases_and_says_what_to_do() -> None:
    for made in (book(), book(group("code", 2_000, "code"))):
        found = gather(Config(), date(2026, 11, 30), renewal=date(2027, 6, 30), book=made)
        assert found.plan.movers == ()
        told = plan_page.document(found)
        assert any("No workload is planned" in text for text in told["remarks"])
        assert told["next_step"]
        assert max(map(len, printed(found, plan_page._print))) <= 80


def test_timing_counts_from_the_first_day_of_work() -> None:
    config = Config(plan={"approval_weeks": 2})
    found = gather(config, date(2026, 11, 30), renewal=date(2026, 12, 14), book=Book())
    from playbook.finance.inputs import Name

    assert found.case[Name.RENEWS].value == 0
    assert found.case[Name.WEEKS].low == Fraction(10)
    assert found.case[Name.WEEKS].high == Fraction(15)
