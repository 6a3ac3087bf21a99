-- The triplets of the examples of disagreement that the document shows.
SELECT
    sample_id, workload, epoch, lane, scorer,
    toFloat64(agreement_sovereign) AS sovereign,
    toFloat64(agreement_noise) AS noise,
    toFloat64(difference) AS d
FROM homeward.triplet_scores
WHERE lane IN ('', 'after') AND sample_id IN {sample_ids:Array(String)}
    AND request_time >= {since:DateTime64(6, 'UTC')} AND request_time < {until:DateTime64(6, 'UTC')}
ORDER BY workload, d, sample_id
