"""The GPU house's scripts, on a machine without a GPU.

What they say of the machine, of an answer, and of a Triton: a real one, whose model is a stand-in of a few
lines in place of the engine.
"""

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput

from deploy.local.ports import free_ports
from deploy.triton.cpu.server import find, library_path
from deploy.triton.gpu import sizing
from services.router.adapters.triton import TritonServer
from tests.support.triton import needs_triton

HOUSE = Path(sizing.__file__).parent
SCRIPTS = sorted(HOUSE.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_script_is_sound_bash_and_stops_at_what_is_unset(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert re.search(r"^set -e?uo pipefail$", script.read_text(), re.MULTILINE)


H100 = "NVIDIA H100 80GB HBM3, 590.44.01, 9.0, 81559, 4"
RUNTIMES = '{"io.containerd.runc.v2":{},"nvidia":{}}'


@pytest.mark.parametrize(
    ("gpu", "runtimes", "free_gb", "complaint"),
    [
        (H100, RUNTIMES, 500, None),
        (H100.replace("590.44", "550.54"), RUNTIMES, 500, "driver branch 550"),
        ("NVIDIA A100-SXM4-80GB, 590.44.01, 8.0, 81920, 4", RUNTIMES, 500, "8.0 has no FP8"),
        ("NVIDIA B200, 610.1, 10.0, 183359, 4", RUNTIMES, 500, None),
        (H100.replace(" 4", " 40000"), RUNTIMES, 500, "40000 MiB of it in use"),
        (H100, '{"io.containerd.runc.v2":{}}', 500, "no nvidia runtime"),
        (H100, RUNTIMES, 20, "20 GB free"),
    ],
)
def test_the_check_complains_of_what_a_machine_lacks(
    tmp_path: Path, gpu: str, runtimes: str, free_gb: int, complaint: str | None
) -> None:
    answers = {
        "nvidia-smi": f"echo '{gpu}'",
        "docker": f"case $* in *Runtimes*) echo '{runtimes}' ;; *) echo /var/lib/docker ;; esac",
        "df": f"echo Avail; echo ' {free_gb}G'",
    }
    for tool, answer in answers.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / tool).chmod(0o755)
    done = _run("check.sh", {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    complaints = [line for line in lines if line.startswith("NO")]
    assert len(lines) == 7
    assert done.returncode == len(complaints) == (complaint is not None)
    assert complaint is None or complaint in complaints[0]


class _Answer(BaseHTTPRequestHandler):
    status = 200
    body = b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize(
    ("status", "body", "healthy"),
    [
        (200, b'{"model_name":"tensorrt_llm","model_version":"1","text_output":" three"}', True),
        (200, b'{"model_name":"tensorrt_llm","model_version":"1","text_output":""}', False),
        (200, b'{"error":"Request cancelled by client"}', False),
        (200, b"hello", False),
        (400, b'{"error":"Stub process is not healthy."}', False),
        (500, b'{"text_output":"N/A"}', False),
    ],
)
def test_the_probe_believes_nothing_but_an_answer(status: int, body: bytes, healthy: bool) -> None:
    with _answering(status, body) as port:
        done = _run("probe.sh", {"HOUSE_HTTP_PORT": port})
    assert (done.returncode == 0) is healthy
    assert bool(done.stderr) is not healthy


def test_a_second_replica_on_the_ports_of_the_first_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    ran = tmp_path / "ran"
    (tmp_path / "docker").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (tmp_path / "docker").chmod(0o755)
    with _answering(200, b"") as port:
        settings = {"HOUSE_HTTP_PORT": port, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = _run("serve.sh", settings, str(tmp_path))
    assert done.returncode == 2
    assert f"port {port} answers already" in done.stderr
    assert not ran.exists()


def test_the_container_gets_every_setting_that_its_scripts_read() -> None:
    read = {
        name
        for script in ("start.sh", "probe.sh")
        for name in re.findall(r"HOUSE_[A-Z_]+", (HOUSE / script).read_text())
    }
    passed = set(re.findall(r"--env \"?(HOUSE_[A-Z_]+)", (HOUSE / "serve.sh").read_text()))
    # Where the image has it.
    assert read - passed == {"HOUSE_REPOSITORY"}


def test_an_open_address_without_tls_is_refused() -> None:
    done = _run("start.sh", {"HOUSE_ADDRESS": "0.0.0.0"})
    assert done.returncode == 2
    assert "HOUSE_TLS" in done.stderr


# Triton with a stand-in for the engine: it does to Triton's configuration what NVIDIA's model.py does.
STAND_IN = """
import os, pathlib, threading, time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            text = pb_utils.get_input_tensor_by_name(request, "text_input").as_numpy()[0].decode()
            if text == "die":
                os._exit(1)
            threading.Thread(target=self.answer, args=(text, request.get_response_sender())).start()

    def answer(self, text, sender):
        if text == "slowly":
            folder = pathlib.Path(os.environ["HOUSE_REPOSITORY"])
            (folder / "begun").touch()
            while not (folder / "go-on").exists():
                time.sleep(0.01)
        output = pb_utils.Tensor("text_output", np.array([b" three"], dtype=np.object_))
        sender.send(pb_utils.InferenceResponse([output]), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""


class House:
    """One replica, started by the house's own start.sh."""

    def __init__(self, folder: Path, **settings: str) -> None:
        installation = find()
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = installation.triton / "python_backend_stubs" / version / "triton_python_backend_stub"
        backend = folder / "backends" / "python"
        backend.mkdir(parents=True)
        for part in (*(installation.triton / "backends" / "python").iterdir(), stub):
            (backend / part.name).symlink_to(part)
        self.repository = folder / "repository"
        model = self.repository / "tensorrt_llm"
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_bytes((HOUSE / "repository/tensorrt_llm/config.pbtxt").read_bytes())
        (model / "1" / "model.py").write_text(STAND_IN)
        http, grpc, metrics = free_ports(3)
        self.url = f"http://127.0.0.1:{http}/v2"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.settings = {
            "HOUSE_REPOSITORY": str(self.repository),
            "HOUSE_HTTP_PORT": str(http),
            "HOUSE_GRPC_PORT": str(grpc),
            "HOUSE_METRICS_PORT": str(metrics),
            "HOUSE_DRAIN_S": "10",
            "PATH": f"{installation.root / 'bin'}:{installation.server.parent}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": library_path() or "",
            **settings,
        }
        self.log = folder / "log"
        arguments = [f"--backend-directory={folder / 'backends'}", "--pinned-memory-pool-byte-size=0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [HOUSE / "start.sh", *arguments],
                env={**os.environ, **self.settings},
                stdout=log,
                stderr=log,
            )
        while _run("probe.sh", self.settings).returncode:
            assert self.process.poll() is None, self.log.read_text()

    def generate(self, text: str) -> httpx2.Response:
        return httpx2.post(f"{self.url}/models/tensorrt_llm/generate", json={"text_input": text}, timeout=30)


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[House]:
    needs_triton()
    house = House(folder, **settings)
    try:
        yield house
    finally:
        if house.process.poll() is None:
            # Its models' Python processes outlive a Triton that is killed.
            models = psutil.Process(house.process.pid).children(recursive=True)
            house.process.kill()
            for model in models:
                with suppress(psutil.NoSuchProcess):
                    model.kill()
            psutil.wait_procs(models, timeout=30)
        house.process.wait()
        for region in Path("/dev/shm").glob(f"homeward_{house.settings['HOUSE_GRPC_PORT']}_*"):
            region.unlink()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with started(tmp_path) as house:
        yield house


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with an authority, and what it has signed for the server and a client."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    folder = tmp_path / "tls"
    folder.mkdir()

    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)

    new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(f"req -x509 {new} -subj /CN=house -keyout ca.key -out ca.crt -days 1")
    for name in ("server", "client"):
        openssl(
            f"req -x509 {new} -subj /CN={name} -addext subjectAltName=IP:127.0.0.1"
            f" -addext basicConstraints=CA:FALSE -CA ca.crt -CAkey ca.key"
            f" -keyout {name}.key -out {name}.crt -days 1"
        )
    return folder


async def test_with_mutual_tls_only_a_router_with_a_certificate_gets_in(
    tmp_path: Path, certificates: Path
) -> None:
    with started(tmp_path, HOUSE_TLS=str(certificates)) as house:
        address = f"127.0.0.1:{house.settings['HOUSE_GRPC_PORT']}"
        for tls_dir, lets_in in ((certificates, True), (None, False)):
            server = TritonServer(address, "tensorrt_llm", tls_dir)
            assert await server.is_live(5) is lets_in
            await server.close()


def test_triton_loads_the_house_and_loads_it_again(house: House) -> None:
    config = httpx2.get(f"{house.url}/models/tensorrt_llm/config").json()
    assert config["model_transaction_policy"] == {"decoupled": True}
    assert config["max_batch_size"] == 0
    assert _run("reload.sh", house.settings).returncode == 0
    assert house.generate("One, two,").json()["text_output"] == " three"
    assert "nv_inference_request_success" in httpx2.get(house.metrics_url).text


def test_a_stop_lets_a_running_stream_finish(house: House) -> None:
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    prompt = InferInput("text_input", [1], "BYTES")
    prompt.set_data_from_numpy(np.array([b"slowly"], dtype=np.object_))
    with InferenceServerClient(f"127.0.0.1:{house.settings['HOUSE_GRPC_PORT']}") as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("tensorrt_llm", [prompt])
        _wait(house, (house.repository / "begun").exists)
        house.process.send_signal(signal.SIGTERM)
        _wait(house, lambda: "Waiting for in-flight requests" in house.log.read_text())
        (house.repository / "go-on").touch()
        result, error = answers.get(timeout=30)
        client.stop_stream()
    assert error is None
    assert result.as_numpy("text_output").tolist() == [b" three"]
    assert house.process.wait(timeout=30) == 0


def test_a_dead_model_is_told_by_the_probe_alone_and_not_cured_by_a_reload(house: House) -> None:
    assert house.generate("die").status_code == 400
    # What Triton says of itself, and why nobody should ask it.
    assert httpx2.get(f"{house.url}/health/ready").status_code == 200
    assert httpx2.get(f"{house.url}/models/tensorrt_llm/ready").status_code == 200
    assert _run("probe.sh", house.settings).returncode == 1
    done = _run("reload.sh", {**house.settings, "HOUSE_DRAIN_S": "1"})
    assert done.returncode == 1
    assert "restart the container" in done.stderr


def _wait(house: House, holds: Callable[[], bool]) -> None:
    while not holds():
        assert house.process.poll() is None, house.log.read_text()
        time.sleep(0.01)


@contextmanager
def _answering(status: int, body: bytes) -> Iterator[str]:
    """A port at which something answers so."""
    handler = type("Handler", (_Answer,), {"status": status, "body": body})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield str(server.server_port)
        finally:
            server.shutdown()
            thread.join()


def _run(script: str, settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **settings}
    command = [str(HOUSE / script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
