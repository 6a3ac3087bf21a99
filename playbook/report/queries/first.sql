-- The first hour that has a leg.
SELECT if(count() = 0, NULL, toString(min(hour))) AS first_hour FROM homeward.spend_by_hour
