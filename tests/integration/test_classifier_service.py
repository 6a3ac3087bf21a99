"""The classifier over gRPC, and what follows in the router: naming, registering, discovering."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2
from openai import AsyncOpenAI

from tests.support.refusals import info_of
from tests.support.stack import ROOT, SECRETS, Stack, until
from training import public_rows

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

Ask = classifier_pb2.ClassifyRequest
Stub = classifier_pb2_grpc.ClassifierServiceStub
Examples = dict[str, list[str]]

INTENTS = ("translate", "book_flight", "pto_balance", "spelling", "recipe", "car_rental")
EXAMPLES = 12
UNKNOWN_TO_ALL = "qué tiempo hará mañana en las montañas de granada y a qué hora saldrá el sol por allí"


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack whose classifier may keep unnamed prompts."""
    folder = tmp_path_factory.mktemp("classifier")
    async with Stack(folder, HOMEWARD_CLASSIFIER__KEEP_UNNAMED_PROMPTS="true") as running:
        await running.start()
        yield running


@pytest.fixture(scope="module")
async def stub(stack: Stack) -> AsyncIterator[Stub]:
    """The classifier of the stack."""
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['classifier']}") as channel:
        yield Stub(channel)


@pytest.fixture(scope="module")
def clinc() -> dict[str, Examples]:
    """CLINC150's requests by split and intent, in a fixed random order."""
    document = json.loads((ROOT / "data/workloads/clinc150_full.json").read_text())
    found: dict[str, Examples] = {}
    for split in ("train", "test", "oos_test"):
        rows = document[split]
        random.Random(4).shuffle(rows)
        for text, intent in rows:
            found.setdefault(split, {}).setdefault(intent, []).append(text)
    return found


def asks(texts: list[str]) -> list[Ask]:
    return [Ask(turns=[text], input_chars=len(text)) for text in texts]


def registration(name: str, texts: list[str], **fields: Any) -> classifier_pb2.RegisterWorkloadRequest:
    workload = workload_pb2.Workload(
        name=name,
        owner="tests",
        task_type=workload_pb2.TASK_TYPE_CLASSIFICATION,
        data_class="unrestricted",
        quality_sensitivity=workload_pb2.QUALITY_SENSITIVITY_LOW,
    )
    return classifier_pb2.RegisterWorkloadRequest(
        request_id=fields.pop("request_id", os.urandom(16)), workload=workload, examples=asks(texts), **fields
    )


@contextmanager
def refused(code: StatusCode, reason: str) -> Iterator[dict[str, str]]:
    """The call inside fails that way; gives the metadata of its ErrorInfo."""
    metadata: dict[str, str] = {}
    with pytest.raises(aio.AioRpcError) as caught:
        yield metadata
    assert caught.value.code() is code
    info = info_of(caught.value)
    assert info.reason == reason
    metadata.update(info.metadata)


async def workload_of(client: AsyncOpenAI, text: str) -> str:
    """What the router's headers say of a request."""
    answer = await client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": text}], max_tokens=5
    )
    return answer.headers["x-homeward-workload"]


async def test_whatever_a_prompt_contains_it_gets_an_answer_or_an_abstention(stub: Stub) -> None:
    languages = [
        "Сократите этот текст до двух предложений, пожалуйста.",
        "要約してください。",
        "이 글을 요약해 주세요.",
        "لخص هذا النص من فضلك",
        "Ringkaskan teks ini menjadi dua kalimat.",
        "Tóm tắt văn bản này giúp tôi.",
        "Streszczaj ten tekst w dwóch zdaniach.",
    ]
    texts = [
        "",
        " ",
        "\0\1\2\xff" * 1000,
        "😀" * 500,
        "a" * 8000,
        "\u202e\u200b" * 50,
        "{" * 4000,
        *languages,
    ]
    for text in texts:
        for ask in (
            Ask(turns=[text]),
            Ask(system_prompt=text),
            Ask(turns=[text] * 16, tool_names=[text[:64]]),
        ):
            answer = await stub.Classify(ask)
            assert answer.workload == ""
            assert answer.evidence in (workload_pb2.EVIDENCE_TASK_TYPE, workload_pb2.EVIDENCE_ABSTAINED)


async def test_a_registration_names_what_resembles_its_examples_on_the_router_too(
    stack: Stack, stub: Stub, client: AsyncOpenAI, clinc: dict[str, Examples]
) -> None:
    for intent in INTENTS:
        done = await stub.RegisterWorkload(
            registration(intent.replace("_", "-"), clinc["train"][intent][:EXAMPLES])
        )
        assert done.workload.version == 1
        assert done.right_after >= done.right_before
    right = wrong = 0
    for intent in INTENTS:
        for ask in asks(clinc["test"][intent]):
            answer = await stub.Classify(ask)
            right += answer.workload == intent.replace("_", "-")
            wrong += answer.workload not in ("", intent.replace("_", "-"))
            assert not answer.workload or answer.evidence == workload_pb2.EVIDENCE_EXAMPLES
    assert right / (len(INTENTS) * 30) > 0.9
    assert wrong / (len(INTENTS) * 30) < 0.03
    unnamed = [not (await stub.Classify(ask)).workload for ask in asks(clinc["oos_test"]["oos"][:200])]
    assert sum(unnamed) > 180

    async def named() -> bool:
        return await workload_of(client, clinc["test"]["book_flight"][0]) == "book-flight"

    await until(named, "the router names by the new workload")


async def test_a_foreign_language_is_abstained_from(stub: Stub) -> None:
    answer = await stub.Classify(Ask(turns=[UNKNOWN_TO_ALL]))
    assert answer.evidence == workload_pb2.EVIDENCE_ABSTAINED
    assert answer.task_type == workload_pb2.TASK_TYPE_UNSPECIFIED


async def test_a_registration_that_takes_anothers_requests_is_refused_and_changes_nothing(
    stub: Stub, clinc: dict[str, Examples]
) -> None:
    before = await stub.ListWorkloads(classifier_pb2.ListWorkloadsRequest())
    stolen = clinc["train"]["recipe"][: EXAMPLES - 2] + clinc["train"]["translate"][: EXAMPLES - 2]
    with refused(StatusCode.FAILED_PRECONDITION, "WORKLOAD_WORSENS") as metadata:
        await stub.RegisterWorkload(registration("kitchen", stolen))
    assert metadata["worsened"] in ("recipe", "translate")
    assert await stub.ListWorkloads(classifier_pb2.ListWorkloadsRequest()) == before


async def test_the_same_request_id_registers_once(stub: Stub, clinc: dict[str, Examples]) -> None:
    ask = registration("timers", clinc["train"]["timer"][:EXAMPLES])
    first = await stub.RegisterWorkload(ask)
    assert await stub.RegisterWorkload(ask) == first
    again = registration("timers", clinc["train"]["timer"][:EXAMPLES])
    assert (await stub.RegisterWorkload(again)).workload.version == 2
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"):
        await stub.RegisterWorkload(
            registration("timers", clinc["train"]["timer"][:6], request_id=ask.request_id)
        )


async def test_a_check_registers_nothing(stub: Stub, clinc: dict[str, Examples]) -> None:
    before = await stub.ListWorkloads(classifier_pb2.ListWorkloadsRequest())
    done = await stub.RegisterWorkload(
        registration("alarms", clinc["train"]["alarm"][:EXAMPLES], validate_only=True)
    )
    assert done.held_out_count > 0
    assert await stub.ListWorkloads(classifier_pb2.ListWorkloadsRequest()) == before


async def test_what_the_settings_register_is_changed_there_only(stub: Stub) -> None:
    with refused(StatusCode.FAILED_PRECONDITION, "WORKLOAD_IN_SETTINGS") as metadata:
        await stub.RegisterWorkload(registration("ticket-triage", ["a", "b", "c", "d", "e"]))
    assert metadata == {"workload": "ticket-triage"}


async def test_a_registered_fingerprint_needs_no_model_and_survives_new_dates(
    stack: Stack, stub: Stub, client: AsyncOpenAI
) -> None:
    prompt = (
        "You are the claims desk of Contoso, release {}. Read the letter, then answer with the claim's"
        " number, its date and the sum, and nothing else. Today is {}."
    )
    ask = registration("claims-desk", [])
    ask.examples.extend(
        Ask(system_prompt=prompt.format("1.0.0", "2026-11-25"), turns=[text]) for text in public_rows_texts()
    )
    await stub.RegisterWorkload(ask)

    async def named() -> bool:
        answer = await client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini",
            messages=[
                {"role": "system", "content": prompt.format("2.13.4-rc1", "3 March 2027")},
                {"role": "user", "content": "Ciao"},
            ],
            max_tokens=5,
        )
        return (answer.headers["x-homeward-workload"], answer.headers["x-homeward-evidence"]) == (
            "claims-desk",
            "fingerprint",
        )

    await until(named, "the router names it by its fixed parts")


def public_rows_texts() -> list[str]:
    """Five customers' messages."""
    return [row.text for row in public_rows.banking77("test")[:5]]


async def test_registrations_survive_a_kill(stack: Stack, clinc: dict[str, Examples]) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['classifier']}") as channel:
        stub = Stub(channel)
        done = await stub.RegisterWorkload(registration("jokes", clinc["train"]["tell_joke"][:EXAMPLES]))
        await stack.kill("classifier")
        await stack.start("classifier")
        after = await stub.ListWorkloads(classifier_pb2.ListWorkloadsRequest(), wait_for_ready=True)
        assert after.version == done.table_version
        assert done.workload in after.workloads
        answer = await stub.Classify(asks(clinc["test"]["tell_joke"][:1])[0])
        assert answer.workload == "jokes"


async def test_unnamed_traffic_becomes_a_proposal_with_its_share_of_the_spend(
    stack: Stack, stub: Stub, client: AsyncOpenAI
) -> None:
    texts = iter([row.text for row in public_rows.banking77("train")])
    system = "You write the first sentence of a reply to a bank's customer. Be kind and brief."
    found: list[classifier_pb2.Proposal] = []

    async def proposed() -> bool:
        # Traffic goes on: what was asked while the router found the killed classifier again, nobody saw.
        for text in islice(texts, 20):
            await client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "system", "content": system}, {"role": "user", "content": text}],
                max_tokens=8,
            )
        answer = await stub.DiscoverWorkloads(classifier_pb2.DiscoverWorkloadsRequest())
        found[:] = [item for item in answer.proposals if item.request_count >= 20]
        return bool(found) and found[0].HasField("spend_share")

    await until(proposed, "a proposal for the new template, with its spend")
    proposal = found[0]
    assert 0 < proposal.spend_share <= 1
    assert proposal.key_names == ["demo"]
    assert set(proposal.sample_prompts)
    workload = proposal.workload
    workload.owner, workload.data_class = "care", "unrestricted"
    await stub.RegisterWorkload(
        classifier_pb2.RegisterWorkloadRequest(
            request_id=os.urandom(16), workload=workload, examples=proposal.examples
        )
    )
    answer = await stub.Classify(Ask(system_prompt=system, turns=["Where is my card?"]))
    assert (answer.workload, answer.evidence) == (workload.name, workload_pb2.EVIDENCE_FINGERPRINT)


async def test_the_state_is_for_its_owner_alone(stack: Stack) -> None:
    def modes() -> set[str]:
        return {oct(file.stat().st_mode & 0o777) for file in Path(stack.folder, "classifier").iterdir()}

    assert await asyncio.to_thread(modes) == {"0o600"}


@pytest.fixture(scope="module")
async def client(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """The unmodified OpenAI SDK."""
    async with AsyncOpenAI(base_url=stack.base_url, api_key=SECRETS.api_key, max_retries=0) as made:
        yield made
