//! Budgets, quotas and limits to verdicts.
