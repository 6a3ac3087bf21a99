"""`[router]` and `[limits]`: where the router listens, whom it talks to, and what it accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.common.settings import Section


class Router(Section):
    """`[router]`: where it listens and what it talks to."""

    http: str = "127.0.0.1:8080"
    """HOST:PORT of the OpenAI-compatible door."""
    grpc: str = "127.0.0.1:8081"
    """HOST:PORT of the gRPC door."""
    classifier: str = "127.0.0.1:8082"
    """HOST:PORT of the classifier."""
    ledger: str = "127.0.0.1:8084"
    """HOST:PORT of the ledger."""
    shadow: str = "127.0.0.1:8083"
    """HOST:PORT of shadow."""
    samples_in_memory: int = Field(default=1000, ge=1)
    """Samples that may wait for shadow in each process. More are lost to the comparison, and counted."""
    sample_bytes: int = Field(default=256 * 1024, ge=1024)
    """Largest sample, question and answer together; larger requests are not compared."""
    state_dir: Path = Path(".homeward/router")
    """Folder for the queue of legs and the last policy."""
    processes: int = Field(default=1, ge=1, le=64)
    """Router processes that share the two ports (SO_REUSEPORT) and the keys' limits, of which each admits
    its part. `make run` starts them all."""
    index: int = Field(default=0, ge=0, lt=64)
    """Which of the processes this one is; each has a folder of its own in `state_dir`."""
    drain_s: float = Field(default=10, gt=0)
    """How long answers in flight may take to end after SIGTERM; longer ones are cut. What stops the process
    must wait longer: a pod's `terminationGracePeriodSeconds`."""
    model_in_answer: Literal["asked", "served"] = "asked"
    """The `model` that an application sees in an answer: what it asked for, or what served it. Headers,
    traces and the book always tell what served."""
    naming_budget_ms: int = Field(default=20, ge=1, le=1000)
    """Longest wait for the classifier; a request that is not named by then is unnamed."""
    conversations: int = Field(default=100_000, ge=0)
    """Conversations whose names each process remembers, so that a registration does not rename them."""
    observe_share: float = Field(default=0.02, ge=0, le=1)
    """Share of the requests named without the classifier that it is shown afterwards, so that it can tell
    whether a workload's traffic still looks like its examples."""
    observe_in_flight: int = Field(default=8, ge=1)
    """Requests that are being shown to it at once; more are not shown. No request waits for that."""


class Limits(Section):
    """`[limits]`: what the doors accept, and what may wait."""

    body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Largest request body. A dozen images as data URLs fit."""
    header_bytes: int = Field(default=16 * 1024, ge=1024)
    """Largest request line, and largest single header."""
    header_timeout_s: float = Field(default=10, gt=0)
    """Time for the headers of a connection's first request to arrive."""
    body_timeout_s: float = Field(default=60, gt=0)
    """Time for a body to arrive."""
    write_timeout_s: float = Field(default=60, gt=0)
    """How long an application may leave its stream unread once all buffers are full; then it is taken to
    have gone. Until then it keeps a place, an upstream's connection, and what its budgets set aside."""
    keepalive_s: float = Field(default=75, gt=0)
    """How long an idle connection is kept."""
    concurrent_requests: int = Field(default=1024, ge=1)
    """Requests in flight in one router process; more are refused with 503 and Retry-After."""
    connections: int = Field(default=4096, ge=1)
    """Open connections to one router process."""
    legs_in_memory: int = Field(default=20_000, ge=1)
    """Finished legs that may wait for the disk. More are lost and counted as shed."""
    legs_on_disk: int = Field(default=2_000_000, ge=1)
    """Legs that may wait on disk for the ledger: an hour at 500 requests a second."""
