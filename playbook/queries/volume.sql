-- A workload's answered production requests of the last 7 days, and since when there are any of them.
SELECT
    sum(spend.ok_legs) AS requests,
    min(if(spend.ok_legs > 0, hour, NULL)) AS first_hour
FROM homeward.spend_by_hour AS spend
WHERE workload = {workload:String} AND purpose = 'production' AND hour > now('UTC') - INTERVAL 7 DAY
