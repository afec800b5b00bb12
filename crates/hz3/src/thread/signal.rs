//! Handlers of signals, for programs that have none of their own.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::report_once;

/// Returns the present action of a signal.
pub(super) fn action_of(signal: c_int) -> Option<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the structure is valid for writing.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid action too.
    (asked == 0).then(|| unsafe { action.assume_init() })
}

/// Installs a handler if the signal still has its default action. Other handlers stay: those that
/// the program has, and those that it installs later, which replace this one.
///
/// Call it with no lock held. The handler is a function of an object that stays loaded.
pub(super) fn handle_unless_handled(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    let default = action_of(signal).filter(|action| action.sa_sigaction == libc::SIG_DFL);
    let Some(default) = default else { return };
    let mut action = default;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = flags;
    replace(signal, &default, &action);
}

/// Replaces the action `present` of a signal, unless the program has installed another handler
/// since it was read: that one stays.
///
/// Call it with no lock held. The handler is a function of an object that stays loaded.
pub(super) fn replace(signal: c_int, present: &libc::sigaction, action: &libc::sigaction) {
    let (mut expected, mut next) = (*present, *action);
    while let Some(replaced) = exchange(signal, &next)
        && replaced.sa_sigaction != expected.sa_sigaction
    {
        // Put back the program's action. It may have installed yet another one meanwhile.
        expected = core::mem::replace(&mut next, replaced);
    }
}

/// Sets the action of a signal and returns the one before; `None` if the system refuses.
fn exchange(signal: c_int, action: &libc::sigaction) -> Option<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both structures are valid. The caller of `replace` answers for the handler.
    let set = unsafe { libc::sigaction(signal, action, before.as_mut_ptr()) };
    // SAFETY: all zeros is a valid action too.
    (set == 0).then(|| unsafe { before.assume_init() })
}

/// Nanoseconds from the first update of the statistics page until SIGTERM is handled.
///
/// Language runtimes look at the signals when they start. If Python found this handler then, it
/// would count it as foreign, and its programs could not restore it.
const SETTLING_NS: u64 = 1_000_000_000;
/// The instant from which on SIGTERM is to be handled, of the monotonic clock: 0 before the first
/// update.
static SETTLED_NS: AtomicU64 = AtomicU64::new(0);
/// Whether SIGTERM is to be handled.
static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// Makes SIGTERM write the report before it ends a process that has no handler for it: from the
/// first update of the statistics page after its first second.
///
/// The report takes the heap's locks. If the signal interrupts an operation of the heap, there is
/// one line instead, so nothing waits for a lock that the interrupted code holds.
pub(super) fn report_at_termination() {
    IS_WANTED.store(true, Ordering::Relaxed);
}

/// Installs the handler of SIGTERM when its time has come. One thread at a time calls this, with no
/// lock held.
pub(super) fn poll(now_ns: u64) {
    if !IS_WANTED.load(Ordering::Relaxed) {
        return;
    }
    let settled_ns = SETTLED_NS.load(Ordering::Relaxed);
    if settled_ns == 0 {
        SETTLED_NS.store(now_ns + SETTLING_NS, Ordering::Relaxed);
    } else if now_ns >= settled_ns {
        IS_WANTED.store(false, Ordering::Relaxed);
        handle_unless_handled(libc::SIGTERM, report_and_end, libc::SA_RESETHAND);
    }
}

/// The handler of SIGTERM. The kernel has restored the default action before it runs.
extern "C" fn report_and_end(signal: c_int) {
    report_once();
    // The signal is blocked until the handler returns; then its default action ends the process.
    // SAFETY: raise has no precondition.
    unsafe { libc::raise(signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_the_program_installed_meanwhile_stays() {
        // No other test uses this signal.
        const SIGNAL: c_int = libc::SIGURG;
        extern "C" fn of_program(_signal: c_int) {}
        extern "C" fn own(_signal: c_int) {}
        let with = |handler: extern "C" fn(c_int), action: libc::sigaction| libc::sigaction {
            sa_sigaction: handler as *const () as usize,
            ..action
        };
        let handler = || action_of(SIGNAL).expect("an action").sa_sigaction;
        let default = action_of(SIGNAL).expect("an action");
        let (own, of_program) = (with(own, default), with(of_program, default));
        replace(SIGNAL, &default, &own);
        assert_eq!(handler(), own.sa_sigaction);
        exchange(SIGNAL, &of_program).expect("an action before");
        replace(SIGNAL, &default, &own);
        assert_eq!(handler(), of_program.sa_sigaction);
        exchange(SIGNAL, &default).expect("an action before");
    }
}
