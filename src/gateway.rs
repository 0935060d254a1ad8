//! The corridor: one request, all stages, one answer, one record.
