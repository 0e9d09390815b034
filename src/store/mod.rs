//! Journal, lock, saved plans: SQLite.
