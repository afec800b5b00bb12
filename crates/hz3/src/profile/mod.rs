//! The profile: which code holds the memory.

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
#[expect(unsafe_code, reason = "reads stacks and unwind tables")]
mod unwind;
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
#[path = "unwind/absent.rs"]
mod unwind;
