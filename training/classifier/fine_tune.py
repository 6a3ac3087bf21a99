"""Fine-tunes the upper layers for the kind of work, and keeps the sentence embedding where it was.

The lower layers stay frozen, so what they give is computed once and kept. The loss has three parts: the cross
entropy of the task type, that of the target (of which a task type's probability is a part), and how far the
sentence embedding turned from MiniLM's own, on which heads with few examples rely.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from services.classifier.core.general import SOVEREIGN_TASK_TYPES as SOVEREIGN
from training.classifier.network import HIDDEN, LAYERS, TASKS, Encoder, mean_of


@dataclass(frozen=True, slots=True)
class Recipe:
    """How it learns."""

    frozen_layers: int = 3
    epochs: int = 3
    batch_rows: int = 32
    rate: float = 1e-4
    """Of the layers, at its highest."""
    head_rate: float = 1e-3
    target_share: float = 0.5
    """Of the target's cross entropy in the loss."""
    keep_share: float = 5.0
    """Of what the embedding turned (1 − cosine) in the loss."""
    smoothing: float = 0.05
    dropout: float = 0.1
    weight_decay: float = 0.01
    seed: int = 20261125


@dataclass(frozen=True, slots=True)
class Lower:
    """What the frozen layers give for some texts: the tokens of all, one after the other."""

    hidden: torch.Tensor
    """(all tokens, 384), bfloat16."""
    starts: NDArray[np.int64]
    """(n + 1,): where each text starts."""
    embeddings: torch.Tensor
    """(n, 384), unit length: MiniLM's own."""

    def batch(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, tokens, 384) and which tokens are there, (n, tokens)."""
        lengths = [int(self.starts[row + 1] - self.starts[row]) for row in rows]
        hidden = torch.zeros(len(rows), max(lengths), HIDDEN)
        seen = torch.zeros(len(rows), max(lengths), dtype=torch.bool)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            hidden[place, :length] = self.hidden[self.starts[row] : self.starts[row + 1]]
            seen[place, :length] = True
        return hidden, seen


def mask(seen: torch.Tensor) -> torch.Tensor | None:
    """The attention's mask, or None where nothing is to be left out."""
    return None if bool(seen.all()) else seen[:, None, None, :]


@torch.inference_mode()
def lower(encoder: Encoder, tokens: Sequence[Sequence[int]], frozen_layers: int) -> Lower:
    """Runs the frozen layers over texts, and the others for the embedding that is to be kept."""
    encoder.eval()
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])])
    hidden = torch.empty(int(starts[-1]), HIDDEN, dtype=torch.bfloat16)
    embeddings = torch.empty(len(tokens), HIDDEN)
    order = np.argsort([len(ids) for ids in tokens], kind="stable")
    for begin in range(0, len(order), 64):
        rows = order[begin : begin + 64]
        lengths = [len(tokens[row]) for row in rows]
        ids = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
        seen = torch.zeros(len(rows), max(lengths), dtype=torch.bool)
        for place, row in enumerate(rows):
            ids[place, : lengths[place]] = torch.tensor(tokens[row])
            seen[place, : lengths[place]] = True
        with torch.autocast("cpu", torch.bfloat16):
            low = encoder.lower(ids, mask(seen), frozen_layers)
            high = encoder.upper(low, mask(seen), frozen_layers)
        embeddings[rows] = functional.normalize(mean_of(high.float(), seen), dim=-1)
        for place, row in enumerate(rows):
            hidden[starts[row] : starts[row + 1]] = low[place, : lengths[place]].bfloat16()
    return Lower(hidden, starts, embeddings)


def batches(
    lengths: NDArray[np.int64], rows: NDArray[np.int64], size: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Batches of rows of like length, in random order."""
    shuffled = random.permutation(rows)
    pools = [shuffled[begin : begin + size * 16] for begin in range(0, len(shuffled), size * 16)]
    ordered = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    found = [pool[begin : begin + size] for pool in ordered for begin in range(0, len(pool), size)]
    for place in random.permutation(len(found)):
        yield found[place]


def state_of(hidden: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The state that the head reads (n, 768), and the mean alone (n, 384)."""
    mean = mean_of(hidden, seen)
    return torch.cat([hidden[:, 0], mean], -1), mean


def fine_tune(
    encoder: Encoder,
    low: Lower,
    labels: NDArray[np.int64],
    drawn: Sequence[NDArray[np.int64]],
    recipe: Recipe,
) -> torch.nn.Linear:
    """Fine-tunes the upper layers of `encoder` in place.

    Args:
        labels: task type of each text, 0 to 9.
        drawn: the rows of each epoch.

    Returns:
        The head that it learnt with.
    """
    torch.manual_seed(recipe.seed)
    random = np.random.default_rng(recipe.seed)
    head = torch.nn.Linear(2 * HIDDEN, TASKS)
    upper = [
        weight
        for layer in encoder.encoder.layer[recipe.frozen_layers : LAYERS]
        for weight in layer.parameters()
    ]
    optimizer = torch.optim.AdamW(
        [{"params": upper, "lr": recipe.rate}, {"params": head.parameters(), "lr": recipe.head_rate}],
        weight_decay=recipe.weight_decay,
    )
    steps = sum(-(-len(rows) // recipe.batch_rows) for rows in drawn)
    warm = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / (steps - warm)))
    )
    truth = torch.from_numpy(labels)
    lengths = np.diff(low.starts)
    encoder.train()
    for layer in encoder.encoder.layer:
        layer.dropout = recipe.dropout
    step, begun, sums = 0, time.monotonic(), np.zeros(4)
    for epoch, rows in enumerate(drawn):
        for chosen in batches(lengths, rows, recipe.batch_rows, random):
            hidden, seen = low.batch(chosen.tolist())
            with torch.autocast("cpu", torch.bfloat16):
                high = encoder.upper(hidden, mask(seen), recipe.frozen_layers)
            state, mean = state_of(high.float(), seen)
            logits = head(functional.dropout(state, recipe.dropout, True))
            wanted = truth[chosen]
            task = functional.cross_entropy(
                logits, wanted, label_smoothing=recipe.smoothing, reduction="none"
            )
            scores = logits.log_softmax(-1)
            home, away = scores[:, :SOVEREIGN].logsumexp(-1), scores[:, SOVEREIGN:].logsumexp(-1)
            target = -torch.where(wanted < SOVEREIGN, home, away)
            turned = 1 - functional.cosine_similarity(mean, low.embeddings[chosen])
            loss = (task + recipe.target_share * target + recipe.keep_share * turned).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(upper, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            right = (logits.argmax(-1) == wanted).float().mean()
            sums += [task.mean().item(), turned.mean().item(), right.item(), 1]
            if step % 100 == 0 or step == steps:
                loss_mean, turned_mean, right_mean, _ = sums / sums[3]
                print(
                    f"epoch {epoch + 1}, step {step}/{steps}, {time.monotonic() - begun:.0f} s: "
                    f"loss {loss_mean:.3f}, right {right_mean:.3f}, turned {turned_mean:.4f}",
                    flush=True,
                )
                sums[:] = 0
    encoder.eval()
    return head
