"""`homeward key`: API keys, of which the settings have only hashes."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Annotated

import typer

from deploy.local.state import API_KEY_PREFIX
from playbook.shown import tell, tell_json, tell_next

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


def new(
    name: Annotated[str, typer.Argument(help="Lower-case words joined by hyphens.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make an API key: the secret, once, and the section for homeward.toml that has only its hash.

    Nothing is stored: who loses the secret makes another.

    --json has: name; secret; sha256; section (the lines for homeward.toml); next_step.
    """
    if not _NAME.match(name):
        raise typer.BadParameter(f"{name!r} is not lower-case words joined by hyphens (at most 63 signs)")
    secret = API_KEY_PREFIX + secrets.token_urlsafe(24)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    section = f'[keys.{name}]\nsha256 = "{digest}"'
    step = "put the section into homeward.toml, and restart the router; if the key has scopes, shadow too."
    if as_json:
        tell_json({"name": name, "secret": secret, "sha256": digest, "section": section}, step)
        return
    lines = "\n".join(f"  {line}" for line in section.splitlines())
    tell(f"The key, which is shown only now:\n\n  {secret}\n\nIts section of the settings:\n\n{lines}")
    tell_next(step)
