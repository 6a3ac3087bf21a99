"""Measures the shipped classifier and refreshes its model card: `make eval-classifier`.

Writes `models/classifier/evaluation.json`, the pictures in `docs/images`, and the tables of
`models/classifier/README.md`.
"""

from __future__ import annotations

import json
import sys

from playbook.evaluation import card, pictures
from playbook.evaluation.figures import MODEL, ROOT, measured


def main() -> int:
    """The command."""
    figures = measured(lambda what: print(f"Measuring {what}", file=sys.stderr, flush=True))
    evaluation, page = MODEL / "evaluation.json", MODEL / "README.md"
    evaluation.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    drawn = pictures.draw(figures, ROOT / "docs" / "images")
    page.write_text(card.refreshed(page.read_text(encoding="utf-8"), figures), encoding="utf-8")
    for path in (evaluation, page, *drawn):
        print(f"wrote {path.relative_to(ROOT)}")
    print("Next: look at what changed with `git diff models/classifier`, and commit it with the model.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
