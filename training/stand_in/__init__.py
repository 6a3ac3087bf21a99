"""Trains the heads that the stand-in cloud chooses with; `python -m training.stand_in`."""
