"""The benchmark's upstream: an nginx that answers every chat completion with fixed bytes."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.ports import free_ports

_ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
_START_SECONDS = 5.0
_STOP_SECONDS = 5.0
_STREAM_CHUNKS = 8

MODEL = "bench-model"

_TEXT = (
    "The route is chosen per workload. A request goes to the local model when the evidence for "
    "its workload is good enough, and to the cloud model otherwise; both answer in the same form."
)

COMPLETION: bytes = json.dumps(
    {
        "id": "chatcmpl-bench0000000000000000000000",
        "object": "chat.completion",
        "created": 1767225600,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _TEXT, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 24,
            "completion_tokens": 36,
            "total_tokens": 60,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        "system_fingerprint": "fp_bench",
    },
    separators=(",", ":"),
).encode()


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running nginx; `base_url` and `stream_url` end in `/v1`."""

    pid: int
    base_url: str
    stream_url: str


@contextmanager
def serve(cpus: str | None = None) -> Iterator[Upstream]:
    """Runs nginx with one worker until the block ends; `cpus` is a taskset list such as "1"."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if binary is None or not _ECHO_MODULE.exists():
        raise RuntimeError("the benchmark's upstream is missing: apt-get install nginx-light")
    pin = [] if cpus is None else ["taskset", "-c", cpus]
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as folder:
        (port,) = free_ports(1)
        log = Path(folder, "error.log")
        conf = Path(folder, "nginx.conf")
        conf.write_text(_conf(port, folder))
        with log.open("wb") as sink:
            child = subprocess.Popen(
                [*pin, binary, "-e", "stderr", "-p", folder, "-c", str(conf)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            wait_for_port(child, port, log)
            root = f"http://127.0.0.1:{port}"
            yield Upstream(child.pid, f"{root}/v1", f"{root}/stream/v1")
        finally:
            child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for_port(child: subprocess.Popen[bytes], port: int, log: Path | None = None) -> None:
    """Returns when something listens on the port.

    Raises:
        RuntimeError: the child ended, or does not listen within a few seconds.
    """
    deadline = time.monotonic() + _START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    said = log.read_text(errors="replace")[-2000:] if log is not None else ""
    raise RuntimeError(f"{child.args!r} did not start: {said}")


def _conf(port: int, folder: str) -> str:
    return f"""\
load_module {_ECHO_MODULE};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  # The default closes a connection after 1000 requests: reconnects would blur the latencies.
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /v1/chat/completions {{
      default_type application/json;
      return 200 {_quote(COMPLETION.decode())};
    }}
    location = /stream/v1/chat/completions {{
      default_type text/event-stream;
{_stream()}
    }}
  }}
}}
"""


def _stream() -> str:
    words = _TEXT.split(" ")
    step = -(-len(words) // _STREAM_CHUNKS)
    parts = [" ".join(words[i : i + step]) + " " for i in range(0, len(words), step)]
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": part}, None) for part in parts]
    deltas.append(({}, "stop"))
    events = [
        json.dumps(
            {
                "id": "chatcmpl-bench0000000000000000000000",
                "object": "chat.completion.chunk",
                "created": 1767225600,
                "model": MODEL,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            },
            separators=(",", ":"),
        )
        for delta, finish in deltas
    ]
    events.append("[DONE]")
    # `echo` ends its text with one newline, an event ends with two; the flush makes each event
    # an HTTP chunk of its own.
    return "\n".join(
        f"      echo {_quote(f'data: {event}' + chr(10))};\n      echo_flush;" for event in events
    )


def _quote(text: str) -> str:
    """`text` as one single-quoted nginx token."""
    if "$" in text:
        raise ValueError("nginx would expand a variable in the fixed answer")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
