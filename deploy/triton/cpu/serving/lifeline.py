"""Ends this process when tritonserver is gone: one that is killed leaves its Python processes behind.

What else there is for this does not work here. The kernel's signal at a parent's death comes when the thread
ends that started this process, and Triton's does; a thread that watches may wait for the interpreter forever,
which Triton's backend holds while it waits for the dead server. So tritonserver holds the writing end of a
pipe, and the kernel kills who reads it when that end closes.
"""

from __future__ import annotations

import fcntl
import os
import signal

VARIABLE = "HOMEWARD_TRITON_LIFELINE"
"""The pipe's two descriptors, `READ,WRITE`, which are inherited from tritonserver."""
_F_SETSIG = 10  # the fcntl module lacks it


def offer() -> tuple[dict[str, str], int]:
    """Makes the pipe, in the process that becomes tritonserver.

    Returns:
        What its environment must have, and the reading end.
    """
    read, write = os.pipe()
    os.set_inheritable(read, True)
    os.set_inheritable(write, True)
    return {VARIABLE: f"{read},{write}"}, read


def hold() -> None:
    """Ties this process to the server, if it was started with a lifeline."""
    if VARIABLE not in os.environ:
        return
    read, write = map(int, os.environ[VARIABLE].split(","))
    # A reader of our own: who is told of the end is a property of the opened pipe, not of the process.
    own = os.open(f"/proc/self/fd/{read}", os.O_RDONLY | os.O_NONBLOCK)
    os.close(read)
    os.close(write)
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
