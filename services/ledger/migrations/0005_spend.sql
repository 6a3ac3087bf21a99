-- What analysts read: legs and their corrections summed up by the hour as they come, and views on the sums.
-- A NULL is unknown, which is not zero. Days, hours and months are UTC.

-- A batch that is sent again is recognised here as in homeward.legs, by its token: had a crash come between the
-- two, the sums take the batch and the legs pass over it. That needs a window of its own, and inserts with
-- deduplicate_blocks_in_dependent_materialized_views = 1. On the disk before the ledger lets go, as legs are.
CREATE TABLE IF NOT EXISTS homeward.spend_by_hour
(
    hour                    DateTime('UTC') COMMENT 'in which the router began the leg',
    workload                LowCardinality(String) COMMENT 'empty if the request was not named',
    key_name                LowCardinality(String) COMMENT 'name of the API key',
    purpose                 LowCardinality(String) COMMENT 'production, shadow, noise, judge, probe',
    target                  LowCardinality(String) COMMENT 'cloud or sovereign',
    provider                LowCardinality(String) COMMENT 'whose price list applies',
    pool                    LowCardinality(String) COMMENT 'the GPU pool whose hours were used, empty in the cloud',
    upstream                LowCardinality(String) COMMENT 'name of the server in the settings',
    region                  LowCardinality(String) COMMENT 'where the upstream runs, empty if not said',
    model                   LowCardinality(String) COMMENT 'what served',
    legs                    UInt64,
    ok_legs                 UInt64 COMMENT 'by how they ended: answered',
    rejected_legs           UInt64 COMMENT 'not billed',
    unreachable_legs        UInt64 COMMENT 'not billed',
    timeout_legs            UInt64,
    broken_legs             UInt64,
    cancelled_legs          UInt64,
    unknown_legs            Int64 COMMENT 'legs whose cost is not known; each is missing in cost_nanos',
    uncounted_legs          UInt64 COMMENT 'of the legs with unknown cost when they were booked: those whose tokens nobody counted',
    input_tokens            UInt64 COMMENT 'neither read from nor written to a cache; of legs that said so, as in each class',
    cached_input_tokens     UInt64 COMMENT 'read from the provider''s cache',
    cache_write_tokens      UInt64 COMMENT 'written to the provider''s cache',
    output_tokens           UInt64 COMMENT 'visible; reasoning is apart',
    reasoning_tokens        UInt64,
    cost_nanos              Int64 COMMENT 'nano-dollars, of the legs whose cost is known',
    input_cost_nanos        Int64 COMMENT 'nano-dollars; the six parts add up to cost_nanos, but for legs of before there were parts',
    cached_input_cost_nanos Int64,
    cache_write_cost_nanos  Int64,
    output_cost_nanos       Int64,
    reasoning_cost_nanos    Int64,
    request_cost_nanos      Int64 COMMENT 'prices of the calls themselves',
    corrections             UInt64 COMMENT 'rows of homeward.corrections that are in it',
    corrected_nanos         Int64 COMMENT 'what of cost_nanos came by corrections: pools'' periods and repricing'
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(hour)
PRIMARY KEY (workload, hour)
ORDER BY (workload, hour, key_name, purpose, target, provider, pool, upstream, region, model)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Legs and corrections by the hour. Rows of the same hour are added up now and then: always read sums';

-- DDSketch (Masson, Rim, Lee, "DDSketch", VLDB 2019): a percentile is within 1 % of the exact one, however the
-- states were merged, which a t-digest can't promise.
CREATE TABLE IF NOT EXISTS homeward.latency_by_hour
(
    hour       DateTime('UTC') COMMENT 'in which the router began the leg',
    workload   LowCardinality(String) COMMENT 'empty if the request was not named',
    purpose    LowCardinality(String) COMMENT 'production, shadow, noise, judge, probe',
    target     LowCardinality(String) COMMENT 'cloud or sovereign',
    upstream   LowCardinality(String) COMMENT 'name of the server in the settings',
    model      LowCardinality(String) COMMENT 'what served',
    latency_us AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), UInt64) COMMENT 'microseconds to the end of the answer; read with quantilesDDMerge(0.01, 0.5, 0.95, 0.99)',
    ttft_us    AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Nullable(UInt64)) COMMENT 'microseconds to its first byte, likewise',
    legs       SimpleAggregateFunction(sum, UInt64) COMMENT 'answered legs: the only ones whose latency is here'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (workload, hour, purpose, target, upstream, model)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'How long answers took, as states that can be merged over hours, workloads or models';

-- Legs of before there was a journal's entry for each have entry_id 0. No ledger that knows these tables writes
-- such a leg, so they are taken over here, and the views below take all others: no leg is in both, even while
-- another ledger books. Run again, as after a crash in the middle, the token and the fixed order make it change
-- nothing. Corrections are younger than their view: each passes through it.
INSERT INTO homeward.spend_by_hour
SELECT
    toStartOfHour(start_time) AS hour, workload, key_name, purpose, target, provider, pool, upstream, region, model,
    count() AS legs,
    countIf(outcome = 'ok') AS ok_legs,
    countIf(outcome = 'rejected') AS rejected_legs,
    countIf(outcome = 'unreachable') AS unreachable_legs,
    countIf(outcome = 'timeout') AS timeout_legs,
    countIf(outcome = 'broken') AS broken_legs,
    countIf(outcome = 'cancelled') AS cancelled_legs,
    toInt64(countIf(isNull(legs.cost_nanos))) AS unknown_legs,
    countIf(isNull(legs.cost_nanos) AND isNull(legs.input_tokens + legs.cached_input_tokens
        + legs.cache_write_tokens + legs.output_tokens + legs.reasoning_tokens)) AS uncounted_legs,
    sum(ifNull(legs.input_tokens, 0)) AS input_tokens,
    sum(ifNull(legs.cached_input_tokens, 0)) AS cached_input_tokens,
    sum(ifNull(legs.cache_write_tokens, 0)) AS cache_write_tokens,
    sum(ifNull(legs.output_tokens, 0)) AS output_tokens,
    sum(ifNull(legs.reasoning_tokens, 0)) AS reasoning_tokens,
    sum(ifNull(legs.cost_nanos, 0)) AS cost_nanos,
    sum(ifNull(legs.input_cost_nanos, 0)) AS input_cost_nanos,
    sum(ifNull(legs.cached_input_cost_nanos, 0)) AS cached_input_cost_nanos,
    sum(ifNull(legs.cache_write_cost_nanos, 0)) AS cache_write_cost_nanos,
    sum(ifNull(legs.output_cost_nanos, 0)) AS output_cost_nanos,
    sum(ifNull(legs.reasoning_cost_nanos, 0)) AS reasoning_cost_nanos,
    sum(ifNull(legs.request_cost_nanos, 0)) AS request_cost_nanos,
    toUInt64(0) AS corrections,
    toInt64(0) AS corrected_nanos
FROM homeward.legs AS legs
WHERE entry_id = 0
GROUP BY hour, workload, key_name, purpose, target, provider, pool, upstream, region, model
ORDER BY ALL
SETTINGS insert_deduplication_token = '0005_spend';

INSERT INTO homeward.latency_by_hour
SELECT
    toStartOfHour(start_time) AS hour, workload, purpose, target, upstream, model,
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(legs.latency_us) AS latency_us,
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(legs.ttft_us) AS ttft_us,
    count() AS legs
FROM homeward.legs AS legs
WHERE entry_id = 0 AND outcome = 'ok'
GROUP BY hour, workload, purpose, target, upstream, model
ORDER BY hour, workload, purpose, target, upstream, model
SETTINGS insert_deduplication_token = '0005_spend';

CREATE MATERIALIZED VIEW IF NOT EXISTS homeward.spend_by_hour_of_legs TO homeward.spend_by_hour AS
SELECT
    toStartOfHour(start_time) AS hour, workload, key_name, purpose, target, provider, pool, upstream, region, model,
    count() AS legs,
    countIf(outcome = 'ok') AS ok_legs,
    countIf(outcome = 'rejected') AS rejected_legs,
    countIf(outcome = 'unreachable') AS unreachable_legs,
    countIf(outcome = 'timeout') AS timeout_legs,
    countIf(outcome = 'broken') AS broken_legs,
    countIf(outcome = 'cancelled') AS cancelled_legs,
    toInt64(countIf(isNull(legs.cost_nanos))) AS unknown_legs,
    countIf(isNull(legs.cost_nanos) AND isNull(legs.input_tokens + legs.cached_input_tokens
        + legs.cache_write_tokens + legs.output_tokens + legs.reasoning_tokens)) AS uncounted_legs,
    sum(ifNull(legs.input_tokens, 0)) AS input_tokens,
    sum(ifNull(legs.cached_input_tokens, 0)) AS cached_input_tokens,
    sum(ifNull(legs.cache_write_tokens, 0)) AS cache_write_tokens,
    sum(ifNull(legs.output_tokens, 0)) AS output_tokens,
    sum(ifNull(legs.reasoning_tokens, 0)) AS reasoning_tokens,
    sum(ifNull(legs.cost_nanos, 0)) AS cost_nanos,
    sum(ifNull(legs.input_cost_nanos, 0)) AS input_cost_nanos,
    sum(ifNull(legs.cached_input_cost_nanos, 0)) AS cached_input_cost_nanos,
    sum(ifNull(legs.cache_write_cost_nanos, 0)) AS cache_write_cost_nanos,
    sum(ifNull(legs.output_cost_nanos, 0)) AS output_cost_nanos,
    sum(ifNull(legs.reasoning_cost_nanos, 0)) AS reasoning_cost_nanos,
    sum(ifNull(legs.request_cost_nanos, 0)) AS request_cost_nanos
FROM homeward.legs AS legs
WHERE entry_id > 0
GROUP BY hour, workload, key_name, purpose, target, provider, pool, upstream, region, model;

CREATE MATERIALIZED VIEW IF NOT EXISTS homeward.spend_by_hour_of_corrections TO homeward.spend_by_hour AS
SELECT
    toStartOfHour(start_time) AS hour, workload, key_name, purpose, target, provider, pool, upstream, region, model,
    -toInt64(countIf(found)) AS unknown_legs,
    sum(corrections.cost_nanos) AS cost_nanos,
    sum(corrections.input_cost_nanos) AS input_cost_nanos,
    sum(corrections.cached_input_cost_nanos) AS cached_input_cost_nanos,
    sum(corrections.cache_write_cost_nanos) AS cache_write_cost_nanos,
    sum(corrections.output_cost_nanos) AS output_cost_nanos,
    sum(corrections.reasoning_cost_nanos) AS reasoning_cost_nanos,
    sum(corrections.request_cost_nanos) AS request_cost_nanos,
    count() AS corrections,
    sum(corrections.cost_nanos) AS corrected_nanos
FROM homeward.corrections AS corrections
GROUP BY hour, workload, key_name, purpose, target, provider, pool, upstream, region, model;

CREATE MATERIALIZED VIEW IF NOT EXISTS homeward.latency_by_hour_of_legs TO homeward.latency_by_hour AS
SELECT
    toStartOfHour(start_time) AS hour, workload, purpose, target, upstream, model,
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(legs.latency_us) AS latency_us,
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(legs.ttft_us) AS ttft_us,
    count() AS legs
FROM homeward.legs AS legs
WHERE entry_id > 0 AND outcome = 'ok'
GROUP BY hour, workload, purpose, target, upstream, model;

-- A sum of which nothing is known is unknown itself: NULL, and not zero.
CREATE OR REPLACE VIEW homeward.spend_daily AS
SELECT
    toDate(hour) AS day, workload, key_name, purpose, target, provider, pool, upstream, region, model,
    sum(spend.legs) AS legs,
    sum(spend.ok_legs) AS ok_legs,
    sum(spend.unknown_legs) AS unknown_legs,
    sum(spend.input_tokens) AS input_tokens,
    sum(spend.cached_input_tokens) AS cached_input_tokens,
    sum(spend.cache_write_tokens) AS cache_write_tokens,
    sum(spend.output_tokens) AS output_tokens,
    sum(spend.reasoning_tokens) AS reasoning_tokens,
    if(unknown_legs = legs, NULL, sum(spend.cost_nanos)) AS cost_nanos,
    toDecimal128(cost_nanos, 9) / 1000000000 AS cost_usd,
    sum(spend.corrections) AS corrections,
    sum(spend.corrected_nanos) AS corrected_nanos
FROM homeward.spend_by_hour AS spend
GROUP BY day, workload, key_name, purpose, target, provider, pool, upstream, region, model
COMMENT 'What legs cost, by day and all that tells them apart. cost_nanos and cost_usd: of the legs whose cost is known, NULL if of none; unknown_legs are those that are missing in it; corrected_nanos is in it. Tokens: of legs that said so, in disjoint classes';

CREATE OR REPLACE VIEW homeward.spend_by_workload AS
SELECT
    toStartOfMonth(hour) AS month, workload,
    sumIf(spend.ok_legs, purpose = 'production') AS requests,
    sum(spend.legs) AS legs,
    sum(spend.unknown_legs) AS unknown_legs,
    if(unknown_legs = legs, NULL, sum(spend.cost_nanos)) AS cost_nanos,
    toDecimal128(cost_nanos, 9) / 1000000000 AS cost_usd,
    toDecimal128(sumIf(spend.cost_nanos, purpose = 'production'), 9) / 1000000000 AS production_usd,
    toDecimal128(sumIf(spend.cost_nanos, purpose != 'production'), 9) / 1000000000 AS experiment_usd,
    cost_nanos / nullIf(sum(cost_nanos) OVER (PARTITION BY month), 0) AS share
FROM homeward.spend_by_hour AS spend
GROUP BY month, workload
COMMENT 'What a workload costs in a month (empty: unnamed requests). requests: answered production legs; cost_usd: production_usd, and experiment_usd of shadow, noise, judge and probe legs; NULL if of no leg the cost is known; unknown_legs are those that are missing in it; share: of the month''s known cost';

-- A pool's idle hours belong to nobody. Here they are spread over who used the pool in the month, by what each
-- paid, since only with them is the price at home the whole price.
CREATE OR REPLACE VIEW homeward.sovereign_vs_cloud AS
WITH
    spend AS (
        SELECT
            toStartOfMonth(hour) AS month, workload, purpose, target, pool,
            sum(ok_legs) AS requests,
            sum(legs) AS all_legs,
            sum(unknown_legs) AS unknown,
            sum(input_tokens + cached_input_tokens + cache_write_tokens + output_tokens + reasoning_tokens) AS all_tokens,
            sum(cost_nanos) AS cost,
            sum(cost) OVER (PARTITION BY month, pool) AS pool_cost
        FROM homeward.spend_by_hour
        GROUP BY month, workload, purpose, target, pool
    ),
    idle AS (
        SELECT toStartOfMonth(period_start) AS month, pool, sum(idle_nanos) AS nanos
        FROM homeward.pool_periods FINAL
        GROUP BY month, pool
    )
SELECT
    spend.month AS month, workload, purpose, target,
    sum(spend.requests) AS requests,
    sum(all_legs) AS legs,
    sum(unknown) AS unknown_legs,
    sum(all_tokens) AS tokens,
    if(unknown_legs = legs, NULL, sum(cost)) AS cost_nanos,
    toDecimal128(cost_nanos, 9) / 1000000000 AS cost_usd,
    sum(if(pool_cost = 0, 0, toInt64(intDiv(toInt256(idle.nanos) * cost, pool_cost)))) AS idle_nanos,
    toDecimal128(idle_nanos, 9) / 1000000000 AS idle_usd,
    cost_usd * legs / nullIf(legs - unknown_legs, 0) AS whole_usd,
    whole_usd * 1000 / nullIf(requests, 0) AS usd_per_1000_requests,
    whole_usd * 1000000 / nullIf(tokens, 0) AS usd_per_mtok,
    (whole_usd + idle_usd) * 1000 / nullIf(requests, 0) AS usd_per_1000_requests_with_idle,
    (whole_usd + idle_usd) * 1000000 / nullIf(tokens, 0) AS usd_per_mtok_with_idle
FROM spend LEFT JOIN idle ON spend.month = idle.month AND spend.pool = idle.pool
GROUP BY month, workload, purpose, target
COMMENT 'What the same work costs in the cloud and at home, by month. requests: answered legs; cost_usd: without unknown_legs; whole_usd: as if those had cost what the others do, and what the four prices rest on; idle_usd: its part of the idle hours of the pools that it used, by cost, in no other column but those with idle';

CREATE OR REPLACE VIEW homeward.latency_percentiles AS
WITH
    quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(latency.latency_us) AS latency_of,
    quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(latency.ttft_us) AS ttft_of
SELECT
    toDate(hour) AS day, workload, purpose, target,
    sum(latency.legs) AS legs,
    latency_of[1] / 1000 AS latency_p50_ms,
    latency_of[2] / 1000 AS latency_p95_ms,
    latency_of[3] / 1000 AS latency_p99_ms,
    if(isNaN(ttft_of[1]), NULL, ttft_of[1] / 1000) AS ttft_p50_ms,
    if(isNaN(ttft_of[2]), NULL, ttft_of[2] / 1000) AS ttft_p95_ms,
    if(isNaN(ttft_of[3]), NULL, ttft_of[3] / 1000) AS ttft_p99_ms
FROM homeward.latency_by_hour AS latency
GROUP BY day, workload, purpose, target
COMMENT 'How long answers took, in milliseconds, within 1 % of the exact percentile. Answered legs only; ttft: to the first byte of the answer, NULL if nobody measured it. Percentiles of several rows can''t be averaged: merge the states of homeward.latency_by_hour';

-- A sample counts on the day of its first leg, even if others of it begin after midnight.
CREATE OR REPLACE VIEW homeward.funnel AS
SELECT
    day, workload,
    sum(eligible_of) AS eligible,
    sum(sampled_of) AS sampled,
    sum(sent_of) AS sent,
    sum(answered_of) AS answered
FROM
(
    SELECT toDate(hour) AS day, workload, sum(ok_legs) AS eligible_of, 0 AS sampled_of, 0 AS sent_of, 0 AS answered_of
    FROM homeward.spend_by_hour
    WHERE purpose = 'production'
    GROUP BY day, workload
    UNION ALL
    SELECT day, workload, 0, count(), countIf(reached), countIf(ended)
    FROM
    (
        SELECT
            sample_id,
            toDate(min(start_time)) AS day,
            argMin(legs.workload, start_time) AS workload,
            max(purpose = 'shadow' AND outcome != 'unreachable') AS reached,
            max(purpose = 'shadow' AND outcome = 'ok') AS ended
        FROM homeward.legs AS legs
        WHERE sample_id != ''
        GROUP BY sample_id
    )
    GROUP BY day, workload
)
GROUP BY day, workload
COMMENT 'How many answered production requests (eligible) were sampled, of how many samples a shadow leg reached a model (sent), and of how many it ended well (answered). A sample counts on the day of its first leg';

CREATE OR REPLACE VIEW homeward.unknown_costs AS
SELECT
    toDate(hour) AS day, workload, purpose, target, provider, upstream, pool, model,
    sum(spend.legs) AS legs,
    sum(spend.unknown_legs) AS unknown_legs,
    least(unknown_legs, toInt64(sum(spend.uncounted_legs))) AS uncounted_legs,
    if(pool = '', unknown_legs - uncounted_legs, 0) AS unpriced_legs,
    if(pool = '', 0, unknown_legs - uncounted_legs) AS open_legs
FROM homeward.spend_by_hour AS spend
GROUP BY day, workload, purpose, target, provider, upstream, pool, model
HAVING unknown_legs > 0
COMMENT 'Legs whose cost nobody knows, and why: uncounted_legs: nobody counted their tokens; unpriced_legs: no price is known for the model; open_legs: their pool''s period is not closed yet';

CREATE OR REPLACE VIEW homeward.idle_by_day AS
SELECT
    toDate(period_start) AS day, pool,
    sum(periods.period_s) / 3600 AS pool_hours,
    sum(periods.busy_us) / 1e6 / sum(periods.period_s) AS utilisation,
    sum(periods.leg_count) AS legs,
    sum(periods.unknown_count) AS uncounted_legs,
    sum(periods.cost_nanos) AS cost_nanos,
    sum(periods.leg_cost_nanos) AS leg_cost_nanos,
    sum(periods.idle_nanos) AS idle_nanos,
    toDecimal128(cost_nanos, 9) / 1000000000 AS cost_usd,
    toDecimal128(leg_cost_nanos, 9) / 1000000000 AS leg_cost_usd,
    toDecimal128(idle_nanos, 9) / 1000000000 AS idle_usd
FROM homeward.pool_periods AS periods FINAL
GROUP BY day, pool
COMMENT 'What a GPU pool cost in its closed periods: leg_cost_usd for legs, idle_usd for the time in which nothing was served. utilisation: share of the time with at least one leg under way; uncounted_legs bear nothing, since nobody counted their tokens';
