//! Runs, rates and history to estimates of time and money.
