//! Health and metrics for the operator.
