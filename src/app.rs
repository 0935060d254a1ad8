//! Builds the rooms from configuration; binds, serves, reloads, drains.
