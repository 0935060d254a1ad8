//! What the record keeps back of people, as typed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Fields that are recorded as pseudonyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Pseudonymized {
    // The caller, wherever the event names it.
    User,
    // The caller's address; its port is left out.
    SrcEndpoint,
}

/// The secret that pseudonyms are made with. Under one key a person is always the same
/// pseudonym; destroying it makes the records anonymous.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["name", "file"]))]
pub struct PseudonymKey {
    /// Stands in every pseudonym and says which key made it: 2026-11.
    #[serde(default)]
    pub name: String,
    /// At least 32 bytes, as `openssl rand -hex 32` makes. Relative to this file.
    #[serde(default)]
    pub file: PathBuf,
}

/// Fields that can be left out of the record. OCSF requires the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Omit {
    UserAgent,
    Path,
    Groups,
    TokenId,
    Client,
    InferenceId,
    InputLocation,
}
