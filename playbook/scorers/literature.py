"""What others report on the same sets. Their protocols differ from ours, as each row says."""

from __future__ import annotations

from typing import NamedTuple


class Reported(NamedTuple):
    """A figure of the literature."""

    data: str
    what: str
    figure: str
    source: str
    protocol: str


_GEVAL = "Liu et al. 2023, G-Eval (arXiv 2303.16634), table 1"
_SUMMARY_LEVEL = "summary-level Spearman, mean over articles, as here; other references"
_READS = "the same, but reads the article"

REPORTED = (
    Reported("SummEval", "ROUGE-1", ".160 consistency, .326 relevance", _GEVAL, _SUMMARY_LEVEL),
    Reported("SummEval", "ROUGE-L", ".115 consistency, .311 relevance", _GEVAL, _SUMMARY_LEVEL),
    Reported("SummEval", "BERTScore", ".110 consistency, .312 relevance", _GEVAL, _SUMMARY_LEVEL),
    Reported(
        "SummEval", "BARTScore", ".382 consistency, .356 relevance", _GEVAL, "the same, but reads the article"
    ),
    Reported(
        "SummEval", "UniEval", ".446 consistency, .426 relevance", _GEVAL, "the same, but reads the article"
    ),
    Reported(
        "SummEval",
        "G-Eval, GPT-4",
        ".507 consistency, .547 relevance",
        _GEVAL,
        "the same, but reads the article",
    ),
    Reported(
        "PandaLM",
        "PandaLM-7B",
        "93.75 % of GPT-3.5's F1, 88.28 % of GPT-4's",
        "Wang et al. 2023, PandaLM (arXiv 2306.05087), abstract",
        "three classes, macro F1; the judges' accuracies on our pairs are measured above",
    ),
    Reported(
        "WMT21 TED",
        "–",
        "not quoted",
        "Freitag et al. 2021, WMT21 Metrics (aclanthology 2021.wmt-1.73)",
        "Kendall over all segments and systems; another protocol, and its tables were not at hand",
    ),
)
