#![no_main]

#[path = "../checks/framing.rs"]
mod framing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    framing::check(input);
});
