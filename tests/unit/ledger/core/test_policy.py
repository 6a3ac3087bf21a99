"""The policy is what the decisions add up to, and follows the settings by decisions of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.common.words import Stage, Target
from services.ledger.core.policy import Change, Policy, Registered, Row, apply, settle

CLOUD, HOME = Target.CLOUD, Target.SOVEREIGN

registered = st.lists(
    st.builds(
        Registered,
        workload=st.sampled_from(["a", "b", "c", "d"]),
        allowed_targets=st.sampled_from([(CLOUD,), (HOME,), (CLOUD, HOME)]),
        allowed_regions=st.sampled_from([(), ("eu",)]),
    ),
    unique_by=lambda item: item.workload,
)


def settled(policy: Policy, items: list[Registered]) -> Policy:
    for change in settle(policy, items):
        policy = apply(policy, change)
    return policy


@given(registered, registered)
def test_settling_brings_the_policy_in_line_and_settling_again_changes_nothing(
    before: list[Registered], after: list[Registered]
) -> None:
    policy = settled(settled(Policy(), before), after)
    assert set(policy.rows) == {item.workload for item in after}
    for item in after:
        assert policy.rows[item.workload].allowed_targets == item.allowed_targets
        assert policy.rows[item.workload].allowed_regions == item.allowed_regions
    assert settle(policy, after) == []


def test_a_registered_workload_begins_observed() -> None:
    policy = settled(Policy(), [Registered("a", (CLOUD, HOME), ())])
    assert policy == Policy(1, {"a": Row("a", Stage.OBSERVED)})


def test_a_changed_data_class_keeps_the_stage() -> None:
    home = Row("a", Stage.HOME, 1_000_000)
    policy = apply(Policy(), Change("a", None, home, "proven"))
    policy = settled(policy, [Registered("a", (HOME,), ("eu",))])
    assert policy.rows["a"] == Row("a", Stage.HOME, 1_000_000, (HOME,), ("eu",), fallback_allowed=False)


def test_each_decision_makes_one_version() -> None:
    policy = settled(Policy(), [Registered(name, (CLOUD,), ()) for name in "abc"])
    assert policy.version == 3
