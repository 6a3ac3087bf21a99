"""What a data class leaves of the policy's row."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.words import Stage, Target
from services.router.core.data_classes import DataClass, DataClasses, bound
from services.router.core.policy import UNNAMED, WorkloadPolicy

CLOUD, SOVEREIGN = Target.CLOUD, Target.SOVEREIGN
HOME = DataClass("home", frozenset({SOVEREIGN}))
EU = DataClass("eu", regions=frozenset({"eu", "ch"}))


def row(*targets: Target, regions: tuple[str, ...] = ()) -> WorkloadPolicy:
    return WorkloadPolicy(Stage.CANARY, 250_000, frozenset(targets), frozenset(regions))


@pytest.mark.parametrize(
    ("before", "classes", "after"),
    [
        (row(CLOUD, SOVEREIGN), [], row(CLOUD, SOVEREIGN)),
        (row(CLOUD, SOVEREIGN), [DataClass("open")], row(CLOUD, SOVEREIGN)),
        (row(CLOUD, SOVEREIGN), [HOME], row(SOVEREIGN)),
        (row(CLOUD, SOVEREIGN), [EU], row(CLOUD, SOVEREIGN, regions=("eu", "ch"))),
        (row(CLOUD, SOVEREIGN, regions=("eu", "us")), [EU], row(CLOUD, SOVEREIGN, regions=("eu",))),
        (row(CLOUD, SOVEREIGN, regions=("us",)), [HOME], row(SOVEREIGN, regions=("us",))),
        (row(CLOUD, SOVEREIGN), [EU, HOME], row(SOVEREIGN, regions=("eu", "ch"))),
        (UNNAMED, [HOME], replace(UNNAMED, allowed_targets=frozenset({SOVEREIGN}))),
    ],
)
def test_only_what_both_allow_is_left(
    before: WorkloadPolicy, classes: list[DataClass], after: WorkloadPolicy
) -> None:
    assert bound(before, classes, "w") == after


@pytest.mark.parametrize(
    ("before", "classes"),
    [
        (row(CLOUD), [HOME]),
        (row(CLOUD, regions=("us",)), [EU]),
        (row(CLOUD, SOVEREIGN), [HOME, DataClass("away", frozenset({CLOUD}))]),
        (row(CLOUD, SOVEREIGN), [EU, DataClass("us", regions=frozenset({"us"}))]),
    ],
)
@pytest.mark.parametrize("workload", ["letters", ""])
def test_what_nothing_is_left_of_is_refused(
    before: WorkloadPolicy, classes: list[DataClass], workload: str
) -> None:
    with pytest.raises(DomainError) as caught:
        bound(before, classes, workload)
    assert caught.value.reason is Reason.TARGET_NOT_ALLOWED
    assert caught.value.metadata == {"workload": workload, "allowed": ""}
    assert (repr(workload) if workload else "an unnamed request") in caught.value.message


def test_a_class_that_the_settings_lack_allows_nothing_and_says_so() -> None:
    unknown = DataClasses([HOME]).get("patients")
    assert unknown.restricted
    with pytest.raises(DomainError, match=r"\[data_classes.patients\]") as caught:
        bound(UNNAMED, [unknown], "letters")
    assert caught.value.reason is Reason.TARGET_NOT_ALLOWED


@pytest.mark.parametrize("name", ["", "unrestricted"])
def test_the_class_that_nobody_need_declare_allows_everything(name: str) -> None:
    assert bound(UNNAMED, [DataClasses().get(name)], "w") is UNNAMED


def test_the_settings_may_declare_it_all_the_same() -> None:
    narrow = DataClass("unrestricted", frozenset({SOVEREIGN}))
    assert DataClasses([narrow, EU]).get("") is narrow
    assert DataClasses([narrow, EU, HOME]).restricted() == [narrow, HOME]


CLASSES = st.builds(
    DataClass,
    st.sampled_from("abc"),
    st.frozensets(st.sampled_from(Target), min_size=1),
    st.frozensets(st.sampled_from(["eu", "us", "ch"])),
)


@given(st.lists(CLASSES, max_size=4), st.randoms())
def test_no_class_widens_what_another_allows_in_whatever_order(
    classes: list[DataClass], rng: random.Random
) -> None:
    def allowed(order: list[DataClass]) -> set[tuple[Target, str]]:
        try:
            left = bound(UNNAMED, order, "w")
        except DomainError:
            return set()
        regions = left.allowed_regions or {"eu", "us", "ch", "elsewhere"}
        return {(target, region) for target in left.allowed_targets for region in regions}

    shuffled = classes.copy()
    rng.shuffle(shuffled)
    everywhere = {(target, region) for target in Target for region in ("eu", "us", "ch", "elsewhere")}
    each = [
        {
            (target, region)
            for target, region in everywhere
            if target in c.targets and (not c.regions or region in c.regions)
        }
        for c in classes
    ]
    assert allowed(classes) == allowed(shuffled) == everywhere.intersection(*each)
