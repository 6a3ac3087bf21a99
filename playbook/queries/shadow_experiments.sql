-- The epochs of the newest experiment of a workload.
SELECT experiment_id, epoch, count() AS triplets
FROM homeward.triplets FINAL
WHERE workload = {workload:String} AND lane = {lane:String} AND experiment_id =
(
    SELECT argMax(experiment_id, request_time) FROM homeward.triplets WHERE workload = {workload:String}
)
GROUP BY experiment_id, epoch
ORDER BY epoch
