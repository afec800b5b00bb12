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
    // The instructions that load the variable's offset from the thread pointer into `{at}`.
    (@offset x86_64 $symbol:literal) => {
        concat!("mov {at}, qword ptr [rip + ", static_tls!(@versioned $symbol), "@GOTTPOFF]")
    };
    (@offset aarch64 $symbol:literal) => {
        concat!(
            "adrp {at}, :gottprel:",
            static_tls!(@versioned $symbol),
            "\nldr {at}, [{at}, :gottprel_lo12:",
            static_tls!(@versioned $symbol),
            "]"
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
                        static_tls!(@offset x86_64 $symbol),
                        "add {at}, qword ptr fs:[0]",
                        at = out(reg) address,
                        options(pure, readonly, nostack),
                    );
                }
                #[cfg(target_arch = "aarch64")]
                // SAFETY: adds the thread pointer to the variable's offset.
                unsafe {
                    core::arch::asm!(
                        "mrs {thread}, tpidr_el0",
                        static_tls!(@offset aarch64 $symbol),
                        "add {at}, {thread}, {at}",
                        thread = out(reg) _,
                        at = out(reg) address,
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
                        static_tls!(@offset x86_64 $symbol),
                        "mov {at}, qword ptr fs:[{at}]",
                        at = out(reg) word,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                #[cfg(target_arch = "aarch64")]
                // SAFETY: reads the calling thread's copy.
                unsafe {
                    core::arch::asm!(
                        "mrs {thread}, tpidr_el0",
                        static_tls!(@offset aarch64 $symbol),
                        "ldr {at}, [{thread}, {at}]",
                        thread = out(reg) _,
                        at = out(reg) word,
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
                    static_tls!(@offset x86_64 $symbol),
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
                    "mrs {thread}, tpidr_el0",
                    static_tls!(@offset aarch64 $symbol),
                    "ldr {sum}, [{thread}, {at}]",
                    "add {sum}, {sum}, {amount}",
                    "str {sum}, [{thread}, {at}]",
                    thread = out(reg) _,
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
