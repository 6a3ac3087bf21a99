"""How well and how fast the detectors of personal data work, on labelled text and on real messages.

    python -m bench.detectors [FILE]        measures, and writes the tables of docs/residency.md to FILE
    python -m bench.detectors --generate    makes data/personal_data/faker.jsonl anew (needs Faker 40.63)

A labelled span counts as found if a finding of its kind touches it; a finding counts as right if it touches
a span that is labelled with its kind. Times are of one thread's CPU. Names of people are measured in
`person_names`.
"""

from __future__ import annotations

import csv
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import person_names
from services.router.core.detectors import Kind, find

DATA = Path("data")
PRESIDIO = DATA / "personal_data" / "presidio_synth.jsonl"
FAKER = DATA / "personal_data" / "faker.jsonl"
BIG_BYTES = 1_000_000
EVERY = [kind for kind in Kind if kind is not Kind.PERSON]

PRESIDIO_KINDS = {
    "EMAIL_ADDRESS": Kind.EMAIL,
    "IBAN_CODE": Kind.IBAN,
    "CREDIT_CARD": Kind.CARD,
    "US_SSN": Kind.NATIONAL_ID,
    "IP_ADDRESS": Kind.IP,
    "PHONE_NUMBER": Kind.PHONE,
    "STREET_ADDRESS": Kind.ADDRESS,
    "ZIP_CODE": Kind.ADDRESS,
}
"""Presidio's labels that a detector is for. It labels no dates of birth as such."""


@dataclass(slots=True)
class Tally:
    """What was found of one kind."""

    labelled: int = 0
    recalled: int = 0
    found: int = 0
    right: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def labelled(path: Path) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """Text and labelled spans of each row."""
    with path.open(encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            yield row["text"], [(kind, start, end) for kind, start, end in row["spans"]]


def measure(path: Path, kinds: dict[str, Kind]) -> dict[Kind, Tally]:
    """The tallies of a labelled file."""
    tallies: dict[Kind, Tally] = {kind: Tally() for kind in EVERY}
    for text, spans in labelled(path):
        findings = find(text, EVERY)
        wanted = [(kinds[kind], start, end) for kind, start, end in spans if kind in kinds]
        for kind, start, end in wanted:
            tally = tallies[kind]
            tally.labelled += 1
            hit = any(item.kind is kind and item.start < end and start < item.end for item in findings)
            tally.recalled += hit
            if not hit:
                tally.missed.append(text[max(0, start - 24) : end + 8])
        for item in findings:
            tally = tallies[item.kind]
            tally.found += 1
            right = any(
                kind is item.kind and item.start < end and start < item.end for kind, start, end in wanted
            )
            tally.right += right
            if not right:
                tally.wrong.append(text[max(0, item.start - 24) : item.end + 8])
    return tallies


def real() -> dict[str, list[str]]:
    """Messages that people wrote, and prompts of public data sets."""
    banking = [
        row["text"]
        for part in ("train", "test")
        for row in csv.DictReader((DATA / "workloads" / f"banking77_{part}.csv").open(encoding="utf-8"))
    ]
    prompts = [
        "\n".join(item["content"] for item in row["messages"] if isinstance(item["content"], str))
        for part in ("tune", "test_dev")
        for row in map(json.loads, (DATA / "classifier" / f"{part}.jsonl").open(encoding="utf-8"))
    ]
    clinc = json.loads((DATA / "workloads" / "clinc150_full.json").read_text(encoding="utf-8"))
    return {
        "Banking77, all 13,083 messages of a bank's customers": banking,
        "CLINC150, all 23,700 requests to an assistant": [row[0] for part in clinc.values() for row in part],
        "`data/classifier`, 2,038 prompts of public data sets (tune, test_dev)": prompts,
    }


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread, the best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return best


def _read(texts: Sequence[str], kinds: Collection[Kind]) -> None:
    for text in texts:
        find(text, kinds)


def report() -> str:
    """The tables."""
    lines: list[str] = []
    for title, path, kinds in (
        (f"`{PRESIDIO}`", PRESIDIO, PRESIDIO_KINDS),
        (f"`{FAKER}`", FAKER, {kind.value: kind for kind in Kind}),
    ):
        lines += [
            f"**{title}**",
            "",
            "| kind | labelled | recall | found | precision |",
            "|---|---:|---:|---:|---:|",
        ]
        for kind, tally in measure(path, kinds).items():
            recall = f"{tally.recalled / tally.labelled:.3f}" if tally.labelled else "not labelled"
            precision = f"{tally.right / tally.found:.3f}" if tally.found and tally.labelled else "–"
            lines.append(f"| {kind} | {tally.labelled} | {recall} | {tally.found} | {precision} |")
        lines.append("")
    texts = real()
    lines += ["| real messages, nothing labelled | with a finding | of kind |", "|---|---:|---|"]
    for name, messages in texts.items():
        hits = Counter(kind for text in messages for kind in {item.kind for item in find(text, EVERY)})
        with_any = sum(bool(find(text, EVERY)) for text in messages)
        kinds_found = ", ".join(f"{kind} {count}" for kind, count in hits.most_common()) or "–"
        lines.append(f"| {name} | {with_any} | {kinds_found} |")
    banking = next(iter(texts.values()))
    prose = "\n".join(banking)
    dense = "\n".join(text for text, _ in labelled(PRESIDIO))
    dense *= BIG_BYTES // len(dense) + 1
    lines += ["", "| text | µs per KB, all kinds but names |", "|---|---:|"]
    for name, pieces in (
        ("messages of Banking77, one by one (58 characters each)", banking),
        ("the same as one text of 744 KB", [prose]),
        ("Presidio's rows as one text of 1 MB: an identifier in every 60 characters", [dense[:BIG_BYTES]]),
        ("1 MB of `1980-01-01 `, the heaviest that we found", ["1980-01-01 " * (BIG_BYTES // 11)]),
    ):
        spent = seconds(partial(_read, pieces, EVERY))
        lines.append(f"| {name} | {spent / sum(map(len, pieces)) * 1024 * 1e6:,.0f} |")
    lines += ["", "| kind alone, Presidio's rows as one text | µs per KB |", "|---|---:|"]
    for kind in EVERY:
        spent = seconds(partial(_read, [dense[:BIG_BYTES]], {kind}))
        lines.append(f"| {kind} | {spent / BIG_BYTES * 1024 * 1e6:,.0f} |")
    return "\n".join([*lines, "", *person_names.report()]) + "\n"


# --- the generated rows

_LOCALES = {
    "en_US": ("SSN", "born on", "%B %d, %Y", "You can reach me at", "I live at"),
    "en_GB": ("NI number", "date of birth:", "%d/%m/%Y", "My mobile is", "Deliver it to"),
    "de_DE": ("Steuer-ID", "geboren am", "%d.%m.%Y", "Tel.:", "Ich wohne in der"),
    "fr_FR": ("numéro de sécurité sociale", "né le", "%d/%m/%Y", "Mon téléphone :", "J'habite au"),
    "es_ES": ("DNI", "fecha de nacimiento:", "%d/%m/%Y", "Mi móvil es", "Vivo en"),
    "it_IT": ("codice fiscale", "nato il", "%d/%m/%Y", "Il mio cellulare:", "Abito in"),
    "nl_NL": ("BSN", "geboortedatum:", "%d-%m-%Y", "Telefoon", "Ik woon op"),
    "pl_PL": ("PESEL", "DOB:", "%Y-%m-%d", "Mój telefon:", "Mieszkam przy"),
    "sv_SE": ("personnummer", "född", "%Y-%m-%d", "Ring mig på", "Jag bor på"),
    "fi_FI": ("henkilötunnus", "syntymäaika", "%d.%m.%Y", "Puhelin", "Asun osoitteessa"),
    "pt_BR": ("CPF", "nascido em", "%d/%m/%Y", "Meu celular é", "Moro na"),
    "en_IN": ("Aadhaar", "DOB", "%d-%m-%Y", "Call me on", "Send it to"),
}
"""Each locale's words before its identifiers: the sentences are ours, the identifiers Faker's."""
_SENTENCES = ("{0} {1}.", "Hi, {0} {1} - thanks!", "{0} {1}\nOrder 4711-2291 of 2024-05-06, 3 x 12.50 EUR")
_BARE = ("{1}", "Please check {1} again.", "id;value\n17;{1}\n18;n/a")
_DECOYS = (
    "Order {n10} was sent on {date}, tracking number {n12}.",
    "Version {a}.{b}.{c} took {n3}.{n3} ms, build {n8}.",
    "Invoice {n6}-{n4}: {n3} units at {n3}.99 EUR, total {n5}.00 EUR",
    "uuid {hex8}-{hex4}-4{hex3}-9{hex3}-{hex8}{hex4}",
    "{date} {a:02}:{b:02}:{c:02} INFO request {n16} done in {n4} ms",
    "Meeting on {date} at {a}:30, room {n3}, {b} people on the way",
)


def generate(rows_of_each: int = 20, seed: int = 7) -> None:
    """Writes rows with identifiers of twelve countries, and as many decoys as there are of a kind."""
    from faker import Faker  # type: ignore[import-not-found]  # no dependency of ours

    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for locale, (id_word, born, date_format, phone_word, address_word) in _LOCALES.items():
        fake = Faker(locale)
        fake.seed_instance(seed)
        national = {"pl_PL": "pesel", "pt_BR": "cpf", "en_IN": "aadhaar_id", "es_ES": "nif"}.get(
            locale, "ssn"
        )
        for _ in range(rows_of_each):
            made = {
                Kind.NATIONAL_ID: (id_word, getattr(fake, national)()),
                Kind.BIRTH_DATE: (born, fake.date_of_birth().strftime(date_format)),
                Kind.PHONE: (phone_word, fake.phone_number()),
                Kind.ADDRESS: (address_word, fake.street_address()),
                Kind.IBAN: ("IBAN", fake.iban()),
                Kind.CARD: ("card", fake.credit_card_number()),
                Kind.EMAIL: ("mail", fake.email()),
                Kind.IP: ("from", rng.choice((fake.ipv4_public, fake.ipv6))()),
            }
            # Faker's numbers of these countries, and its British accounts, are not valid ones.
            if locale in ("de_DE", "en_GB", "en_IN"):
                del made[Kind.NATIONAL_ID]
            if made[Kind.IBAN][1].startswith("GB"):
                del made[Kind.IBAN]
            for kind, (word, value) in made.items():
                # A date is one of birth only if that is said.
                bare = kind is not Kind.BIRTH_DATE and rng.random() < 0.3
                text = rng.choice(_BARE if bare else _SENTENCES).format(word, value)
                start = text.index(value)
                rows.append(
                    {"text": text, "spans": [[kind.value, start, start + len(value)]], "locale": locale}
                )
    numbers = {f"n{size}": size for size in (3, 4, 5, 6, 8, 10, 12, 16)}
    for _ in range(rows_of_each * len(_LOCALES)):
        values: dict[str, Any] = {name: _digits(rng, size) for name, size in numbers.items()}
        values |= {f"hex{size}": f"{rng.getrandbits(4 * size):0{size}x}" for size in (3, 4, 8)}
        values |= {name: rng.randrange(24) for name in "abc"}
        date = f"20{rng.randrange(10, 27)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
        rows.append({"text": rng.choice(_DECOYS).format(date=date, **values), "spans": [], "locale": ""})
    FAKER.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _digits(rng: random.Random, size: int) -> str:
    return str(rng.randrange(10 ** (size - 1), 10**size))


def main(arguments: Sequence[str]) -> None:
    """Measures or generates."""
    if "--generate" in arguments:
        generate()
        return
    text = report()
    print(text)
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
