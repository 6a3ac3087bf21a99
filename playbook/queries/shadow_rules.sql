-- What an experiment fixed for each of its epochs, and what its last window said in a lane.
SELECT
    epoch,
    any(closed.margin) AS margin,
    any(closed.alpha) AS alpha,
    any(closed.window_us) AS window_us,
    any(closed.watermark_us) AS watermark_us,
    any(closed.min_windows) AS min_windows,
    any(closed.strata) AS strata,
    argMaxIf(closed.verdict, closed.start_time, lane = {lane:String}) AS verdict,
    argMaxIf(closed.log_k, closed.start_time, lane = {lane:String}) AS log_k,
    argMaxIf(closed.histogram_sha256, closed.start_time, lane = {lane:String}) AS histogram_sha256
FROM homeward.verdict_windows AS closed FINAL
WHERE experiment_id = {experiment_id:UUID} AND epoch IN {epochs:Array(UInt32)}
GROUP BY epoch
ORDER BY epoch
