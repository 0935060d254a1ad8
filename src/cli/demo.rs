//! demo
mod client;
mod files;
pub mod issuer;
mod loopback;
mod personas;
pub mod sagemaker;
