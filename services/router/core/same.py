"""The codec of a door and an upstream that speak the same protocol: bytes pass but for what must be set."""

from __future__ import annotations

import orjson

from services.common.errors import DomainError, Reason
from services.router.core import catalog, splice
from services.router.core.dialects import DIALECTS, SameStream
from services.router.core.usage import at_usual_price
from services.router.core.wire import PATHS, Answer, Request, StreamCodec


class SameCodec:
    """Door and upstream speak the same protocol: bytes pass but for `model` and the usage's request."""

    def __init__(self, request: Request, answer_as: str | None) -> None:
        """`answer_as` is the `model` that the application sees; None leaves the upstream's."""
        self._request = request
        self._answer_as = None if answer_as is None else orjson.dumps(answer_as)
        self._dialect = DIALECTS[request.api]
        self.path = PATHS[request.api]
        self._hide_usage = False

    def request(self, route: catalog.Route) -> bytes:
        """The body as it came, with the model's name there, asking for usage if it is streamed."""
        request = self._request
        body = request.body
        self._hide_usage = False
        if route.model != request.model:
            body = splice.set_key(body, "model", orjson.dumps(route.model))
        if request.streamed and route.upstream.stream_usage and self._dialect.usage_on_request:
            options = request.document.get("stream_options")
            if not options or not options.get("include_usage"):
                merged = orjson.dumps({**(options or {}), "include_usage": True})
                # Most bodies don't have the key at all, and then need no scan.
                present = "stream_options" in request.document
                edit = splice.set_key if present else splice.insert_key
                body = edit(body, "stream_options", merged)
                self._hide_usage = True
        return body

    def answer(self, body: bytes) -> Answer:
        """The body as it came but for `model`."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise DomainError(
                Reason.UPSTREAM_BROKEN, f"the answer is not JSON: {error}", detail=error
            ) from None
        if not isinstance(document, dict):
            raise DomainError(Reason.UPSTREAM_BROKEN, "the answer is not an object", detail="")
        model = document.get("model")
        served = model if isinstance(model, str) else ""
        if self._answer_as is not None and served and orjson.dumps(served) != self._answer_as:
            body = splice.set_key(body, "model", self._answer_as)
        usage = at_usual_price(self._dialect.usage(document.get("usage")), document.get("service_tier"))
        return Answer(body, usage, served)

    def stream(self) -> StreamCodec:
        """A reader that lets events through."""
        return SameStream(self._dialect, self._answer_as, self._hide_usage)

    def error(self, status: int, body: bytes) -> bytes:
        """As it came if it has the protocol's shape, else wrapped."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if isinstance(document, dict) and "error" in document:
            return body
        detail = body[:200].decode("utf-8", "replace")
        return self._dialect.error(
            DomainError(Reason.UPSTREAM_REJECTED, f"the upstream answered {status}: {detail}", status=status)
        )
