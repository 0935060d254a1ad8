//! sagegate: an authorizing reverse proxy in front of Amazon SageMaker endpoints.
//!
//! # Life of a request
//!
//! | stage | room | takes → gives |
//! |---|---|---|
//! | accept, TLS, HTTP | [`server`] | bytes → request |
//! | parse | [`sagemaker`] | head → [`Call`](sagemaker::Call) |
//! | authenticate | [`identity`] | token → [`Principal`](identity::Principal) |
//! | authorize | [`policy`] | principal + call → [`Permit`](policy::Permit) |
//! | admit | [`limits`] | permit → [`Admitted`](limits::Admitted) |
//! | sign | [`upstream`] | admitted + body → [`Signed`](upstream::Signed) |
//! | send, relay | [`upstream`] | signed → answer, streamed |
//! | record | [`gateway`], [`audit`] | one event, whatever happened |
//!
//! Beside the corridor, and never in its way: [`aws`] keeps credentials fresh, `limits/shared`
//! fetches ahead what gateways share, [`ship`] takes the journal off the machine,
//! `audit/verify` and `audit/query` read it again, [`admin`] answers probes.
//!
//! The corridor itself is `gateway/handle.rs`; open that first. Each stage's result can be
//! made by that stage alone, so a request that skipped one does not compile.
//!
//! # Ranks
//!
//! A module imports only from lower ranks (`tests/architecture.rs` holds them to it):
//! [`names`], `sync`, [`telemetry`] 0 · [`audit`], [`aws`], [`identity`], [`sagemaker`],
//! [`server`] 1 · [`policy`], [`ship`] 2 · [`limits`] 3 · [`upstream`] 4 · [`snapshot`] 5 ·
//! [`admin`], [`config`], [`gateway`] 6 · [`app`] 7 · [`cli`] 8.

pub mod admin;
pub mod app;
pub mod audit;
pub mod aws;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod identity;
pub mod limits;
pub mod names;
pub mod policy;
pub mod sagemaker;
pub mod server;
pub mod ship;
pub mod snapshot;
mod sync;
pub mod telemetry;
pub mod upstream;
