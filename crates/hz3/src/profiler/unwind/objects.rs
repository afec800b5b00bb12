//! Finds the object of an address: the program, a library or the kernel's vDSO.

use core::ffi::{c_int, c_void};

use crate::os::weak::weak_address;

use super::maps;
use super::memory::Memory;
use super::tables::Object;

/// glibc's `struct dl_find_object`, with room for fields of later versions.
#[repr(C)]
struct Found {
    flags: u64,
    start: usize,
    end: usize,
    link_map: usize,
    /// The address of `.eh_frame_hdr`.
    header: usize,
    reserved: [u64; 11],
}

/// The loader has no function that finds objects.
#[derive(Debug)]
pub(super) struct NoFunction;

type FindObject = unsafe extern "C" fn(*mut c_void, *mut Found) -> c_int;

/// Returns the object that contains the address, if it has unwind tables.
pub(super) fn find<M: Memory>(memory: &M, pc: usize) -> Option<Object> {
    by_loader(pc).unwrap_or_else(|NoFunction| maps::find(memory, pc))
}

/// Asks glibc (since 2.35), whose function is made for unwinders: it takes no lock, and works in
/// signal handlers.
pub(super) fn by_loader(pc: usize) -> Result<Option<Object>, NoFunction> {
    let address = weak_address!("_dl_find_object");
    // SAFETY: the address is 0 or that of glibc's function of this name.
    let find = unsafe { core::mem::transmute::<usize, Option<FindObject>>(address) };
    let find = find.ok_or(NoFunction)?;
    let mut found = Found { flags: 0, start: 0, end: 0, link_map: 0, header: 0, reserved: [0; 11] };
    let place = core::ptr::without_provenance_mut(pc);
    // SAFETY: the function takes any address, and fills the structure if it returns 0.
    let result = unsafe { find(place, &raw mut found) };
    let is_found = result == 0 && found.header != 0;
    Ok(is_found.then_some(Object { start: found.start, end: found.end, header: found.header }))
}
