"""The least that a hop in Python costs: an aiohttp server that passes bodies on with an aiohttp client.

No keys, no names, no policy, no book, no traces: what is left when everything that Homeward is for is taken
away. `python -m bench.bare_hop UPSTREAM_URL PORT`.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import aiohttp
import orjson
import uvloop
from aiohttp import web


async def main(upstream: str, port: int) -> None:
    """Serves until SIGTERM."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def hop(request: web.BaseRequest) -> web.Response:
            body = await request.read()
            orjson.loads(body)
            headers = {"Content-Type": "application/json"}
            async with session.post(f"{upstream}/chat/completions", data=body, headers=headers) as answer:
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type=answer.content_type
                )

        loop = asyncio.get_running_loop()
        server = await loop.create_server(web.Server(hop, access_log=None), "127.0.0.1", port)
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        async with server:
            await stop.wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
