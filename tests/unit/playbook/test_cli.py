"""The `homeward` command: its tree, its help, how it ends, and what it waits for."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from playbook import cli, reference
from playbook.cli import app
from playbook.commands.report import UNPROVEN
from playbook.tree import GROUPS, PAGES, PATH, PHASES, phase, top_names

RUN = CliRunner(env={"COLUMNS": "80", "HOMEWARD_TRACEBACK": ""})
HEAVY = ("numpy", "pyarrow", "sqlalchemy", "clickhouse_connect", "matplotlib", "onnxruntime")
NO_SETTINGS = {"classifier evaluate", "key new", "settings check", "shadow forecast", "shadow replay"}
"""Commands that read nothing of the settings, or whose argument they are."""


def command(words: str) -> Any:
    """The real command of those words, imported."""
    group: Any = typer.main.get_command(app)
    for name in words.split():
        group = group.get_command(None, name)
    return group


def ask(*arguments: str, **options: Any) -> Result:
    return RUN.invoke(app, list(arguments), **options)


@pytest.mark.parametrize("words", PAGES)
def test_every_command_teaches_what_it_takes(words: str) -> None:
    page, found = PAGES[words], command(words)
    paragraphs = found.help.split("\n\n")
    assert paragraphs[0].replace("\\[", "[") == page.summary
    for item in found.params:
        assert item.help, f"{item.name} has no help"
    options = {name for item in found.params for name in item.opts}
    assert "--json" in options
    assert any("--json has: " in part for part in paragraphs)
    assert ("--settings" in options) == (words not in NO_SETTINGS)


@pytest.mark.parametrize("words", PAGES)
def test_the_help_ends_with_examples_that_are_of_the_command(words: str) -> None:
    page, found = PAGES[words], command(words)
    assert page.examples
    for typed, about in page.examples:
        assert about
        assert typed.startswith(words)
        own = typed.split(" | ")[0]
        options = {name for item in found.params for name in item.opts}
        assert set(re.findall(r"(?<= )--[a-z-]+", own)) <= options
    told = ask(*words.split(), "--help")
    assert told.exit_code == 0
    assert f"homeward {words}" in told.output.split("Example")[-1]
    assert max(map(len, told.output.splitlines())) <= 80


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_of_commands_is_the_way_home_and_fits(width: int) -> None:
    told = RUN.invoke(app, ["--help"], env={"COLUMNS": str(width)}).output
    places = [told.index(f"─ {name} ─") for name in PHASES]
    assert places == sorted(places)
    for typed, _ in PATH:
        assert typed in told
    assert "docs/commands.md" in told
    assert max(map(len, told.splitlines())) <= width


def test_every_page_is_in_the_tree() -> None:
    folder = Path(cli.__file__).parent / "commands"
    there = {f"playbook.commands.{file.stem}" for file in folder.glob("[a-z]*.py")}
    assert there - {"playbook.commands.status_migrations"} == {
        page.where.partition(":")[0] for page in PAGES.values()
    }


def test_every_name_has_a_phase_and_every_group_a_command() -> None:
    assert {phase(name) for name in top_names()} == set(PHASES)
    assert {name for name in top_names() if name not in PAGES} == set(GROUPS)


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_without_a_command_shows_its_commands(name: str) -> None:
    told = ask(name)
    assert told.exit_code == 2
    for words in PAGES:
        if words.startswith(f"{name} "):
            assert words.partition(" ")[2] in told.output


def test_the_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"homeward \d+\.\d+\.\d+\n", ask("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("stat",), "did you mean `homeward status`?", id="near"),
        pytest.param(("workload", "discover"), "did you mean `homeward inventory discover`?", id="elsewhere"),
        pytest.param(("shadow", "shov"), "did you mean `homeward shadow show`?", id="in a group"),
        pytest.param(("xyzzy",), "no such command 'xyzzy'\n", id="nothing like it"),
        pytest.param(("shadow", "show"), "Missing argument", id="an argument is missing"),
        pytest.param(("plan", "--renewall", "x"), "--renewal", id="an option"),
    ],
)
def test_a_wrong_use_is_two_lines_with_code_2(arguments: tuple[str, ...], said: str) -> None:
    done = ask(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    problem, step = done.stderr.splitlines()
    assert problem.startswith("homeward")
    assert re.fullmatch(r"Next: `homeward.* --help` shows what it takes\.", step)


@pytest.mark.parametrize("words", [words for words in PAGES if words not in NO_SETTINGS])
def test_without_settings_every_command_says_what_to_do(words: str, tmp_path: Path) -> None:
    """In words, and as one JSON object."""
    nowhere = str(tmp_path / "none.toml")
    given = [*words.split(), *NEEDED.get(words, ()), "--settings", nowhere]
    told = ask(*given)
    assert told.exit_code == 1
    # It goes on, since it tells what is wrong of everything.
    if words == "doctor":
        return
    assert told.stdout == ""
    problem, step = told.stderr.splitlines()
    assert nowhere in problem
    assert step.startswith("Next: ")
    told = ask(*given, "--json")
    assert (told.exit_code, told.stderr) == (1, "")
    error = json.loads(told.stdout)["error"]
    assert error.keys() == {"reason", "message", "details", "next_step"}
    assert nowhere in error["message"]


NEEDED = {
    "inventory import": ("usage.json",),
    "workload add": (
        *("triage", "--owner", "care", "--task-type", "classification", "--data-class", "internal"),
        *("--quality-sensitivity", "low", "--system-prompt", "You triage."),
    ),
    "shadow start": ("triage", "--yes"),
    "shadow show": ("triage",),
    "shadow examples": ("triage",),
    "shadow export": ("triage", "triplets.csv"),
    "cutover": ("triage",),
    "rollback": ("triage", "--reason", "drill", "--yes"),
    "ledger reconcile": ("bill.json",),
}
"""What a command must be given."""


def test_a_usage_error_is_json_too() -> None:
    done = ask("shadow", "show", "--json")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["reason"] == "USAGE"
    assert error["next_step"] == "`homeward shadow show --help` shows what it takes."


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Lets a command raise what a test wants."""

    def raising(error: BaseException) -> None:
        def run(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(cli.Pages, "invoke", run)

    return raising


def test_a_defect_is_told_without_a_traceback(broken: Callable[[BaseException], None]) -> None:
    broken(ZeroDivisionError("what\never"))
    done = ask("status")
    assert (done.exit_code, done.stdout) == (70, "")
    assert done.stderr == (
        "a defect of Homeward: ZeroDivisionError: what\n"
        "Next: report it, with what the same command prints when HOMEWARD_TRACEBACK=1 is set.\n"
    )
    shown = ask("status", env={"HOMEWARD_TRACEBACK": "1"})
    assert isinstance(shown.exception, ZeroDivisionError)


def test_control_c_is_quiet(broken: Callable[[BaseException], None]) -> None:
    broken(KeyboardInterrupt())
    done = ask("status")
    assert (done.exit_code, done.output) == (130, "")


def test_a_prompt_that_nobody_answers_names_the_option_that_does_not_ask() -> None:
    done = ask("rollback", "triage", "--reason", "drill")
    assert done.exit_code == 1
    assert "nobody is there to answer\nNext: the same command with --yes does not ask.\n" in done.stderr


def test_a_new_key_is_shown_once_with_its_hash_for_the_settings() -> None:
    done = ask("key", "new", "crm")
    assert done.exit_code == 0
    secret = re.search(r"^  (hw-\S+)$", done.output, re.MULTILINE)
    digest = re.search(r'sha256 = "([0-9a-f]{64})"', done.output)
    assert secret is not None
    assert digest is not None
    assert hashlib.sha256(secret[1].encode()).hexdigest() == digest[1]
    assert "[keys.crm]" in done.output
    told = json.loads(ask("key", "new", "crm", "--json").stdout)
    assert hashlib.sha256(told["secret"].encode()).hexdigest() == told["sha256"]
    assert told["sha256"] in told["section"]


def test_a_key_needs_a_plain_name() -> None:
    done = ask("key", "new", "C R M")
    assert done.exit_code == 2


def test_checking_settings_tells_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text('[upstreams.a]\nbase_url = "ftp://x"\n[router]\nprocesses = 0\nhtpp = "x"\n')
    done = ask("settings", "check", str(file))
    assert done.exit_code == 1
    told = ask("settings", "check", str(file), "--json")
    assert told.exit_code == 1
    for key in ("upstreams.a.base_url", "router.processes", "router.htpp: unknown key"):
        assert f"{file}: {key}" in done.stderr
        assert any(line.startswith(f"{file}: {key}") for line in json.loads(told.stdout)["mistakes"])


def test_the_shipped_settings_are_right() -> None:
    done = ask("settings", "check")
    assert done.exit_code == 0, done.output
    assert "Next: `make run`" in done.output


def loaded(*lines: str) -> set[str]:
    """What command lines import together, in a process of their own, since imports stay."""
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom playbook.cli import app\n"
        f"for line in {lines!r}:\n    assert CliRunner().invoke(app, line.split()).exit_code == 0, line\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_command_that_must_be_quick_loads_nothing_heavy() -> None:
    quick = ("rollback", "cutover", "shadow show", "workload list")
    assert not loaded(*(f"{words} --help" for words in quick)) & set(HEAVY)


def test_a_list_of_commands_loads_no_page() -> None:
    found = loaded("--help", *(f"{name} --help" for name in GROUPS))
    assert not {name for name in found if name.startswith("playbook.commands.")}
    assert not found & {*HEAVY, "grpc"}


def test_the_page_of_commands_is_that_of_the_tree() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), reference.HOW


def test_the_page_has_every_exit_code_and_variable_of_the_code() -> None:
    codes = {code for code, _ in reference.EXIT_CODES}
    assert {0, 1, cli.USAGE, UNPROVEN, cli.DEFECT, cli.INTERRUPTED} == codes
    told = " ".join(name for name, _ in reference.ENVIRONMENT)
    files = {*Path("playbook").rglob("*.py"), *Path("services/router").rglob("*.py")}
    # What measures scorers on public data is no command.
    files -= set(Path("playbook/scorers").rglob("*.py"))
    named = {
        name
        for file in files
        for name in re.findall(r'"(HOMEWARD_[A-Z]+(?:_[A-Z]+)*)"', file.read_text(encoding="utf-8"))
    }
    assert named
    for name in named:
        assert f"`{name}`" in told
