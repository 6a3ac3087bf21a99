-- What experiments' legs in the cloud have cost up to a day, and the production of the same workloads there in the same
-- hours. Experiments' legs at home are in the pools' cost, which runs anyway.
WITH hours AS
(
    SELECT
        workload,
        hour,
        sumIf(spend.cost_nanos, purpose != 'production' AND target = 'cloud') AS experiment_nanos,
        sumIf(spend.legs, purpose != 'production' AND target = 'cloud') AS experiment_legs,
        sumIf(spend.unknown_legs, target = 'cloud') AS unknown_legs,
        sumIf(spend.cost_nanos, purpose = 'production' AND target = 'cloud') AS production_nanos
    FROM homeward.spend_by_hour AS spend
    WHERE workload != '' AND toDate(hour) <= {until:Date}
    GROUP BY workload, hour
    HAVING experiment_legs > 0
)
SELECT
    sum(hours.experiment_nanos) AS experiment_nanos,
    sum(hours.experiment_legs) AS experiment_legs,
    sum(hours.unknown_legs) AS unknown_legs,
    sum(hours.production_nanos) AS production_nanos,
    uniqExact(workload) AS workloads,
    toDate(min(hour)) AS first_day,
    toDate(max(hour)) AS last_day
FROM hours
