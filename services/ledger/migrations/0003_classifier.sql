-- What the classifier observes of requests, and the views that tell whether traffic still is what it was.
-- A NULL is unknown, which is not zero. Days are UTC.

CREATE DATABASE IF NOT EXISTS homeward;

CREATE TABLE IF NOT EXISTS homeward.observations
(
    observe_time         DateTime64(3, 'UTC') COMMENT 'when the classifier read the request',
    request_id           UUID COMMENT 'as in homeward.legs; all zeros if there was none',
    workload             LowCardinality(String) COMMENT 'empty if the request was not named',
    workload_version     UInt32 COMMENT 'version of the workload that it was compared with; 0 without one',
    evidence             LowCardinality(String) COMMENT 'what named it: declared, fingerprint, examples, task_type, abstained',
    confidence           Float64 COMMENT 'probability that the name is right; without a name, that the task type is',
    task_type            LowCardinality(String) COMMENT 'empty if unknown; read from the text unless the evidence is examples, which give the registered one',
    task_type_confidence Float64 COMMENT 'probability that the task type is right; 0 without one',
    likeness             Nullable(Float64) COMMENT '0 to 1: share of the workload''s examples that fit the workload no better; NULL if it has none',
    example_count        Nullable(UInt16) COMMENT 'how many examples the workload had; NULL if not said',
    language_known       Bool COMMENT 'whether the model knows the language of the text',
    input_chars          UInt64 COMMENT 'characters of all messages'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(observe_time)
ORDER BY (workload, observe_time)
TTL toDateTime(observe_time) + toIntervalDay(400)
SETTINGS
    ttl_only_drop_parts = 1,
    -- A batch that is sent again after its answer was lost is recognised by its token.
    non_replicated_deduplication_window = 1000
COMMENT 'A sample of requests as the classifier read them, without their text. Lost rows make it smaller';

-- By day too, so that a query's days reach the legs and the other months stay unread; a request whose legs lie on
-- both sides of midnight counts on both days. LIMIT BY is several times as fast as argMin of each column.
CREATE OR REPLACE VIEW homeward.first_legs AS
SELECT
    toDate(start_time) AS day,
    request_id,
    workload,
    evidence,
    task_type,
    input_tokens + cached_input_tokens + cache_write_tokens AS all_input_tokens
FROM homeward.legs
WHERE purpose = 'production'
ORDER BY start_time, leg_id
LIMIT 1 BY day, request_id
COMMENT 'Production requests, each by its first leg of a day. all_input_tokens: with those read from and written to a cache';

CREATE OR REPLACE VIEW homeward.evidence_by_day AS
SELECT
    day,
    workload,
    count() AS requests,
    countIf(evidence = 'declared') / requests AS declared,
    countIf(evidence = 'fingerprint') / requests AS fingerprint,
    countIf(evidence = 'examples') / requests AS examples,
    countIf(evidence = 'task_type') / requests AS task_type,
    countIf(evidence = 'abstained') / requests AS abstained,
    sumIf(requests, workload = '') OVER (PARTITION BY day) / sum(requests) OVER (PARTITION BY day) AS unnamed
FROM homeward.first_legs
GROUP BY day, workload
COMMENT 'What named the requests of a workload (empty: unnamed), as shares of them; unnamed: share of all requests of the day that have no name';

CREATE OR REPLACE VIEW homeward.abstention_by_day AS
SELECT
    day,
    count() AS requests,
    countIf(workload = '') / requests AS abstention_rate,
    if(countIf(workload = '') = 0, NULL, countIf(workload = '' AND evidence = 'task_type') / countIf(workload = ''))
        AS task_type_share
FROM homeward.first_legs
GROUP BY day
COMMENT 'Share of the requests of a day that were not named; task_type_share: of those, the share whose kind of work is known, NULL if all were named';

CREATE OR REPLACE VIEW homeward.likeness_by_day AS
SELECT
    toDate(observe_time) AS day,
    workload,
    count(likeness) AS observations,
    if(observations = 0, NULL, quantileExactInclusive(0.5)(likeness)) AS median_likeness,
    if(observations = 0, NULL, countIf(likeness < 0.05) / observations) AS below_0_05
FROM homeward.observations
WHERE workload != ''
GROUP BY day, workload
COMMENT 'How well observed requests fit the examples of their workload. Requests that examples named were chosen for their likeness';

-- The population stability index, sum of (p - q) ln(p / q) over buckets (Siddiqi, "Credit Risk Scorecards", 2006,
-- whose rule of thumb calls more than 0.25 a shift), of a day against the workload's first 7 days with 100 requests
-- or more. Each bucket of either side gets half a request more, so that an empty one does not make it infinite.
-- Traffic that has not changed shows about (buckets - 1) / requests of the day, which is why fewer than 100 tell
-- nothing. Task types are those read from the text: not from requests that examples named, which have the
-- registered one.
CREATE OR REPLACE VIEW homeward.population_shift_by_day AS
WITH
    (base, now) -> arrayDistinct(arrayConcat(mapKeys(base), mapKeys(now))) AS buckets_of,
    (counts, bucket, buckets) ->
        (counts[bucket] + 0.5) / (arraySum(mapValues(counts)) + 0.5 * length(buckets)) AS share_of,
    (base, now) -> if(
        least(arraySum(mapValues(base)), arraySum(mapValues(now))) < 100,
        NULL,
        arraySum(arrayMap(
            bucket -> (share_of(now, bucket, buckets_of(base, now)) - share_of(base, bucket, buckets_of(base, now)))
                * log(share_of(now, bucket, buckets_of(base, now)) / share_of(base, bucket, buckets_of(base, now))),
            buckets_of(base, now)
        ))
    ) AS psi_of,
    traffic AS (
        SELECT
            workload,
            day,
            count() AS requests,
            -- By powers of two.
            sumMapIf(map(toUInt64(floor(log2(greatest(ifNull(all_input_tokens, 1), 1)))), toUInt64(1)), isNotNull(all_input_tokens))
                AS tokens
        FROM homeward.first_legs
        GROUP BY workload, day
    ),
    texts AS (
        SELECT workload, toDate(observe_time) AS day, sumMap(map(toString(task_type), toUInt64(1))) AS types
        FROM homeward.observations
        WHERE evidence != 'examples'
        GROUP BY workload, day
    ),
    workloads AS (
        SELECT
            traffic.workload AS workload,
            arraySort(item -> item.1, groupArray((traffic.day, traffic.requests, traffic.tokens, texts.types))) AS days,
            arraySlice(arrayFilter(item -> item.2 >= 100, days), 1, 7) AS base
        FROM traffic LEFT JOIN texts ON traffic.workload = texts.workload AND traffic.day = texts.day
        GROUP BY workload
    ),
    days AS (
        SELECT
            item.1 AS day,
            workload,
            item.2 AS requests,
            -- NULL within the base and until it is complete.
            length(base) = 7 AND item.1 > base[7].1 AS comparable,
            if(comparable, psi_of(arrayReduce('sumMap', base.3), item.3), NULL) AS psi_input_tokens,
            if(comparable, psi_of(arrayReduce('sumMap', base.4), item.4), NULL) AS psi_task_types
        FROM workloads ARRAY JOIN days AS item
    )
SELECT
    day,
    workload,
    requests,
    psi_input_tokens,
    psi_task_types,
    arrayMax(arrayFilter(value -> isNotNull(value), [psi_input_tokens, psi_task_types])) AS psi
FROM days
COMMENT 'Population stability index of a day against the first 7 days of a workload with 100 requests or more; psi is the larger of the two. NULL: too few to tell';
