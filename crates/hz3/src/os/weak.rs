//! Weak references to symbols that a program may lack. Stable Rust has no weak externs.

/// Returns the address of a symbol, or 0 if no part of the program defines it. The address comes
/// from the global offset table (GOT), which the linker fills.
#[cfg(all(target_arch = "x86_64", not(miri)))]
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: reads an entry of the global offset table.
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

/// Returns the address of a symbol, as above.
#[cfg(all(target_arch = "aarch64", not(miri)))]
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: reads an entry of the global offset table.
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

/// On other targets no symbol can be found.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
macro_rules! weak_address {
    ($symbol:literal) => {
        0usize
    };
}

pub(crate) use weak_address;
