"""The adapter to one Triton server: TensorRT-LLM's tensor contract over `ModelStreamInfer`.

The contract is `deploy/triton/contract/tensorrt_llm.pbtxt`; a test holds INPUTS, and OUTPUTS in
`generation.py`, to it. What is
sent follows what release 1.2.1 does with it (docs/gpu.md has the references): greedy is `top_k` = 1,
sampling always names temperature and `top_p`, and stop words are not sent, because the server takes them
for bytes and fails; the router looks for them itself and cancels.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from services.router.adapters.generation import Generation, ReplicaError
from services.router.core.sovereign.sampling import Sampling

INPUTS: Mapping[str, Any] = {
    "text_input": np.object_,
    "streaming": np.bool_,
    "sampling_param_max_tokens": np.int32,
    "sampling_param_temperature": np.float32,
    "sampling_param_top_p": np.float32,
    "sampling_param_top_k": np.int32,
    "sampling_param_frequency_penalty": np.float32,
    "sampling_param_presence_penalty": np.float32,
    "sampling_param_seed": np.uint64,
    "sampling_param_exclude_input_from_output": np.bool_,
    "return_finish_reason": np.bool_,
}
"""The inputs that are sent, with their types."""
PROBE_PROMPT = "a"
MIN_TEMPERATURE = 0.01
"""Below it the likeliest token is meant; dividing by less leaves the range of the engine's numbers."""
UNLOAD_WAIT_S = 5.0
"""An unload after the model's process has died may never come back; the load works all the same."""
_TLS_FILES = {
    "root_certificates": "ca.crt",
    "certificate_chain": "client.crt",
    "private_key": "client.key",
}
_CHANNEL = {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.max_pings_without_data": 0,
    "grpc.max_receive_message_length": -1,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
}


class TritonServer:
    """A connection to one server. Needs a running event loop."""

    def __init__(self, address: str, model: str, tls_dir: Path | None = None) -> None:
        """`address` is HOST:PORT of its gRPC door; `tls_dir` has what mutual TLS needs.

        Raises:
            OSError: a file of `tls_dir` can't be read.
        """
        self.address = address
        self._model = model
        tls: dict[str, Any] = {}
        if tls_dir is not None:
            tls = {name: str(tls_dir / file) for name, file in _TLS_FILES.items()} | {"ssl": True}
        self._client = InferenceServerClient(address, channel_args=list(_CHANNEL.items()), **tls)

    def generate(
        self,
        prompt: str,
        sampling: Sampling,
        max_tokens: int,
        *,
        streamed: bool,
        pause_s: float = 0.0,
        version: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Generation:
        """Begins an answer.

        Args:
            streamed: False gives the whole answer in one piece.
            pause_s: tokens that come within this time after a piece are one piece.
            version: of the model; empty is the newest.
            headers: for the trace.
        """
        tensors = _tensors(prompt, sampling, max_tokens, streamed=streamed)

        async def once() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": self._model, "model_version": version, "inputs": tensors}

        replies = self._client.stream_infer(once(), headers=dict(headers or {}))
        return Generation(replies, pause_s)

    async def probe(self, version: str, timeout_s: float) -> None:
        """Has one token generated. A server whose model has died still says that it is ready.

        Raises:
            ReplicaError: it was not, in time.
        """
        generation = self.generate(PROBE_PROMPT, _GREEDY, 1, streamed=False, version=version)
        try:
            async with asyncio.timeout(timeout_s):
                await generation.advance()
        except TimeoutError:
            raise ReplicaError(f"a probe got no answer in {timeout_s:g} s", timed_out=True) from None
        finally:
            generation.cancel()

    async def reload(self, timeout_s: float) -> None:
        """Unloads the model and loads it: the one cure for a model whose process has died.

        Raises:
            ReplicaError: the server is not there, or can't.
        """
        try:
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(UNLOAD_WAIT_S):
                        await self._client.unload_model(self._model)
                await self._client.load_model(self._model)
        except TimeoutError:
            raise ReplicaError(f"a reload took more than {timeout_s:g} s") from None
        except InferenceServerException as error:
            raise ReplicaError(f"a reload failed: {error}") from None

    async def is_live(self, timeout_s: float) -> bool:
        """True if the server itself answers, whatever its model does."""
        try:
            return bool(await self._client.is_server_live(client_timeout=timeout_s))
        except InferenceServerException:
            return False

    async def is_loading(self, timeout_s: float) -> bool:
        """True while a version of the model is being loaded, whoever has asked for it.

        Raises:
            ReplicaError: the server does not say.
        """
        try:
            index = await self._client.get_model_repository_index(client_timeout=timeout_s)
        except InferenceServerException as error:
            raise ReplicaError(f"the server lists no models: {error}") from None
        return any(item.name == self._model and item.state == "LOADING" for item in index.models)

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close()


_GREEDY = Sampling(
    temperature=0,
    top_p=1,
    top_k=None,
    frequency_penalty=0,
    presence_penalty=0,
    seed=None,
    stop=(),
    max_tokens=None,
)


def _tensors(prompt: str, sampling: Sampling, max_tokens: int, *, streamed: bool) -> list[InferInput]:
    values: dict[str, Any] = {
        "text_input": prompt.encode("utf-8", "surrogatepass"),
        "streaming": streamed,
        "sampling_param_max_tokens": max_tokens,
        "sampling_param_exclude_input_from_output": True,
        "return_finish_reason": True,
    }
    if sampling.temperature < MIN_TEMPERATURE or sampling.top_p == 0:
        values["sampling_param_top_k"] = 1
    else:
        values["sampling_param_temperature"] = sampling.temperature
        values["sampling_param_top_p"] = sampling.top_p
        if sampling.top_k is not None:
            values["sampling_param_top_k"] = sampling.top_k
    if sampling.frequency_penalty:
        values["sampling_param_frequency_penalty"] = sampling.frequency_penalty
    if sampling.presence_penalty:
        values["sampling_param_presence_penalty"] = sampling.presence_penalty
    if sampling.seed is not None:
        values["sampling_param_seed"] = sampling.seed
    return [_tensor(name, value) for name, value in values.items()]


def _tensor(name: str, value: Any) -> InferInput:
    array = np.array([value], dtype=INPUTS[name])
    tensor = InferInput(name, [1], np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor
