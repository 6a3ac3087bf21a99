"""Trains the model that finds names of people: the texts, the lists, the fit."""
