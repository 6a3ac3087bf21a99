"""The case for procurement: stay, migrate with Homeward, or build it; with the inputs of each. Pure."""

from __future__ import annotations

from fractions import Fraction

from playbook.finance.answers import Result
from playbook.finance.inputs import WORDS
from playbook.finance.inputs import Name as Input
from playbook.finance.model import MONTHS, delay_cost
from playbook.finance.published import WAGE_SHARE, WAGE_USD_PER_YEAR
from playbook.report.book import Book
from playbook.report.document import Block, Column, Name, Note, Paragraph, Section, Table, Text, text
from playbook.report.facts import NANOS_PER_DOLLAR, Fact, Kind, Reference, computed, published
from playbook.report.finance import answer_text
from playbook.report.money import Money, money_of
from playbook.report.whose import whose_money

STAY = (Input.CLOUD, Input.MOVES, Input.CHANGE, Input.RENEWS)
MIGRATE = (
    Input.INFRASTRUCTURE,
    Input.ENGINEERING,
    Input.PARALLEL,
    Input.WEEKS,
    Input.RUNNING,
    Input.HOME_SHARE,
)
COCOMO = "B. Boehm, Software Engineering Economics, 1981: basic COCOMO, organic mode"
EFFORT_FACTOR = published("COCOMO effort factor", 2.4, "number", COCOMO)
EFFORT_POWER = published("COCOMO effort exponent", 1.05, "number", COCOMO)
TIME_FACTOR = published("COCOMO time factor", 2.5, "number", COCOMO)
TIME_POWER = published("COCOMO time exponent", 0.38, "number", COCOMO)
WAGE = published(
    "wage of a software developer",
    float(WAGE_USD_PER_YEAR),
    "usd",
    "U.S. Bureau of Labor Statistics, software developers: median, dollars a year, May 2024",
)
PAY_SHARE = published(
    "wages, of what an employer pays",
    float(WAGE_SHARE),
    "share",
    "U.S. Bureau of Labor Statistics, Employer Costs for Employee Compensation, table 6, private industry,"
    " March 2026",
)


def procurement(book: Book) -> Section:
    """The whole case."""
    money = money_of(book.gathered)
    lead = Paragraph(
        text(
            "Three ways to go on with the same work: stay in the cloud at the price of the renewal, migrate"
            " with Homeward, or build the like of it. What each rests on is shown beside it; an input that"
            " nobody knows"
            " leaves its result open."
        ),
        lead=True,
    )
    build = _build(book, money)
    parts = [_compare(money, build), _inputs(money, build), _terms()]
    return Section(
        "procurement",
        text("The procurement case"),
        (lead, *whose_money(book, money)),
        tuple(parts),
        new_page=True,
    )


class _Build:
    """What it takes to build the like of Homeward, by a published rule of thumb."""

    def __init__(self, lines: Fact, money: Money | None) -> None:
        self.lines = lines
        size = None if lines.number is None else lines.number / 1000
        months = (
            None
            if size is None
            else float(EFFORT_FACTOR.number or 0) * size ** float(EFFORT_POWER.number or 0)
        )
        self.person_months = computed(
            "build/person-months", months, "number", "factor × (thousand lines)^exponent",
            [lines, EFFORT_FACTOR, EFFORT_POWER], name="building: person-months",
        )  # fmt: skip
        time = (
            None
            if months is None
            else float(TIME_FACTOR.number or 0) * months ** float(TIME_POWER.number or 0)
        )
        self.months = computed(
            "build/months", time, "months", "factor × (person-months)^exponent",
            [self.person_months, TIME_FACTOR, TIME_POWER], name="building: months",
        )  # fmt: skip
        pay = None if months is None else months / 12 * float(WAGE.number or 0) / float(PAY_SHARE.number or 1)
        self.pay = computed(
            "build/pay",
            pay,
            "usd",
            "person-months / 12 × wage / wages' share of pay",
            [self.person_months, WAGE, PAY_SHARE],
            name="building: pay",
        )
        delay = None
        if money is not None and money.outcome is not None and time is not None:
            values = {name: item.middle or Fraction(0) for name, item in money.case.items()}
            delay = delay_cost(values, Fraction(time).limit_denominator(1000))
        inputs = [self.months, *(money.inputs(frozenset(money.case)) if money else [])]
        self.delay = computed(
            "build/delay",
            delay,
            "nanos",
            "the saving that is missed until it is built",
            inputs,
            name="building: saving that is missed",
        )


def _build(book: Book, money: Money | None) -> _Build:
    reference = Reference(Kind.COMPUTED, "lines of code", "lines of services/**/*.py that are not blank")
    return _Build(Fact("build/lines", book.gathered.lines_of_code, "count", reference), money)


def _compare(money: Money | None, build: _Build) -> Section:
    columns = (
        Column("", share=1.8),
        Column("stay in the cloud", share=1.6),
        Column("migrate with Homeward", share=1.8),
        Column("build it", share=1.8),
    )
    stay, moved = _three_years(money)
    rows: list[tuple[Text, ...]] = [
        (text("paid once"), text("nothing"), _answer(money, "one_time"), text("the same")),
        (text("pay of those who build it"), text("–"), text("–"), text(build.pay)),
        (
            text("saved a year after the renewal"),
            text("nothing"),
            _answer(money, "saving_year"),
            text("the same, later"),
        ),
        (text("saving that is missed until it is built"), text("–"), text("–"), text(build.delay)),
        (
            text(Name("total over three years, not discounted", "strong")),
            text(stay),
            text(moved),
            text(_built(moved, build)),
        ),
        (
            text("begins to save"),
            text("never"),
            text("after ", money.input(Input.WEEKS) if money else _no("weeks")),
            text(build.months, " later than that"),
        ),
        (
            text("what is proven"),
            text("prices of the past"),
            text("the verdicts of this document"),
            text("nothing yet"),
        ),
        (
            text("the way back"),
            text("not needed"),
            text("one decision; the cloud stays a target"),
            text("to be built"),
        ),
    ]
    blocks: list[Block] = [
        Table(columns, tuple(rows), text("The three ways, for the spend that moves"), small=True)
    ]
    if money is not None and money.hopeless:
        blocks.append(
            Paragraph(
                text(
                    "At this spend staying is the cheapest of the three; what the others have to offer is"
                    " not money."
                )
            )
        )
    if money is not None and money.guessed:
        blocks.append(
            Note(
                "Not all of it is known",
                text(
                    "For the three years, the middle of its range stands for ",
                    Name("; ".join(WORDS[name] for name in money.guessed)),
                    ".",
                ),
            )
        )
    return Section("alternatives", text("The alternatives"), tuple(blocks))


def _built(moved: Fact, build: _Build) -> Fact:
    """What building costs over three years: as migrating, with who builds it, and later."""
    total = None
    if moved.number is not None and build.pay.number is not None and build.delay.number is not None:
        total = round(moved.number + build.pay.number * NANOS_PER_DOLLAR + build.delay.number)
    how = "as migrating, and the pay of those who build it, and the saving that is missed until it is built"
    inputs = [moved, build.pay, build.delay]
    return computed("three years/build", total, "nanos", how, inputs, name="three years: build it")


def _no(what: str) -> Fact:
    return Fact(f"finance/{what}", None, "text", Reference(Kind.SETTING, "finance", "homeward.toml"))


def _answer(money: Money | None, name: Result) -> Text:
    return answer_text(money, name) if money else text(_no(name))


def _three_years(money: Money | None) -> tuple[Fact, Fact]:
    """What the moving spend costs in three years if it stays, and if it moves."""
    inputs = money.inputs(frozenset(money.case)) if money else [_no("all inputs")]
    stay: int | None = None
    moved: int | None = None
    if money is not None and money.outcome is not None:
        values = {name: item.middle or Fraction(0) for name, item in money.case.items()}
        moving = values[Input.CLOUD] * values[Input.MOVES]
        dear = max(Fraction(0), MONTHS - values[Input.RENEWS])
        stay = round(moving * (MONTHS + dear * values[Input.CHANGE]))
        moved = stay - sum(money.outcome.flows)
    how = "36 months of the spend that moves, at the new price after the renewal"
    return (
        computed("three years/stay", stay, "nanos", how, inputs, name="three years: stay"),
        computed(
            "three years/migrate",
            moved,
            "nanos",
            f"{how}, less the sum of all monthly flows",
            inputs,
            name="three years: migrate",
        ),
    )


def _inputs(money: Money | None, build: _Build) -> Section:
    rows: list[tuple[Text, ...]] = []
    if money is not None:
        for way, names in (("stay, and all others", STAY), ("migrate, and build", MIGRATE)):
            for number, name in enumerate(names):
                fact = money.input(name)
                value = text(fact)
                if not fact.known and money.case[name].low is not None:
                    value = text(money.low(name), " to ", money.high(name))
                rows.append(
                    (
                        text(way if number == 0 else ""),
                        text(Name(WORDS[name])),
                        value,
                        text(Name(money.case[name].source.kind)),
                    )
                )
    built = (
        ("lines of Homeward's services", build.lines),
        ("person-months for as many lines", build.person_months),
        ("months that they take", build.months),
        ("median wage of a developer, a year", WAGE),
        ("wages, of what an employer pays", PAY_SHARE),
        ("pay of those who build it", build.pay),
    )
    for number, (what, fact) in enumerate(built):
        rows.append((text("" if number else "build"), text(what), text(fact), text(Name(_kind(fact)))))
    table = Table(
        (
            Column("way", share=1.4),
            Column("input", share=2.4),
            Column("value", "right", share=1.4),
            Column("kind"),
        ),
        tuple(rows),
        text("Inputs"),
        small=True,
    )
    note = Paragraph(
        text(
            "The effort of building is a rule of thumb of ",
            Name("1981"),
            ": it counts lines, and knows neither the tools of today nor what an organisation can leave"
            " out. It is the effort of all that Homeward's services do; who needs less builds less.",
        )
    )
    return Section("ways", text("What each way rests on"), (table, note))


def _kind(fact: Fact) -> str:
    return {Kind.PUBLISHED: "published", Kind.COMPUTED: "computed"}.get(fact.reference.kind, "measured")


def _terms() -> Section:
    rows = (
        ("licence", "of the provider", "Apache 2.0, no fee", "none"),
        ("application changes", "none", "none: the API stays the same", "as built"),
        ("exit", "by the contract's terms", "point applications at the provider again", "as built"),
        (
            "lock-in",
            "provider's models and prices",
            "models that run at home, any compatible cloud",
            "own code",
        ),
    )
    table = Table(
        (
            Column("", share=1.2),
            Column("stay in the cloud", share=1.7),
            Column("migrate with Homeward", share=2),
            Column("build it", share=1.2),
        ),
        tuple(tuple(text(Name(cell)) for cell in row) for row in rows),
        (),
        small=True,
    )
    return Section("terms", text("Terms"), (table,))
