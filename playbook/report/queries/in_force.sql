-- How soon a rollback was in force: applications' requests that still began at home after it was decided.
SELECT
    countIf(target = 'sovereign') AS late_requests,
    if(late_requests = 0, 0,
        dateDiff('microsecond', {decide_time:DateTime64(6, 'UTC')}, maxIf(start_time, target = 'sovereign')) / 1000000) AS last_s,
    countIf(target = 'cloud') AS cloud_requests
FROM homeward.legs
WHERE workload = {workload:String} AND purpose = 'production'
    AND start_time >= {decide_time:DateTime64(6, 'UTC')} AND start_time < {until:DateTime64(6, 'UTC')}
