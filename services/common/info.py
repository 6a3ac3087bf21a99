"""homeward.common.v1.InfoService: what a process is, and how full it is, for `homeward doctor`."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf.descriptor import FileDescriptor
from grpc import aio
from homeward.classifier.v1 import classifier_pb2
from homeward.common.v1 import error_reason_pb2, info_pb2, info_pb2_grpc
from homeward.ledger.v1 import ledger_pb2
from homeward.router.v1 import router_pb2
from homeward.shadow.v1 import shadow_pb2

Context: TypeAlias = aio.ServicerContext[Any, Any]

PACKAGE = "homeward"
"""The package whose version is told."""
BUSY_S = 1.0
"""How long a count waits for a file that is being written."""

_FILES = (classifier_pb2, ledger_pb2, router_pb2, shadow_pb2, error_reason_pb2, info_pb2)


@dataclass(frozen=True, slots=True)
class About:
    """What a process tells of itself. The callables are called in a thread, at each question."""

    service: str
    index: int = 0
    """Which of the processes that share an address."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Where it writes, by the setting that says so."""
    queues: Callable[[], Sequence[info_pb2.Queue]] = tuple
    """What waits."""
    policy: Callable[[], tuple[int, int | None]] | None = None
    """Version and age in seconds of the policy that it acts on."""
    journal: Callable[[], info_pb2.JournalInfo] | None = None
    """How the journal stands."""
    newest_migration: str = ""
    """The last one that it carries."""


class InfoServicer(info_pb2_grpc.InfoServiceServicer):
    """Serves what `About` says. One a process."""

    def __init__(self, about: About, authorize: Callable[[str], bool] | None = None) -> None:
        """`authorize` takes the secret of who asks (empty for none) and says whether folders, queues and
        journal are for them too; it raises DomainError for strangers. None: who reaches the port may know."""
        self._about = about
        self._authorize = authorize
        self._start_ns = time.time_ns()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="info")

    async def GetServerInfo(
        self, request: info_pb2.GetServerInfoRequest, context: Context
    ) -> info_pb2.GetServerInfoResponse:
        """Tells all of it."""
        everything = self._authorize is None or self._authorize(bearer(context))
        # In a thread of its own: a folder that hangs must stop neither the event loop nor others' threads.
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, everything)

    def _answer(self, everything: bool) -> info_pb2.GetServerInfoResponse:
        about = self._about
        answer = info_pb2.GetServerInfoResponse(
            service=about.service,
            index=about.index,
            version=package_version(),
            contract_sha256=contract_sha256(),
            restricted=not everything,
            newest_migration=about.newest_migration,
        )
        answer.start_time.FromNanoseconds(self._start_ns)
        if about.policy is not None:
            version, age_s = about.policy()
            answer.policy.version, answer.policy.age_s = version, age_s or 0
        if everything:
            answer.folders.extend(_folder(name, path) for name, path in about.folders.items())
            answer.queues.extend(about.queues())
            if about.journal is not None:
                answer.journal.CopyFrom(about.journal())
        # Last, so that it is as near to the answer's way back as can be.
        answer.answer_time.FromNanoseconds(time.time_ns())
        return answer


@cache
def package_version() -> str:
    """The version of Homeward that runs; empty if it is not installed as a package."""
    try:
        return installed_version(PACKAGE)
    except PackageNotFoundError:
        return ""


@cache
def contract_sha256() -> bytes:
    """The hash of the contract that this process was built with, comments left out."""
    found: dict[str, bytes] = {}
    waiting: list[FileDescriptor] = [file.DESCRIPTOR for file in _FILES]
    while waiting:
        file = waiting.pop()
        if file.name.startswith("homeward/") and file.name not in found:
            found[file.name] = file.serialized_pb
            waiting.extend(file.dependencies)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(hashlib.sha256(found[name]).digest())
    return digest.digest()


def outbox_queue(name: str, file: Path, capacity: int, lost: int = 0) -> info_pb2.Queue:
    """An outbox on disk. It is read by a connection of its own: the owner's belongs to the owner's thread."""
    queue = info_pb2.Queue(name=name, capacity_count=capacity, lost_count=lost)
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as db:
            queue.waiting_count = db.execute("SELECT count(*) FROM item").fetchone()[0]
    except sqlite3.Error:
        # Absent: unknown is not zero.
        pass
    return queue


def bearer(context: Context) -> str:
    """The secret in a call's `authorization: Bearer SECRET`; empty if there is none."""
    metadata = dict(context.invocation_metadata() or ())
    scheme, _, secret = str(metadata.get("authorization", "")).partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _folder(setting: str, path: Path) -> info_pb2.Folder:
    folder = info_pb2.Folder(setting=setting, path=str(path.absolute()))
    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        folder.problem = error.strerror or type(error).__name__
        return folder
    folder.free_bytes, folder.total_bytes = usage.free, usage.total
    return folder
