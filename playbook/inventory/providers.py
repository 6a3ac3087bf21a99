"""Whose model it is, where an export names the model and not the provider."""

from __future__ import annotations

from functools import lru_cache

from genai_prices.data_snapshot import DataSnapshot, get_snapshot

_NAMED = {
    "aws": "aws",
    "amazon web services": "aws",
    "amazon web services, inc.": "aws",
    "microsoft": "azure",
    "microsoft corporation": "azure",
    "azure": "azure",
    "azure openai": "azure",
    "bedrock": "aws",
    "amazon bedrock": "aws",
    "google": "google",
    "google cloud": "google",
    "google cloud platform": "google",
    "gcp": "google",
    "google ai studio": "google",
    "vertex_ai": "google",
    "gemini": "google",
    "openai": "openai",
    "openai, llc": "openai",
    "anthropic": "anthropic",
    "anthropic, pbc": "anthropic",
    "xai": "x-ai",
}


@lru_cache(maxsize=4096)
def provider_of(model: str) -> str:
    """The provider that the public price list finds by the model's name; empty if none.

    Who hosts a model can't be read from its name: this is its maker, whose list price stands in.
    """
    if not model:
        return ""
    # A snapshot remembers each name that it was asked for.
    snapshot = DataSnapshot(providers=get_snapshot().providers, from_auto_update=False)
    try:
        return str(snapshot.find_provider_model(model, None, None, None)[0].id)
    except LookupError:
        return ""


def provider_named(name: str) -> str:
    """The provider as the price list calls it, from its name on an invoice, in a log or in a setting."""
    return _NAMED.get(name.strip().lower(), name.strip().lower())
