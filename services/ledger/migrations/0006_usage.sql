-- What was imported of providers' exports and logs: `homeward inventory import`. A NULL is unknown, which is
-- not zero. The same fact imported again has the same row_key and replaces itself: read with FINAL.

CREATE TABLE IF NOT EXISTS homeward.usage
(
    source              LowCardinality(String) COMMENT 'format of the export: openai_usage, openai_costs, anthropic_usage, anthropic_costs, focus, request_log, plain_csv',
    kind                LowCardinality(String) COMMENT 'usage: tokens that were used; cost: money that was billed',
    start_time          DateTime64(6, 'UTC'),
    end_time            DateTime64(6, 'UTC') COMMENT 'of a bucket; the start for a single request',
    row_key             UUID COMMENT 'digest of the natural key',
    provider            LowCardinality(String) COMMENT 'empty, as the texts below, if the export does not say',
    model               LowCardinality(String),
    project             LowCardinality(String),
    key_name            LowCardinality(String),
    user                LowCardinality(String),
    service_tier        LowCardinality(String),
    batch               Bool,
    requests            Nullable(UInt64),
    input_tokens        Nullable(UInt64) COMMENT 'neither read from nor written to a cache',
    cached_input_tokens Nullable(UInt64) COMMENT 'read from the provider''s cache',
    cache_write_tokens  Nullable(UInt64) COMMENT 'written to the provider''s cache',
    output_tokens       Nullable(UInt64) COMMENT 'without reasoning, if the export tells it apart; else with it',
    reasoning_tokens    Nullable(UInt64),
    billed_nanos        Nullable(Int64) COMMENT 'nano-units of the currency; of rows of cost',
    currency            LowCardinality(String) COMMENT 'ISO 4217',
    line_item           LowCardinality(String),
    token_class         LowCardinality(String) COMMENT 'of rows of cost: input, cached_input, cache_write, output',
    quantity            Nullable(Decimal(38, 15)),
    quantity_unit       LowCardinality(String),
    fingerprint         LowCardinality(String) COMMENT 'hexadecimal digest of a request''s fixed parts',
    grouping            LowCardinality(String) COMMENT 'by which dimensions a bucket is split; empty for single requests',
    workload            LowCardinality(String) COMMENT 'named at import, or empty',
    task_type           LowCardinality(String) COMMENT 'empty if unknown',
    evidence            LowCardinality(String) COMMENT 'what named it, as in homeward.legs; empty if nothing was asked',
    cost_nanos          Nullable(Int64) COMMENT 'nano-dollars: list price of the tokens; of rows of usage',
    input_cost_nanos        Nullable(Int64) COMMENT 'the six parts add up to cost_nanos',
    cached_input_cost_nanos Nullable(Int64),
    cache_write_cost_nanos  Nullable(Int64),
    output_cost_nanos       Nullable(Int64),
    reasoning_cost_nanos    Nullable(Int64),
    request_cost_nanos      Nullable(Int64),
    price_source        LowCardinality(String) COMMENT 'settings, genai-prices, unknown; empty for rows of cost',
    price_version       LowCardinality(String) COMMENT 'edition of the price list; ends in "base tier" if long requests of the bucket may have cost more',
    unpriced            LowCardinality(String) COMMENT 'why the price is unknown',
    file_sha256         LowCardinality(String) COMMENT 'the file, as in homeward.imports',
    line                UInt64 COMMENT 'of the file, or the ordinal of the record',
    import_time         DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(import_time)
PARTITION BY toYYYYMM(start_time)
-- Only what row_key determines: a row that is imported again must fall on the same place.
ORDER BY (source, start_time, row_key)
COMMENT 'Imported usage and costs; read it with FINAL';

CREATE TABLE IF NOT EXISTS homeward.imports
(
    file_sha256 String COMMENT 'of the file as it is, compressed or not; hexadecimal',
    name        String COMMENT 'of the file when it was imported last',
    format      LowCardinality(String),
    grouping    LowCardinality(String) COMMENT 'by which dimensions its buckets are split',
    options     String COMMENT 'JSON of what the command was told of it: provider, model, project',
    rows        UInt64 COMMENT 'imported',
    bad_rows    UInt64 COMMENT 'in homeward.import_rejects',
    left_out    UInt64 COMMENT 'rows that are no LLM spend',
    first_time  Nullable(DateTime64(6, 'UTC')),
    last_time   Nullable(DateTime64(6, 'UTC')),
    problem     String COMMENT 'why it is not whole, such as a cut-off end; empty if it is',
    import_time DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(import_time)
ORDER BY file_sha256
COMMENT 'Files that were imported to the end; read it with FINAL';

CREATE TABLE IF NOT EXISTS homeward.import_rejects
(
    file_sha256 String,
    line        UInt64 COMMENT 'of the file, or the ordinal of the record',
    reason      String,
    excerpt     String COMMENT 'what stands there, never the text of a prompt',
    import_time DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(import_time)
ORDER BY (file_sha256, line, reason)
COMMENT 'Rows that could not be imported, and why; read it with FINAL';

CREATE OR REPLACE VIEW homeward.usage_by_group AS
SELECT
    toStartOfMonth(facts.start_time, 'UTC') AS month,
    source,
    kind,
    provider,
    project,
    key_name,
    user,
    model,
    fingerprint,
    currency,
    any(facts.workload) AS workload,
    any(facts.task_type) AS task_type,
    any(facts.evidence) AS evidence,
    count() AS rows,
    sum(facts.requests) AS requests,
    countIf(isNull(facts.requests)) AS rows_of_unknown_requests,
    sum(facts.input_tokens) AS input_tokens,
    sum(facts.cached_input_tokens) AS cached_input_tokens,
    sum(facts.cache_write_tokens) AS cache_write_tokens,
    sum(facts.output_tokens) AS output_tokens,
    sum(facts.reasoning_tokens) AS reasoning_tokens,
    sum(facts.cost_nanos) AS cost_nanos,
    countIf(facts.kind = 'usage' AND isNull(facts.cost_nanos)) AS rows_of_unknown_price,
    sum(facts.billed_nanos) AS billed_nanos,
    min(facts.start_time) AS first_time,
    max(facts.end_time) AS last_time
FROM homeward.usage AS facts FINAL
GROUP BY month, source, kind, provider, project, key_name, user, model, fingerprint, currency
COMMENT 'Imported usage by month and group. Sums leave out what is unknown, and say in how many rows';
