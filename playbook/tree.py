"""The commands of `homeward` in the order of the way home: where each lives, its line of help, examples.

Nothing here is imported but names, so that the list of commands and their completion wait for no page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

INVENTORY, PLAN, SHADOW, CUT_OVER, REPORT = "Inventory", "Plan", "Shadow", "Cut over", "Report"
EVERY_DAY, SET_UP = "Every day", "Set up"

DOCS = "docs/playbook.md (the fifteen weeks), docs/commands.md (every command, exit codes, completion)"
PATH = (
    ("homeward inventory import FILE…", "what is used, and what it costs"),
    ("homeward plan", "what moves when, and the last day to decide"),
    ("homeward shadow start WORKLOAD", "compare it, and prove that it is as good"),
    ("homeward cutover WORKLOAD", "move it home, stage by stage"),
    ("homeward report", "the document for those who decide"),
)
"""The five commands of the way home."""


@dataclass(frozen=True, slots=True)
class Page:
    """A command."""

    where: str
    """MODULE:FUNCTION."""
    summary: str
    """The first paragraph of its docstring, which stands in lists."""
    examples: Sequence[tuple[str, str]]
    """What to type, after `homeward`, and what it does."""
    phase: str = ""
    """Heading of the list of commands; a command of a group has its group's."""


@dataclass(frozen=True, slots=True)
class Group:
    """A command that has commands."""

    summary: str
    phase: str


GROUPS: Mapping[str, Group] = {
    "inventory": Group("What LLMs are used for, what that costs, what to move first.", INVENTORY),
    "workload": Group("Workloads: named classes of requests that migrate as one.", INVENTORY),
    "shadow": Group("Compare targets on the same requests, and check the verdict.", SHADOW),
    "ledger": Group("What everything cost, in a book that balances.", EVERY_DAY),
    "key": Group("API keys of applications and people.", SET_UP),
    "settings": Group("The settings file, homeward.toml.", SET_UP),
    "classifier": Group("The classifier, which names the work of a request.", SET_UP),
}

PAGES: Mapping[str, Page] = {
    "inventory import": Page(
        "playbook.commands.inventory_import:import_",
        "Import providers' exports and logs: what was used, and what it cost by list price.",
        (
            ("inventory import openai-usage.json openai-costs.json", "two exports of one provider"),
            (
                "inventory import calls.csv.gz --provider openai --dry-run",
                "see what a log has, store nothing",
            ),
        ),
    ),
    "inventory show": Page(
        "playbook.commands.inventory_show:show",
        "Rank the workloads by what they cost a month, and say which are candidates to move home.",
        (
            ("inventory show", "the dearest first"),
            ("inventory show --since 2026-10-01 --picture inventory.png", "from a day on, with a picture"),
        ),
    ),
    "inventory discover": Page(
        "playbook.commands.inventory_discover:discover",
        "Propose workloads for unnamed traffic, the largest share of spend first, and register one of them.",
        (
            ("inventory discover", "what nobody has named yet"),
            (
                "inventory discover --register 1 --owner care --data-class internal"
                " --quality-sensitivity high",
                "give the first proposal its name",
            ),
        ),
    ),
    "workload add": Page(
        "playbook.commands.workload:add",
        "Register a workload, or a new version of one, which replaces the old one as a whole.",
        (
            (
                "workload add ticket-triage --owner care --task-type classification --data-class internal"
                " --quality-sensitivity medium --examples tickets.jsonl",
                "by 5 to 50 of its requests",
            ),
        ),
    ),
    "workload list": Page(
        "playbook.commands.workload:list_workloads",
        "List the registered workloads.",
        (
            ("workload list", "names, owners, data classes"),
            ("workload list --json | jq -r '.workloads[].name'", "their names, for a script"),
        ),
    ),
    "plan": Page(
        "playbook.commands.plan:plan",
        "Plan which workload moves when, and say until when it must be decided.",
        (
            ("plan", "against the renewal that the settings name"),
            ("plan --renewal 2027-06-01 --calendar plan.ics", "against another day, with a calendar file"),
        ),
        PLAN,
    ),
    "finance": Page(
        "playbook.commands.finance:finance",
        "Compute what the planned migration costs, saves, and when it has paid for itself.",
        (
            ("finance", "with ranges, and what is unknown"),
            ("finance --pictures .", "cash flow and tornado as pictures"),
        ),
        PLAN,
    ),
    "shadow start": Page(
        "playbook.commands.shadow_start:start",
        "Compare a workload: a sample of its requests is answered at home and twice in the cloud, and"
        " scored.",
        (
            ("shadow start ticket-triage", "by the scorer of its task type, in windows of a week"),
            ("shadow start ticket-triage --rate 0.2 --cap-usd 5 --yes", "a fifth of it, at most $5 a day"),
        ),
    ),
    "shadow list": Page(
        "playbook.commands.shadow_show:list_migrations",
        "List the workloads: stage, verdict, evidence, and where each goes next.",
        (("shadow list", "where every workload stands"),),
    ),
    "shadow show": Page(
        "playbook.commands.shadow_show:show",
        "Show a workload's stage, evidence, controls and losses, and what keeps it from its next stage.",
        (
            ("shadow show ticket-triage", "its evidence window by window, and a picture"),
            ("shadow show ticket-triage --json | jq .blocks", "what keeps it, for a script"),
        ),
    ),
    "shadow examples": Page(
        "playbook.commands.shadow_examples:examples",
        "Show the samples on which the model at home and the cloud disagreed most, with what was said.",
        (("shadow examples ticket-triage --limit 10", "the ten worst, where the data class keeps texts"),),
    ),
    "shadow funnel": Page(
        "playbook.commands.shadow_funnel:funnel",
        "Show how far requests of compared workloads got by day, with a reason for every loss.",
        (
            ("shadow funnel", "of all workloads, the last week"),
            ("shadow funnel ticket-triage --days 30", "of one, a month"),
        ),
    ),
    "shadow forecast": Page(
        "playbook.commands.shadow:forecast",
        "Forecast the days until READY if the sovereign model is as good, by drawing 2,000 experiments.",
        (("shadow forecast --requests-per-day 5000 --rate 0.1", "before anything is registered"),),
    ),
    "shadow export": Page(
        "playbook.commands.shadow_export:export",
        "Write the triplets of a workload's newest experiment to a file, which `homeward shadow replay`"
        " reads.",
        (("shadow export ticket-triage triplets.parquet", "scores, times and hashes; no texts"),),
    ),
    "shadow replay": Page(
        "playbook.commands.shadow:replay",
        "Compute the verdict anew from the triplets of an experiment, as docs/verdict.md defines it.",
        (
            ("shadow replay --triplets triplets.parquet --window 7d --min-windows 2", "check a verdict"),
            ("shadow replay --simulate weekly --runs 1000", "how often chance alone would pass"),
        ),
    ),
    "cutover": Page(
        "playbook.commands.cutover:cutover",
        "Move a workload one stage on its way home: SHADOWED, CANARY 1, 5, 25, 50 %, HOME.",
        (
            ("cutover ticket-triage", "move it, or say what keeps it"),
            ("cutover ticket-triage --approve", "give what people must give"),
        ),
        CUT_OVER,
    ),
    "rollback": Page(
        "playbook.commands.cutover:rollback",
        "Send all of a workload's requests back to the cloud, at once.",
        (('rollback ticket-triage --reason "wrong queue since noon" --yes', "without being asked"),),
        CUT_OVER,
    ),
    "report": Page(
        "playbook.commands.report:report",
        "Write the document for those who decide, as PDF and HTML: a summary, and the case for each of them.",
        (
            ("report --out board", "all workloads, all four cases"),
            ("report --verify board/homeward-report.html", "look every number up again"),
        ),
        REPORT,
    ),
    "status": Page(
        "playbook.commands.status:status",
        "Show what runs, what named the last days' traffic, where each workload stands, and what looks"
        " wrong.",
        (
            ("status", "the last week"),
            ("status --json | jq '.warnings[].message'", "what looks wrong, for a script"),
        ),
        EVERY_DAY,
    ),
    "doctor": Page(
        "playbook.commands.doctor:doctor",
        "Check each part: reachable, version, schema, clock, disk, models; and say what to do.",
        (
            ("doctor", "every part, as it is now"),
            ("doctor --json | jq '.checks[] | select(.state == \"failed\")'", "what failed, for a script"),
        ),
        EVERY_DAY,
    ),
    "ledger unknown": Page(
        "playbook.commands.unknown:unknown",
        "List the legs whose cost nobody knows, and what would find it.",
        (("ledger unknown", "with the sections of prices to fill in"),),
    ),
    "ledger reprice": Page(
        "playbook.commands.reprice:reprice",
        "Price booked legs at today's price list, and with --yes book the difference.",
        (
            ("ledger reprice", "what legs of unknown cost would cost now"),
            ("ledger reprice --since 2026-11-01 --all --yes", "book what changed since a day"),
        ),
    ),
    "ledger pools": Page(
        "playbook.commands.pools:pools",
        "Show what each GPU pool costs an hour, how far it was used, and what a million tokens cost.",
        (("ledger pools --days 7", "the last week"),),
    ),
    "ledger budgets": Page(
        "playbook.commands.budgets:budgets",
        "Show what is spent, set aside and left of each budget in its current period (UTC).",
        (("ledger budgets", "all budgets of the settings"),),
    ),
    "ledger reconcile": Page(
        "playbook.commands.reconcile:reconcile",
        "Compare a provider's bill with the book, and say what explains the difference. Ends with code 1 if"
        " more than --tolerance of the bill stays unexplained.",
        (("ledger reconcile openai-costs.json --by model", "by model"),),
    ),
    "ledger verify": Page(
        "playbook.commands.ledger:verify",
        "Prove that the book is whole, or name the first place where it is not and end with code 1.",
        (
            ("ledger verify", "every entry, and its rows in ClickHouse"),
            ("ledger verify --json | jq -r .head_sha256", "the hash to note elsewhere"),
        ),
    ),
    "key new": Page(
        "playbook.commands.key:new",
        "Make an API key: the secret, once, and the section for homeward.toml that has only its hash.",
        (("key new crm", "a key for the application `crm`"),),
    ),
    "settings check": Page(
        "playbook.commands.settings:check",
        "Check the settings of all services; every mistake has a line.",
        (
            ("settings check", "homeward.toml of this folder"),
            ("settings check /etc/homeward.toml --json", "another file, for a script"),
        ),
    ),
    "classifier evaluate": Page(
        "playbook.commands.classifier:evaluate",
        "Measure how well the classifier tells task type and target of labelled requests.",
        (("classifier evaluate labelled.jsonl", "on requests of your own"),),
    ),
}
"""Every command by its words, in the playbook's order."""

PHASES = (INVENTORY, PLAN, SHADOW, CUT_OVER, REPORT, EVERY_DAY, SET_UP)


def top_names() -> list[str]:
    """Names that stand directly after `homeward`, by phase, in order."""
    names = dict.fromkeys(words.partition(" ")[0] for words in PAGES)
    return sorted(names, key=lambda name: PHASES.index(phase(name)))


def phase(name: str) -> str:
    """The heading under which a name stands in the list of commands."""
    return GROUPS[name].phase if name in GROUPS else PAGES[name].phase
