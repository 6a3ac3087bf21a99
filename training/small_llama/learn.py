"""The training loop."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from training.small_llama.batches import USER_WEIGHT, Batch, Writer, batches
from training.small_llama.network import Llama
from training.small_llama.vocabulary import PAD, token_id
from training.small_llama.workloads import Workload

LOOK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training, from fresh optimiser to averaged weights."""

    seed: int
    steps: int
    rate: float
    """The highest learning rate."""
    warmup: int
    falls_over: int
    """Steps of the half cosine that the rate falls along; more than `steps` leaves it high at the end."""
    plain: int = 0
    """Steps at first that ask for the label alone."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the model is trained."""

    stages: tuple[Stage, ...] = (
        Stage(seed=20_261_125, steps=800, rate=1.5e-3, warmup=200, falls_over=3000, plain=400),
        Stage(seed=20_261_126, steps=1100, rate=1.2e-3, warmup=50, falls_over=1100),
    )
    """Each goes on from the averaged weights of the one before."""
    rows: int = 64
    """User turns a step, of each workload."""
    decay: float = 0.1
    dropout: float = 0.15
    topic_weight: float = 0.5
    """What the auxiliary head counts, that names the data's finest label at each token of a request."""
    average: float = 0.998
    """Decay of the moving average of the weights, which is what is kept."""
    every: int = 200
    """Steps between two looks at the validation rows."""


def rate_at(stage: Stage, step: int) -> float:
    """Linear warm-up, then half a cosine down to a fiftieth."""
    done = max(0.0, (step - stage.warmup) / (stage.falls_over - stage.warmup))
    return stage.rate * min(1.0, step / stage.warmup) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))


class Weights:
    """The weights in float32, which the optimiser moves; the network computes with them in bfloat16."""

    def __init__(self, used: list[nn.Parameter], decay: float) -> None:
        """Copies the network's weights as they are before it goes to bfloat16."""
        self._used = used
        self._kept = [nn.Parameter(weight.detach().clone()) for weight in used]
        matrices = [weight for weight in self._kept if weight.dim() == 2]
        others = [weight for weight in self._kept if weight.dim() != 2]
        groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))

    def move(self, rate: float) -> None:
        """One step of the optimiser with the network's gradients, which it clears."""
        for weight, used in zip(self._kept, self._used, strict=True):
            weight.grad = used.grad.float() if used.grad is not None else None
            used.grad = None
        nn.utils.clip_grad_norm_(self._kept, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        with torch.no_grad():
            for weight, used in zip(self._kept, self._used, strict=True):
                used.copy_(weight)

    def mix_into(self, average: Llama, share: float) -> None:
        """Moves an average of the network's weights this share of the way to them."""
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), self._kept, strict=False):
                mean.lerp_(weight, share)


Keep = Callable[[Llama, Mapping[str, float]], None]


class Packer:
    """Turns batches into tensors on the device."""

    def __init__(self, pad: int, fines: list[str], device: torch.device) -> None:
        self.pad, self.device = pad, device
        self.topic = {name: at for at, name in enumerate(fines)}

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Pads on the right; `weights[i, j]` is what predicting token j counts."""
        length = max(len(row.tokens) for row in batch.rows)
        tokens = torch.full((len(batch.rows), length), self.pad)
        weights = torch.zeros(len(batch.rows), length)
        topics = torch.full_like(tokens, -1)
        for at, row in enumerate(batch.rows):
            tokens[at, : len(row.tokens)] = torch.tensor(row.tokens)
            weights[at, : len(row.tokens)] = torch.tensor(row.weights)
            topics[at, : len(row.tokens)] = torch.tensor([self.topic.get(topic, -1) for topic in row.topics])
        packed = {
            "prefix": torch.tensor(batch.prefix),
            "tokens": tokens,
            "weights": weights,
            "topics": topics,
        }
        return {name: value.to(self.device) for name, value in packed.items()}


def learn(
    workloads: Mapping[str, Workload],
    tokenizer: Tokenizer,
    model: Llama,
    recipe: Recipe,
    device: torch.device,
    keep: Keep | None = None,
) -> Llama:
    """Trains.

    Args:
        workloads: whose train splits are learnt and whose validation splits are looked at.
        tokenizer: of the model.
        model: to begin with, in float32.
        recipe: how.
        device: where.
        keep: called at every look with the averaged model and its validation accuracies.

    Returns:
        The averaged model.
    """
    rows = {name: workload.rows("train") for name, workload in workloads.items()}
    fines = sorted({row.fine for part in rows.values() for row in part})
    pack = Packer(token_id(tokenizer, PAD), fines, device)
    total, before = sum(stage.steps for stage in recipe.stages), 0
    began = time.monotonic()

    def look(step: int, loss: float, average: Llama) -> None:
        seen = {name: accuracy(average, tokenizer, known, pack) for name, known in workloads.items()}
        spent = (time.monotonic() - began) / 60
        print(
            f"step {step}/{total}  loss {loss:.3f}  validation: "
            + ", ".join(f"{name} {value:.4f}" for name, value in seen.items())
            + f"  {spent:.1f} min, {spent / step * (total - step):.1f} to go",
            flush=True,
        )
        if keep:
            keep(average, seen)

    for stage in recipe.stages:
        torch.manual_seed(stage.seed)
        dice = random.Random(stage.seed)
        writer = Writer(tokenizer, dice)
        streams = [
            batches(writer, known, rows[name], recipe.rows, dice, stage.plain)
            for name, known in workloads.items()
        ]
        topic_head = nn.Linear(model.shape.hidden, len(fines)).to(device)
        average: Llama = copy.deepcopy(model).eval()
        weights = Weights([*model.parameters(), *topic_head.parameters()], recipe.decay)
        model.bfloat16().train()
        topic_head.bfloat16()
        loss_mean = 0.0
        for step in range(1, stage.steps + 1):
            loss_sum = 0.0
            for stream in streams:
                loss = _loss(model, topic_head, pack(next(stream)), recipe)
                loss.backward()
                loss_sum += loss.item()
            weights.move(rate_at(stage, step))
            weights.mix_into(average, 1 - min(recipe.average, step / (step + 20)))
            loss_mean += (loss_sum - loss_mean) / min(step, 50)
            if step % recipe.every == 0 or step == stage.steps:
                look(before + step, loss_mean, average)
        before += stage.steps
        model = average
    return model


def _loss(model: Llama, topic_head: nn.Linear, packed: Mapping[str, Tensor], recipe: Recipe) -> Tensor:
    hidden = model(packed["prefix"], packed["tokens"])
    weights, targets = packed["weights"][:, 1:], packed["tokens"][:, 1:]
    here = weights > 0
    logits = model.logits(hidden[:, :-1][here]).float()
    answers = weights[here] == 1
    target = targets[here]
    count = len(hidden)
    answer = F.cross_entropy(logits[answers], target[answers], reduction="sum")
    user = F.cross_entropy(logits[~answers], target[~answers])
    told = packed["topics"] >= 0
    topic = F.cross_entropy(topic_head(hidden[told]).float(), packed["topics"][told])
    return answer / count + USER_WEIGHT * user + recipe.topic_weight * topic


@torch.no_grad()
def accuracy(model: Llama, tokenizer: Tokenizer, workload: Workload, pack: Packer) -> float:
    """Share of some 1,000 validation rows whose JSON answer greedy decoding would give to the letter."""
    writer = Writer(tokenizer, None)
    rows = workload.rows("val")
    rows = sorted(rows[:: max(1, len(rows) // LOOK_ROWS)], key=lambda row: len(row.text))
    prefix = writer.prefix(workload, "json")
    right = 0
    for at in range(0, len(rows), 256):
        lines = [writer.row(workload, "json", "once", [row]) for row in rows[at : at + 256]]
        packed = pack(Batch(prefix, lines))
        # where each token of the answer is the likeliest after those before it, greedy decoding gives it
        hidden = model(packed["prefix"], packed["tokens"])[:, :-1]
        answers = packed["weights"][:, 1:] == 1
        hit = torch.ones_like(answers)
        hit[answers] = model.logits(hidden[answers]).argmax(-1) == packed["tokens"][:, 1:][answers]
        right += int(hit.all(dim=1).sum())
    return right / len(rows)
