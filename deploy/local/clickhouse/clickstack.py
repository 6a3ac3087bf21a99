"""Copy the ClickStack pages out of a ClickHouse server, and write the HTTP handlers that serve the copy.

ClickHouse 26.7's own handlers for its web pages (`/clickstack`, `/play` and the like) abort the whole server
when a client leaves in the middle of a response. Its static handlers do not, so the pages are read once from
a server that nobody else uses, and served as static files from then on
(`docs/decisions/0004-clickstack-as-static-files.md`).
"""

from __future__ import annotations

import gzip
import json
import re
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = "/clickstack"
# Relative to the server's user files.
FOLDER = "clickstack"
MANIFEST = "manifest.json"
START_PAGES = (ROOT, f"{ROOT}/search")
ASSET = re.compile(
    r"(?<![\w/])(?:/clickstack/_next/)?(static/[\w\-./\[\]%~]+\.(?:js|css|woff2?|png|svg))"
    r"|/clickstack/_next/(static/[\w\-./\[\]%~]+)"
)
ROUTE = re.compile(r"\"(/[^\"]*)\"")
PARAMETER = re.compile(r"\[[^\]]+\]")
# The pages of the server that would abort it, or that nobody needs.
CLOSED = r"/(clickstack|play|dashboard|binary|merges|jemalloc|schema|js|processors)([/.].*)?"


@dataclass(frozen=True)
class Asset:
    """A copied file: the pattern of the URLs that it answers, and how."""

    url: str
    file: str
    content_type: str


def fetch(url: str) -> tuple[bytes, str] | None:
    """The uncompressed body and the content type at `url`; None if there is nothing there."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            # Always to the end: leaving earlier is what aborts the server.
            body: bytes = response.read()
            content_type: str = response.headers["Content-Type"]
            return (
                gzip.decompress(body) if response.headers["Content-Encoding"] == "gzip" else body
            ), content_type
    except urllib.error.HTTPError as error:
        error.read()
        return None


def linked_paths(text: str) -> set[str]:
    """The paths of the files and pages that `text` refers to."""
    paths = {f"{ROOT}/_next/{first or second}" for first, second in ASSET.findall(text)}
    manifest = text.find("sortedPages")
    if manifest >= 0:
        routes = ROUTE.findall(text, manifest)
        paths |= {ROOT + route.rstrip("/") for route in routes if not route.startswith("/_")}
    return paths


def snapshot(origin: str, user_files: Path) -> int:
    """Copy ClickStack from the server at `origin` below `user_files`; return the number of files."""
    folder = user_files / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    assets: list[Asset] = []
    seen: set[str] = set()
    waiting = set(START_PAGES)
    while waiting:
        path = waiting.pop()
        seen.add(path)
        fetched = fetch(origin + PARAMETER.sub("x", path) if "/_next/" not in path else origin + path)
        if fetched is None:
            continue
        body, content_type = fetched
        file = f"{FOLDER}/{len(assets)}.gz"
        (user_files / file).write_bytes(gzip.compress(body, mtime=0))
        is_page = content_type.startswith("text/html")
        pattern = "[^/]+".join(re.escape(part) for part in PARAMETER.split(path)) if is_page else None
        assets.append(Asset(f"regex:{pattern}/?" if pattern else path, file, content_type))
        if not content_type.startswith("font/"):
            waiting |= linked_paths(body.decode(errors="replace")) - seen
    # Fixed paths before those with a parameter, which would match them too.
    assets.sort(key=lambda asset: ("[^/]+" in asset.url, asset.url))
    (folder / MANIFEST).write_text(json.dumps([asdict(asset) for asset in assets], indent=1))
    return len(assets)


def handlers(user_files: Path) -> str:
    """The rules of `<http_handlers>` that serve the copy and close the server's own pages."""
    assets = [Asset(**entry) for entry in json.loads((user_files / FOLDER / MANIFEST).read_text())]
    rules = [
        f"<rule><url>{escape(asset.url)}</url><methods>GET,HEAD</methods>"
        "<handler><type>static</type><status>200</status>"
        f"<content_type>{escape(asset.content_type)}</content_type>"
        "<http_response_headers><Content-Encoding>gzip</Content-Encoding></http_response_headers>"
        f"<response_content>file://{escape(asset.file)}</response_content></handler></rule>"
        for asset in assets
    ]
    rules.append(
        f"<rule><url>regex:{escape(CLOSED)}</url><handler><type>static</type><status>404</status>"
        "<content_type>text/plain; charset=UTF-8</content_type>"
        "<response_content>Not here.</response_content></handler></rule>"
    )
    return "\n        ".join(rules)
