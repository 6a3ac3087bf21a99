-- How soon a rollback was in force: applications' requests that still began at home after it was decided, and the first
-- that began in the cloud after the last of them. Without such a request nothing is known.
WITH late AS
(
    SELECT
        count() AS late_requests,
        if(late_requests = 0, {decide_time:DateTime64(6, 'UTC')}, max(start_time)) AS last_time
    FROM homeward.legs
    WHERE workload = {workload:String} AND purpose = 'production' AND target = 'sovereign'
        AND start_time >= {decide_time:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
        AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
)
SELECT
    (SELECT late_requests FROM late) AS late_requests,
    count() AS cloud_requests,
    if(cloud_requests = 0, NULL,
        dateDiff('microsecond', {decide_time:DateTime64(6, 'UTC')}, min(start_time)) / 1000000) AS seen_s
FROM homeward.legs
WHERE workload = {workload:String} AND purpose = 'production' AND target = 'cloud'
    AND start_time >= (SELECT last_time FROM late) AND start_time < {until:DateTime64(6, 'UTC')}
    AND start_time + toIntervalMicrosecond(latency_us) < {until:DateTime64(6, 'UTC')}
