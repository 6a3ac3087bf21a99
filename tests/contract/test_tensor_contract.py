"""One tensor contract, and the two houses that are built to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from deploy.triton.contract.compare import NotAConfigError, contract, differences, read
from deploy.triton.cpu import server

ROOT = Path(__file__).parents[2]
GPU_CONFIG = ROOT / "deploy" / "triton" / "gpu" / "repository" / "tensorrt_llm" / "config.pbtxt"
CPU_SETTINGS = server.Settings(
    grpc="127.0.0.1:1", http="127.0.0.1:2", metrics="127.0.0.1:3", state_dir=Path("/nowhere")
)

# The tensors by type and shape; * may be left out. Written down a second time on purpose: a contract that
# changes by a slip of the hand must fail somewhere. (NVIDIA/TensorRT-LLM, all_models/llmapi, 0a71057.)
INPUTS = {
    "TYPE_STRING [-1]": "text_input image_url* sampling_param_stop*",
    "TYPE_STRING [1]": "lora_name* lora_path* lora_ckpt_source*",
    "TYPE_BOOL [1]": "streaming* stop* sampling_param_exclude_input_from_output* return_finish_reason* "
    "sampling_param_return_perf_metrics* return_stop_reason* return_cumulative_logprob*",
    "TYPE_INT32 [1]": "sampling_param_max_tokens* sampling_param_top_k* sampling_param_best_of*",
    "TYPE_FP32 [1]": "sampling_param_temperature* sampling_param_top_p* sampling_param_frequency_penalty* "
    "sampling_param_presence_penalty*",
    "TYPE_UINT64 [1]": "sampling_param_seed* lora_id*",
}
OUTPUTS = {
    "TYPE_STRING [-1]": "text_output finish_reason stop_reason",
    "TYPE_FP32 [-1]": "cumulative_logprob kv_cache_hit_rate",
    "TYPE_INT32 [-1]": "kv_cache_reused_block kv_cache_missed_block kv_cache_alloc_new_blocks "
    "kv_cache_alloc_total_blocks",
    "TYPE_INT64 [1]": "arrival_time_ns first_scheduled_time_ns first_token_time_ns last_token_time_ns",
    "TYPE_FP32 [1]": "acceptance_rate",
    "TYPE_INT32 [1]": "total_accepted_draft_tokens total_draft_tokens",
}


def test_the_contract_is_the_llm_apis() -> None:
    ours = contract()
    assert (ours.name, ours.backend, ours.max_batch_size) == ("tensorrt_llm", "python", 0)
    assert ours.model_transaction_policy.decoupled
    for tensors, table in ((ours.input, INPUTS), (ours.output, OUTPUTS)):
        found: dict[str, set[str]] = {}
        for tensor in tensors:
            kind = f"{pb.DataType.Name(tensor.data_type)} {list(tensor.dims)}"
            found.setdefault(kind, set()).add(tensor.name + "*" * getattr(tensor, "optional", False))
        assert found == {kind: set(names.split()) for kind, names in table.items()}


def test_the_gpu_house_keeps_the_contract() -> None:
    assert differences(read(GPU_CONFIG)) == []


def test_the_cpu_house_keeps_the_contract() -> None:
    config = server.model_config(CPU_SETTINGS)
    assert differences(config) == []
    assert config.version_policy.WhichOneof("policy_choice") == "all"
    assert [group.kind for group in config.instance_group] == [pb.ModelInstanceGroup.KIND_CPU]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.input.pop(0), "input text_input is missing"),
        (lambda c: c.output.add(name="tokens"), "output tokens is not in the contract"),
        (
            lambda c: c.input[0].dims.__setitem__(0, 1),
            "input text_input is TYPE_STRING [1], not TYPE_STRING [-1]",
        ),
        (
            lambda c: setattr(c.input[2], "optional", False),
            "input streaming is TYPE_BOOL [1], not TYPE_BOOL [1] optional",
        ),
        (
            lambda c: setattr(c.output[3], "data_type", pb.TYPE_STRING),
            "output cumulative_logprob is TYPE_STRING [-1], not TYPE_FP32 [-1]",
        ),
        (lambda c: c.model_transaction_policy.Clear(), "decoupled is false, not true"),
        (lambda c: setattr(c, "max_batch_size", 8), "max_batch_size is 8, not 0"),
        (lambda c: setattr(c, "backend", "onnxruntime"), "backend is 'onnxruntime', not 'python'"),
        (lambda c: setattr(c, "name", "llama"), "name is 'llama', not 'tensorrt_llm'"),
    ],
)
def test_each_departure_is_said_in_words(change: Callable[[Any], object], words: str) -> None:
    config = contract()
    change(config)
    assert differences(config) == [words]


def test_a_file_that_triton_would_not_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.pbtxt"
    file.write_text('name: "tensorrt_llm"\nmax_batch: 0\n')
    with pytest.raises(NotAConfigError, match=r'config\.pbtxt: 2:1 .*"max_batch"'):
        read(file)
