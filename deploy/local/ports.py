"""Free ports, for what runs beside others: tests, benchmarks, drills."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

FIRST, LAST = 10_240, 32_767
"""Above the ports that services have by convention, below those that Linux gives to outgoing connections."""

_next = random.Random().randrange(FIRST, LAST)


def free_ports(count: int) -> list[int]:
    """So many different TCP ports of 127.0.0.1 that nothing listens on at the time of the call.

    Each process goes through the range from a place of its own, so that tests that run side by side do not
    take the same port before anybody listens on it.

    Raises:
        OSError: there are not so many.
    """
    global _next
    found: list[int] = []
    with ExitStack() as held:
        for _ in range(FIRST, LAST + 1):
            if len(found) == count:
                break
            port, _next = _next, FIRST + (_next + 1 - FIRST) % (LAST + 1 - FIRST)
            one = held.enter_context(socket.socket())
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    if len(found) < count:
        raise OSError(f"there are no {count} free ports from {FIRST} to {LAST}")
    return found
