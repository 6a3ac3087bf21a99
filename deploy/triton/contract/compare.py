"""Reads Triton model configurations, and says in words where one departs from the contract.

A configuration may say more than the contract: where it runs, its versions, its parameters. What the
contract does say, it must say too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

CONTRACT_FILE = Path(__file__).with_name("tensorrt_llm.pbtxt")
MODEL_NAME = "tensorrt_llm"


class NotAConfigError(Exception):
    """A file is not a Triton ModelConfig; the message says where."""


def read(file: Path) -> pb.ModelConfig:
    """A `config.pbtxt`, by Triton's own schema.

    Raises:
        NotAConfigError: it has a field that Triton does not know, or no text format at all.
        OSError: it can't be read.
    """
    config = pb.ModelConfig()
    try:
        text_format.Parse(file.read_text(encoding="utf-8"), config)
    except text_format.ParseError as error:
        raise NotAConfigError(f"{file}: {error}") from None
    return config


def contract() -> pb.ModelConfig:
    """The contract."""
    return read(CONTRACT_FILE)


def differences(config: pb.ModelConfig, expected: pb.ModelConfig | None = None) -> list[str]:
    """Where `config` departs from the contract, one sentence each; empty if nowhere.

    Args:
        expected: what to hold it against; None is the contract.
    """
    expected = contract() if expected is None else expected
    found = [
        f"{field} is {getattr(config, field)!r}, not {getattr(expected, field)!r}"
        for field in ("name", "backend", "max_batch_size")
        if getattr(config, field) != getattr(expected, field)
    ]
    decoupled = expected.model_transaction_policy.decoupled
    if config.model_transaction_policy.decoupled != decoupled:
        found.append(f"decoupled is {not decoupled}, not {decoupled}".lower())
    for kind, theirs, ours in (
        ("input", config.input, expected.input),
        ("output", config.output, expected.output),
    ):
        found += _tensor_differences(kind, theirs, ours)
    return found


def _tensor_differences(kind: str, theirs: Iterable[Any], ours: Iterable[Any]) -> list[str]:
    have = {tensor.name: _words(tensor) for tensor in theirs}
    want = {tensor.name: _words(tensor) for tensor in ours}
    found = [f"{kind} {name} is missing" for name in want if name not in have]
    found += [f"{kind} {name} is not in the contract" for name in have if name not in want]
    found += [
        f"{kind} {name} is {have[name]}, not {words}"
        for name, words in want.items()
        if name in have and have[name] != words
    ]
    return found


def _words(tensor: Any) -> str:
    """Type, shape and whether it may be left out: all that a client sees of a tensor."""
    words = f"{pb.DataType.Name(tensor.data_type)} {list(tensor.dims)}"
    return f"{words} optional" if getattr(tensor, "optional", False) else words
