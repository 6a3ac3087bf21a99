"""The blend of what two texts share with how near they are in meaning; one number, chosen by measurement."""

from __future__ import annotations

from fractions import Fraction

MEANING_SHARE = Fraction(1, 2)
"""Of nearness. Chosen on one half of the public judgements, reported on the other (docs/scorers.md)."""
FINEST = 1_000_000
"""Scores are whole millionths: finer than the book keeps, and the last bits of a float say nothing."""


def blended(shared: float, nearness: float | None) -> Fraction:
    """The weighted mean of two numbers from 0 to 1, exact from their nearest millionths.

    Without a nearness it is what is shared, alone.
    """
    of_words = Fraction(round(shared * FINEST), FINEST)
    if nearness is None:
        return of_words
    return (1 - MEANING_SHARE) * of_words + MEANING_SHARE * Fraction(round(nearness * FINEST), FINEST)
