"""One upstream at home: its model's folder, its replicas, and who watches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.common.settings import SettingsError
from services.router.adapters.model_folder import ModelFolder, Prompt
from services.router.adapters.replica_watch import Probing, ReplicaWatch
from services.router.adapters.triton import TritonServer
from services.router.config import TritonSettings
from services.router.core.sovereign.plan import Plan
from services.router.core.sovereign.replicas import Pool, Replica


class Home:
    """One upstream. Needs a running event loop."""

    def __init__(self, name: str, settings: TritonSettings) -> None:
        """Reads the model's folder and connects.

        Raises:
            SettingsError: a folder lacks what it should have.
        """
        self.settings = settings
        try:
            self.folder = ModelFolder(settings.model_dir)
        except SettingsError as error:
            raise SettingsError(f"triton.{name}.model_dir: {error}") from None
        self.context_tokens = settings.context_tokens or self.folder.context_tokens
        if not self.context_tokens:
            raise SettingsError(
                f"triton.{name}.context_tokens: missing, and the model's config.json names none"
            )
        replicas = [Replica(address) for address in settings.replicas]
        self.pool = Pool(name, replicas, settings.queue_tokens, settings.affinity_requests)
        probing = Probing(
            interval_s=settings.probe_interval_s,
            timeout_s=settings.probe_timeout_s,
            reload_timeout_s=settings.reload_timeout_s,
            reload=settings.reload,
            versions=tuple(dict.fromkeys(settings.versions.values())) or ("",),
        )
        try:
            servers = [TritonServer(item.name, settings.model, settings.tls_dir) for item in replicas]
        except OSError as error:
            raise SettingsError(f"triton.{name}.tls_dir: {error}") from None
        self.watches = {
            replica.name: ReplicaWatch(server, replica, self.pool, probing)
            for server, replica in zip(servers, replicas, strict=True)
        }

    async def close(self) -> None:
        """Ends the watches."""
        for watch in self.watches.values():
            await watch.close()


@dataclass(frozen=True, slots=True)
class Work:
    """A request that is ready to be sent to any replica."""

    plan: Plan
    prompt: Prompt
    max_tokens: int
    estimated_tokens: int
    version: str
    headers: Mapping[str, str]
