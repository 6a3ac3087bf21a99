"""What commands read of the settings, and what they say when something there is wrong."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, model_validator

from playbook.stopped import stopped
from services.common.settings import Section, SettingsError, load

T = TypeVar("T", bound=Section)


class _Part(Section):
    """What a caller must know of a section: all of it would import its whole service, and a rollback must
    not wait for that. What else stands there is its service's to check."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _misspelt(cls, found: Any) -> Any:
        for key in found if isinstance(found, dict) else ():
            near = get_close_matches(key, cls.model_fields, n=1)
            if near and key not in cls.model_fields:
                raise ValueError(f"{key}: unknown key; did you mean {near[0]}?")
        return found


class _Classifier(_Part):
    grpc: str = "127.0.0.1:8082"
    """As in services.classifier.config."""


class _Ledger(_Part):
    grpc: str = "127.0.0.1:8084"
    """As in services.ledger.config."""


class _Router(_Part):
    grpc: str = "127.0.0.1:8081"
    """As in services.router.config."""


class _Shadow(_Part):
    grpc: str = "127.0.0.1:8083"
    """As in services.shadow.config."""


class _Local(_Part):
    state_dir: Path = Path(".homeward")
    """As in deploy.local.config."""


class Places(Section):
    """Where everything is."""

    classifier: _Classifier = _Classifier()
    ledger: _Ledger = _Ledger()
    router: _Router = _Router()
    shadow: _Shadow = _Shadow()
    local: _Local = _Local()


def configured(model: type[T], path: Path, *sections: str) -> T:
    """Those sections of the settings, all that the model has if none is named; what is wrong is told, with
    exit code 1."""
    try:
        return load(model, *(sections or model.model_fields), path=path, environment=os.environ)
    except SettingsError as error:
        raise wrong_settings(error, path) from None


def wrong_settings(error: SettingsError, path: Path) -> Exception:
    """Tells every mistake of the settings; raise what it gives."""
    lines = str(error).splitlines()
    if path.exists():
        step = f"mend it; `homeward settings check {path}` tells every mistake."
    else:
        step = "go to the folder that has it, or name it by --settings FILE."
    many = len(lines) > 1
    message = f"the settings have {len(lines)} mistakes" if many else lines[0]
    return stopped(message, step, reason="SETTINGS_WRONG", details=lines if many else ())
