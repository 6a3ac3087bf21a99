"""The adapter to one Triton server: TensorRT-LLM's tensor contract over `ModelStreamInfer`.

The contract is `deploy/triton/contract/tensorrt_llm.pbtxt`; a test holds INPUTS and OUTPUTS to it. What is
sent follows what release 1.2.1 does with it (docs/gpu.md has the references): greedy is `top_k` = 1,
sampling always names temperature and `top_p`, and stop words are not sent, because the server takes them
for bytes and fails; the router looks for them itself and cancels.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import InferInput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

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
OUTPUTS = ("text_output", "finish_reason")
"""The outputs that are read; both are text."""

UNFINISHED = "None"
"""The finish reason of an answer that goes on: the server writes Python's None as text."""
PROBE_PROMPT = "a"
MIN_TEMPERATURE = 0.01
"""Below it the likeliest token is meant; dividing by less leaves the range of the engine's numbers."""
UNLOAD_WAIT_S = 5.0
"""An unload after the model's process has died may never come back; the load works all the same."""
# Errors come as text in the stream, of the CPU's model with their code before it. A status of gRPC's own, by
# the header triton_grpc_error, can crash the server (docs/decisions/0008).
_FULL, _REFUSED = "UNAVAILABLE: ", "INVALID_ARG: "
_CHANNEL = {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.max_pings_without_data": 0,
    "grpc.max_receive_message_length": -1,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
}

log = logging.getLogger(__name__)

_READERS: set[asyncio.Task[None]] = set()


class ReplicaError(Exception):
    """A replica did not answer; another may."""

    def __init__(self, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(detail)
        self.timed_out = timed_out
        """True if it said nothing in time."""

    @property
    def full(self) -> bool:
        """True if the server is well, and has as many requests as it takes."""
        return str(self).startswith(_FULL)

    @property
    def refused(self) -> bool:
        """True if the request is at fault, and would be anywhere."""
        return str(self).startswith(_REFUSED)


class Generation:
    """An answer in progress. Only the newest text is kept, however slowly it is read."""

    def __init__(
        self, replies: AsyncIterator[tuple[InferResult | None, Exception | None]], pause_s: float
    ) -> None:
        """`pause_s` is the least time between two pieces of news; the end waits for nothing."""
        self.text = ""
        """All that was generated so far."""
        self.finish_reason = ""
        """`stop`, `length` or another word of the server's, once it has ended."""
        self._replies = replies
        self._newest: InferResult | None = None
        self._error: ReplicaError | None = None
        self._final = False
        self._ended = False
        self._news = asyncio.Event()
        self._pause_s = pause_s
        self._due_s = 0.0
        self._timed = False
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.create_task(self._read())
        # The loop alone would not keep it until the stream's end.
        _READERS.add(self._reader)
        self._reader.add_done_callback(_READERS.discard)

    async def advance(self) -> None:
        """Waits until there is more text, or the end.

        Raises:
            ReplicaError: the replica failed.
        """
        await self._news.wait()
        self._news.clear()
        self._timed = False
        if self._newest is not None:
            self._take(self._newest)
            self._newest = None
        if self._error is not None:
            raise self._error
        if self._ended and not self.finish_reason:
            raise ReplicaError("the stream ended before the answer did")

    def passed_on(self) -> None:
        """Notes that a piece has gone to the application: the next comes after the pause."""
        self._due_s = self._loop.time() + self._pause_s

    def latest(self) -> str:
        """All that the server has sent of the answer, seen by `advance` or not."""
        newest = None if self._newest is None else _text(self._newest, "text_output")
        return self.text if newest is None else newest

    def fail(self, detail: str) -> None:
        """Ends it with an error; for a replica that was found dead."""
        if not self._ended:
            self._error = ReplicaError(detail)
            self.cancel()
            self._news.set()

    def cancel(self) -> None:
        """Tells the server to stop, if it is still at it.

        A stream that has had its last response ends by itself; cancelled just then, it would keep the model
        from ever being unloaded.
        """
        if not (self._ended or self._final):
            self._ended = True
            self._replies.cancel()  # type: ignore[attr-defined]  # tritonclient's iterator has it
            self._reader.cancel()

    async def _read(self) -> None:
        try:
            async for result, error in self._replies:
                if error is not None:
                    self._error = ReplicaError(_message(error))
                    self._final = True
                    self._news.set()
                elif result is not None:
                    response = result.get_response()
                    self._final = response.parameters["triton_final_response"].bool_param
                    if response.outputs:
                        self._newest = result
                        self._tell()
        except grpc.RpcError as error:
            self._error = ReplicaError(_words(error))
        except InferenceServerException as error:
            self._error = ReplicaError(_message(error))
        except Exception as error:
            # Whoever waits must hear of it, whatever it was.
            log.exception("a defect")
            self._error = ReplicaError(repr(error))
        self._ended = True
        self._news.set()

    def _tell(self) -> None:
        if self._final or self._loop.time() >= self._due_s:
            self._news.set()
        elif not self._timed:
            self._timed = True
            self._loop.call_at(self._due_s, self._news.set)

    def _take(self, result: InferResult) -> None:
        text, reason = (_text(result, name) for name in OUTPUTS)
        if text is not None:
            self.text = text
        if reason is not None and reason != UNFINISHED:
            self.finish_reason = reason


class TritonServer:
    """A connection to one server. Needs a running event loop."""

    def __init__(self, address: str, model: str) -> None:
        """`address` is HOST:PORT of its gRPC door."""
        self.address = address
        self._model = model
        self._client = InferenceServerClient(address, channel_args=list(_CHANNEL.items()))

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


def _text(result: InferResult, name: str) -> str | None:
    array = result.as_numpy(name)
    if array is None or not array.size:
        return None
    value = array.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _message(error: Exception) -> str:
    return error.message() if isinstance(error, InferenceServerException) else str(error)


def _words(error: grpc.RpcError) -> str:
    code = error.code().name if hasattr(error, "code") else type(error).__name__
    details = error.details() if hasattr(error, "details") else ""
    return f"gRPC {code}: {details}"
