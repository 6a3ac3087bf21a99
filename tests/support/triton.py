"""The embedded sovereign server for tests, and a client that speaks the tensor contract.

Start it on free ports, in a folder of the test's own; it checks at its end that it left nothing in /dev/shm.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from deploy.local.parts import home_problem
from deploy.triton.contract.compare import MODEL_NAME, contract
from deploy.triton.cpu import server
from deploy.triton.cpu.process import Process

_INPUT_TYPES = {
    tensor.name: model_config_pb2.DataType.Name(tensor.data_type)
    .removeprefix("TYPE_")
    .replace("STRING", "BYTES")
    for tensor in contract().input
}


def needs_triton() -> None:
    """Skips a test on a machine that lacks what Triton needs, and says how to get it."""
    problem = home_problem()
    if problem is not None:
        pytest.skip(problem)


class TritonServer(Process):
    """One server. Use as a context manager."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        needs_triton()
        super().__init__(folder, **{"models": server.MODELS, **settings})

    @property
    def grpc(self) -> str:
        """HOST:PORT."""
        return self.settings.grpc

    def kill(self, version: int, sig: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to the Python process of a model version: SIGKILL, SIGSTOP, SIGCONT."""
        os.kill(self.stubs()[version], sig)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's values over all that have these labels."""
        with urllib.request.urlopen(f"http://{self.settings.metrics}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(f"{name}{{") and all(label in line for label in wanted)
        )

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert not self.shared_memory(), "the server left regions in /dev/shm"


class Sink:
    """A receiver of OTLP over HTTP that keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        """As OTLP's JSON has them, each with its `resource`'s attributes by name."""
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for group in document["resourceSpans"]:
                    resource = {pair["key"]: pair["value"] for pair in group["resource"]["attributes"]}
                    for scoped in group["scopeSpans"]:
                        sink.spans += [{**span, "resource": resource} for span in scoped["spans"]]
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True, slots=True)
class Response:
    """One message of the stream."""

    outputs: Mapping[str, Any]
    """The first value of each output: texts as str, numbers as they are."""
    final: bool
    error: str | None = None

    @property
    def text(self) -> str:
        """`text_output`."""
        return str(self.outputs["text_output"])


def inputs(**values: Any) -> list[Any]:
    """Input tensors by name; `sampling_param_` may be left out of a name, and a list is that many values.

    A name that the contract lacks becomes a text tensor of that name.
    """
    tensors = []
    for given, value in values.items():
        name = given if given in _INPUT_TYPES else f"sampling_param_{given}"
        kind = _INPUT_TYPES.get(name, "BYTES")
        many = value if isinstance(value, list) else [value]
        cells = [cell.encode() if isinstance(cell, str) else cell for cell in many]
        tensor = triton.InferInput(name, [len(cells)], kind)
        tensor.set_data_from_numpy(np.array(cells, dtype=triton_to_np_dtype(kind)))
        tensors.append(tensor)
    return tensors


async def stream(
    client: Any,
    version: int = 1,
    *,
    headers: Mapping[str, str] | None = None,
    request_id: str = "",
    **values: Any,
) -> AsyncIterator[Response]:
    """Sends one request, and yields what comes. Closing the iterator cancels the request."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield {
            "model_name": MODEL_NAME,
            "model_version": str(version),
            "inputs": inputs(**values),
            "request_id": request_id,
        }

    call = client.stream_infer(requests(), headers=dict(headers or {}))
    try:
        async for result, error in call:
            if error is not None:
                yield Response({}, True, error.message())
                continue
            response = result.get_response()
            outputs = {output.name: _value(result.as_numpy(output.name)) for output in response.outputs}
            final = response.parameters["triton_final_response"].bool_param
            if final:
                # Triton 2.51 never unloads a model of which a stream was cancelled between its last
                # response and its end. So the end comes first.
                async for _ in call:
                    pass
            yield Response(outputs, final)
    finally:
        call.cancel()


async def ask(client: Any, version: int = 1, **values: Any) -> list[Response]:
    """All responses to one request."""
    return [response async for response in stream(client, version, **values)]


async def reload(client: Any) -> None:
    """Unloads the model and loads it again: all that brings a dead Python process back."""
    await client.unload_model(MODEL_NAME)
    await client.load_model(MODEL_NAME)


def _value(array: Any) -> Any:
    value = array.reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else value
