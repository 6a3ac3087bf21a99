-- The evidence at the close of each window: of each workload's last experiment, in its last epoch, all lanes.
WITH newest AS
(
    SELECT
        told.workload AS workload,
        argMax(told.experiment_id, (told.start_time, told.epoch)) AS experiment_id,
        argMax(told.epoch, (told.start_time, told.epoch)) AS epoch
    FROM homeward.verdict_windows AS told
    WHERE told.lane = ''
        AND told.start_time + toIntervalMicrosecond(told.window_us + told.watermark_us) <= {until:DateTime64(6, 'UTC')}
    GROUP BY workload
)
SELECT
    closed.workload AS workload, closed.lane AS lane, closed.epoch AS epoch,
    toString(closed.experiment_id) AS experiment_id,
    toString(closed.start_time) AS window_time,
    row_number() OVER (PARTITION BY closed.experiment_id, closed.epoch, closed.lane ORDER BY closed.start_time) AS number,
    n, log_k, lower_bound, upper_bound, histogram_sha256, verdict, scorer, margin, alpha,
    window_us / 1000000 AS window_s,
    min_windows
FROM homeward.verdict_windows AS closed FINAL
INNER JOIN newest ON closed.workload = newest.workload AND closed.experiment_id = newest.experiment_id
    AND closed.epoch = newest.epoch
WHERE closed.start_time + toIntervalMicrosecond(window_us + watermark_us) <= {until:DateTime64(6, 'UTC')}
    AND (empty({workloads:Array(String)}) OR closed.workload IN {workloads:Array(String)})
ORDER BY workload, lane, window_time
