"""One embedded server as a child process: for tests, drills and benchmarks.

`make run` starts the server through the supervisor instead; this is for who needs its pids.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from deploy.local.ports import free_ports
from deploy.triton.contract.compare import MODEL_NAME
from deploy.triton.cpu import server

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
SWEEP_TIMEOUT_S = 5.0
"""How long what the server left in /dev/shm may stay there after its end."""
POLL_S = 0.02


class NotReadyError(Exception):
    """The server did not become ready; the message ends with its log."""


class Process:
    """A server on free ports of 127.0.0.1, with a state folder of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        """Chooses the ports; nothing runs yet.

        Args:
            folder: for its state and its log; made if need be.
            settings: fields of `server.Settings` other than addresses and state_dir.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "triton.log"
        grpc_port, http_port, metrics_port = free_ports(3)
        self.settings = server.Settings(
            grpc=f"127.0.0.1:{grpc_port}",
            http=f"127.0.0.1:{http_port}",
            metrics=f"127.0.0.1:{metrics_port}",
            state_dir=folder / "state",
            **settings,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """That of tritonserver."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def ended(self) -> bool:
        """True if it was started and runs no longer: Triton aborts if its Python process dies with a lock."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> float:
        """Starts it, and waits until every version has answered a real inference and all doors are open.

        Returns:
            How many seconds the answers took.

        Raises:
            NotReadyError: it ended, or took too long.
        """
        began = time.monotonic()
        line = [sys.executable, "-m", "deploy.triton.cpu"]
        for field in fields(server.Settings):
            line += [f"--{field.name.replace('_', '-')}", str(getattr(self.settings, field.name))]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                line, cwd=server.ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        for version in server.versions(self.settings.models):
            self.wait_ready(version, began + READY_TIMEOUT_S)
        took_s = time.monotonic() - began
        # The metrics' door opens last, some 40 ms after gRPC's.
        while not _listens(self.settings.metrics):
            if time.monotonic() > began + READY_TIMEOUT_S:
                raise NotReadyError(f"no metrics at {self.settings.metrics}")
            time.sleep(POLL_S)
        return took_s

    def wait_ready(self, version: int, deadline: float | None = None) -> None:
        """Waits until a version answers a real inference: ModelReady stays true after a crash.

        Args:
            deadline: by `time.monotonic()`; None is READY_TIMEOUT_S from now.

        Raises:
            NotReadyError: it ended, or took too long.
        """
        deadline = deadline or time.monotonic() + READY_TIMEOUT_S
        while not answers(self.settings.grpc, version):
            assert self._process is not None, "not started"
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self.log_file.read_text(errors="replace")[-3000:]
                raise NotReadyError(f"version {version} of {self.settings.grpc} does not answer: {log}")
            time.sleep(POLL_S)

    def stubs(self) -> dict[int, int]:
        """The pid of the Python process of each model version; the newest, should an older one live on."""
        return {version: pid for pid, version in sorted(_stubs(self.pid, self.settings))}

    def shared_memory(self) -> list[Path]:
        """Its regions in /dev/shm."""
        return server.shared_memory(self.settings)

    def stop(self, sig: signal.Signals = signal.SIGINT) -> int:
        """Asks it to stop, and waits; kills it after STOP_TIMEOUT_S.

        Returns:
            Its exit status; negative is the signal that ended it. 1 is Triton's when it could not unload a
            model in time, as after the death of a Python process that had requests in work.
        """
        assert self._process is not None, "not started"
        if self._process.poll() is None:
            # A process that a drill has stopped can't hear that it should end.
            for pid in self.stubs().values():
                _signal(pid, signal.SIGCONT)
            _signal(self.pid, signal.SIGCONT)
            self._process.send_signal(sig)
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        deadline = time.monotonic() + SWEEP_TIMEOUT_S
        while self.shared_memory() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return status


def answers(address: str, version: int, timeout_s: float = 2.0) -> bool:
    """True if a model version makes a token."""
    request = pb.ModelInferRequest(model_name=MODEL_NAME, model_version=str(version))
    for name, kind, value in (
        ("text_input", "BYTES", b"\x02\x00\x00\x00hi"),
        ("sampling_param_max_tokens", "INT32", b"\x01\x00\x00\x00"),
    ):
        request.inputs.add(name=name, datatype=kind, shape=[1])
        request.raw_input_contents.append(value)
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            # To its end: Triton 2.51 never unloads a model of which a stream was cancelled between its last
            # response and its end.
            responses = list(stub.ModelStreamInfer(iter([request]), timeout=timeout_s))
        except grpc.RpcError:
            return False
    return bool(responses) and not responses[-1].error_message


def _stubs(parent: int, settings: server.Settings) -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or f"PPid:\t{parent}\n" not in (entry / "status").read_text():
                continue
            arguments = (entry / "cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        model = Path(arguments[1]) if len(arguments) > 1 else Path()
        if model.name == "model.py" and model.is_relative_to(settings.state_dir / "repository"):
            yield int(entry.name), int(model.parent.name)


def _signal(pid: int, sig: signal.Signals) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0
