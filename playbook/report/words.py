"""The words of the document that only Homeward uses, for readers of four professions. Pure."""

from __future__ import annotations

from playbook.report.document import Column, Name, Section, Table, text

WORDS: tuple[tuple[str, str], ...] = (
    ("workload", "a kind of request that moves as one, with an owner: the triage of tickets, say"),
    ("target", "where a request is answered: in the cloud, or at home by a model that the organisation runs"),
    ("call", "one call to one target; a request has several if it is compared. The book calls it a leg"),
    ("the book", "the tables in which each call is a row, with its cost; no text of it is in there"),
    ("the journal", "the list of all decisions, in which each entry has a hash of those before it"),
    ("data class", "the targets and regions that the data of a workload may use, fixed in the settings"),
    ("triplet", "one request with three answers: from home, from the cloud, and from the cloud again"),
    ("score", "how far two answers agree, from none to wholly, by a rule that was fixed beforehand"),
    ("margin δ", "how much worse than the cloud the model at home may score at most"),
    ("error α", "how likely a workload beyond its margin may be called READY at most, ever"),
    ("window", "a span of time, at the end of which the evidence so far is weighed"),
    ("epoch", "the comparison with one model and one prompt; another model begins another epoch"),
    (
        "ln K",
        "the weight of the evidence that the model at home is within the margin, as a logarithm",
    ),
    ("verdict", "READY: proven to be within the margin; REJECTED: proven not to be; COLLECTING: neither yet"),
    (
        "stage",
        "OBSERVED, SHADOWED (compared), CANARY (a part is answered at home), HOME (all is), ROLLED_BACK",
    ),
)


def words_section() -> Section:
    """What each word means."""
    table = Table(
        (Column("", share=1), Column("", share=5)),
        tuple((text(Name(word, "strong")), text(Name(meaning))) for word, meaning in WORDS),
        (),
        small=True,
    )
    return Section("words", text("Words"), (table,))
