-- What workloads that are at home, wholly or in part, have saved: requests that the sovereign target answered, at
-- what the same workload's requests cost in the cloud, less what they cost. Only what is known counts: hours and
-- models with cloud legs of unknown cost are in no mean, and a sovereign leg of unknown cost saves nothing yet.
WITH rows AS
(
    SELECT
        workload, purpose, target, hour, provider, model, upstream, pool,
        sum(spend.ok_legs) AS requests,
        sum(spend.unknown_legs) AS unknown,
        sum(spend.cost_nanos) AS nanos
    FROM homeward.spend_by_hour AS spend
    WHERE workload != ''
    GROUP BY workload, purpose, target, hour, provider, model, upstream, pool
)
SELECT
    workload,
    sumIf(requests, purpose = 'production' AND target = 'sovereign') AS home_requests,
    sumIf(unknown, purpose = 'production' AND target = 'sovereign') AS home_unknown,
    -- Were all of the unknown ones answered: never too many.
    sumIf(greatest(toInt64(requests) - unknown, 0), purpose = 'production' AND target = 'sovereign') AS home_known_requests,
    sumIf(nanos, purpose = 'production' AND target = 'sovereign') AS home_nanos,
    sumIf(requests, purpose = 'production' AND target = 'cloud' AND unknown = 0) AS cloud_requests,
    sumIf(nanos, purpose = 'production' AND target = 'cloud' AND unknown = 0) AS cloud_nanos,
    sumIf(unknown, purpose = 'production' AND target = 'cloud') AS cloud_unknown,
    sumIf(nanos, purpose != 'production') AS experiment_nanos,
    sumIf(unknown, purpose != 'production') AS experiment_unknown
FROM rows
GROUP BY workload
HAVING home_requests > 0 OR experiment_nanos > 0 OR experiment_unknown > 0
ORDER BY workload
