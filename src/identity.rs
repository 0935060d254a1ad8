//! Who is calling: an OIDC token → a [`Principal`].

mod claims;

pub use claims::Principal;
