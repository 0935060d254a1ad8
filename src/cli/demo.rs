//! demo
mod client;
pub mod issuer;
mod loopback;
pub mod sagemaker;
