"""The Triton model `tensorrt_llm`: hands each request to the rooms in `serving`.

Triton's Python backend loads this file from the model repository; PYTHONPATH leads it back to here.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from deploy.triton.cpu.serving import lifeline, spans
from deploy.triton.cpu.serving.ask import RefusedError, is_stop, parse
from deploy.triton.cpu.serving.engine import Engine
from deploy.triton.cpu.serving.generate_span import describe
from deploy.triton.cpu.serving.generation import Generation, Times
from deploy.triton.cpu.serving.metrics import Metrics
from deploy.triton.cpu.serving.reply import CANCELLED, INTERNAL, INVALID_ARGUMENT, UNAVAILABLE, Reply
from deploy.triton.cpu.serving.scheduler import FullError, Scheduler

SWITCH_S = 0.0005


class TritonPythonModel:
    """One version of the model. Triton calls `execute` from one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model version's folder."""
        lifeline.hold()
        # `execute` must get a word in between two forward passes, which keep the interpreter.
        sys.setswitchinterval(SWITCH_S)
        parameters = {
            name: value["string_value"]
            for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        self._version = args["model_version"]
        in_work = int(parameters["requests_in_work"])
        self._engine = Engine(Path(parameters["models"]) / self._version, generators=in_work)
        self._scheduler = Scheduler(
            self._engine,
            in_work=in_work,
            queued=int(parameters["requests_queued"]),
            token_delay_ms=float(parameters["token_delay_ms"]),
        )
        self._metrics = Metrics(self._version)
        url = parameters["trace_url"]
        self._exporter = spans.Exporter(url) if url else None
        self._live: set[Reply] = set()

    def execute(self, requests: list[Any]) -> None:
        """Takes requests; the answers come from the scheduler's thread."""
        for request in requests:
            self._take(request)

    def finalize(self) -> None:
        """Ends the threads."""
        self._scheduler.close()
        if self._exporter is not None:
            self._exporter.close()

    def _take(self, request: Any) -> None:
        arrival_ns = time.time_ns()
        reply = Reply(request, self._ended)
        try:
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            if is_stop(tensors):
                self._stop(reply)
                return
            ask = parse(tensors)
            prompt = self._engine.tokenize(ask.prompt)
            generation = Generation(
                ask=ask,
                prompt=prompt,
                prompt_text="" if ask.exclude_input else self._engine.text(prompt),
                model=self._engine.model,
                decode=self._engine.decoder(),
                times=Times(arrival_ns),
            )
            self._live.add(reply)
            self._scheduler.submit(generation, reply)
        except RefusedError as error:
            self._ended(reply, "refused", None)
            reply.refuse(INVALID_ARGUMENT, str(error))
        except FullError as error:
            self._ended(reply, "full", None)
            reply.refuse(UNAVAILABLE, str(error))
        # A request without an answer would hang its caller, and Triton's shutdown with it.
        except Exception as error:
            self._ended(reply, "failed", None)
            reply.refuse(INTERNAL, f"generation failed: {error!r}")

    def _stop(self, reply: Reply) -> None:
        if not reply.request_id:
            raise RefusedError("stop: the request needs the id of the one to stop")
        for other in list(self._live):
            if other.request_id == reply.request_id:
                other.stopped = True
        reply.refuse(CANCELLED, "Request cancelled by client")

    def _ended(self, reply: Reply, outcome: str, generation: Generation | None) -> None:
        self._live.discard(reply)
        self._metrics.ended(outcome, generation)
        if self._exporter is not None and generation is not None:
            parent = spans.parent(reply.trace_context)
            if parent is not None:
                self._exporter.put(describe(parent, self._version, outcome, generation))
