"""CPU time and resident memory of process trees, from Linux's /proc."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class RssSample:
    """Resident bytes of a process tree at a time in microseconds since the epoch."""

    at_us: int
    rss_bytes: int


def tree(roots: Iterable[int]) -> set[int]:
    """The pids of `roots` and of all their living descendants."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        stat = _stat(pid)
        if stat is not None:
            children.setdefault(int(stat[1]), []).append(pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo.extend(children.get(pid, []))
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """User plus system seconds the trees have used, to the kernel's clock tick (10 ms)."""
    ticks = 0
    for pid in tree(roots):
        stat = _stat(pid)
        if stat is not None:
            # cutime and cstime too: a worker that ended and was waited for still counts.
            ticks += sum(int(cell) for cell in stat[11:15])
    return ticks / _TICKS_PER_SECOND


def rss_bytes(roots: Iterable[int]) -> int:
    """Resident bytes of the trees; a page that two processes share counts in both."""
    pages = 0
    for pid in tree(roots):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * _PAGE_BYTES


@contextmanager
def sampled_rss(roots: Sequence[int], every_s: float = 0.2) -> Iterator[list[RssSample]]:
    """Samples the trees' resident bytes every `every_s` seconds until the block ends."""
    samples: list[RssSample] = []
    stop = threading.Event()

    def sample() -> None:
        while True:
            samples.append(RssSample(time.time_ns() // 1000, rss_bytes(roots)))
            if stop.wait(every_s):
                return

    thread = threading.Thread(target=sample, name="rss-sampler")
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def rss_slope(samples: Sequence[RssSample], completions_us: Sequence[int], skip: float = 0.2) -> float:
    """Least-squares growth in bytes per request after the first `skip` part of the requests;
    `completions_us` is ascending."""
    # New connections grow a process at a run's start, however well it was warmed up before.
    begin = len(completions_us) * skip
    counted = [(bisect_right(completions_us, sample.at_us), sample) for sample in samples]
    done = [n for n, _ in counted if n >= begin]
    samples = [sample for n, sample in counted if n >= begin]
    if len(set(done)) < 2:
        raise ValueError("the run was too short for a slope: fewer than two distinct samples")
    mean_x = sum(done) / len(done)
    mean_y = sum(sample.rss_bytes for sample in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x in done)
    pairs = zip(done, samples, strict=True)
    return sum((x - mean_x) * (sample.rss_bytes - mean_y) for x, sample in pairs) / spread


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on, or None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold spaces and parentheses.
    return text.rpartition(")")[2].split()
