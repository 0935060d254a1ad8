#![no_main]

#[path = "../checks/call.rs"]
mod call;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    call::check(input);
});
