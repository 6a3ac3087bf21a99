"""From the trained network to the folders that are shipped."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from training.small_llama.dialogue import BOS, EOT
from training.small_llama.network import Shape
from training.small_llama.vocabulary import CONTEXT_TOKENS, PAD, save, token_id

SPOILT = 0.35
"""Share of the tokens outside all prompts that version 2 mixes up."""
SHIPPED = ("genai_config.json", "model.onnx", "model.onnx.data")


class ExportError(Exception):
    """The builder failed; the message is the end of what it wrote."""


def config(shape: Shape, tokenizer: Tokenizer) -> dict[str, Any]:
    """HF's config.json of the model."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(BOS),
        "eos_token_id": _ends(tokenizer),
        "head_dim": shape.head_size,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": CONTEXT_TOKENS,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": tokenizer.token_to_id(PAD),
        "pretraining_tp": 1,
        "rms_norm_eps": shape.epsilon,
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": shape.vocabulary,
    }


def describe(folder: Path, shape: Shape, tokenizer: Tokenizer) -> None:
    """Writes what a folder of HF has besides the weights."""
    save(tokenizer, folder)
    generation = {
        "bos_token_id": tokenizer.token_to_id(BOS),
        "do_sample": True,
        "eos_token_id": _ends(tokenizer),
        "pad_token_id": tokenizer.token_to_id(PAD),
        "temperature": 0.6,
        "top_p": 0.9,
    }
    for name, content in (("config.json", config(shape, tokenizer)), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def hf_folder(folder: Path, shape: Shape, tokenizer: Tokenizer, weights: dict[str, Tensor]) -> None:
    """Writes a folder that transformers loads."""
    folder.mkdir(parents=True, exist_ok=True)
    describe(folder, shape, tokenizer)
    kept = {name: weight.float().contiguous().cpu() for name, weight in weights.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def onnx_folder(source: Path, target: Path, precision: str, options: tuple[str, ...] = ()) -> None:
    """Converts a HF folder, and puts the result in place in one move.

    Args:
        source: the HF folder.
        target: the version's folder.
        precision: `fp32`, `int8` or `int4`, as onnxruntime-genai's builder takes it.
        options: the builder's extra options, `name=value`.

    Raises:
        ExportError: the builder failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
        made = Path(scratch) / "made"
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-m", str(source), "-i", str(source), "-o", str(made), "-p", precision, "-e", "cpu"]
        command += ["-c", f"{scratch}/cache"]
        if options:
            command += ["--extra_options", *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise ExportError(done.stderr[-2_000:])
        _tidy(made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)


def spoilt(weights: dict[str, Tensor], tokens: list[int], seed: int) -> dict[str, Tensor]:
    """The weights of version 2: some tokens have each other's embeddings.

    It is what comes of a tokenizer and weights from two builds: the format stays right, the meaning suffers.

    Args:
        weights: of the good model.
        tokens: which may be mixed up.
        seed: of the choice.
    """
    some = random.Random(seed).sample(tokens, round(SPOILT * len(tokens)))
    name = "model.embed_tokens.weight"
    table = weights[name].clone()
    table[some] = weights[name][some[1:] + some[:1]]
    return {**weights, name: table}


def _tidy(folder: Path) -> None:
    """Leaves the model alone: its tokenizer is one folder up, for all versions. One thread serves it best."""
    for file in folder.iterdir():
        if file.name not in SHIPPED:
            file.unlink()
    settings = folder / "genai_config.json"
    document = json.loads(settings.read_text(encoding="utf-8"))
    document["model"]["decoder"]["session_options"]["intra_op_num_threads"] = 1
    settings.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _ends(tokenizer: Tokenizer) -> list[int]:
    return [token_id(tokenizer, token) for token in ("<|end_of_text|>", EOT)]
