"""Opens a trace in headless Chromium and takes its picture: `make screenshot`, while `make run` is up."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page, Response, sync_playwright

from deploy.local.tour import conversations, send

CHROMIUM = Path("/usr/bin/chromium")
PICTURES = Path("docs/images")
TIMEOUT_MS = 30_000
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CLOUD_MODEL = "gpt-4o-mini"
DOOR = "POST /v1/chat/completions"
Rows = Sequence[tuple[str, str]]
"""(service, span) pairs that a waterfall must show."""
CLOUD = (
    ("router", DOOR),
    ("router", "homeward.classifier.v1.ClassifierService/Classify"),
    ("classifier", "homeward.classifier.v1.ClassifierService/Classify"),
    ("router", f"chat {CLOUD_MODEL}"),
    ("stand-in-cloud", "stand-in generate"),
    ("ledger", "book leg"),
)
"""Of a request that nobody named."""
HOME = (
    ("router", DOOR),
    ("router", "chat small-llama"),
    ("triton", "InferRequest"),
    ("triton", "tensorrt_llm"),
    ("triton", "compute"),
    ("triton", "generate"),
    ("ledger", "book leg"),
)
"""Of a request to a model at home."""
SEEN_BY_CLASSIFIER, SEEN_BY_TRITON = (
    f"trace_id IN (SELECT TraceId FROM otel.otel_traces WHERE ServiceName = '{name}')"
    for name in ("classifier", "triton")
)
"""On a busy machine the router may go on before the classifier has begun, and then there is no span of it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A trace to show."""

    picture: str
    condition: str
    """Which legs have it, as SQL on homeward.legs."""
    rows: Rows
    conversation: str
    """Of the tour's sample, by its id: asked again until there is such a leg."""


UNNAMED = Wanted("trace.png", f"workload = '' AND {SEEN_BY_CLASSIFIER}", CLOUD, "dev-00093")
AT_HOME = Wanted("trace-home.png", f"target = 'sovereign' AND {SEEN_BY_TRITON}", HOME, "clinc150-test-0")
TRACES = (UNNAMED, AT_HOME)
ASK_AGAIN_S = 2.0
"""Spans and legs come to ClickHouse in batches, of a second each."""
_HARMLESS = ("/__ENV.js", "favicon")
"""What ClickStack asks for and this server does not have."""


def open_trace(url: str, picture: Path, rows: Rows) -> list[str]:
    """Opens a trace's page, waits for its waterfall, and saves a picture.

    Args:
        url: of the page.
        picture: the file to write.
        rows: what the waterfall must show; the one that names a model is opened.

    Returns:
        What went wrong in the page: failed requests, requests elsewhere, error messages.

    Raises:
        playwright.sync_api.TimeoutError: the waterfall does not show every row.
    """
    problems: list[str] = []
    origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))

    def on_response(response: Response) -> None:
        known = any(part in response.url for part in _HARMLESS)
        if response.status >= 400 and not known:
            problems.append(f"{response.status} {response.url[:200]}")
        if not response.url.startswith((origin, "data:", "blob:")):
            problems.append(f"a request elsewhere: {response.url[:120]}")

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and "404" not in message.text:
            problems.append(f"console: {message.text[:300]}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(TIMEOUT_MS)
        page.on("response", on_response)
        page.on("console", on_console)
        try:
            page.goto(url)
            for service, name in rows:
                _row(page, service, name).wait_for(state="visible")
            _row(page, *next(row for row in rows if row[1].startswith("chat "))).click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_text("gen_ai.request.model").first.wait_for(state="visible")
            problems += page.locator(".mantine-Notification-root").all_inner_texts()
        finally:
            page.screenshot(path=picture)
            browser.close()
    return problems


def _row(page: Page, service: str, name: str) -> Locator:
    # The waterfall's label is `service | name`; the bars repeat the name alone.
    label = re.compile(rf"^\s*{re.escape(service)}\s*\|\s*{re.escape(name)}\s*$")
    return page.get_by_role("dialog").get_by_text(label).first


def latest(here: Mapping[str, str], wanted: Wanted) -> str:
    """The trace of the latest leg of an application that is wanted, once ClickHouse has all its rows.

    The page reads a trace once; each service sends its spans in its own time.

    Args:
        here: endpoints.json.
        wanted: where there is none, its conversation is asked again.

    Raises:
        TimeoutError: some rows never came; the message names them.
    """
    row = next(item for item in conversations() if item["id"] == wanted.conversation)
    began = time.monotonic()
    asked = 1
    while True:
        trace_id = _ask(
            here,
            f"SELECT trace_id FROM homeward.legs WHERE {wanted.condition} AND purpose = 'production'"
            f" AND trace_id IN (SELECT TraceId FROM otel.otel_traces WHERE SpanName = '{DOOR}')"
            " ORDER BY start_time DESC LIMIT 1",
        )
        found = _ask(here, f"SELECT ServiceName, SpanName FROM otel.otel_traces WHERE TraceId = '{trace_id}'")
        missing = set(wanted.rows) - {tuple(line.split("\t")) for line in found.splitlines()}
        if not missing:
            return trace_id
        waited_s = time.monotonic() - began
        if waited_s > TIMEOUT_MS / 1000:
            raise TimeoutError(f"trace {trace_id or '?'} never got {sorted(missing)}; it has:\n{found}")
        if not trace_id and waited_s > asked * ASK_AGAIN_S:
            asyncio.run(send(here["openai_base_url"], here["api_key"], CLOUD_MODEL, row))
            asked += 1
        time.sleep(0.1)


def _ask(here: Mapping[str, str], query: str) -> str:
    headers = {"X-ClickHouse-User": here["clickhouse_user"], "X-ClickHouse-Key": here["clickhouse_password"]}
    request = urllib.request.Request(here["clickhouse_url"], data=query.encode(), headers=headers)
    with urllib.request.urlopen(request) as response:
        return str(response.read().decode().strip())


def main() -> int:
    """Takes the README's pictures."""
    if not CHROMIUM.exists():
        print("chromium is missing: apt-get install chromium")
        return 1
    try:
        here = json.loads(Path(".homeward/endpoints.json").read_text())
    except FileNotFoundError:
        print("nothing runs here: start `make run` first")
        return 1
    PICTURES.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    for wanted in TRACES:
        picture = PICTURES / wanted.picture
        problems += open_trace(f"{here['traces_url']}#{latest(here, wanted)}", picture, wanted.rows)
        print(f"wrote {picture}")
    print("\n".join(problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
