"""When which workload moves, against the day on which new prices begin."""
