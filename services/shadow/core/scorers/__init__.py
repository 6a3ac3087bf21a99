"""The scorers: how much two answers to one request agree, from 0 to 1, by a registered name."""
