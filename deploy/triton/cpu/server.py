"""Where tritonserver is, what it needs on disk, and its command line and environment.

The wheel keeps the parts of the Python backend in three places, and Triton looks for them in one; so a state
folder gets a backend directory of links, and a model repository that is written anew at each start.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from deploy.triton.contract.compare import MODEL_NAME, contract

ROOT = Path(__file__).parents[3]
ENVIRONMENT = ROOT / ".triton"
MODELS = ROOT / "models" / "small-llama"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where Triton puts its regions
EXIT_TIMEOUT_S = 5
"""How long Triton waits for requests in flight when it is told to stop."""
FORWARDED_HEADERS = "traceparent|tracestate|x-request-id"
TRACE_DELAY_MS = 500
"""How long a span waits for others before it is sent."""
_MODEL_FILE = Path(__file__).with_name("model.py")


class MissingError(Exception):
    """Something that the server needs is not on this machine; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run one server."""

    grpc: str
    """HOST:PORT, as the next two."""
    http: str
    metrics: str
    state_dir: Path
    """A folder of this server's own."""
    models: Path = MODELS
    """Has a folder for each version, named by its number."""
    trace_url: str = ""
    """Where spans go by OTLP over HTTP, with /v1/traces; empty for nowhere."""
    requests_in_work: int = 8
    """How many requests are generated at a time."""
    requests_queued: int = 64
    """How many more may wait; the next is refused."""
    token_delay_ms: float = 0.0
    """Makes the server slow, for drills."""

    @property
    def shared_memory_prefix(self) -> str:
        """What the names of this server's regions in /dev/shm begin with, in every run."""
        digest = hashlib.sha256(str(self.state_dir.resolve()).encode()).hexdigest()
        return f"homeward-triton-{digest[:12]}-"


@dataclass(frozen=True, slots=True)
class Installation:
    """The environment with the wheel."""

    root: Path

    @property
    def triton(self) -> Path:
        """The folder with bin, backends and the Python stubs."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return self.root / "lib" / f"python{version}" / "site-packages" / "pytriton" / "tritonserver"

    @property
    def server(self) -> Path:
        """The tritonserver binary."""
        return self.triton / "bin" / "tritonserver"


def find(root: Path = ENVIRONMENT) -> Installation:
    """The installation.

    Raises:
        MissingError: it is not there, or its Python is not one that the wheel has a stub for.
    """
    found = Installation(root)
    if not found.server.exists():
        raise MissingError(f"{found.server} is missing: run `make setup`")
    if not _stub(found).exists():
        raise MissingError(f"{_stub(found)} is missing: the wheel serves Python 3.8 to 3.13 only")
    return found


def library_path() -> str | None:
    """The folder for LD_LIBRARY_PATH in which this Python's shared library is; None if the loader finds it.

    Raises:
        MissingError: it is nowhere.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    for folder in (Path(sys.base_prefix) / "lib", Path(sysconfig.get_config_var("LIBDIR") or "/")):
        if (folder / name).exists():
            return str(folder)
    try:
        ctypes.CDLL(name)
    except OSError:
        package = name.partition(".so")[0]
        raise MissingError(
            f"{name} is missing, which Triton's Python backend is linked with: "
            f"install Debian's {package} (apt-get install {package})"
        ) from None
    return None


def versions(models: Path) -> list[int]:
    """The model versions in a folder.

    Raises:
        MissingError: there is none.
    """
    found = sorted(
        int(at.parent.name) for at in models.glob("*/genai_config.json") if at.parent.name.isdigit()
    )
    if not found:
        raise MissingError(f"{models} has no model: expected {models}/1/genai_config.json")
    return found


def prepare(settings: Settings, installation: Installation) -> None:
    """Writes the state folder, and takes away what a server that was killed has left in shared memory.

    The folder must not be that of a living server.
    """
    backends = settings.state_dir / "backends"
    repository = settings.state_dir / "repository"
    for folder in (backends, repository):
        shutil.rmtree(folder, ignore_errors=True)
    backend = backends / "python"
    backend.mkdir(parents=True)
    parts = installation.triton / "backends" / "python"
    for part in (*parts.iterdir(), _stub(installation)):
        (backend / part.name).symlink_to(part.resolve())
    for version in versions(settings.models):
        folder = repository / MODEL_NAME / str(version)
        folder.mkdir(parents=True)
        (folder / "model.py").symlink_to(_MODEL_FILE)
    config = text_format.MessageToString(model_config(settings))
    (repository / MODEL_NAME / "config.pbtxt").write_text(config, encoding="utf-8")
    clear_shared_memory(settings)


def model_config(settings: Settings) -> pb.ModelConfig:
    """The contract, and what this server adds to it."""
    config = contract()
    config.version_policy.all.SetInParent()
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
    for name, value in {
        "models": settings.models.resolve(),
        "trace_url": settings.trace_url,
        "requests_in_work": settings.requests_in_work,
        "requests_queued": settings.requests_queued,
        "token_delay_ms": settings.token_delay_ms,
    }.items():
        config.parameters[name].string_value = str(value)
    return config


def clear_shared_memory(settings: Settings) -> None:
    """Removes this server's regions from /dev/shm."""
    for region in shared_memory(settings):
        region.unlink(missing_ok=True)


def shared_memory(settings: Settings) -> list[Path]:
    """This server's regions in /dev/shm."""
    return sorted(SHARED_MEMORY.glob(f"{settings.shared_memory_prefix}*"))


def command(settings: Settings, installation: Installation, run: int) -> list[str]:
    """tritonserver's command line.

    Args:
        run: tells the shared memory of this run from that of the folder's other runs: the pid.
    """
    line = [
        str(installation.server),
        f"--model-repository={settings.state_dir / 'repository'}",
        f"--backend-directory={settings.state_dir / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={settings.shared_memory_prefix}{run}-",
        "--disable-auto-complete-config",
        # Explicit, because only unload and load brings a crashed Python process back.
        "--model-control-mode=explicit",
        "--load-model=*",
        "--exit-on-error=false",
        "--strict-readiness=false",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        "--pinned-memory-pool-byte-size=0",
        f"--grpc-header-forward-pattern={FORWARDED_HEADERS}",
    ]
    for kind, address in (("grpc", settings.grpc), ("http", settings.http), ("metrics", settings.metrics)):
        host, _, port = address.rpartition(":")
        line += [f"--{kind}-address={host}", f"--{kind}-port={port}"]
    if settings.trace_url:
        for setting in (
            "mode=opentelemetry",
            # Those requests alone that bring a trace along: not the probes.
            "rate=0",
            "level=TIMESTAMPS",
            f"opentelemetry,url={settings.trace_url}",
            "opentelemetry,resource=service.name=triton",
            f"opentelemetry,bsp_schedule_delay={TRACE_DELAY_MS}",
        ):
            line += ["--trace-config", setting]
    return line


def environment(settings: Settings, installation: Installation, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of tritonserver, which its Python processes inherit."""
    made = dict(base)
    # The first Python on PATH is the one whose packages model.py sees; PYTHONPATH leads it to our code.
    made["PATH"] = f"{installation.root / 'bin'}:{made.get('PATH', '')}"
    made["PYTHONPATH"] = str(ROOT)
    made["PYTHONDONTWRITEBYTECODE"] = "1"
    # onnxruntime and onnxruntime-genai from PyPI report to Microsoft unless this is set.
    made["ORT_DISABLE_TELEMETRY"] = "1"
    folder = library_path()
    if folder is not None:
        made["LD_LIBRARY_PATH"] = ":".join(filter(None, (folder, made.get("LD_LIBRARY_PATH"))))
    return made


def _stub(installation: Installation) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return installation.triton / "python_backend_stubs" / version / "triton_python_backend_stub"
