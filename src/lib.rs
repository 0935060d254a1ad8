//! sagegate: an authorizing reverse proxy in front of Amazon SageMaker endpoints.

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
pub mod snapshot;
pub mod telemetry;
pub mod upstream;
