"""Each format: what its rows become, what is bad, what is left out. Garbage never raises."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playbook.inventory.formats.focus import token_class
from playbook.inventory.sniff import UnknownFormatError, open_export
from playbook.inventory.stream import CUT_OFF
from tests.support.exports import counts, read, written

DATA = Path(__file__).parents[5] / "data"
DAY = 1735689600  # 2025-01-01


def page(*results: dict[str, Any], start: Any = DAY, end: Any = DAY + 86400) -> dict[str, Any]:
    bucket = {"object": "bucket", "start_time": start, "end_time": end, "results": list(results)}
    return {"object": "page", "data": [bucket], "has_more": False, "next_page": None}


def completion(**fields: Any) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": 1000,
        "output_tokens": 50,
        "num_model_requests": 3,
        **fields,
    }


def test_openai_usage_becomes_disjoint_classes(tmp_path: Path) -> None:
    full = completion(
        input_cached_tokens=400,
        input_cache_write_tokens=100,
        project_id="proj_a",
        api_key_id="key_a",
        user_id="user-a",
        model="gpt-4o-2024-08-06",
        batch=True,
        service_tier="default",
    )
    export, [row], bad = read(written(tmp_path, json.dumps(page(full))))
    assert export.format == "openai_usage"
    assert not bad
    assert counts(row) == (500, 400, 100, 50, 0)
    assert (row.start_time, row.end_time) == (
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(2025, 1, 2, tzinfo=UTC),
    )
    assert (row.provider, row.model, row.project, row.key_name, row.user) == (
        "openai",
        "gpt-4o-2024-08-06",
        "proj_a",
        "key_a",
        "user-a",
    )
    assert (row.batch, row.requests, row.kind, row.unpriced) == (True, 3, "usage", "")
    assert row.grouping == "model,project,key,user,batch,service_tier"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input_cached_tokens": 400, "input_uncached_tokens": 600}, (600, 400, 0, 50, 0)),
        ({"input_cached_tokens": None}, (1000, 0, 0, 50, 0)),
        ({"output_tokens": "50"}, (1000, 0, 0, 50, 0)),
    ],
)
def test_input_tokens_of_openai_include_the_cached_ones(
    tmp_path: Path, fields: dict[str, Any], expected: tuple[int, ...]
) -> None:
    _, [row], _ = read(written(tmp_path, json.dumps(page(completion(**fields)))))
    assert counts(row) == expected


@pytest.mark.parametrize(
    ("fields", "unpriced"),
    [
        ({"input_audio_tokens": 1}, "audio tokens"),
        ({"output_image_tokens": 2, "input_cached_audio_tokens": 5}, "audio and image tokens"),
        ({"service_tier": "flex"}, "service tier flex"),
        ({"service_tier": "batch"}, ""),
        ({"input_audio_tokens": 0}, ""),
    ],
)
def test_what_the_price_list_can_not_price_is_said(
    tmp_path: Path, fields: dict[str, Any], unpriced: str
) -> None:
    _, [row], _ = read(written(tmp_path, json.dumps(page(completion(**fields)))))
    assert row.unpriced == unpriced


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input_tokens": -1}, "input_tokens is negative"),
        ({"input_tokens": "many"}, "input_tokens is no number"),
        ({"input_tokens": 1.5}, "input_tokens is no whole number"),
        ({"output_tokens": float("nan")}, "output_tokens is no finite number"),
        ({"output_tokens": 10**30}, "output_tokens is larger than any real count"),
        ({"input_cached_tokens": 1001}, "input_tokens is less than the counts that it includes"),
        ({"input_uncached_tokens": 999}, "input_tokens is not the sum"),
        ({"model": ["gpt"]}, "model is no name"),
        ({"model": "x" * 600}, "model is longer than"),
        ({"batch": "yes"}, "batch is neither true nor false"),
    ],
)
def test_a_bad_result_of_openai_is_kept_aside_and_the_next_is_read(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    text = json.dumps(page(completion(**fields), completion()))
    _, rows, bad = read(written(tmp_path, text))
    assert [(row.line, row.requests) for row in rows] == [(2, 3)]
    assert len(bad) == 1
    assert bad[0].line == 1
    assert bad[0].reason.startswith(reason)


@pytest.mark.parametrize("start", [None, "", "soon", -1, 0, "9999-01-01T00:00:00Z", 1e300, True, {}])
def test_a_bucket_without_a_time_is_bad(tmp_path: Path, start: Any) -> None:
    good = page(completion())
    _, rows, bad = read(written(tmp_path, json.dumps([page(completion(), start=start), good])))
    assert len(rows) == 1
    assert len(bad) == 1
    assert "start_time" in bad[0].reason


def test_embeddings_have_no_output_and_other_results_are_left_out(tmp_path: Path) -> None:
    embedded = {
        "object": "organization.usage.embeddings.result",
        "input_tokens": 20,
        "num_model_requests": 2,
        "model": "text-embedding-3-small",
    }
    images = {"object": "organization.usage.images.result", "images": 2, "num_model_requests": 1}
    export, [row], bad = read(written(tmp_path, json.dumps(page(embedded, images))))
    assert counts(row) == (20, 0, 0, 0, 0)
    assert row.grouping == "embeddings:model"
    assert not bad
    assert export.reading.left_out == {"images": 1}


def test_pages_come_in_three_forms_and_gzip(tmp_path: Path) -> None:
    pages = [page(completion(project_id=name)) for name in ("a", "b")]
    forms: list[str | bytes] = [
        json.dumps(pages),
        json.dumps(pages, indent=4),
        "\n".join(map(json.dumps, pages)),
        gzip.compress(json.dumps(pages).encode()),
        ("\ufeff" + json.dumps(pages)).encode("utf-16"),
        ("\ufeff" + json.dumps(pages)).encode(),
        json.dumps([bucket for item in pages for bucket in item["data"]]),
    ]
    for form in forms:
        _, rows, bad = read(written(tmp_path, form))
        assert ([row.project for row in rows], bad) == (["a", "b"], []), form[:60]


def test_the_same_bucket_has_the_same_key_whatever_its_counts(tmp_path: Path) -> None:
    def key(**fields: Any) -> bytes:
        _, [row], _ = read(written(tmp_path, json.dumps(page(completion(**fields)))))
        return row.row_key

    assert key() == key(input_tokens=2000)
    assert (
        len({key(), key(project_id="a"), key(model="a"), key(batch=True), key(batch=False, model="a")}) == 4
    )


def test_a_file_that_is_cut_off_says_so_and_keeps_what_came_before(tmp_path: Path) -> None:
    text = json.dumps(page(*(completion(project_id=f"p{n}") for n in range(3))))
    whole = json.dumps([page(completion()), page(completion())])
    for content in (whole[:-150], gzip.compress(whole.encode())[:-20]):
        export, rows, bad = read(written(tmp_path, content))
        assert export.reading.problem == CUT_OFF
        assert len(bad) == 1
        assert 1 <= len(rows) <= 2
    export, rows, bad = read(written(tmp_path, text[:-5]))
    assert export.reading.problem == CUT_OFF


def test_openai_costs_are_dollars_and_line_items_name_model_and_class(tmp_path: Path) -> None:
    cost = {
        "object": "organization.costs.result",
        "amount": {"value": 0.1234567891234, "currency": "usd"},
        "line_item": "gpt-4o-2024-08-06, cached input",
        "project_id": "proj_a",
        "quantity": 12.5,
        "quantity_unit": "1000_tokens",
    }
    export, [row], bad = read(written(tmp_path, json.dumps(page(cost))))
    assert export.format == "openai_costs"
    assert not bad
    assert (row.billed_nanos, row.currency, row.kind) == (123456789, "USD", "cost")
    assert (row.model, row.token_class, row.quantity) == (
        "gpt-4o-2024-08-06",
        "cached_input",
        Decimal("12.5"),
    )
    assert row.requests is None


@pytest.mark.parametrize("amount", [None, 5, {}, {"value": None}, {"value": "NaN"}, {"value": 1e20}])
def test_an_amount_that_is_none_is_bad(tmp_path: Path, amount: Any) -> None:
    text = json.dumps(page({"object": "organization.costs.result", "amount": amount}))
    _, rows, bad = read(written(tmp_path, text))
    assert (len(rows), len(bad)) == (0, 1)


def anthropic(**fields: Any) -> str:
    bucket = {"starting_at": "2025-08-01T00:00:00Z", "ending_at": "2025-08-02T00:00:00Z", "results": [fields]}
    return json.dumps({"data": [bucket], "has_more": False, "next_page": None})


def test_anthropic_usage_has_disjoint_classes_and_writes_for_an_hour_stand_apart(tmp_path: Path) -> None:
    text = anthropic(
        uncached_input_tokens=1500,
        cache_creation={"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
        cache_read_input_tokens=200,
        output_tokens=700,
        server_tool_use={"web_search_requests": 10},
        api_key_id="apikey_1",
        workspace_id="wrkspc_1",
        model="claude-sonnet-4-20250514",
        service_tier="batch",
        context_window="200k-1M",
    )
    export, [row, hour], bad = read(written(tmp_path, text))
    assert export.format == "anthropic_usage"
    assert not bad
    assert counts(row) == (1500, 200, 500, 700, 0)
    assert (row.project, row.key_name, row.batch, row.long_context) == ("wrkspc_1", "apikey_1", True, True)
    assert (row.unpriced, row.requests) == ("", None)
    assert counts(hour) == (0, 0, 1000, 0, 0)
    assert hour.unpriced == "cache writes for an hour"
    assert hour.row_key != row.row_key


@pytest.mark.parametrize(
    ("fields", "unpriced"),
    [
        ({"service_tier": "priority"}, "service tier priority"),
        ({"inference_geo": "us"}, "inference geo us"),
        ({"inference_geo": "not_available", "service_tier": "standard"}, ""),
        ({"speed": "fast"}, "speed fast"),
    ],
)
def test_what_changes_anthropics_price_is_said(tmp_path: Path, fields: dict[str, str], unpriced: str) -> None:
    text = anthropic(uncached_input_tokens=1, output_tokens=1, **fields)
    _, [row], _ = read(written(tmp_path, text))
    assert row.unpriced == unpriced


def test_anthropic_amounts_are_cents(tmp_path: Path) -> None:
    text = anthropic(
        amount="123.456789",
        currency="USD",
        description="Claude Sonnet 4 Usage - Input Tokens",
        model="claude-sonnet-4-20250514",
        token_type="cache_creation.ephemeral_1h_input_tokens",  # no secret
        cost_type="tokens",
        service_tier="standard",
        workspace_id=None,
    )
    export, [row], bad = read(written(tmp_path, text))
    assert export.format == "anthropic_costs"
    assert not bad
    assert (row.billed_nanos, row.currency, row.token_class) == (1_234_567_890, "USD", "cache_write")
    assert row.grouping == "description"


FOCUS: dict[str, str] = {
    "BilledCost": "1.0000000005",
    "EffectiveCost": "0.7",
    "BillingCurrency": "USD",
    "ChargePeriodStart": "2025-03-01 00:00:00",
    "ChargePeriodEnd": "2025-03-02 00:00:00",
    "ConsumedQuantity": "12.5",
    "ConsumedUnit": "1K tokens",
    "ProviderName": "AWS",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Amazon Bedrock",
    "SubAccountId": "123",
    "SubAccountName": "NULL",
    "x_UsageType": "USE1-Claude3.5Sonnet-input-tokens",
    "ChargeDescription": 'a "quoted", one',
}


def focus_csv(*changes: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(FOCUS), quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows({**FOCUS, **change} for change in changes)
    return out.getvalue()


def test_focus_counts_what_is_billed_for_ai_and_leaves_the_rest_out(tmp_path: Path) -> None:
    text = focus_csv({}, {"ServiceCategory": "Compute"}, {"ServiceCategory": "NULL"}, {"BilledCost": "NULL"})
    export, [row], [bad] = read(written(tmp_path, text))
    assert export.format == "focus"
    assert (row.billed_nanos, row.provider, row.project) == (1_000_000_000, "aws", "123")
    assert (row.model, row.token_class) == ("Claude3.5Sonnet", "input")
    assert (row.quantity, row.quantity_unit) == (Decimal("12.5"), "1K tokens")
    assert export.reading.left_out == {"Compute": 1, "no category": 1}
    assert (bad.line, bad.reason) == (5, "BilledCost is missing")


def test_focus_as_parquet_gives_the_rows_of_the_csv(tmp_path: Path) -> None:
    changes = [{}, {"BilledCost": "-0.25"}, {"ServiceCategory": "Storage"}]
    _, from_csv, _ = read(written(tmp_path, focus_csv(*changes)))
    columns = {
        name: [{**FOCUS, **change}[name] for change in changes] for name in FOCUS if name != "SubAccountName"
    }
    table = pa.table(columns)
    for name in ("ChargePeriodStart", "ChargePeriodEnd"):
        at = table.schema.get_field_index(name)
        table = table.set_column(
            at, name, table.column(name).cast(pa.timestamp("ns")).cast(pa.timestamp("us", "UTC"))
        )
    at = table.schema.get_field_index("BilledCost")
    table = table.set_column(at, "BilledCost", table.column("BilledCost").cast(pa.decimal128(20, 10)))
    pq.write_table(table, tmp_path / "focus.parquet")
    export, rows, bad = read(tmp_path / "focus.parquet")
    assert export.format == "focus"
    assert not bad
    assert (
        [row.billed_nanos for row in rows] == [row.billed_nanos for row in from_csv] == [10**9, -250_000_000]
    )
    assert [row.row_key for row in rows] == [row.row_key for row in from_csv]
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "focus.parquet").read_bytes()[:-100])
    with pytest.raises(UnknownFormatError, match="can't be read"):
        open_export(tmp_path / "cut.parquet")


def test_a_charge_is_the_same_before_and_after_its_invoice(tmp_path: Path) -> None:
    def keys(*rows: str) -> list[bytes]:
        head = ",".join((*FOCUS, "InvoiceId", "SkuId"))
        values = ",".join('"' + value.replace('"', '""') + '"' for value in FOCUS.values())
        text = "\n".join((head, *(f"{values},{row}" for row in rows)))
        _, found, bad = read(written(tmp_path, text))
        assert not bad
        return [row.row_key for row in found]

    assert keys(",a", "NULL,b") == keys("INV-7,a", "INV-7,b")
    assert len(set(keys("INV-7,a", "INV-7,b"))) == 2


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("USW2-Claude3Haiku-output-tokens", "output"),
        ("USE1-Claude-cache-read-input-token-count", "cached_input"),
        ("USE1-Claude-cache-write-input-token-count", "cache_write"),
        ("gpt-4o 0806 Inp glbl Tokens", "input"),
        ("gpt-4o 0806 cchd Inp glbl Tokens", "cached_input"),
        ("gpt-4o 0806 Outp glbl Tokens", "output"),
        ("Premium SSD Managed Disks", ""),
        ("Virtual machine input", ""),
    ],
)
def test_token_classes_of_meters(what: str, expected: str) -> None:
    assert token_class(what) == expected


def log_line(**fields: Any) -> dict[str, Any]:
    return {
        "timestamp": "2025-05-01T12:00:00.5Z",
        "request": {
            "model": "gpt-4o",
            "messages": [
                {"role": "system", "content": "You triage\u2028tickets."},
                {"role": "user", "content": "My card is gone"},
            ],
        },
        "response": {
            "id": "chatcmpl-1",
            "model": "gpt-4o-2024-08-06",
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
        },
        **fields,
    }


def test_a_request_log_has_usage_and_the_fingerprint_of_the_fixed_parts(tmp_path: Path) -> None:
    lines = [
        json.dumps(log_line(), ensure_ascii=False),
        "",
        "{broken",
        json.dumps([1]),
        json.dumps(log_line(timestamp=None)),
        json.dumps(log_line(request={"model": "gpt-4o", "messages": "none"})),
    ]
    export, rows, bad = read(written(tmp_path, "\n".join(lines)))
    assert export.format == "request_log"
    row = rows[0]
    assert counts(row) == (70, 30, 0, 15, 5)
    assert (row.model, row.provider, row.requests) == ("gpt-4o-2024-08-06", "openai", 1)
    assert row.start_time == row.end_time == datetime(2025, 5, 1, 12, 0, 0, 500000, tzinfo=UTC)
    assert len(row.fingerprint) == 32
    assert [item.line for item in rows] == [1, 6]
    assert rows[1].fingerprint == ""
    assert [item.line for item in bad] == [3, 4, 5]
    assert "time" in bad[2].reason


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {
                "ts": 1746100800123,
                "model": "gpt-4o",
                "messages": [],
                "usage": {"prompt_tokens": 5, "completion_tokens": 1},
            },
            (5, 0, 0, 1, 0),
        ),
        (
            {
                "custom_id": "a",
                "response": {
                    "body": {
                        "created": 1746100800,
                        "model": "gpt-4o",
                        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
                    }
                },
            },
            (5, 0, 0, 1, 0),
        ),
        (
            {
                "time": "2025-05-01",
                "request": {"model": "claude-sonnet-4-5", "system": "x", "messages": []},
                "response": {
                    "type": "message",
                    "usage": {
                        "input_tokens": 5,
                        "cache_read_input_tokens": 7,
                        "cache_creation_input_tokens": 2,
                        "output_tokens": 3,
                    },
                },
            },
            (5, 7, 2, 3, 0),
        ),
        (
            {
                "created": 1746100800,
                "model": "text-embedding-3-small",
                "input": "x",
                "usage": {"prompt_tokens": 5},
            },
            (5, 0, 0, 0, 0),
        ),
        ({"created": 1746100800, "model": "gpt-4o", "prompt": "x"}, (None, None, None, None, None)),
    ],
)
def test_the_forms_of_a_request_log(tmp_path: Path, line: dict[str, Any], expected: tuple[int, ...]) -> None:
    export, [row], bad = read(written(tmp_path, json.dumps(line)))
    assert export.format == "request_log"
    assert not bad
    assert counts(row) == expected
    assert row.start_time.date().isoformat() == "2025-05-01"
    assert row.batch == ("custom_id" in line)


def test_no_text_of_a_prompt_is_kept_of_a_bad_line(tmp_path: Path) -> None:
    secret = "the customer's secret"
    lines = [
        json.dumps(log_line()),
        json.dumps(log_line(timestamp=None, prompt=secret))[:-1],
        json.dumps(log_line(timestamp=secret * 9)),
        json.dumps(log_line(usage=secret, response={"usage": {"prompt_tokens": secret}})),
        f'"{secret}"',
    ]
    _, rows, bad = read(written(tmp_path, "\n".join(lines)))
    assert len(bad) == 4
    assert secret not in repr((rows, bad))


def test_a_plain_csv_by_its_usual_names(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP;Model Name;prompt_tokens;completion_tokens;cached_tokens;reasoning_tokens;Team;"
        "api_key_alias;batch\n"
        "2025-05-01 10:00:00.1234567;gpt-4o;100;20;30;5;care;k1;true\n"
        "2025-05-01T10:00:01+02:00;claude-sonnet-4-5;100;20;;;care;k1;\n"
    )
    export, rows, bad = read(written(tmp_path, text))
    assert export.format == "plain_csv"
    assert not bad
    assert counts(rows[0]) == (70, 30, 0, 15, 5)
    assert (rows[0].model, rows[0].provider, rows[0].project, rows[0].key_name) == (
        "gpt-4o",
        "openai",
        "care",
        "k1",
    )
    assert (rows[0].batch, rows[1].batch) == (True, False)
    assert rows[0].start_time == datetime(2025, 5, 1, 10, 0, 0, 123456, tzinfo=UTC)
    assert rows[1].start_time == datetime(2025, 5, 1, 8, 0, 1, tzinfo=UTC)
    assert rows[1].provider == "anthropic"
    assert [row.line for row in rows] == [2, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("soon,gpt-4o,1,2", "time is no time"),
        (",gpt-4o,1,2", "time is missing"),
        ("9999-12-31 00:00:00,gpt-4o,1,2", "time is not between"),
        ("2025-05-01,gpt-4o,-1,2", "input tokens is negative"),
        ("2025-05-01,gpt-4o,x,2", "input tokens is no number"),
        ("2025-05-01,gpt-4o,NaN,2", "input tokens is no finite number"),
        ("2025-05-01,gpt-4o,1.5,2", "input tokens is no whole number"),
        ("2025-05-01,gpt-4o,99999999999999999999,2", "input tokens is larger"),
        ("2025-05-01,gpt-4o,,", "token counts are missing"),
        ("2025-05-01,gpt-4o,1", "3 values in a row of 4 columns"),
        ("2025-05-01,gpt-4o,1,2,3", "5 values in a row of 4 columns"),
        (b"2025-05-01,gpt\xff,1,2", "the row is no UTF-8 text"),
    ],
)
def test_a_bad_line_of_a_csv_is_kept_aside(tmp_path: Path, line: str | bytes, reason: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    good = b"2025-05-01 00:00:01,gpt-4o,1,2\n"
    content = b"time,model,input_tokens,output_tokens\n" + good * 2000 + raw + b"\n\n" + good * 1500
    _, rows, [bad] = read(written(tmp_path, content))
    assert len(rows) == 3500
    assert bad.line == 2002
    assert bad.reason.startswith(reason)
    assert rows[-1].line == 3503


def test_values_that_only_one_reader_takes_are_read_alike(tmp_path: Path) -> None:
    head = "time,input_tokens,output_tokens\n"
    plain = "1746100800,10,2\n1746100800000,10,2\n2025-05-01 12:00:00,10,2\n2025-05-01T12:00:00Z,10,2\n"
    odd = "2025-05-01 12:00:00, 10 ,2.0\n2025-05-01 12:00:00 UTC,1e1,2\n"
    _, rows, bad = read(written(tmp_path, head + plain + odd))
    assert not bad
    assert {(row.start_time, row.input_tokens, row.output_tokens) for row in rows} == {
        (datetime(2025, 5, 1, 12, tzinfo=UTC), 10, 2)
    }
    assert len({row.row_key for row in rows}) == 1


def test_a_missing_quote_costs_its_own_stretch_at_most(tmp_path: Path) -> None:
    good = "2025-05-01 00:00:01,gpt-4o,1,2\n"
    text = "time,model,input_tokens,output_tokens\n" + good * 50 + '2025-05-01,"gpt-4o,1,2\n' + good * 50
    _, rows, bad = read(written(tmp_path, text))
    assert len(rows) == 100
    assert len(bad) == 1


def test_line_feeds_in_quoted_values_are_no_line_ends(tmp_path: Path) -> None:
    text = 'time,prompt,input_tokens,output_tokens\n2025-05-01,"a\nb,c ""d""\n",1,2\n2025-05-02,x,3,4\n'
    _, rows, bad = read(written(tmp_path, text))
    assert not bad
    assert [row.input_tokens for row in rows] == [1, 3]


@pytest.mark.parametrize(
    ("name", "form", "rows"),
    [
        ("traces/azure_llm_2023_conv.csv", "plain_csv", 19_366),
        ("traces/azure_llm_2023_code.csv", "plain_csv", 8_819),
        ("usage/focus_1_0_sample.csv", "focus", 9),
        ("usage/openai_costs_example.json", "openai_costs", 1),
        ("usage/openai_usage_completions_example.json", "openai_usage", 1),
    ],
)
def test_the_public_examples_are_read_whole(name: str, form: str, rows: int) -> None:
    export, found, bad = read(DATA / name)
    assert (export.format, len(found), bad, export.reading.problem) == (form, rows, [], "")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "is empty"),
        ("Hello there.", "neither CSV nor JSON"),
        ("a,b,c\n1,2,3\n", "columns a, b, c"),
        ('{"hello": 1, "world": 2}', "JSON with hello, world"),
        (b"\x00\x01\x02\xff" * 100, "neither CSV nor JSON"),
        ('{"error": {"message": "no key"}}', "JSON with error"),
        (json.dumps([log_line()]), "put one on each line"),
        (json.dumps([log_line()], indent=1), "put one on each line"),
    ],
)
def test_an_unknown_format_is_told_with_what_was_found(
    tmp_path: Path, content: str | bytes, found: str
) -> None:
    with pytest.raises(UnknownFormatError, match=found):
        open_export(written(tmp_path, content))


def test_the_name_of_a_file_decides_nothing(tmp_path: Path) -> None:
    assert open_export(written(tmp_path, json.dumps(page(completion())), "x.csv")).format == "openai_usage"
    log = "not json\n" + json.dumps(log_line())
    assert open_export(written(tmp_path, log, "x.parquet")).format == "request_log"
    assert open_export(written(tmp_path, focus_csv({}), "x.json")).format == "focus"


HEADS = [
    b"time,model,input_tokens,output_tokens\n",
    focus_csv().encode(),
    json.dumps(page(completion())).encode()[:-2],
    (json.dumps(log_line()) + "\n").encode(),
    anthropic(uncached_input_tokens=1, output_tokens=2).encode()[:-60],
    b"",
]
CSV_VALUES = st.sampled_from(
    ["2025-05-01", "1", "-1", "nan", "", '"', "NULL", "a\nb", "9" * 30, "\x00", "é", " 5 "]
)
LINES = st.lists(CSV_VALUES, min_size=1, max_size=16).map(lambda values: ",".join(values).encode())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from(HEADS),
    tail=st.one_of(st.binary(max_size=300), st.lists(LINES, max_size=8).map(b"\n".join)),
)
def test_garbage_gives_rows_or_bad_rows_and_never_an_exception(
    tmp_path: Path, head: bytes, tail: bytes
) -> None:
    path = written(tmp_path, head + tail)
    try:
        export = open_export(path)
    except UnknownFormatError:
        return
    for table, bad in export.blocks():
        assert table.num_rows >= 0
        assert all(len(row.excerpt) <= 200 for row in bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_values_in_any_field_give_rows_or_bad_rows(tmp_path: Path, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["openai", "anthropic", "log"]))
    if form == "openai":
        whole: Any = page(completion(model="gpt-4o"))
        record = data.draw(st.sampled_from([whole["data"][0], whole["data"][0]["results"][0]]))
    elif form == "anthropic":
        whole = json.loads(anthropic(uncached_input_tokens=1, output_tokens=2, cache_creation={}))
        record = data.draw(st.sampled_from([whole["data"][0], whole["data"][0]["results"][0]]))
    else:
        whole = log_line()
        record = data.draw(
            st.sampled_from([whole, whole["request"], whole["response"], whole["response"]["usage"]])
        )
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(JSON)
    text = json.dumps(whole).encode()
    try:
        export = open_export(written(tmp_path, text))
    except UnknownFormatError:
        return
    for _ in export.blocks():
        pass


ROWS = st.lists(
    st.tuples(
        st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
        st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "", "mine"]),
        st.none() | st.integers(0, 2**53),
        st.integers(0, 2**53),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_what_is_written_to_a_csv_comes_back(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    lines = [f"{at.isoformat(sep=' ')},{model},{'' if a is None else a},{b}" for at, model, a, b in rows]
    path = written(tmp_path, "time,model,input_tokens,output_tokens\n" + "\n".join(lines))
    _, found, bad = read(path)
    assert not bad
    assert [
        (r.start_time.replace(tzinfo=None), r.model, r.input_tokens, r.output_tokens) for r in found
    ] == rows
