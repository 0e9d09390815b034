//! Desired runs against recorded ones: the plan.
