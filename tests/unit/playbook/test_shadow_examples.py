"""`homeward shadow examples`: the texts, what differs, and what to do where there are none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from homeward.shadow.v1 import shadow_pb2
from typer.testing import CliRunner, Result

from playbook.commands.shadow_examples import examples
from playbook.disagreements import document, marked, texts_sha256
from services.common.errors import DomainError, Reason
from services.common.stages import SHADOWED
from services.shadow.core.examples import bounded
from tests.support.migrations import Shadow, migration, serving

APP = typer.Typer()
APP.command()(examples)
KEY = "hw-reader"
CHAT = (("system", "Name the intent."), ("user", "I lost [my] card, what now?\n\x1b[2Jsecond line"))


class WithExamples(Shadow):
    """Shadow, with the examples that a test wants."""

    page = shadow_pb2.ListExamplesResponse(data_class="public", keep_days=7)

    def ListExamples(self, request: Any, context: Any) -> shadow_pb2.ListExamplesResponse:
        self._taken(request, context)
        return self.page


@pytest.fixture
def shadow(tmp_path: Path) -> Iterator[WithExamples]:
    made = WithExamples()
    made.page = shadow_pb2.ListExamplesResponse(data_class="public", keep_days=7)
    with serving(made) as address:
        (tmp_path / "homeward.toml").write_text(
            f'[shadow]\ngrpc = "{address}"\n[local]\nstate_dir = "{tmp_path}"\n'
        )
        yield made


def example(number: int = 1, sovereign: str = "lost_card", **fields: Any) -> shadow_pb2.Example:
    texts = bounded(CHAT, "card_is_lost or stolen", sovereign, 4_000, bytes(16))
    made = shadow_pb2.Example(
        sample_id=number.to_bytes(16, "big"),
        experiment_id=b"e" * 16,
        epoch=2,
        workload="bank-intent",
        scorer="exact_match@1",
        agreement_sovereign=0.25,
        agreement_noise=1,
        trace_id="ab" * 16,
        texts_sha256=hashlib.sha256(texts.to_json()).digest(),
        **fields,
    )
    made.request_time.FromSeconds(1_790_000_000)
    made.keep_time.FromSeconds(1_790_000_001)
    made.expire_time.FromSeconds(1_790_600_001)
    for turn in texts.turns:
        made.texts.turns.add(speaker=turn.speaker, text=turn.text)
    made.texts.cloud.MergeFrom(shadow_pb2.ExampleTurn(speaker="assistant", text=texts.cloud.text))
    made.texts.sovereign.MergeFrom(shadow_pb2.ExampleTurn(speaker="assistant", text=texts.sovereign.text))
    made.texts.salt = texts.salt
    return made


def run(folder: Path, *arguments: str) -> Result:
    command = ["bank-intent", *arguments, "--settings", str(folder / "homeward.toml")]
    return CliRunner(env={"COLUMNS": "80", "HOMEWARD_API_KEY": KEY}).invoke(APP, command)


def test_an_example_can_be_judged_from_what_is_printed(tmp_path: Path, shadow: WithExamples) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"traces_url": "http://here/traces"}))
    shadow.page.examples.extend([example(), example(2, "", lane="after", reason="empty")])
    shadow.page.examples[0].texts.sovereign.bytes_left_out = 1_204
    shadow.page.examples[0].texts.turns_left_out = 3
    done = run(tmp_path, "--limit", "2")
    assert done.exit_code == 0, done.output
    said = done.stdout
    for line in (
        "1.  D -0.750: the model at home agrees with the cloud 0.250, the cloud with itself 1.000",
        "http://here/traces#" + "ab" * 16,
        "sample 00000000-0000-0000-0000-000000000001",
        "    user          I lost [my] card, what now?",
        "    in the cloud  «card_is_lost» «or» «stolen»",
        "    at home       «lost_card» … 1,204 bytes more",
        "… 3 more of the request's turns",
        "epoch 2, sampled after the cutover); empty",
        "    at home       nothing",
        "Next: ",
    ):
        assert line in said
    # What a user said can't move the cursor of who reads it.
    assert "\x1b" not in said
    assert max(map(len, said.split("\n\n")[1].splitlines())) <= 80
    assert shadow.asked[-1].page_size == 2
    assert shadow.keys == [f"Bearer {KEY}"]


def test_a_program_gets_the_texts_and_can_check_their_hash(tmp_path: Path, shadow: WithExamples) -> None:
    shadow.page.examples.append(example())
    told = json.loads(run(tmp_path, "--json").stdout)
    assert (told["data_class"], told["keep_days"]) == ("public", 7)
    (one,) = told["examples"]
    assert one == document(example())
    assert one["difference"] == -0.75
    assert texts_sha256(one["texts"]) == one["texts_sha256"]
    assert one["texts"]["turns"][1]["text"] == CHAT[1][1]


@pytest.mark.parametrize(
    ("data_class", "days", "says"),
    [
        (
            "internal",
            0,
            (
                "No texts of bank-intent are kept: its data class internal keeps none.",
                "set keep_examples_days in [data_classes.internal]",
                "what is kept from then on",
            ),
        ),
        ("unrestricted", 0, ("give it in homeward.toml a data class of its own", "from then on")),
        ("", 0, ("a data class of its own", "from then on")),
        ("public", 7, ("No disagreement of bank-intent is kept", "over 7 days ago")),
    ],
    ids=["none", "unrestricted", "not-in-settings", "not-yet"],
)
def test_where_there_are_none_it_says_why(
    tmp_path: Path, shadow: WithExamples, data_class: str, days: int, says: tuple[str, ...]
) -> None:
    shadow.migrations = [migration("bank-intent", SHADOWED)]
    shadow.page = shadow_pb2.ListExamplesResponse(data_class=data_class, keep_days=days)
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert all(words in done.stdout for words in says), done.stdout


def test_who_may_not_read_them_is_told(tmp_path: Path, shadow: WithExamples) -> None:
    shadow.error = DomainError(
        Reason.PURPOSE_FORBIDDEN, 'that key may not read examples; give it scopes = ["experiments"]'
    )
    done = run(tmp_path)
    assert done.exit_code == 1
    assert "that key may not read examples" in done.output


def test_a_workload_that_nobody_knows_is_told(tmp_path: Path, shadow: WithExamples) -> None:
    shadow.page = shadow_pb2.ListExamplesResponse()
    done = run(tmp_path)
    assert done.exit_code == 1
    assert "bank-intent" in done.output


@pytest.mark.parametrize(
    ("one", "other", "first", "second"),
    [
        ("a b c", "a x c", ["b"], ["x"]),
        ("a b", "a b", [], []),
        ("", "a b", [], ["a", "b"]),
        ("a  b", "a b", [], []),
        ("b a", "a", ["b"], []),
        ('{"a":"b_c"}', '{"a":"d"}', ["b_c"], ["d"]),
    ],
    ids=["one-word", "same", "nothing", "spaces", "more", "json"],
)
def test_words_that_differ_are_marked(one: str, other: str, first: list[str], second: list[str]) -> None:
    found = marked(one, other)
    assert ["".join(piece for piece, _ in pieces) for pieces in found] == [one, other]
    assert [[piece for piece, differs in pieces if differs] for pieces in found] == [first, second]
