//! Fuzzes what hz3 reads from the environment: one entry, `NAME=value`, per line of the input.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for entry in data.split(|&byte| byte == b'\n') {
        hz3::check_option(entry);
        // Most inputs lack the prefix, without which nothing is read.
        let mut prefixed = Vec::from(*b"HZ3_");
        prefixed.extend_from_slice(entry);
        hz3::check_option(&prefixed);
    }
});
