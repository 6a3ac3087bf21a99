"""What a sovereign server can't do, said so that a caller knows what to leave out."""

from __future__ import annotations

from services.common.errors import DomainError, Reason


def not_supported(field: str, what: str) -> DomainError:
    """The FEATURE_NOT_SUPPORTED of a field; another target may serve the request."""
    return DomainError(
        Reason.FEATURE_NOT_SUPPORTED,
        f"`{field}`: the sovereign server can't do {what}; leave it out, or ask a model in the cloud",
        field=field,
        feature=what,
    )


def context_exceeded(prompt_tokens: int, answer_tokens: int, context_tokens: int) -> DomainError:
    """The CONTEXT_LENGTH_EXCEEDED of a prompt and an answer that don't fit together."""
    return DomainError(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        f"the prompt has {prompt_tokens} tokens and the answer may have {answer_tokens}, but the model's"
        f" context holds {context_tokens}; shorten the messages or lower max_tokens",
        field="messages",
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        context_tokens=context_tokens,
    )
