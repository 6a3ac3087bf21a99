"""What counts as right, as valid, and how sure a share is."""

import pytest

from training.small_llama.dialogue import Form
from training.small_llama.scoring import Judge, wilson
from training.small_llama.workloads import workloads

VOICE = workloads()["voice-domain"]


@pytest.mark.parametrize(
    ("form", "text", "label"),
    [
        ("json", '{"domain": "travel"}', "travel"),
        ("json", '{"domain":"travel"}', "travel"),
        ("json", '{"domain": "tra', None),
        ("json", '{"domain": "space"}', None),
        ("json", '{"domain": "travel", "sure": true}', None),
        ("json", '"travel"', None),
        ("tool", '{"name": "route_request", "parameters": {"domain": "travel"}}', "travel"),
        ("tool", '{"name": "route_message", "parameters": {"domain": "travel"}}', None),
        ("tool", '{"name": "route_request", "parameters": {"domain": "space"}}', None),
        ("tool", '{"domain": "travel"}', None),
    ],
)
def test_an_answer_counts_if_it_is_valid_under_the_schema(form: Form, text: str, label: str | None) -> None:
    assert Judge(VOICE, form).label(text) == label


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe 1998, table I, method 3 (Wilson without continuity correction)
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)
