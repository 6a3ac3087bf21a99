"""Sends an answer at its pace, and breaks it where a fault says so."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from deploy.local.cloud.errors import of_status
from deploy.local.cloud.faults import Faults
from deploy.local.cloud.pace import Pace
from deploy.local.cloud.reply import Reply

GARBAGE = b'{"choices": [{"mess\x00age": <<<stand-in garbage>>>'
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_FOR_CLOSE_S = 10.0
"""Longest wait for a closed connection to be gone."""


class CutError(Exception):
    """The connection was closed on purpose."""


def json_response(document: object, status: int = 200) -> web.Response:
    """An answer with a JSON body."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def instead(faults: Faults) -> web.Response | None:
    """The answer that a fault puts in the place of the real one."""
    if faults.status is not None:
        response = json_response(of_status(faults.status).document(), faults.status)
    elif faults.html:
        response = web.Response(body=_PAGE, status=502, content_type="text/html")
    else:
        return None
    if faults.retry_after is not None:
        response.headers["Retry-After"] = faults.retry_after
    return response


def close(request: web.Request) -> CutError:
    """Closes the connection, after what has been written has left. Raise what this gives."""
    if request.transport is not None:
        request.transport.close()
    return CutError()


async def whole(request: web.Request, reply: Reply, pace: Pace, faults: Faults) -> web.StreamResponse:
    """Sends an answer in one piece, when all of it would have been generated."""
    timing = pace.draw()
    if timing.first_token_s:
        await asyncio.sleep(timing.first_token_s + timing.token_s * reply.usage.completion)
    if faults.garbage:
        return web.Response(body=GARBAGE, content_type="application/json")
    body = orjson.dumps(reply.document())
    if not faults.cut_body:
        return web.Response(body=body, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    raise close(request)


async def stream(request: web.Request, reply: Reply, pace: Pace, faults: Faults) -> web.StreamResponse:
    """Sends an answer event by event."""
    assert reply.events is not None
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    timing = pace.draw()
    if timing.first_token_s:
        await asyncio.sleep(timing.first_token_s)
    clock = asyncio.get_running_loop().time
    start, generated = clock(), 0
    await response.prepare(request)
    if faults.garbage:
        await response.write(b"data: " + GARBAGE.replace(b"\0", b"") + b"\n\n")
        return response
    for sent, event in enumerate(reply.events()):
        if faults.cut == sent:
            raise close(request)
        if faults.error_event == sent:
            await response.write(reply.error_event(sent))
            return response
        generated += event.tokens
        # By the clock and not by pauses, which would add up what writing takes.
        due = start + generated * timing.token_s
        if event.tokens and timing.token_s and (wait := due - clock()) > 0:
            await asyncio.sleep(wait)
        await response.write(event.data)
        if sent == 0 and faults.silence_s:
            await asyncio.sleep(faults.silence_s)
            start = clock()
    return response


async def gone(request: web.Request) -> None:
    """Waits until a connection that was closed on purpose is gone."""
    if request.transport is not None:
        # aiohttp cancels the handler as soon as it is.
        await asyncio.sleep(_FOR_CLOSE_S)
