//! Everything one request may read, immutable.
