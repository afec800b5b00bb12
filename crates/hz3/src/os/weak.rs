//! Symbols that a program may lack. Stable Rust has no weak externs.

/// The address of a symbol, or 0 where no part of the program defines it: reads the word of the
/// table of addresses that the linker fills.
#[cfg(all(target_arch = "x86_64", not(miri)))]
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: reads a word of the table of addresses.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $symbol),
                concat!("mov {address}, qword ptr [rip + ", $symbol, "@GOTPCREL]"),
                address = out(reg) address,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// As above.
#[cfg(all(target_arch = "aarch64", not(miri)))]
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: reads a word of the table of addresses.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $symbol),
                concat!("adrp {address}, :got:", $symbol),
                concat!("ldr {address}, [{address}, :got_lo12:", $symbol, "]"),
                address = out(reg) address,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// Elsewhere nothing can be asked for: every symbol is lacking.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
macro_rules! weak_address {
    ($symbol:literal) => {
        0usize
    };
}

pub(crate) use weak_address;
