//! The two files a user writes, and what they mean.
//!
//! `sagegate.yaml` belongs to operations, `access.yaml` to whoever answers for access. This
//! room reads both, says everything that is wrong with them at once, and hands out one
//! [`Loaded`]: the other rooms' own runtime types, already checked. The other rooms never
//! import this one.
//!
//! It refuses whatever it does not know: an unknown key, a unit that is none, a name that
//! nothing bears, a way out of safety that is not spelled under `danger:`. Each fault says
//! file, line, column, key and what to do.
//!
//! A text goes through `yaml` (a tree that knows its lines), `expand` (`${ENV}`),
//! `shape` (against the schema of `file`'s types) and `compile` (meaning). Invariant: the
//! environment and the file names come in as parameters; nothing here reads a global.

mod at;
mod compile;
mod expand;
mod fault;
pub mod file;
mod load;
mod loaded;
mod nearest;
mod reload;
mod schema;
mod shape;
mod sources;
mod typed;
mod yaml;

pub use expand::Environment;
pub use fault::{Fault, Faults, Position};
pub use load::{load, load_texts};
pub use loaded::{AdminConfig, AwsConfig, Loaded, LogConfig, ServerConfig, Source};
pub use reload::Watch;

#[cfg(test)]
mod tests;
