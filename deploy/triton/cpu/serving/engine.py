"""The model: tokens in, logits out, with the keys and values of earlier prompts kept for reuse.

A fixed number of generators each keep what they last read. A new prompt gets the free one that shares the
longest beginning with it, rewinds to there, and reads only the rest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime_genai as og
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from deploy.triton.cpu.serving.generation import BLOCK_TOKENS, Model
from deploy.triton.cpu.serving.text import Decode


class Engine:
    """A model folder, loaded. Owned by one thread, `tokenize` and the numbers excepted."""

    def __init__(self, folder: Path, generators: int, threads: int = 1) -> None:
        """Loads the model.

        Args:
            folder: what onnxruntime-genai's model builder wrote, with `tokenizer.json` here or one above.
            generators: how many prompts may be in work at a time.
            threads: of one forward pass. More than one gains nothing for models of a few megabytes.
        """
        self.folder = folder
        settings = json.loads((folder / "genai_config.json").read_text())["model"]
        ends = settings["eos_token_id"]
        self.model = Model(
            context_tokens=int(settings["context_length"]),
            vocabulary_tokens=int(settings["vocab_size"]),
            end_tokens=frozenset([ends] if isinstance(ends, int) else ends),
        )
        # Versions that share a tokenizer have it in the folder above.
        tokenizer = next(at for at in (folder, folder.parent) if (at / "tokenizer.json").exists())
        self._tokenizer = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        config = og.Config(str(folder))
        options = {
            "intra_op_num_threads": threads,
            "inter_op_num_threads": 1,
            # Spinning threads would take the core from tritonserver.
            "session.intra_op.allow_spinning": "0",
        }
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self._network = og.Model(config)
        # Ordered by when they were last used, the longest ago first.
        self._free = [Lane(self._network, self.model.context_tokens) for _ in range(generators)]

    def tokenize(self, prompt: str) -> list[int]:
        """The prompt's tokens, with those that the tokenizer puts around every text."""
        return list(self._tokenizer.encode(prompt, add_special_tokens=True).ids)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of whole tokens, without special ones."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def decoder(self) -> Decode:
        """A decoder for the tokens of one answer."""
        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self._tokenizer, token)

    def take(self, prompt: Sequence[int]) -> Lane:
        """A free lane, rewound to what it shares with the prompt. There must be one: the caller counts."""
        lane = max(self._free, key=lambda lane: lane.shared(prompt))
        self._free.remove(lane)
        lane.rewind(prompt)
        return lane

    def give_back(self, lane: Lane) -> None:
        """Takes a lane back; it keeps what it has read."""
        self._free.append(lane)


class Lane:
    """A generator, and the tokens whose keys and values it holds."""

    def __init__(self, network: Any, context_tokens: int) -> None:
        parameters = og.GeneratorParams(network)
        parameters.set_search_options(max_length=context_tokens, batch_size=1)
        self._generator = og.Generator(network, parameters)
        self._tokens: list[int] = []
        self._prompt_tokens = 0
        self.reused_tokens = 0
        """How many tokens of the prompt were there already."""

    def shared(self, prompt: Sequence[int]) -> int:
        """How many tokens from the start on are those of the prompt, in whole blocks of an earlier prompt."""
        # The last token of a prompt is always read again: its logits are what comes next.
        longest = min(len(prompt) - 1, self._prompt_tokens, len(self._tokens))
        same = next((at for at in range(longest) if self._tokens[at] != prompt[at]), longest)
        return same - same % BLOCK_TOKENS

    def rewind(self, prompt: Sequence[int]) -> None:
        """Forgets all that is not the prompt's beginning."""
        self.reused_tokens = self.shared(prompt)
        self._prompt_tokens = len(prompt)
        if self.reused_tokens < len(self._tokens):
            self._generator.rewind_to(self.reused_tokens)
            del self._tokens[self.reused_tokens :]

    @property
    def tokens(self) -> int:
        """How many tokens it has read."""
        return len(self._tokens)

    def read(self, tokens: Sequence[int]) -> None:
        """Reads on: the forward pass."""
        kept, self._tokens = self._tokens, []
        try:
            self._generator.append_tokens(np.asarray(tokens, dtype=np.int32))
        except Exception:
            # What a failed pass has left behind is not to be trusted.
            self._generator.rewind_to(0)
            raise
        kept.extend(tokens)
        self._tokens = kept

    def logits(self) -> npt.NDArray[np.float32]:
        """The logits of the next token, one for each token of the vocabulary."""
        logits: npt.NDArray[np.float32] = self._generator.get_logits()[0, -1]
        return logits
