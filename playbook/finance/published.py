"""Published figures that stand in for what nobody has said yet, each with its reference and date."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

CHANGE_LOW, CHANGE_HIGH = Fraction(-30, 100), Fraction(12, 100)
CHANGE_SOURCE = (
    "who negotiates saves 10 to 30 % (saasnegotiationexperts.com, The SaaS renewal playbook, read in November"
    " 2026), who does not pays 7 to 12 % more (atonementlicensing.com, SaaS Renewal Negotiation, February"
    " 2026); of software in general"
)
"""Single vendors are told of with 30 % more (digital-chiefs.de, 23 May 2026): not taken, for it would flatter
a move. What the same quality costs by list has fallen faster: 9 to 900 times a year (Epoch AI, "LLM inference
prices have fallen rapidly but unequally across tasks", March 2025). Whoever can change the model in the cloud
sets `renewal_change`."""

WAGE_USD_PER_YEAR = Decimal(133_080)
"""Software developers in the US, median: Bureau of Labor Statistics, May 2024."""
WAGE_SHARE = Decimal("0.699")
"""Wages' share of what an employer pays in private industry: Bureau of Labor Statistics, Employer Costs for
Employee Compensation, table 6, March 2026."""
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
    f" the US median wage of developers with benefits (BLS: ${WAGE_USD_PER_YEAR:,} in May 2024; wages are"
    f" {100 * WAGE_SHARE:.1f} % of pay in March 2026)"
)

DISCOUNT, DISCOUNT_RANGE = Fraction(10, 100), (Fraction(5, 100), Fraction(15, 100))
DISCOUNT_SOURCE = (
    "US industries' cost of capital is 5 to 9 % (A. Damodaran, NYU Stern, January 2026); 10 % and 15 % are"
    " assumed, for a project is less sure than an industry. Companies have a rate of their own"
)
