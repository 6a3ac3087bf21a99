"""MiniLM in torch, in two halves: the lower layers stay as they are, the upper ones learn.

The names of the parameters are those of a BERT's state dictionary, so that weights go in and out by name.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

HIDDEN = 384
WIDE = 1536
HEADS = 12
LAYERS = 6
NORM_EPSILON = 1e-12
TASKS = 10


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        inner = nn.Module()
        for part in ("query", "key", "value"):
            setattr(inner, part, nn.Linear(HIDDEN, HIDDEN))
        self.self = inner
        self.output = _Output(HIDDEN)


class _Output(nn.Module):
    def __init__(self, ins: int) -> None:
        super().__init__()
        self.dense = nn.Linear(ins, HIDDEN)
        self.LayerNorm = nn.LayerNorm(HIDDEN, NORM_EPSILON)

    def forward(self, source: torch.Tensor, skip: torch.Tensor, dropout: float) -> torch.Tensor:
        dropped = functional.dropout(self.dense(source), dropout, self.training)
        norm: torch.Tensor = self.LayerNorm(dropped + skip)
        return norm


class Layer(nn.Module):
    """One layer of a BERT."""

    def __init__(self, dropout: float) -> None:
        """Builds the layer; `dropout` is what the halves' outputs lose in training."""
        super().__init__()
        self.dropout = dropout
        self.attention = _Attention()
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(HIDDEN, WIDE)
        self.output = _Output(WIDE)

    def forward(self, hidden: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """(n, tokens, 384) → the same; `seen` (n, 1, 1, tokens): where a token is, None if everywhere."""
        inner = self.attention.self
        count, tokens, _ = hidden.shape
        query, key, value = (
            part(hidden).view(count, tokens, HEADS, -1).transpose(1, 2)
            for part in (inner.query, inner.key, inner.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        joined = mixed.transpose(1, 2).reshape(count, tokens, HIDDEN)
        middle = self.attention.output(joined, hidden, self.dropout)
        wide = functional.gelu(self.intermediate.dense(middle))
        out: torch.Tensor = self.output(wide, middle, self.dropout)
        return out


class Encoder(nn.Module):
    """MiniLM."""

    def __init__(self, dropout: float = 0.0) -> None:
        """Builds it; load weights next."""
        super().__init__()
        embeddings = nn.Module()
        embeddings.word_embeddings = nn.Embedding(30522, HIDDEN)
        embeddings.position_embeddings = nn.Embedding(512, HIDDEN)
        embeddings.token_type_embeddings = nn.Embedding(2, HIDDEN)
        embeddings.LayerNorm = nn.LayerNorm(HIDDEN, NORM_EPSILON)
        self.embeddings = embeddings
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(Layer(dropout) for _ in range(LAYERS))

    def lower(self, ids: torch.Tensor, seen: torch.Tensor | None, layers: int) -> torch.Tensor:
        """Embeds tokens and runs the first layers: (n, tokens) → (n, tokens, 384)."""
        parts = self.embeddings
        places = parts.position_embeddings.weight[: ids.shape[1]] + parts.token_type_embeddings.weight[0]
        hidden: torch.Tensor = parts.LayerNorm(parts.word_embeddings(ids) + places)
        for layer in self.encoder.layer[:layers]:
            hidden = layer(hidden, seen)
        return hidden

    def upper(self, hidden: torch.Tensor, seen: torch.Tensor | None, layers: int) -> torch.Tensor:
        """Runs the layers after the first `layers`."""
        for layer in self.encoder.layer[layers:]:
            hidden = layer(hidden, seen)
        return hidden


def mean_of(hidden: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """(n, 384): the mean over the tokens that are there; `seen` is (n, tokens)."""
    weight = seen.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weight).sum(1) / weight.sum(1)
