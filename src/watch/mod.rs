//! File changes to replans.
