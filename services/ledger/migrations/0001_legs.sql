-- Every leg is one row. A column that is NULL is unknown, which is not zero.

CREATE DATABASE IF NOT EXISTS homeward;

CREATE TABLE IF NOT EXISTS homeward.legs
(
    leg_id              UUID COMMENT 'UUIDv7; each leg is here once',
    request_id          UUID COMMENT 'UUIDv7 of the request that the leg served',
    trace_id            String COMMENT 'W3C trace id, 32 hexadecimal digits: otel.otel_traces.TraceId',
    span_id             String COMMENT 'W3C id of the leg''s own span, 16 hexadecimal digits',
    start_time          DateTime64(6, 'UTC') COMMENT 'when the router began the leg',
    workload            LowCardinality(String) COMMENT 'empty if the request was not named',
    evidence            LowCardinality(String) COMMENT 'what named it: declared, fingerprint, examples, task_type, abstained',
    task_type           LowCardinality(String) COMMENT 'empty if unknown',
    key_name            LowCardinality(String) COMMENT 'name of the API key',
    purpose             LowCardinality(String) COMMENT 'production, shadow, noise, judge, probe',
    target              LowCardinality(String) COMMENT 'cloud or sovereign',
    upstream            LowCardinality(String) COMMENT 'name of the server in the settings',
    provider            LowCardinality(String) COMMENT 'whose price list applies',
    region              LowCardinality(String) COMMENT 'where the upstream runs, empty if not said',
    model_requested     LowCardinality(String) COMMENT 'what the application asked for',
    model               LowCardinality(String) COMMENT 'what served',
    api                 LowCardinality(String) COMMENT 'chat.completions, completions, embeddings, responses, messages',
    streamed            Bool,
    input_tokens        Nullable(UInt64) COMMENT 'neither read from nor written to a cache',
    cached_input_tokens Nullable(UInt64) COMMENT 'read from the provider''s cache',
    cache_write_tokens  Nullable(UInt64) COMMENT 'written to the provider''s cache',
    output_tokens       Nullable(UInt64) COMMENT 'visible; reasoning is apart',
    reasoning_tokens    Nullable(UInt64),
    usage_source        LowCardinality(String) COMMENT 'upstream, tokenizer, estimated, unknown',
    cost_nanos          Nullable(Int64) COMMENT 'nano-dollars; NULL is unknown',
    price_source        LowCardinality(String) COMMENT 'settings, genai-prices, not_billed, unknown',
    price_version       LowCardinality(String) COMMENT 'edition of the price list, or effective date',
    latency_us          UInt64 COMMENT 'microseconds from the router''s call to the end of the answer',
    ttft_us             Nullable(UInt64) COMMENT 'microseconds to the first byte of the answer',
    outcome             LowCardinality(String) COMMENT 'ok, rejected, unreachable, timeout, broken, cancelled',
    http_status         UInt16 COMMENT '0 if the server gave none',
    error_reason        LowCardinality(String) COMMENT 'a name of ErrorReason, empty if it did not fail',
    attempts            UInt16,
    policy_version      UInt64,
    sample_id           String COMMENT '32 hexadecimal digits, empty outside an experiment',
    batch               String COMMENT 'the sealed batch in which the ledger sent it'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (workload, start_time, leg_id)
SETTINGS
    -- A batch that is sent again after a crash is recognised by its token: ten thousand batches back.
    non_replicated_deduplication_window = 10000;
