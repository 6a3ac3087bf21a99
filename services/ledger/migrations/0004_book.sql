-- What ties a leg's row to the journal, its cost by token class, and the rows of correction entries.
-- A NULL is unknown, which is not zero.

ALTER TABLE homeward.legs
    ADD COLUMN IF NOT EXISTS entry_id UInt64 COMMENT 'the journal''s entry that booked it; 0 before there were entries',
    ADD COLUMN IF NOT EXISTS pool LowCardinality(String) COMMENT 'the GPU pool whose hours it used, empty in the cloud',
    ADD COLUMN IF NOT EXISTS input_cost_nanos Nullable(Int64) COMMENT 'nano-dollars; the six parts add up to cost_nanos',
    ADD COLUMN IF NOT EXISTS cached_input_cost_nanos Nullable(Int64),
    ADD COLUMN IF NOT EXISTS cache_write_cost_nanos Nullable(Int64),
    ADD COLUMN IF NOT EXISTS output_cost_nanos Nullable(Int64),
    ADD COLUMN IF NOT EXISTS reasoning_cost_nanos Nullable(Int64),
    ADD COLUMN IF NOT EXISTS request_cost_nanos Nullable(Int64) COMMENT 'a price of the call itself';

-- Verification reads the rows of a range of entries.
ALTER TABLE homeward.legs ADD INDEX IF NOT EXISTS by_entry entry_id TYPE minmax;

-- The ledger lets rows go once they are inserted, so then they must be on the disk. A batch of 20,000 takes as
-- long with it as without (55 ms).
ALTER TABLE homeward.legs MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS homeward.corrections
(
    leg_id                  UUID COMMENT 'as in homeward.legs',
    start_time              DateTime64(6, 'UTC') COMMENT 'when the router began the leg',
    workload                LowCardinality(String),
    key_name                LowCardinality(String),
    purpose                 LowCardinality(String),
    target                  LowCardinality(String),
    upstream                LowCardinality(String),
    provider                LowCardinality(String),
    region                  LowCardinality(String),
    pool                    LowCardinality(String),
    model                   LowCardinality(String),
    cost_nanos              Int64 COMMENT 'nano-dollars by which the leg costs more than booked before; all of it if that was unknown',
    input_cost_nanos        Int64,
    cached_input_cost_nanos Int64,
    cache_write_cost_nanos  Int64,
    output_cost_nanos       Int64,
    reasoning_cost_nanos    Int64,
    request_cost_nanos      Int64,
    found                   Bool COMMENT 'the cost was unknown until now',
    price_source            LowCardinality(String) COMMENT 'settings, genai-prices, pool',
    price_version           LowCardinality(String) COMMENT 'edition of the price list, effective date, or the pool''s period',
    correct_time            DateTime64(6, 'UTC') COMMENT 'when it was booked',
    entry_id                UInt64 COMMENT 'the journal''s entry that booked it',
    batch                   String COMMENT 'names the entry',
    INDEX by_entry entry_id TYPE minmax
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(start_time)
ORDER BY (workload, start_time, leg_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What correction entries change about the cost of legs. A leg''s cost is its own and those of all its corrections';

CREATE TABLE IF NOT EXISTS homeward.pool_periods
(
    pool           LowCardinality(String),
    period_start   DateTime('UTC'),
    period_s       UInt32 COMMENT 'seconds',
    cost_nanos     Int64 COMMENT 'what the pool cost in the period: leg_cost_nanos and idle_nanos',
    leg_cost_nanos Int64 COMMENT 'spread over the legs that began in it',
    idle_nanos     Int64 COMMENT 'of the time in which nothing was served',
    busy_us        UInt64 COMMENT 'microseconds with at least one leg under way',
    leg_count      UInt64,
    unknown_count  UInt64 COMMENT 'legs whose tokens nobody knows: they bear nothing',
    input_tokens   UInt64 COMMENT 'of all input classes',
    output_tokens  UInt64 COMMENT 'reasoning included',
    input_nanos_per_mtok  Int64 COMMENT 'nano-dollars per million tokens at the measured utilisation',
    output_nanos_per_mtok Int64,
    entry_id       UInt64 COMMENT 'the journal''s entry; a later one replaces it'
)
ENGINE = ReplacingMergeTree(entry_id)
ORDER BY (pool, period_start)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What a GPU pool cost, and who bore it; read it with FINAL';

CREATE OR REPLACE VIEW homeward.leg_costs AS
SELECT
    legs.* EXCEPT (cost_nanos, input_cost_nanos, cached_input_cost_nanos, cache_write_cost_nanos, output_cost_nanos,
        reasoning_cost_nanos, request_cost_nanos, price_source, price_version),
    if(isNull(legs.cost_nanos) AND NOT changed.was_found, NULL, ifNull(legs.cost_nanos, 0) + changed.difference_nanos)
        AS cost_nanos,
    if(changed.last_entry_id = 0, legs.price_source, changed.last_source) AS price_source,
    if(changed.last_entry_id = 0, legs.price_version, changed.last_version) AS price_version,
    changed.last_entry_id AS correction_entry_id
FROM homeward.legs AS legs
LEFT JOIN
(
    SELECT
        leg_id,
        sum(cost_nanos) AS difference_nanos,
        max(found) AS was_found,
        argMax(price_source, entry_id) AS last_source,
        argMax(price_version, entry_id) AS last_version,
        max(entry_id) AS last_entry_id
    FROM homeward.corrections
    GROUP BY leg_id
) AS changed ON legs.leg_id = changed.leg_id
COMMENT 'Legs at the cost that the book has now: as booked first, and corrected since. correction_entry_id: 0 if it never was';
