"""The GPU house's files and its sizing, as far as a machine without a GPU can tell."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.triton.contract.compare import differences, read
from deploy.triton.gpu import sizing

HOUSE = Path(sizing.__file__).parent
DOC = Path(__file__).parents[3] / "docs" / "gpu.md"
REPOSITORY = HOUSE / "repository"
SCRIPTS = sorted(HOUSE.glob("*.sh"))

LLM_ARGS = {
    "model", "backend", "tensor_parallel_size", "pipeline_parallel_size", "trust_remote_code", "max_seq_len",
    "max_batch_size", "max_num_tokens", "enable_chunked_prefill", "kv_cache_config", "cuda_graph_config",
    "sampler_type", "stream_interval",
}  # fmt: skip
"""Fields of TensorRT-LLM's TorchLlmArgs that were looked up in its llm_args.py; it refuses any other key."""
NESTED_ARGS = {
    "kv_cache_config": {"enable_block_reuse", "enable_partial_reuse", "free_gpu_memory_fraction", "dtype"},
    "cuda_graph_config": {"enable_padding", "max_batch_size"},
    "triton_config": {"max_batch_size", "decoupled", "cancellation_check_period_ms"},
}


@pytest.fixture(scope="module")
def engine() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((REPOSITORY / "tensorrt_llm/1/model.yaml").read_text())
    return loaded


def test_the_configuration_is_the_contract_to_the_letter() -> None:
    assert differences(read(REPOSITORY / "tensorrt_llm/config.pbtxt")) == []


def test_one_engine_at_most_is_on_the_gpu() -> None:
    config = read(REPOSITORY / "tensorrt_llm/config.pbtxt")
    assert [group.count for group in config.instance_group] == [1]
    assert config.version_policy.latest.num_versions == 1


def test_triton_and_the_engine_are_told_the_same(engine: dict[str, Any]) -> None:
    config = read(REPOSITORY / "tensorrt_llm/config.pbtxt")
    assert engine["triton_config"]["decoupled"] is config.model_transaction_policy.decoupled is True
    assert engine["triton_config"]["max_batch_size"] == config.max_batch_size == 0


def test_the_engine_is_told_nothing_that_it_does_not_know(engine: dict[str, Any]) -> None:
    assert set(engine) == LLM_ARGS | {"triton_config"}
    for section, known in NESTED_ARGS.items():
        assert set(engine[section]) == known


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("enable_chunked_prefill", True),
        ("kv_cache_config.enable_block_reuse", True),
        ("kv_cache_config.dtype", "fp8"),
        ("kv_cache_config.free_gpu_memory_fraction", sizing.KV_FRACTION),
        ("sampler_type", "TRTLLMSampler"),
        ("stream_interval", 1),
        ("trust_remote_code", False),
        ("model", "/weights"),
    ],
)
def test_what_was_decided_stands_in_the_engines_options(
    engine: dict[str, Any], path: str, value: object
) -> None:
    found: Any = engine
    for key in path.split("."):
        found = found[key]
    assert found == value


def test_graphs_are_captured_for_every_batch_that_can_be(engine: dict[str, Any]) -> None:
    assert engine["cuda_graph_config"]["max_batch_size"] == engine["max_batch_size"]


def test_the_image_takes_nvidias_files_and_adds_only_what_is_here() -> None:
    dockerfile = (HOUSE / "Dockerfile").read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    assert re.fullmatch(r"\d\d\.\d\d", arguments["TRITON_RELEASE"])
    assert re.search(
        r"^FROM nvcr\.io/nvidia/tritonserver:\$\{TRITON_RELEASE\}-trtllm-python-py3$", dockerfile, re.M
    )
    copied = re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", dockerfile, re.MULTILINE)
    assert all((HOUSE / name).exists() for line in copied for name in line.split())
    # Every script and page names the same release as the image's own default.
    for file in (*SCRIPTS, DOC):
        for release in re.findall(r"(?:TRITON_RELEASE:-|homeward-triton-gpu:)(\d\d\.\d\d)", file.read_text()):
            assert release == arguments["TRITON_RELEASE"], file
    assert f"TensorRT-LLM {arguments['TENSORRT_LLM_VERSION']}" in DOC.read_text()


def test_the_pages_tables_are_what_the_formula_gives() -> None:
    page = DOC.read_text(encoding="utf-8")
    for table in (sizing.fit_table(), sizing.sizing_table()):
        assert "\n".join(table) in page


def test_the_fitted_pace_is_near_every_published_figure() -> None:
    for index, gpu in enumerate(sizing.GPUS):
        pace = sizing.fit(gpu)
        assert min(pace.a, pace.b, pace.c) > 0
        for line in sizing.PUBLISHED:
            fitted = line.output_tokens / pace.seconds(line.input_tokens, line.output_tokens)
            assert fitted == pytest.approx(line.output_tokens_per_s[index], rel=0.07)


@given(
    users=st.integers(0, 10**6),
    more=st.integers(0, 10**6),
    workload=st.sampled_from(sizing.WORKLOADS),
    gpu=st.sampled_from(sizing.GPUS),
)
def test_the_gpus_carry_the_peak_even_with_the_spare_one_gone(
    users: int, more: int, workload: sizing.Workload, gpu: str
) -> None:
    count = sizing.gpus(users, workload, gpu)
    peak_per_s = users * workload.requests_per_user_hour / 3600 * workload.peak
    assert (count - sizing.SPARE) * sizing.requests_per_s(workload, gpu) >= peak_per_s * (1 - 1e-9)
    assert sizing.gpus(users + more, workload, gpu) >= count
