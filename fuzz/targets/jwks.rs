#![no_main]

#[path = "../checks/jwks.rs"]
mod jwks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    jwks::check(input);
});
