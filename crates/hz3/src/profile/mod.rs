//! The profile: which code holds the memory.

#[cfg_attr(not(test), expect(dead_code, reason = "the profile will call it"))]
#[expect(unsafe_code, reason = "places probes and their semaphores")]
mod probes;
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
#[expect(unsafe_code, reason = "reads stacks and unwind tables")]
mod unwind;
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
#[path = "unwind/absent.rs"]
mod unwind;
