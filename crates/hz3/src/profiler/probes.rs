//! Probes of OpenTelemetry's memory profiling: `otel_memory:alloc(pointer, size, weighted_bytes)`
//! and `otel_memory:free(pointer)`, for sampled blocks.
//!
//! A probe is a `nop` that a tracer replaces by a breakpoint, and an ELF note that tells where it
//! is (USDT, as `sys/sdt.h` of `SystemTap` writes them). The kernel or the debugger raises a
//! probe's semaphore above 0 while it is watched. So an unwatched probe costs one load, and only
//! for sampled blocks.
//!
//! Tracers in the kernel walk stacks by frame pointers, which neither this library nor most
//! programs have. So the probe `alloc` runs with a frame pointer that leads to a chain of frames
//! made for it, from the stack that the unwinder found ([`Chain`]).

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU16, Ordering};

use super::table::FRAMES;

/// How many tracers watch the probe `alloc`. The kernel writes it, through the file's mapping, so
/// it must lie in initialised data.
#[unsafe(link_section = ".probes")]
static ALLOC_WATCHERS: AtomicU16 = AtomicU16::new(0);

/// How many tracers watch the probe `free`.
#[unsafe(link_section = ".probes")]
static FREE_WATCHERS: AtomicU16 = AtomicU16::new(0);

/// Returns whether a tracer watches a probe, and so wants blocks to be sampled.
pub(crate) fn are_watched() -> bool {
    ALLOC_WATCHERS.load(Ordering::Relaxed) != 0 || FREE_WATCHERS.load(Ordering::Relaxed) != 0
}

/// Reports a sampled block of `size` bytes, which stands for `weighted_bytes` of the program's
/// requests. `stack` has the return addresses of the request, innermost first.
pub(crate) fn alloc(pointer: usize, size: usize, weighted_bytes: u64, stack: &[usize]) {
    if ALLOC_WATCHERS.load(Ordering::Relaxed) != 0 {
        alloc_watched(pointer, size, weighted_bytes, stack);
    }
}

#[cold]
#[inline(never)]
fn alloc_watched(pointer: usize, size: usize, weighted_bytes: u64, stack: &[usize]) {
    let mut chain = Chain([[0; 2]; FRAMES]);
    alloc_probe(pointer, size, weighted_bytes, chain.link(stack));
}

/// Frames as code with frame pointers has them: the address of the caller's frame, and a return
/// address. 0 ends the chain.
struct Chain([[usize; 2]; FRAMES]);

impl Chain {
    /// Links a frame for each return address; returns the address of the innermost one.
    fn link(&mut self, stack: &[usize]) -> usize {
        let mut caller = 0;
        let used = self.0.iter_mut().zip(stack);
        for (frame, &return_address) in used.rev() {
            *frame = [caller, return_address];
            caller = (&raw const *frame).expose_provenance();
        }
        caller
    }
}

/// Reports that a block is freed that [`alloc`] reported.
pub(crate) fn free(pointer: usize) {
    if FREE_WATCHERS.load(Ordering::Relaxed) != 0 {
        free_probe(pointer);
    }
}

/// Other processors have no probes.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn alloc_probe(_pointer: usize, _size: usize, _weighted_bytes: u64, _frame: usize) {}

/// Other processors have no probes.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn free_probe(_pointer: usize) {}

/// Defines a function with a probe. The tracer reads the arguments where a C function gets them.
/// `begin` and `end` are the instructions before and after the probe.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
macro_rules! probe {
    ($function:ident($($argument:ident: $type:ty),*), $name:literal, $places:literal,
     $semaphore:ident, [$($begin:literal),*], [$($end:literal),*]) => {
        #[unsafe(naked)]
        extern "C" fn $function($($argument: $type),*) {
            naked_asm!(
                ".cfi_startproc",
                $($begin,)*
                "990: nop",
                // Keeps the linker from dropping the section.
                ".reloc 990b, BFD_RELOC_NONE, _.stapsdt.base",
                $($end,)*
                "ret",
                ".cfi_endproc",
                // The note: sizes of name and description, type 3, name, description.
                ".pushsection .note.stapsdt, \"\", %note",
                ".balign 4",
                ".4byte 992f - 991f, 994f - 993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b, _.stapsdt.base, {semaphore}",
                ".asciz \"otel_memory\"",
                concat!(".asciz \"", $name, "\""),
                concat!(".asciz \"", $places, "\""),
                "994: .balign 4",
                ".popsection",
                // Tools find out by this section's address how far the file was moved after its
                // notes were written.
                ".ifndef _.stapsdt.base",
                ".pushsection .stapsdt.base, \"aG\", %progbits, .stapsdt.base, comdat",
                ".weak _.stapsdt.base",
                ".hidden _.stapsdt.base",
                "_.stapsdt.base: .space 1",
                ".size _.stapsdt.base, 1",
                ".popsection",
                ".endif",
                semaphore = sym $semaphore,
            );
        }
    };
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
probe!(
    alloc_probe(_pointer: usize, _size: usize, _weighted_bytes: u64, _frame: usize),
    "alloc", "8@%rdi 8@%rsi 8@%rdx", ALLOC_WATCHERS,
    ["push rbp", ".cfi_def_cfa_offset 16", ".cfi_offset rbp, -16", "mov rbp, rcx"],
    ["pop rbp", ".cfi_def_cfa_offset 8", ".cfi_restore rbp"]
);
#[cfg(all(target_arch = "x86_64", not(miri)))]
probe!(free_probe(_pointer: usize), "free", "8@%rdi", FREE_WATCHERS, [], []);
#[cfg(all(target_arch = "aarch64", not(miri)))]
probe!(
    alloc_probe(_pointer: usize, _size: usize, _weighted_bytes: u64, _frame: usize),
    "alloc", "8@x0 8@x1 8@x2", ALLOC_WATCHERS,
    ["stp x29, x30, [sp, #-16]!", ".cfi_def_cfa_offset 16", ".cfi_offset x29, -16",
     ".cfi_offset x30, -8", "mov x29, x3"],
    ["ldp x29, x30, [sp], #16", ".cfi_def_cfa_offset 0", ".cfi_restore x29", ".cfi_restore x30"]
);
#[cfg(all(target_arch = "aarch64", not(miri)))]
probe!(free_probe(_pointer: usize), "free", "8@x0", FREE_WATCHERS, [], []);

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;
    use std::vec::Vec;

    use super::*;

    /// Returns a number of `N` little-endian bytes at a place of the file.
    fn number<const N: usize>(file: &[u8], at: usize) -> usize {
        let bytes = file[at..at + N].iter().rev();
        bytes.fold(0, |number, &byte| number << 8 | usize::from(byte))
    }

    /// Returns the text up to the next zero.
    fn text(bytes: &[u8]) -> String {
        let bytes = bytes.iter().take_while(|&&byte| byte != 0).copied();
        String::from_utf8(bytes.collect()).expect("ASCII")
    }

    /// Returns the place, the address and the length of a section of an ELF file.
    fn section(file: &[u8], name: &str) -> (usize, usize, usize) {
        let (table, names) = (number::<8>(file, 40), number::<2>(file, 62));
        let header = |index: usize| table + index * 64;
        let names = number::<8>(file, header(names) + 24);
        let mut headers = (0..number::<2>(file, 60)).map(header);
        let found = headers.find(|&at| text(&file[names + number::<4>(file, at)..]) == name);
        let at = found.unwrap_or_else(|| panic!("no section {name}"));
        (number::<8>(file, at + 24), number::<8>(file, at + 16), number::<8>(file, at + 32))
    }

    #[test]
    fn notes_tell_where_the_probes_and_their_semaphores_are() {
        // Keeps the linker from dropping the probes.
        alloc(1, 2, 3, &[]);
        free(1);
        let file = std::fs::read("/proc/self/exe").expect("the test is a file");
        let (mut at, _, bytes) = section(&file, ".note.stapsdt");
        let (_, base, _) = section(&file, ".stapsdt.base");
        let end = at + bytes;
        let mut notes = Vec::new();
        while at < end {
            assert_eq!([number::<4>(&file, at), number::<4>(&file, at + 8)], [8, 3]);
            let (bytes, place) = (number::<4>(&file, at + 4), at + 12);
            assert_eq!(&file[place..place + 8], b"stapsdt\0");
            let [probe, old_base, semaphore] =
                [8, 16, 24].map(|offset| number::<8>(&file, place + offset));
            assert_eq!(old_base, base);
            let parts = file[place + 32..place + 8 + bytes].split(|&byte| byte == 0);
            let parts: Vec<String> = parts.take(3).map(text).collect();
            notes.push((parts, probe, semaphore));
            at = place + 8 + bytes.next_multiple_of(4);
        }
        notes.sort();
        let places = if cfg!(target_arch = "x86_64") {
            ["8@%rdi 8@%rsi 8@%rdx", "8@%rdi"]
        } else {
            ["8@x0 8@x1 8@x2", "8@x0"]
        };
        // The file is mapped at some distance from its addresses.
        let functions = [alloc_probe as *const () as usize, free_probe as *const () as usize];
        let moved = functions[1].wrapping_sub(notes[1].1);
        // The probe `alloc` is behind instructions of a few bytes.
        let before = [notes[0].1.wrapping_add(moved).wrapping_sub(functions[0]), 0];
        assert!(before[0] < 16, "{before:?}");
        let watchers = [&raw const ALLOC_WATCHERS as usize, &raw const FREE_WATCHERS as usize];
        for index in 0..2 {
            let (parts, probe, semaphore) = &notes[index];
            let expected = ["otel_memory", ["alloc", "free"][index], places[index]];
            assert_eq!(*parts, expected);
            assert_eq!(probe.wrapping_add(moved), functions[index] + before[index]);
            assert_eq!(semaphore.wrapping_add(moved), watchers[index]);
        }
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn a_chain_of_frames_has_the_stack() {
        let mut chain = Chain([[0; 2]; FRAMES]);
        assert_eq!(chain.link(&[]), 0);
        let mut frame = chain.link(&[7, 8, 9]);
        for expected in [7, 8, 9] {
            let place = core::ptr::with_exposed_provenance::<[usize; 2]>(frame);
            // SAFETY: a frame of the chain, which is not changed meanwhile.
            let [caller, return_address] = unsafe { *place };
            assert_eq!(return_address, expected);
            // The kernel of aarch64 wants callers at higher addresses.
            assert!(caller > frame || expected == 9);
            frame = caller;
        }
        assert_eq!(frame, 0);
        let long: Vec<usize> = (1..=2 * FRAMES).collect();
        chain.link(&long);
        assert_eq!(chain.0[FRAMES - 1], [0, FRAMES]);
    }

    #[test]
    fn a_semaphore_above_0_asks_for_samples() {
        assert!(!are_watched());
        for watchers in [&ALLOC_WATCHERS, &FREE_WATCHERS] {
            watchers.store(1, Ordering::Relaxed);
            assert!(are_watched());
            alloc(1, 2, 3, &[4, 5]);
            free(1);
            watchers.store(0, Ordering::Relaxed);
        }
        assert!(!are_watched());
    }
}
