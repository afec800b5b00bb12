//! The unwinder: the return addresses on the calling thread's stack.
//!
//! It follows the unwind tables (DWARF call frame information, `.eh_frame`), and frame pointers
//! where code has no tables. It allocates nothing, takes no lock and calls nothing that takes one,
//! so it works in signal handlers, during `dlopen` and beside a `fork`.
//!
//! It does not fault, whatever the stack and the tables contain. Before it reads a page it asks the
//! kernel whether the page is readable ([`memory`]). Another thread could unload an object between
//! that question and the read. But an object with a frame on this stack is in use, and its program
//! must not unload it. So only a return address that is not one, on a corrupt stack, can lead to
//! such an object, and within nanoseconds of its end.
//!
//! Each frame costs a search for its object and a hit in a table of rules ([`cache`]), or a walk
//! through the tables on a miss. Returned addresses come innermost first. The address of a frame
//! that a signal interrupted is that of its next instruction, all others are return addresses.

mod cache;
mod capture;
mod expression;
mod maps;
mod memory;
mod objects;
mod reader;
mod registers;
mod rows;
mod rule;
mod signal;
mod step;
mod tables;
#[cfg(test)]
mod tests;

use registers::Registers;

/// Writes the return addresses on the calling thread's stack into `frames`, innermost first, and
/// returns their number. The first one lies in the caller.
///
/// It uses 3 KiB of stack on x86-64, and up to 5 KiB on aarch64.
#[inline(always)]
pub(crate) fn walk(frames: &mut [usize]) -> usize {
    capture::walk(frames)
}

/// Returns the first address of the object that contains an address, and one past the last; `None`
/// if the loader cannot tell.
pub(crate) fn loaded_object(address: usize) -> Option<(usize, usize)> {
    let object = objects::by_loader(address).ok().flatten()?;
    Some((object.start, object.end))
}

/// Follows the stack from `registers` on. [`capture`] calls it.
fn walk_from(registers: &Registers, frames: &mut [usize]) -> usize {
    let memory = memory::OwnMemory::new(registers.stack_pointer());
    let process = step::Process {
        memory: &memory,
        objects: |pc| objects::find(&memory, pc),
        rules: &cache::RULES,
        period: cache::period(),
    };
    step::walk(&process, registers, frames)
}
