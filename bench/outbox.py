"""How fast the queue on disk is: `python -m bench.outbox`."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from services.common.outbox import Outbox

ROWS = 100_000
COMMIT_ROWS = 1_000
BATCH_ROWS = 5_000
PAYLOAD = b"x" * 250


def main() -> None:
    """Puts rows in and takes them out."""
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder, "o.sqlite"), max_rows=ROWS, remember_s=3600, outbox_id=os.urandom(16))
        began = time.perf_counter()
        for _ in range(ROWS // COMMIT_ROWS):
            outbox.put([(os.urandom(16), PAYLOAD) for _ in range(COMMIT_ROWS)], int(time.time()))
        put_s = time.perf_counter() - began
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        began = time.perf_counter()
        while (batch := outbox.next_batch(BATCH_ROWS)) is not None:
            outbox.acknowledge(batch.number, int(time.time()))
        took_s = time.perf_counter() - began
        outbox.close()
    print(f"in:  {ROWS / put_s:,.0f} rows/s, {COMMIT_ROWS} a commit, {size / ROWS:.0f} bytes a row on disk")
    print(f"out: {ROWS / took_s:,.0f} rows/s, {BATCH_ROWS} a batch")


if __name__ == "__main__":
    main()
