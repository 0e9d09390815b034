//! Metrics in: log lines and metric files.
