"""Memory does not grow with the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import resource, sys
from pathlib import Path
from playbook.inventory.sniff import open_export
rows = 0
for path in sys.argv[1:]:
    for table, bad in open_export(Path(path)).blocks():
        rows += table.num_rows
        assert not bad
    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
SMALL_MIB, LARGE_MIB = 5, 48
GROWTH_MIB = 36
"""Less than the difference of the files: what is read is let go. Blocks and allocators take some."""


def log_line(n: int) -> str:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"{n} " + "word " * 120}]}
    return json.dumps({"id": f"r{n}", "created": 1746100800 + n, **body, "usage": {"prompt_tokens": n}})


def csv_line(n: int) -> str:
    return f"2025-01-{n % 28 + 1:02d} 00:00:{n % 60:02d},gpt-4o,{n},{n % 500},{'x' * 40}"


def bucket(n: int) -> str:
    result = {"input_tokens": n, "output_tokens": n, "num_model_requests": 1, "model": "gpt-4o"}
    results = [{"object": "organization.usage.completions.result", **result, "project_id": "p" * 200}] * 40
    return json.dumps(
        {"start_time": 1735689600 + n * 60, "end_time": 1735689660 + n * 60, "results": results}
    )


FORMS = {
    "csv": ("time,model,input_tokens,output_tokens,note\n", csv_line, "\n", ""),
    "log": ("", log_line, "\n", ""),
    "pages": ('{"object": "page", "data": [', bucket, ",", "]}"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_ten_times_as_large_takes_no_more_memory(tmp_path: Path, form: str) -> None:
    head, line, between, tail = FORMS[form]
    for name, mib in (("small", SMALL_MIB), ("large", LARGE_MIB)):
        with (tmp_path / name).open("w") as file:
            file.write(head + line(0))
            n = 0
            while file.tell() < mib * 1024 * 1024:
                file.write("".join(between + line(n := n + 1) for _ in range(200)))
            file.write(tail)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "small"), str(tmp_path / "large")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (_, small), (_, large) = (tuple(map(int, out.split())) for out in done.stdout.splitlines())
    assert large - small < GROWTH_MIB
