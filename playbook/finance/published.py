"""Published figures that stand in for what nobody has said yet, each with its reference."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

CHANGE_LOW, CHANGE_HIGH = Fraction(-30, 100), Fraction(12, 100)
CHANGE_SOURCE = (
    "negotiated renewals save up to 30 % (saasnegotiationexperts.com, The SaaS renewal playbook), others rise"
    " by 7 to 12 % (atonementlicensing.com, SaaS Renewal Negotiation, 2026); of software in general"
)
"""What the same quality costs by list has fallen faster: 9 to 900 times a year (Epoch AI, "LLM inference
prices have fallen rapidly but unequally across tasks", 2025). Whoever can change the model in the cloud sets
`renewal_change`."""

WAGE_USD_PER_YEAR = Decimal(132_270)
"""Software developers in the US, median: Bureau of Labor Statistics, May 2023."""
WAGE_SHARE = Decimal("0.701")
"""Wages' share of what an employer pays in private industry: Bureau of Labor Statistics, December 2019."""
LEAST_ENGINEERS, MOST_ENGINEERS = 1, 3
LEAST_WEEKS, MOST_WEEKS = 10, 15
"""Five phases of two to three weeks."""
WEEKS_PER_YEAR = 52
ENGINEERING_LOW_USD, ENGINEERING_HIGH_USD = (
    (WAGE_USD_PER_YEAR / WAGE_SHARE / WEEKS_PER_YEAR * engineers * weeks).quantize(Decimal(1))
    for engineers, weeks in ((LEAST_ENGINEERS, LEAST_WEEKS), (MOST_ENGINEERS, MOST_WEEKS))
)
ENGINEERING_SOURCE = (
    f"{LEAST_ENGINEERS} to {MOST_ENGINEERS} engineers (assumed) for {LEAST_WEEKS} to {MOST_WEEKS} weeks at"
    " the US median wage of developers with benefits (BLS: $132,270 in May 2023; wages are 70.1 % of pay)"
)

DISCOUNT, DISCOUNT_RANGE = Fraction(10, 100), (Fraction(7, 100), Fraction(15, 100))
DISCOUNT_SOURCE = (
    "OMB Circular A-94: 7 % since 1992 and 10 % before; 15 % is assumed. Companies have a rate of their own"
)
