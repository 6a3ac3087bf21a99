-- What shadow finds: triplets and what was lost of them, what routers sampled, and the verdict at the close of each
-- window. No text of any prompt or answer is here. A NULL is unknown, which is not zero. Days are UTC.
-- Shadow sends a row again when it does not know whether it arrived. It then replaces itself: read with FINAL.

CREATE TABLE IF NOT EXISTS homeward.triplets
(
    sample_id            String COMMENT '32 hexadecimal digits, as in homeward.legs; the request_id of the sampled request''s legs without its hyphens',
    lane                 LowCardinality(String) COMMENT 'empty: the comparison; cloud, degraded: controls; after: since the workload is at home',
    experiment_id        UUID,
    epoch                UInt32 COMMENT 'restart of the experiment, from 1',
    workload             LowCardinality(String),
    request_time         DateTime64(6, 'UTC') COMMENT 'when the application asked',
    arrival_time         Nullable(DateTime64(6, 'UTC')) COMMENT 'when the last of its legs was scored; NULL if it was not by the close of its window',
    cluster              String COMMENT 'what makes requests one vote, as a hash; empty for a request that stands for itself',
    stratum              LowCardinality(String) COMMENT 'empty if the experiment has none',
    sovereign_millionths Nullable(UInt32) COMMENT 'agree(sovereign, cloud) in millionths, rounded down; NULL counts as 0',
    noise_millionths     Nullable(UInt32) COMMENT 'agree(cloud again, cloud) in millionths, rounded up; NULL counts as 1,000,000',
    scorer               LowCardinality(String) COMMENT 'name and version',
    reason               LowCardinality(String) COMMENT 'why an agreement is missing or 0 without a comparison, empty if both were scored',
    language             LowCardinality(String) COMMENT 'of the user''s text, empty if unknown',
    features             Array(LowCardinality(String)) COMMENT 'what the request used: tools, json_schema, stop, streaming',
    input_tokens         Nullable(UInt64) COMMENT 'of the prompt, as the answer''s server counted it',
    sovereign_leg_id     Nullable(UUID) COMMENT 'as in homeward.legs; NULL if there is no such leg',
    cloud_leg_id         Nullable(UUID),
    noise_leg_id         Nullable(UUID),
    trace_id             String COMMENT 'of the application''s request: otel.otel_traces.TraceId'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(request_time)
ORDER BY (experiment_id, epoch, lane, request_time, sample_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Sampled requests that are finished, one row each and lane. A verdict follows from them alone; read it with FINAL';

-- A minute's count grows while reports of routers come, and each time the row is sent again: the largest counts.
CREATE TABLE IF NOT EXISTS homeward.sample_counts
(
    experiment_id UUID,
    epoch         UInt32,
    minute        DateTime('UTC') COMMENT 'in which the requests came',
    step          LowCardinality(String) COMMENT 'as routers report: eligible (could be compared), sampled (drawn), sent (shadow took it), ineligible, shed; lost: shadow took it and never asked',
    reason        LowCardinality(String) COMMENT 'why, for ineligible, shed and lost; else empty',
    workload      LowCardinality(String),
    count         UInt64
)
ENGINE = ReplacingMergeTree(count)
PARTITION BY toYYYYMM(minute)
ORDER BY (experiment_id, epoch, minute, step, reason)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What became of requests of compared workloads before they had a triplet. A router that is killed has not reported its last half second; read it with FINAL';

CREATE TABLE IF NOT EXISTS homeward.verdict_windows
(
    experiment_id    UUID,
    epoch            UInt32,
    lane             LowCardinality(String) COMMENT 'as in homeward.triplets, but for after, which has no verdict',
    start_time       DateTime64(6, 'UTC') COMMENT 'when the window began',
    workload         LowCardinality(String),
    n                UInt64 COMMENT 'votes so far in the epoch',
    log_k            Float64 COMMENT 'natural logarithm of the evidence against "worse than the margin"',
    lower_bound      Float64 COMMENT 'of E[D], -1 to 1',
    upper_bound      Float64 COMMENT 'of E[D], -1 to 1',
    histogram_sha256 String COMMENT 'of the votes so far, 64 hexadecimal digits',
    verdict          LowCardinality(String) COMMENT 'COLLECTING, READY, REJECTED',
    scorer           LowCardinality(String) COMMENT 'this and the following: what the experiment fixed beforehand',
    margin           Float64 COMMENT 'the largest gap that counts as parity',
    alpha            Float64 COMMENT 'the error over all epochs; epoch k may spend alpha / 2^k',
    window_us        UInt64 COMMENT 'microseconds',
    watermark_us     UInt64 COMMENT 'microseconds after a window''s end for which late answers are waited for',
    min_windows      UInt32,
    strata           Array(String) COMMENT 'values that must each pass, beside those that occur'
)
ENGINE = ReplacingMergeTree
ORDER BY (experiment_id, epoch, lane, start_time)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'The state at the close of each window, all windows of its epoch before it included; read it with FINAL';

CREATE OR REPLACE VIEW homeward.shadow_funnel AS
SELECT
    day, workload, experiment_id, epoch,
    sum(eligible_of) AS eligible,
    sum(sampled_of) AS sampled,
    sum(sent_of) AS sent,
    sum(answered_of) AS answered,
    sum(scored_of) AS scored,
    sumMap(losses_of) AS losses
FROM
(
    SELECT
        toDate(minute) AS day, workload, experiment_id, epoch,
        sumIf(counts.count, step = 'eligible') AS eligible_of,
        sumIf(counts.count, step = 'sampled') AS sampled_of,
        sumIf(counts.count, step = 'sent') AS sent_of,
        toUInt64(0) AS answered_of,
        toUInt64(0) AS scored_of,
        -- What comes after has a triplet, and is counted there.
        sumMapIf(
            map(concat(step, '/', reason), counts.count),
            step NOT IN ('eligible', 'sampled', 'sent', 'answered', 'scored', 'late', 'failed')
        ) AS losses_of
    FROM homeward.sample_counts AS counts FINAL
    GROUP BY day, workload, experiment_id, epoch
    UNION ALL
    SELECT
        toDate(request_time) AS day, workload, experiment_id, epoch, 0, 0, 0,
        countIf(isNotNull(arrival_time)),
        countIf(isNotNull(arrival_time) AND isNotNull(sovereign_millionths) AND isNotNull(noise_millionths)),
        sumMapIf(
            map(concat(if(isNull(arrival_time), 'late', 'failed'), '/', reason), toUInt64(1)),
            isNull(arrival_time) OR isNull(sovereign_millionths) OR isNull(noise_millionths)
        )
    FROM homeward.triplets FINAL
    WHERE lane IN ('', 'after')
    GROUP BY day, workload, experiment_id, epoch
)
GROUP BY day, workload, experiment_id, epoch
COMMENT 'How far requests of compared workloads got: eligible (could be compared), sampled (drawn), sent (shadow took it), answered (all legs, or final failures), scored. A request counts on the day on which it came. losses, by step and reason: ineligible is not among the eligible; shed of the sampled, lost and late of the sent, failed of the answered. Late and failed ones count as failures in the verdict; shed and lost ones have no vote';

CREATE OR REPLACE VIEW homeward.verdicts AS
SELECT
    experiment_id, epoch, lane,
    any(closed.workload) AS workload,
    count() AS windows,
    max(closed.start_time) AS start_time,
    argMax(closed.n, closed.start_time) AS n,
    argMax(closed.log_k, closed.start_time) AS log_k,
    -log(any(closed.alpha)) + epoch * log(2) AS log_k_needed,
    argMax(closed.lower_bound, closed.start_time) AS lower_bound,
    argMax(closed.upper_bound, closed.start_time) AS upper_bound,
    any(closed.margin) AS margin,
    argMax(closed.histogram_sha256, closed.start_time) AS histogram_sha256,
    argMax(closed.verdict, closed.start_time) AS verdict
FROM homeward.verdict_windows AS closed FINAL
GROUP BY experiment_id, epoch, lane
COMMENT 'What the evidence says at the close of the last window of each experiment, epoch and lane. READY needs log_k to reach log_k_needed; E[D], the mean difference to the cloud''s own noise, lies between the bounds';

CREATE OR REPLACE VIEW homeward.triplet_scores AS
SELECT
    sample_id, lane, experiment_id, epoch, workload, request_time, arrival_time, cluster, stratum,
    toDecimal64(sovereign_millionths, 6) / 1000000 AS agreement_sovereign,
    toDecimal64(noise_millionths, 6) / 1000000 AS agreement_noise,
    ifNull(agreement_sovereign, toDecimal64(0, 6)) - ifNull(agreement_noise, toDecimal64(1, 6)) AS difference,
    scorer, reason, language, features, input_tokens, sovereign_leg_id, cloud_leg_id, noise_leg_id, trace_id
FROM homeward.triplets FINAL
COMMENT 'Triplets with exact agreements, 0 to 1. difference: what the verdict counts, agreement_sovereign - agreement_noise, where a missing one is the worst case: 0 and 1; the votes of a cluster are averaged';
