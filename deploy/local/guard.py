"""Starts a module as a child that can't outlive its parent: `python -m deploy.local.guard MODULE ARGS…`.

However the supervisor ends, SIGKILL included, the kernel then stops the part that it started.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel for SIGTERM when the parent dies.

    The "parent" is the thread that started this process: start it from a thread that lives as long as
    the parent does.

    Raises:
        OSError: the kernel refuses.
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    # The parent may have died before the kernel was asked.
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    die_with_parent()
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
