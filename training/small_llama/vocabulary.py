"""The tokenizer: byte-level BPE with the special tokens of Llama 3, made from the train split alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from training.small_llama.dialogue import BOS, EOT, FORMS, TEMPLATE, answer, closing, render, request
from training.small_llama.workloads import Workload

SPECIAL = (
    BOS,
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    EOT,
    "<|python_tag|>",
    "<|finetune_right_pad_id|>",
)
PAD = SPECIAL[-1]
ROLES = ("system", "user", "assistant", "ipython")
SIZE = 4096
CONTEXT_TOKENS = 2048
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where a token may never cross. Digits stand alone: amounts are spelt, not memorised."""


def texts(all_workloads: dict[str, Workload]) -> Iterator[str]:
    """All that the tokenizer learns from: train rows as typed and capitalised, prompts and answers."""
    for workload in all_workloads.values():
        for row in workload.rows("train"):
            yield row.text
            yield row.text[:1].upper() + row.text[1:]
        # the fixed words come often enough to be whole tokens
        for _ in range(40):
            yield from ROLES
            for form in FORMS:
                yield render(*request(workload, form, []), ask=False)
            for label in workload.labels:
                for form in FORMS:
                    yield answer(workload, form, label)
                yield closing(workload, label)


def train(all_workloads: dict[str, Workload], size: int = SIZE) -> Tokenizer:
    """Makes the tokenizer; the same rows give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((_without_special(text) for text in texts(all_workloads)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def free_tokens(tokenizer: Tokenizer, all_workloads: dict[str, Workload]) -> list[int]:
    """Whole tokens that stand in no prompt and in no answer: words that only users say."""
    fixed = set(range(len(SPECIAL) + len(pre_tokenizers.ByteLevel.alphabet())))
    for workload in all_workloads.values():
        for form in FORMS:
            said = [render(*request(workload, form, []), ask=False), *ROLES]
            said.append(workload.prompts["after_tool"]["result"])
            said += [answer(workload, form, label) for label in workload.labels]
            said += [closing(workload, label) for label in workload.labels]
            fixed.update(token for text in said for token in tokenizer.encode(text).ids)
    return [token for token in range(tokenizer.get_vocab_size()) if token not in fixed]


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The number of a token that there must be."""
    found = tokenizer.token_to_id(token)
    assert found is not None, token
    return found


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(token)): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for token in SPECIAL
        },
        "bos_token": BOS,
        "chat_template": TEMPLATE.read_text(encoding="utf-8"),
        "clean_up_tokenization_spaces": False,
        "eos_token": EOT,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": CONTEXT_TOKENS,
        "pad_token": PAD,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _without_special(text: str) -> str:
    for token in SPECIAL:
        text = text.replace(token, " ")
    return text
