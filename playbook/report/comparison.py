"""What was compared, how far requests got, and the verdicts with what they promise. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from playbook.report.book import Book
from playbook.report.document import (
    Block,
    Column,
    Figure,
    Name,
    Note,
    Paragraph,
    Section,
    Table,
    joined,
    nothing,
    some_of,
    text,
)
from playbook.report.facts import Fact
from playbook.report.pictures.comparison import Bounds, bounds, funnel
from playbook.report.pictures.style import PANELS
from playbook.report.standing import Evidence, experiment_cost

STEPS = ("eligible", "sampled", "sent", "answered", "scored")
LANES = {
    "cloud": ("the cloud against itself", "must become READY"),
    "degraded": ("answers to other requests", "must never be READY"),
}


def compared_section(book: Book, found: dict[str, Evidence]) -> Section:
    """What each experiment fixed, how much it has seen, and what was lost on the way."""
    if not found:
        return Section(
            "compared", text("What was compared"), (nothing("No window of a comparison has closed."),)
        )
    rows = []
    for name, item in found.items():
        last = item.last
        rows.append(
            (
                text(Name(name)),
                text(last.fact("scorer", "text")),
                text(last.fact("margin", "number")),
                text(last.fact("alpha", "number")),
                text(last.fact("epoch", "count")),
                text(last.fact("number", "count"), " of ", last.fact("window_s", "s")),
                text(book.fact("agreement", "triplets", "count", workload=name, epoch=last["epoch"])),
                text(last.fact("n", "count")),
                text(experiment_cost(book, name)),
            )
        )
    table = Table(
        (
            Column("workload", share=2.1),
            Column("scorer", share=1.7),
            Column("margin δ", "right"),
            Column("error α", "right"),
            Column("epoch", "right"),
            Column("windows", "right", share=1.2),
            Column("triplets", "right"),
            Column("votes", "right"),
            Column("cost", "right"),
        ),
        tuple(rows),
        text("What each experiment fixed before its first sample, and how much it has seen since"),
        small=True,
    )
    blocks: list[Block] = [
        Paragraph(
            text(
                "A triplet is one request of an application with three answers: from home, from the cloud,"
                " and from the cloud again. What the two of the cloud differ by is its own noise; only what"
                " home differs beyond that counts. Triplets of one conversation have one vote. The cost is"
                " that of the additional calls, and is booked apart from what applications ask."
            )
        ),
        table,
    ]
    blocks += _funnel(book)
    return Section("compared", text("What was compared, on how much traffic"), tuple(blocks))


def _funnel(book: Book) -> Iterator[Block]:
    rows = book.rows("funnel")
    if not rows:
        return
    last = {row["workload"]: row for row in rows}
    drawn = [(name, [(step, int(row[step])) for step in STEPS]) for name, row in last.items()]
    yield Figure(
        "funnel",
        funnel(drawn),
        "Bars: how many requests could be compared, were drawn, taken, answered and scored, by workload",
        text("How far requests got in the last epoch of each comparison", *some_of(PANELS, len(drawn))),
        (book.drawn("funnel", "funnel", list(last.values())),),
    )
    lost = [
        (name, reason, count)
        for name, row in last.items()
        for reason, count in sorted(row["losses"].items(), key=lambda item: -item[1])
        if not reason.startswith("ineligible")
    ]
    if lost:
        yield Paragraph(
            text(
                "Late and failed answers vote as failures of the model at home, so that who fails more"
                " often cannot"
                " look better for it; what was shed or lost has no vote. Lost were: ",
                *joined(
                    [text(_loss(book, *item), Name(f" {_words(item[1])} ({item[0]})")) for item in lost], "; "
                ),
                ".",
            )
        )
    else:
        yield Paragraph(text("Nothing was shed, late or lost on the way."))


def _loss(book: Book, workload: str, reason: str, count: int) -> Fact:
    row = book.rows("funnel", workload=workload)[-1]
    return Fact(f"{row.key}/losses/{reason}", count, "count", row.reference)


def _words(reason: str) -> str:
    step, _, why = reason.partition("/")
    return f"{step} by {why}" if why else step


def verdicts_section(book: Book, found: dict[str, Evidence]) -> Section:
    """The verdicts, their bounds and controls, and what READY promises."""
    if not found:
        return Section("verdicts", text("Verdicts"), (nothing("There is no verdict yet."),))
    rows = []
    for name, item in found.items():
        last, epoch = item.last, item.last["epoch"]
        rows.append(
            (
                text(Name(name)),
                text(last.fact("verdict", "text")),
                text(last.fact("lower_bound", "difference"), " to ", last.fact("upper_bound", "difference")),
                text(last.fact("log_k", "log"), " of ", item.needed),
                text(book.fact("agreement", "mean_sovereign", "share", workload=name, epoch=epoch)),
                text(book.fact("agreement", "mean_noise", "share", workload=name, epoch=epoch)),
                text(last.fact("histogram_sha256", "hash")),
            )
        )
    table = Table(
        (
            Column("workload", share=1.8),
            Column("verdict", share=1.2),
            Column("home − cloud lies within", "right", share=1.6),
            Column("ln K, of what READY needs", "right", share=1.3),
            Column("home agrees with cloud", "right"),
            Column("cloud agrees with itself", "right"),
            Column("hash of the votes", share=1.2),
        ),
        tuple(rows),
        text("The evidence at the close of each comparison's last window"),
        small=True,
    )
    drawn = [
        Bounds(
            name,
            [row["lower_bound"] for row in item.windows],
            [row["upper_bound"] for row in item.windows],
            item.last["margin"],
            item.verdict,
            item.decided["number"] if item.decided else None,
        )
        for name, item in found.items()
    ]
    figure = Figure(
        "bounds",
        bounds(drawn),
        "Lines: lower and upper confidence bound of the difference by window, beside the margin, by workload",
        text(
            "Confidence bounds of the mean difference, by window. READY needs the thick line above the"
            " dashed margin; the dotted line is the window of the verdict",
            *some_of(PANELS, len(drawn)),
        ),
        (book.drawn("windows", "bounds", [row for item in found.values() for row in item.windows]),),
    )
    how = Paragraph(
        text(
            "How far the score of the model at home lies from that of the cloud, with confidence bounds that"
            " hold at all windows together. It is READY when the evidence reaches the number that was fixed"
            " beforehand, after the windows that the experiment asks for. The hash is that of all votes:"
            " with them anybody can compute the verdict again (",
            Name("homeward shadow replay", "code"),
            ").",
        )
    )
    blocks: list[Block] = [how, table, _guarantee(found), figure]
    controls = [
        (
            text(Name(name)),
            text(Name(LANES[lane][0])),
            text(Name(LANES[lane][1])),
            text(row.fact("verdict", "text")),
            text(row.fact("log_k", "log")),
            text(row.fact("n", "count")),
        )
        for name, item in found.items()
        for lane, row in sorted(item.controls.items())
    ]
    if controls:
        blocks.append(
            Table(
                (
                    Column("workload", share=1.6),
                    Column("control", share=1.8),
                    Column("what it must show", share=1.5),
                    Column("found", share=1.2),
                    Column("ln K", "right"),
                    Column("votes", "right"),
                ),
                tuple(controls),
                text("Two controls run along, which test the comparison itself; either may still collect"),
                small=True,
            )
        )
    return Section("verdicts", text("Verdicts, with their guarantee and what it assumes"), tuple(blocks))


def _guarantee(found: dict[str, Evidence]) -> Note:
    alphas = list({item.last["alpha"]: item.last.fact("alpha", "number") for item in found.values()}.values())
    return Note(
        "What READY promises",
        text(
            "If a workload's true gap is beyond its margin, the probability that it is ever called READY is"
            " at most"
            " α (here ",
            *joined([text(fact) for fact in alphas]),
            "), however often anybody looks and over all epochs together. It assumes that being as good"
            " means the registered score, on the sampled traffic, within an epoch; and that a window spans"
            " the cycle of the traffic (a day, a week), so that no window is better than the margin on"
            " average. It says nothing of what the score does not see.",
        ),
    )
