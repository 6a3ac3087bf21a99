"""`[triton.NAME]`: the servers of a model at home."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.common.settings import Section


class TritonSettings(Section):
    """`[triton.NAME]`: the replicas behind `[upstreams.NAME]` with protocol = "triton"."""

    replicas: list[str] = Field(min_length=1)
    """HOST:PORT of each server's gRPC door."""
    tls_dir: Path | None = None
    """Folder with `ca.crt`, `client.crt` and `client.key`: the connections have mutual TLS. Left out: none,
    for servers on the same machine or behind a tunnel."""
    model_dir: Path
    """Folder with the model's `tokenizer.json`, `tokenizer_config.json` (with its chat template) and
    `config.json`, as published with the model."""
    model: str = "tensorrt_llm"
    """What the model is called in Triton's repository."""
    versions: dict[str, str] = {}
    """Triton's version for each model name that routes use; a name that is not here gets the newest."""
    context_tokens: int | None = Field(default=None, ge=16)
    """Tokens that prompt and answer may have together: the server's `max_seq_len`. Left out: what the
    model's `config.json` says."""
    context_overflow: Literal["cloud", "error"] = "cloud"
    """What becomes of a request that is too long: the next route that its data class allows, or an error."""
    max_answer_tokens: int = Field(default=4096, ge=1)
    """Longest answer of a request that names no limit; a model that does not stop would hold its place."""
    queue_tokens: int = Field(default=65_536, ge=1)
    """Estimated tokens, of prompts and answers, in flight at one replica. When all are full, requests go to
    the next route that their data class allows, else they get 429 and Retry-After."""
    affinity_requests: int = Field(default=2, ge=0)
    """How many more requests than the idlest replica one may have and still get prompts that begin like
    one it has seen, whose keys and values it keeps."""
    coalesce_ms: int = Field(default=20, ge=0, le=1000)
    """Tokens that come within this time after a piece of a stream are sent together: 50 pieces a second are
    more than anybody reads, and each costs as much as a token."""
    hold_s: float = Field(default=5, ge=0)
    """How long a stream is held back whose answer must have a form (`response_format`, a tool that must be
    called), so that one that ends without it can still be the next route's, as a whole answer can. A hundred
    tokens, at 20 a second, are the answer of most extractions; a longer one flows from then on, and may
    end in an error. 0: nothing is held back."""
    probe_interval_s: float = Field(default=5, gt=0)
    """Silence of a replica after which it is probed with an inference of one token."""
    probe_timeout_s: float = Field(default=10, gt=0)
    """How long that may take."""
    reload: bool = True
    """Whether the router unloads and loads the model of a replica whose process has died, which needs
    `--model-control-mode=explicit`."""
    reload_timeout_s: float = Field(default=300, gt=0)
    """How long that may take: an engine of a big model takes minutes."""
