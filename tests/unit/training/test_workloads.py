"""The public workloads: their rows, and the prompts that everybody sends."""

import pytest

from training.small_llama.workloads import SPLITS, Split, Workload, workloads

WORKLOADS = workloads()
SIZES: dict[str, dict[Split, int]] = {
    # Larson et al. 2019, table 1: 100, 20 and 30 rows of each of 150 intents
    "voice-domain": {"train": 15_000, "val": 3_000, "test": 4_500},
    # Casanueva et al. 2020: 10,003 and 3,080; the validation rows are a sixteenth of the train file
    "bank-intent": {"train": 9_376, "val": 627, "test": 3_080},
}


@pytest.fixture(params=sorted(WORKLOADS))
def workload(request: pytest.FixtureRequest) -> Workload:
    return WORKLOADS[request.param]


@pytest.mark.parametrize(
    ("name", "split", "size"),
    [(name, split, size) for name, sizes in SIZES.items() for split, size in sizes.items()],
)
def test_a_split_has_the_published_number_of_rows(name: str, split: Split, size: int) -> None:
    assert len(WORKLOADS[name].rows(split)) == size


def test_the_schema_allows_the_labels_of_the_data_and_no_others(workload: Workload) -> None:
    for split in SPLITS:
        assert {row.label for row in workload.rows(split)} == set(workload.labels)
    assert workload.labels == sorted(workload.labels)
    assert "oos" not in workload.labels


def test_both_forms_ask_for_the_same_answer(workload: Workload) -> None:
    (tool,) = workload.prompts["tool"]["tools"]
    assert tool["function"]["parameters"] == workload.schema
    assert workload.prompts["json"]["response_format"]["json_schema"]["name"] == workload.key
    assert workload.schema["required"] == [workload.key] == list(workload.schema["properties"])


def test_no_row_of_our_own_validation_split_is_trained_on() -> None:
    # CLINC150's published splits share some texts; the one that we cut does not
    bank = WORKLOADS["bank-intent"]
    trained = {row.text for row in bank.rows("train")}
    assert trained.isdisjoint(row.text for row in bank.rows("val"))


def test_out_of_scope_rows_are_in_no_split() -> None:
    voice = WORKLOADS["voice-domain"]
    intents = {row.fine for split in SPLITS for row in voice.rows(split)}
    assert len(intents) == 150
    assert "oos" not in intents
