//! Read-only answers from record, ledger and plan: forecasts, recommendations, comparisons, reports, and their drawings.
//!
//! In: records, lines of the ledger, rates. Out: answers as data, and pictures of them. Must never change or order anything.

pub mod budget;
pub mod burn;
pub mod chart;
pub mod compare;
pub mod forecast;
pub mod recommend;
pub mod report;
pub mod sweeps;
