//! Thread-local variables in the static TLS block, defined by assembly.
//!
//! An access is initial-exec: it adds the thread pointer to a constant of the process, and calls
//! nothing, in a preloaded library as in an executable. Stable Rust has no attribute for that. On
//! other processors and under Miri the variables are those of `std`.

/// Defines a type whose functions access the calling thread's copy of an array of `$word`.
///
/// `$symbol` and `$section` name the variable and its place. `$contents` are the directives that
/// give it the value `$initial`; `{bytes}` stands for its length. `$access` lists the functions
/// besides `address`: `first` needs a word of 64 bits, `add_to_first` needs `usize`.
macro_rules! static_tls {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident: [$word:ty; $count:literal] = $initial:expr;
        $symbol:literal, $section:literal,
        [$($contents:literal),* $(; $operand:ident = sym $static:ident)?], [$($access:ident),*]
    ) => {
        $(#[$attribute])*
        $visibility struct $name;

        #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
        core::arch::global_asm!(
            concat!(".pushsection ", $section),
            ".balign 16",
            concat!(".globl ", static_tls!(@versioned $symbol)),
            concat!(".hidden ", static_tls!(@versioned $symbol)),
            concat!(".type ", static_tls!(@versioned $symbol), ",%object"),
            concat!(".size ", static_tls!(@versioned $symbol), ",{bytes}"),
            concat!(static_tls!(@versioned $symbol), ":"),
            $($contents,)*
            ".popsection",
            bytes = const size_of::<[$word; $count]>(),
            $($operand = sym $static)?
        );

        impl $name {
            static_tls!(@address $symbol, [$word; $count], $initial);
            $(static_tls!(@$access $symbol, $word);)*
        }
    };
    // The version lets two versions of the crate be linked together.
    (@versioned $symbol:literal) => {
        concat!(
            $symbol,
            "_",
            env!("CARGO_PKG_VERSION_MAJOR"),
            "_",
            env!("CARGO_PKG_VERSION_MINOR")
        )
    };
    (@address $symbol:literal, [$word:ty; $count:literal], $initial:expr) => {
        /// Returns the address of the first word, valid while the thread runs.
        #[inline(always)]
        #[allow(dead_code, reason = "a variable whose other functions suffice")]
        fn address() -> *mut $word {
            #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
            {
                let address: *mut $word;
                #[cfg(target_arch = "x86_64")]
                // SAFETY: adds the thread pointer, which is stored at its own address, to the
                // variable's offset.
                unsafe {
                    core::arch::asm!(
                        concat!(
                            "mov {address}, qword ptr [rip + ",
                            static_tls!(@versioned $symbol),
                            "@GOTTPOFF]"
                        ),
                        "add {address}, qword ptr fs:[0]",
                        address = out(reg) address,
                        options(pure, readonly, nostack),
                    );
                }
                #[cfg(target_arch = "aarch64")]
                // SAFETY: adds the thread pointer to the variable's offset.
                unsafe {
                    core::arch::asm!(
                        "mrs {base}, tpidr_el0",
                        concat!("adrp {address}, :gottprel:", static_tls!(@versioned $symbol)),
                        concat!(
                            "ldr {address}, [{address}, :gottprel_lo12:",
                            static_tls!(@versioned $symbol),
                            "]"
                        ),
                        "add {address}, {base}, {address}",
                        base = out(reg) _,
                        address = out(reg) address,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                address
            }
            #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
            {
                use core::cell::Cell;
                std::thread_local! {
                    static COPY: Cell<[$word; $count]> = const { Cell::new($initial) };
                }
                COPY.with(Cell::as_ptr).cast()
            }
        }
    };
    (@first $symbol:literal, $word:ty) => {
        /// Returns the first word.
        #[inline(always)]
        fn first() -> $word {
            #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
            {
                let word: $word;
                #[cfg(target_arch = "x86_64")]
                // SAFETY: reads the calling thread's copy.
                unsafe {
                    core::arch::asm!(
                        concat!(
                            "mov {word}, qword ptr [rip + ",
                            static_tls!(@versioned $symbol),
                            "@GOTTPOFF]"
                        ),
                        "mov {word}, qword ptr fs:[{word}]",
                        word = out(reg) word,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                #[cfg(target_arch = "aarch64")]
                // SAFETY: reads the calling thread's copy.
                unsafe {
                    core::arch::asm!(
                        "mrs {base}, tpidr_el0",
                        concat!("adrp {word}, :gottprel:", static_tls!(@versioned $symbol)),
                        concat!(
                            "ldr {word}, [{word}, :gottprel_lo12:",
                            static_tls!(@versioned $symbol),
                            "]"
                        ),
                        "ldr {word}, [{base}, {word}]",
                        base = out(reg) _,
                        word = out(reg) word,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                word
            }
            #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
            // SAFETY: it is the calling thread's copy, and only that thread accesses it.
            unsafe {
                Self::address().read()
            }
        }
    };
    (@add_to_first $symbol:literal, $word:ty) => {
        /// Adds to the first word, wrapping. The compiler moves no memory access across it.
        #[inline(always)]
        fn add_to_first(amount: $word) {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            // SAFETY: changes the calling thread's copy.
            unsafe {
                core::arch::asm!(
                    concat!(
                        "mov {at}, qword ptr [rip + ",
                        static_tls!(@versioned $symbol),
                        "@GOTTPOFF]"
                    ),
                    "add qword ptr fs:[{at}], {amount}",
                    at = out(reg) _,
                    amount = in(reg) amount,
                    options(nostack),
                );
            }
            #[cfg(all(target_arch = "aarch64", not(miri)))]
            // SAFETY: changes the calling thread's copy.
            unsafe {
                core::arch::asm!(
                    "mrs {base}, tpidr_el0",
                    concat!("adrp {at}, :gottprel:", static_tls!(@versioned $symbol)),
                    concat!("ldr {at}, [{at}, :gottprel_lo12:", static_tls!(@versioned $symbol), "]"),
                    "ldr {sum}, [{base}, {at}]",
                    "add {sum}, {sum}, {amount}",
                    "str {sum}, [{base}, {at}]",
                    base = out(reg) _,
                    at = out(reg) _,
                    sum = out(reg) _,
                    amount = in(reg) amount,
                    options(nostack, preserves_flags),
                );
            }
            #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
            {
                let sum = Self::first().wrapping_add(amount);
                // SAFETY: it is the calling thread's copy, and only that thread accesses it.
                unsafe { Self::address().write(sum) };
            }
        }
    };
}

pub(crate) use static_tls;
