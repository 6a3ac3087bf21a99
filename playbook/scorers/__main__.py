"""`make eval-scorers`: each scorer beside people, on public judgements; refreshes docs/scorers.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from playbook.scorers import choice, page
from playbook.scorers.embedding import Embedding
from playbook.scorers.figures import Case
from playbook.scorers.measuring import (
    CLOUDS,
    JSON,
    LABELS,
    Agree,
    Measured,
    judged,
    on_llmfao,
    on_other_summaries,
    on_pandalm,
    on_summaries,
    on_wmt,
)
from playbook.scorers.sets import (
    BESIDE,
    ROOT,
    SUMMEVAL_VARIABLE,
    Article,
    Llmfao,
    PandaLM,
    Segment,
    llmfao,
    pandalm,
    summeval,
    wmt_ted,
)
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.meaning import Embed
from services.shadow.core.scorers.registry import scorer

PAGE = ROOT / "docs" / "scorers.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a scorer agrees with people no more than "the longer answer wins" does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="leave docs/scorers.md as it is")
    dry = parser.parse_args(arguments).dry
    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - started:4.0f} s  {what}", file=sys.stderr, flush=True)

    pairs, crowd, segments, articles = pandalm(), llmfao(), wmt_ted(), summeval()
    if articles is None:
        tell(f"SummEval: not here, not measured (looked at {BESIDE}; {SUMMEVAL_VARIABLE} names another file)")
    embed = Embedding()
    rows: list[Measured] = []
    for name in (page.AIMED, "token_f1@1"):
        agree = agreeing(name, embed)
        rows += _with(tell, f"{name} on PandaLM", on_pandalm(pairs, name, agree))
        rows += _with(tell, f"{name} on LLMFAO", on_llmfao(crowd, name, agree))
    agree = agreeing(page.AIMED, embed)
    rows += _with(tell, f"{page.AIMED} on WMT21 TED", on_wmt(segments, page.AIMED, agree))
    if articles is not None:
        rows += _with(tell, f"{page.AIMED} on SummEval", on_summaries(articles, page.AIMED, agree))
        others = on_other_summaries(articles, page.AIMED, agree)
        rows += _with(tell, f"{page.AIMED} on SummEval: the article, other systems", others)
    for name, slugs in (("exact_match@1", LABELS), ("json_fields@1", JSON)):
        found = on_llmfao(crowd, name, agreeing(name, embed), clouds=CLOUDS[:1], slugs=slugs)
        rows += _with(tell, f"{name} on LLMFAO", found)
    tell("the candidates of the blend")
    chosen = {
        key: choice.means(_for_choice(key.shared, agree, pairs, crowd, segments, articles))
        for key, agree in choice.candidates(embed).items()
    }
    tables = {
        "aims": page.aims(rows),
        "agreement": page.agreement(rows),
        "judges": page.judges(_judges(pairs, crowd)),
        "literature": page.literature(),
        "choice": page.choice(chosen),
    }
    print("\n\n".join(tables.values()))
    if not dry and articles is None:
        tell(f"left {PAGE.relative_to(ROOT)} as it is: its tables have SummEval")
    elif not dry:
        PAGE.write_text(page.refreshed(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
        tell(f"wrote {PAGE.relative_to(ROOT)}")
    return int(not all(page.beats_longer(row) for row in rows if len(row.cases) > 1))


def agreeing(name: str, embed: Embed) -> Agree:
    """A registered scorer as a function of two texts."""
    found = scorer(name, embed)
    return lambda text, reference: float(found.agree(Answer(text), Answer(reference)))


def _with(tell: Callable[[str], None], what: str, found: Iterator[Measured]) -> list[Measured]:
    tell(what)
    return list(found)


def _for_choice(
    name: str,
    agree: Agree,
    pairs: PandaLM,
    crowd: Llmfao,
    segments: Sequence[Segment],
    articles: Sequence[Article] | None,
) -> Iterator[Measured]:
    yield from on_pandalm(pairs, name, agree)
    yield from on_llmfao(crowd, name, agree, clouds=CLOUDS[:1])
    yield from on_wmt(segments, name, agree)
    if articles is not None:
        yield from on_summaries(articles, name, agree)


def _judges(pairs: PandaLM, crowd: Llmfao) -> dict[tuple[str, str], list[Case]]:
    """Published verdicts, counted as ours are."""
    gpt35, panda = pairs.judges["gpt35"], pairs.judges["pandalm_7b"]
    decided = [pair for pair in crowd.pairs if crowd.gpt4[pair.id] != "tie"]
    return {
        ("PandaLM", "GPT-3.5"): judged(pairs.pairs, lambda pair: gpt35[pair.id]),
        ("PandaLM", "PandaLM-7B"): judged(pairs.pairs, lambda pair: panda[pair.id]),
        ("LLMFAO", "GPT-4"): judged(crowd.pairs, lambda pair: crowd.gpt4[pair.id]),
        ("LLMFAO", "GPT-4, where it does not say tie"): judged(decided, lambda pair: crowd.gpt4[pair.id]),
    }


if __name__ == "__main__":
    sys.exit(main())
