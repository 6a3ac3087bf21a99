"""Becomes tritonserver: `python -m deploy.triton.cpu --grpc 127.0.0.1:8001`.

It replaces this process, so that signals, and the kernel's at the parent's death, reach the server itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from deploy.triton.cpu import server
from deploy.triton.cpu.serving import lifeline


def arguments() -> server.Settings:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.triton.cpu", description=__doc__)
    parser.add_argument("--grpc", required=True, metavar="HOST:PORT")
    parser.add_argument("--http", required=True, metavar="HOST:PORT")
    parser.add_argument("--metrics", required=True, metavar="HOST:PORT")
    parser.add_argument("--state-dir", required=True, type=Path, help="a folder of this server's own")
    parser.add_argument("--models", type=Path, default=server.MODELS, help="default: %(default)s")
    parser.add_argument("--trace-url", default="", help="OTLP over HTTP, with /v1/traces")
    parser.add_argument("--requests-in-work", type=int, default=8)
    parser.add_argument("--requests-queued", type=int, default=64)
    parser.add_argument("--token-delay-ms", type=float, default=0.0, help="makes the server slow, for drills")
    options = parser.parse_args()
    options.state_dir = options.state_dir.resolve()
    return server.Settings(**{field.name: getattr(options, field.name) for field in fields(server.Settings)})


def main(settings: server.Settings) -> None:
    """Takes the state folder, writes it, and becomes tritonserver.

    Raises:
        MissingError: something is not installed.
    """
    installation = server.find()
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    server.prepare(settings, installation)
    line = server.command(settings, installation, os.getpid())
    environment, end = lifeline.offer()
    sweep_after(end, f"{server.SHARED_MEMORY / settings.shared_memory_prefix}{os.getpid()}-")
    environment |= server.environment(settings, installation, os.environ)
    os.execve(line[0], line, environment)  # noqa: S606  # no shell is meant


def sweep_after(end: int, prefix: str) -> None:
    """Leaves a shell waiting for the server's end, to remove what a killed server or stub left behind.

    Args:
        end: the reading end of the lifeline.
        prefix: of the files to remove.
    """
    script = 'read -r _ <&"$1"; rm -f "$2"*'
    # A session of its own: a Ctrl-C in the terminal must not end it before the server.
    subprocess.Popen(["sh", "-c", script, "sweep", str(end), prefix], pass_fds=[end], start_new_session=True)


if __name__ == "__main__":
    try:
        main(arguments())
    except server.MissingError as error:
        sys.exit(str(error))
