"""The journal: hash-chained decisions, money and budgets, in SQLite or PostgreSQL."""
