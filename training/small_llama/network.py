"""The Llama, for training: rows that share one prefix pay for it once.

Parameters carry the names of HF's LlamaForCausalLM, so that its loader takes them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.small_llama.vocabulary import CONTEXT_TOKENS


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the model."""

    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 640
    rope_theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_size(self) -> int:
        """Width of a head."""
        return self.hidden // self.heads


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Scales the last axis to a root mean square of one."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


Angles = tuple[Tensor, Tensor]
"""Cosines and sines, [positions, head size] each."""


def turn(x: Tensor, angles: Angles) -> Tensor:
    """Rotary positions, HF's way: halves, not pairs.

    Args:
        x: [..., positions, head size].
        angles: of these positions.
    """
    left, right = x.chunk(2, dim=-1)
    return x * angles[0] + torch.cat((-right, left), dim=-1) * angles[1]


class Attention(nn.Module):
    """Grouped-query attention of a prefix to itself, and of rows to the prefix and themselves."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        size = shape.head_size
        self.q_proj = nn.Linear(shape.hidden, shape.heads * size, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * size, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * size, bias=False)
        self.o_proj = nn.Linear(shape.heads * size, shape.hidden, bias=False)

    def forward(self, x: Tensor, prefix: int, rows: int, angles: Angles) -> Tensor:
        """Attends.

        Args:
            x: [prefix + rows * length, hidden], the prefix first, then the rows one after the other.
            prefix: tokens of the prefix.
            rows: how many rows.
            angles: of the prefix's positions and then a row's.
        """
        s = self.shape
        groups = s.heads // s.kv_heads
        length = (x.shape[0] - prefix) // rows
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        ahead = (angles[0][:prefix], angles[1][:prefix])
        behind = (angles[0][prefix:], angles[1][prefix:])

        def heads_of_prefix(t: Tensor, heads: int) -> Tensor:
            return t[:prefix].view(prefix, heads, s.head_size).transpose(0, 1)

        def heads_of_rows(t: Tensor, heads: int) -> Tensor:
            return t[prefix:].view(rows, length, heads, s.head_size).transpose(1, 2)

        key, value = turn(heads_of_prefix(k, s.kv_heads), ahead), heads_of_prefix(v, s.kv_heads)
        query = turn(heads_of_prefix(q, s.heads), ahead)
        first = F.scaled_dot_product_attention(
            query[None],
            key.repeat_interleave(groups, 0)[None],
            value.repeat_interleave(groups, 0)[None],
            is_causal=True,
        )[0]

        own_key = turn(heads_of_rows(k, s.kv_heads), behind)
        own_value = heads_of_rows(v, s.kv_heads)
        query = turn(heads_of_rows(q, s.heads), behind).reshape(
            rows, s.kv_heads, groups * length, s.head_size
        )
        scale = s.head_size**-0.5
        # [kv heads, rows * groups * length, prefix]: one product for all rows, which is the point of it all
        flat = query.transpose(0, 1).reshape(s.kv_heads, -1, s.head_size)
        to_prefix = flat @ key.transpose(1, 2) * scale
        to_own = query @ own_key.transpose(2, 3) * scale
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1).repeat(groups, 1)
        to_own = to_own.masked_fill(later, float("-inf"))
        to_prefix = to_prefix.view(s.kv_heads, rows, groups * length, prefix).transpose(0, 1)
        weights = torch.softmax(torch.cat((to_prefix, to_own), dim=-1), dim=-1)
        on_prefix, on_own = weights.split((prefix, length), dim=-1)
        mixed = on_prefix.transpose(0, 1).reshape(s.kv_heads, -1, prefix) @ value
        second = (
            mixed.view(s.kv_heads, rows, groups * length, s.head_size).transpose(0, 1) + on_own @ own_value
        )
        second = second.reshape(rows, s.heads, length, s.head_size).transpose(1, 2)
        both = torch.cat((first.transpose(0, 1).reshape(prefix, -1), second.reshape(rows * length, -1)))
        return self.o_proj(both)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[tokens, hidden] to the same."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden, shape.epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = Norm(shape.hidden, shape.epsilon)
        self.mlp = FeedForward(shape)
        self.dropout = dropout

    def forward(self, x: Tensor, prefix: int, rows: int, angles: Angles) -> Tensor:
        """[tokens, hidden] to the same."""
        mixed = self.self_attn(self.input_layernorm(x), prefix, rows, angles)
        x = x + F.dropout(mixed, self.dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), self.dropout, self.training)


class Llama(nn.Module):
    """The whole; the embedding is the output matrix too."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        body: dict[str, Any] = {
            "embed_tokens": nn.Embedding(shape.vocabulary, shape.hidden),
            "layers": nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers)),
            "norm": Norm(shape.hidden, shape.epsilon),
        }
        self.model = nn.ModuleDict(body)
        half = torch.arange(0, shape.head_size, 2) / shape.head_size
        angle = torch.arange(CONTEXT_TOKENS)[:, None] * shape.rope_theta ** -half[None]
        angle = torch.cat((angle, angle), dim=-1)
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * shape.layers) ** 0.5 if deep else 0.02)

    def forward(self, prefix: Tensor, rows: Tensor) -> Tensor:
        """Hidden states of the rows.

        Args:
            prefix: [prefix] token ids that every row begins with.
            rows: [rows, length] token ids, padded on the right.

        Returns:
            [rows, length, hidden].
        """
        end = len(prefix) + rows.shape[1]
        angles = self.cosine[:end], self.sine[:end]
        x = self.model["embed_tokens"](torch.cat((prefix, rows.flatten())))
        x = F.dropout(x, self.dropout, self.training)
        for block in self.model["layers"]:
            x = block(x, len(prefix), len(rows), angles)
        return self.model["norm"](x[len(prefix) :]).view(*rows.shape, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., hidden] to [..., vocabulary]."""
        return F.linear(hidden, self.model["embed_tokens"].weight)
