"""Trains the general classifier: the data, the recipe, the artefacts."""
