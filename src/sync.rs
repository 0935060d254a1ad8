//! The primitives of what is shared between threads by our own reasoning.
//!
//! They are the standard library's. What reasons about the order of its own loads, stores and
//! locks names them by this room, because `tests/loom` builds those very files with loom's in
//! their place, and tries every order that the memory model allows. What rests on one lock, or
//! on a crate's own guarantees, has no need of it.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic};
