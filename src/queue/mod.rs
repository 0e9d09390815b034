//! Admission order, waiting reasons and start times: one decision code for the plan, the engine and the forecast.
