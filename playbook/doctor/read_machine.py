"""Looks at the machine that the command runs on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local.parts import home_problem
from playbook.doctor.apart import apart
from playbook.doctor.facts import Disk, Machine


async def read_machine(folders: Mapping[str, Path], *, serves_at_home: bool) -> Machine:
    """The machine.

    Args:
        folders: whose room is looked at, by what they are called.
        serves_at_home: whether `make run` starts a Triton of its own here.
    """

    def look() -> Machine:
        problem = (home_problem() or "") if serves_at_home else None
        return Machine(
            (sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
            [_disk(name, path) for name, path in folders.items()],
            problem,
        )

    return await apart(look)


def _disk(name: str, path: Path) -> Disk:
    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        return Disk(name, str(path), problem=error.strerror or type(error).__name__)
    return Disk(name, str(path.absolute()), usage.free, usage.total)
