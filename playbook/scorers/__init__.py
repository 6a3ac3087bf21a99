"""How well each scorer agrees with people, measured on public judgements: `make eval-scorers`."""
