"""The capability gate: what is asked for, and what keeps a workload from its cutover."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from services.shadow.core.gate import Capability, FixedParts, Need, Use, blocks, languages, needs, unknown

NOW = 1_800_000_000_000_000


@dataclass(frozen=True)
class Sample:
    """What the gate reads of a finished sample."""

    features: tuple[str, ...] = ()
    input_tokens: int | None = 40
    language: str = "en"
    sovereign_millionths: int | None = 1_000_000


PARTS = FixedParts(
    model="gpt-4o-mini",
    tools='[{"name": "route"}]',
    response_format='{"json_schema": {}}',
    stop=("END",),
    max_tokens=60,
)


def use(*samples: Sample) -> Use:
    """The union of samples."""
    made = Use()
    made.take(samples)
    return made


@pytest.mark.parametrize(
    ("samples", "parts", "names"),
    [
        ([], PARTS, []),
        ([Sample()], FixedParts(), ["context_length"]),
        ([Sample(("tools",)), Sample()], FixedParts(), ["context_length", "tools"]),
        ([Sample(("json_schema",))], FixedParts(), ["context_length", "json_schema"]),
        ([Sample(("json_object",))], FixedParts(), ["context_length", "json_object"]),
        ([Sample(("stop",))], FixedParts(), ["context_length", "stop"]),
        ([Sample(("streaming",))], FixedParts(), ["context_length", "streaming_usage"]),
        # A request that was not sampled may have been seen to stream.
        ([Sample()], FixedParts(streamed=True), ["context_length", "streaming_usage"]),
        (
            [Sample(("tools",)), Sample(("json_schema", "stop")), Sample(("streaming",))],
            PARTS,
            ["context_length", "tools", "json_schema", "stop", "streaming_usage"],
        ),
    ],
)
def test_what_is_used_is_the_union(samples: list[Sample], parts: FixedParts, names: list[str]) -> None:
    assert [need.name for need in needs(use(*samples), parts)] == names


def test_the_longest_prompt_and_the_longest_answer_must_fit() -> None:
    (need,) = needs(
        use(Sample(input_tokens=1_900), Sample(input_tokens=None), Sample(input_tokens=3)),
        FixedParts(max_tokens=60),
    )
    assert need.size == 1_960
    assert need.sentence == "its longest prompt has 1,900 tokens, and an answer may have 60"


def test_without_samples_nothing_is_known() -> None:
    assert blocks(use(), PARTS, (), NOW, {}) == (
        "no samples yet, so what the sovereign endpoint must be able to do is not known",
    )


def test_the_gate_is_passed_by_probes_of_all_needs() -> None:
    seen = use(Sample(("tools", "json_schema")))
    wanted = needs(seen, PARTS)
    found = [Capability(need, True, "", NOW) for need in wanted]
    assert blocks(seen, PARTS, found, NOW, {}) == ()
    for missing in range(len(found)):
        (block,) = blocks(seen, PARTS, found[:missing] + found[missing + 1 :], NOW, {})
        assert block == f"the sovereign endpoint was not probed for {wanted[missing].name} yet"


def test_what_is_lacking_is_said() -> None:
    seen = use(Sample(input_tokens=4_000))
    found = [Capability(needs(seen, FixedParts())[0], False, "its context holds 2048 tokens", NOW)]
    assert blocks(seen, FixedParts(), found, NOW, {}) == (
        "the sovereign endpoint lacks context_length (its longest prompt has 4,000 tokens):"
        " its context holds 2048 tokens",
    )


def test_a_probe_that_could_not_be_made_is_said() -> None:
    assert blocks(use(Sample()), FixedParts(), (), NOW, {"context_length": "the router does not answer"}) == (
        "the sovereign endpoint was not probed for context_length yet: the router does not answer",
    )


@pytest.mark.parametrize(
    ("passed", "probed", "needed", "covered"),
    [
        # What took a longer prompt takes a shorter one; what refused a shorter one refuses a longer one.
        (True, 2_000, 2_000, True),
        (True, 2_000, 1_000, True),
        (True, 2_000, 2_001, False),
        (False, 2_000, 2_001, True),
        (False, 2_000, 1_000, False),
    ],
)
def test_a_probe_of_a_length(passed: bool, probed: int, needed: int, covered: bool) -> None:
    found = Capability(Need("context_length", "", probed), passed, "", NOW)
    assert found.covers(Need("context_length", "", needed)) == covered


def test_another_schema_is_another_need() -> None:
    seen = use(Sample(("json_schema",)))
    found = [Capability(need, True, "", NOW) for need in needs(seen, PARTS)]
    other = replace(PARTS, response_format='{"json_schema": {"name": "other"}}')
    assert [need.name for need in unknown(needs(seen, other), found)] == ["json_schema"]


@pytest.mark.parametrize(
    ("samples", "answered", "passed"),
    [(4, 0, None), (5, 0, False), (5, 5, True), (10, 5, True), (10, 4, False)],
)
def test_a_language_is_shown_by_its_samples(samples: int, answered: int, passed: bool | None) -> None:
    seen = use(
        *[Sample(language="de")] * answered,
        *[Sample(language="de", sovereign_millionths=None)] * (samples - answered),
        Sample(language=""),
    )
    found = languages(seen, NOW)
    assert [item.passed for item in found] == ([] if passed is None else [passed])
    assert [item.need.name for item in found] == ([] if passed is None else ["language:de"])
    told = blocks(seen, FixedParts(), [Capability(Need("context_length", "", 10**6), True, "", NOW)], NOW, {})
    assert bool(told) == (passed is False)


def test_fixed_parts_outlive_a_restart() -> None:
    assert FixedParts.from_json(PARTS.to_json()) == PARTS
