//! Sampled guards of the process: the handler of SIGSEGV, and the report of a misuse.
//!
//! The handler is installed after the first guarded block, and again over a handler that the
//! program installed since. Each action of SIGSEGV that it replaces gets a handler function of its
//! own, which never stands for another action. So a program may save and restore actions as it
//! likes, and pass signals on to the one that it saved.
//!
//! A fault at an address of the guards is reported. Then the default action is set and the
//! instruction faults again, so a core file shows the faulty access itself. For any other fault the
//! handler restores the action that it replaced and returns; the instruction then faults again as
//! if there were no guards, until the next guarded block.
//!
//! Nothing here allocates or takes a lock of the heap. The report is written line by line, so that
//! a small signal stack loses the end of it at most.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::fmt::Write;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

use super::signal::action_of;
use super::{existing_heap, maps, profile, shut, signal};
use crate::base::fixed_buffer::FixedBuffer;
use crate::heap::Heap;
use crate::os::linux::Linux;
use crate::os::syscall::syscall;
use crate::os::{fatal, held, thread};
use crate::profiler::guards::{Event, Guards, Kind, Misuse};
use crate::profiler::table::FRAMES;

/// How many actions of SIGSEGV the handler can replace. Those of a program beyond them stay.
const ACTIONS: usize = 8;
/// How long a second thread that faults waits for the end of the process, in milliseconds.
const PATIENCE_MS: u32 = 2000;

/// The action that one handler function replaced.
struct Replaced {
    is_set: AtomicBool,
    action: UnsafeCell<MaybeUninit<libc::sigaction>>,
}

// SAFETY: the action is written once, by the thread that holds `IS_INSTALLING`, and read only after
// `is_set` was seen.
unsafe impl Sync for Replaced {}

static REPLACED: [Replaced; ACTIONS] = [const {
    Replaced { is_set: AtomicBool::new(false), action: UnsafeCell::new(MaybeUninit::uninit()) }
}; ACTIONS];

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

const HANDLERS: [Handler; ACTIONS] = [
    on_fault::<0>,
    on_fault::<1>,
    on_fault::<2>,
    on_fault::<3>,
    on_fault::<4>,
    on_fault::<5>,
    on_fault::<6>,
    on_fault::<7>,
];

static IS_INSTALLING: AtomicBool = AtomicBool::new(false);
static IS_REPORTING: AtomicBool = AtomicBool::new(false);

impl Replaced {
    fn get(&self) -> Option<&libc::sigaction> {
        // Acquire pairs with the release store in `set`.
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        let place = self.action.get();
        // SAFETY: the action was written before `is_set`, and is never written again.
        let action = unsafe { &*place };
        // SAFETY: as above.
        Some(unsafe { action.assume_init_ref() })
    }

    /// Stores the action. The caller holds [`IS_INSTALLING`] and has seen that there is none.
    fn set(&self, action: libc::sigaction) {
        let place = self.action.get();
        // SAFETY: nobody reads the place before `is_set`, and one thread writes it.
        unsafe { place.write(MaybeUninit::new(action)) };
        // Release pairs with the acquire load in `get`.
        self.is_set.store(true, Ordering::Release);
    }
}

/// Starts to guard sampled blocks. If the system has no memory for that, a line on stderr says so.
pub(super) fn begin(heap: &Heap<Linux>) {
    profile::prepare(heap);
    if heap.start_guards().is_err() {
        let mut line = FixedBuffer::<128>::new();
        // Writing to a `FixedBuffer` never fails.
        let _ = line.write_str("hz3: HZ3_GUARD=1: no memory for guards; guarding no block\n");
        line.print();
    }
}

/// Installs the handler if blocks were guarded, and reports the misuse that the last call noted.
/// Called after a slow path, with no lock held.
#[cold]
#[inline(never)]
pub(super) fn attend(heap: &Heap<Linux>) {
    let guards = heap.profile().guards();
    if let Some(misuse) = guards.take_misuse() {
        if IS_REPORTING.swap(true, Ordering::Relaxed) {
            wait_for_the_end();
        }
        print_head(guards, &misuse, "");
        let mut frames = [0; FRAMES];
        print_stacks(guards, &misuse, heap.profile().stack(&mut frames), 1);
        fatal::end();
    }
    install();
}

/// Installs the handler unless it is the present one.
fn install() {
    // Another thread does it. Acquire pairs with the release store below.
    if IS_INSTALLING.swap(true, Ordering::Acquire) {
        return;
    }
    if let Some(present) = action_of(libc::SIGSEGV)
        && !HANDLERS.iter().any(|&handler| handler as usize == present.sa_sigaction)
    {
        handle(&present);
    }
    // Release pairs with the acquire swap above.
    IS_INSTALLING.store(false, Ordering::Release);
}

/// In a forked child: the thread that may have been installing the handler is not in this process.
pub(super) fn forget_other_threads() {
    if IS_INSTALLING.load(Ordering::Relaxed) {
        IS_INSTALLING.store(false, Ordering::Relaxed);
    }
}

/// Installs the handler function that stands for the action `present`.
fn handle(present: &libc::sigaction) {
    let is_it = |known: &libc::sigaction| {
        known.sa_sigaction == present.sa_sigaction && known.sa_flags == present.sa_flags
    };
    // The entries are filled in order, so the first empty one ends the search.
    let number = REPLACED.iter().position(|replaced| replaced.get().is_none_or(is_it));
    let Some((replaced, handler)) = number.map(|number| (&REPLACED[number], HANDLERS[number]))
    else {
        return;
    };
    if replaced.get().is_none() {
        replaced.set(*present);
    }
    // Keeps the program's signal mask and stack. The handler must outlast one signal.
    let mut action = *present;
    action.sa_sigaction = handler as usize;
    action.sa_flags = (action.sa_flags | libc::SA_SIGINFO | libc::SA_ONSTACK) & !libc::SA_RESETHAND;
    signal::replace(libc::SIGSEGV, present, &action);
}

/// Handler function number `N` of SIGSEGV.
extern "C" fn on_fault<const N: usize>(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: the kernel passes a description, or a handler of the program's passes it on.
    let description = unsafe { &*info };
    let is_fault = description.si_code > 0;
    // SAFETY: a fault has an address. For other signals it is not used.
    let address = unsafe { description.si_addr() }.addr();
    if is_fault
        && let Some(heap) = existing_heap()
        && let Some(misuse) = heap.profile().guards().fault_at(address)
    {
        report_fault(heap, &misuse, context);
        set_default();
        return;
    }
    if let Some(action) = REPLACED[N].get() {
        // SAFETY: the action was the program's.
        unsafe { libc::sigaction(signal, core::ptr::from_ref(action), core::ptr::null_mut()) };
    }
    if !is_fault {
        // The signal was sent. It is blocked now, and comes again after the return.
        let (process, thread) = (super::process::id() as usize, thread::id() as usize);
        let number = signal.cast_unsigned() as usize;
        let arguments = [process, thread, number, info.expose_provenance(), 0, 0];
        // SAFETY: the kernel reads the description of the signal.
        let _refused = unsafe { syscall(libc::SYS_rt_tgsigqueueinfo, arguments) };
    }
}

/// Sets the default action of SIGSEGV, which ends the process.
fn set_default() {
    // SAFETY: all zeros is a valid action, the default.
    let action: libc::sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: as above.
    unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, core::ptr::null_mut()) };
}

/// Waits while another thread reports a misuse and ends the process.
fn wait_for_the_end() {
    let never = core::sync::atomic::AtomicU32::new(0);
    thread::sleep(&never, 0, PATIENCE_MS);
}

#[cold]
fn report_fault(heap: &Heap<Linux>, misuse: &Misuse, context: *mut c_void) {
    if IS_REPORTING.swap(true, Ordering::Relaxed) {
        wait_for_the_end();
        return;
    }
    // A handler of the program's that runs from now on must not wait for a lock.
    held::begin_operation();
    let (pc, access) = interrupted(context);
    let guards = heap.profile().guards();
    print_head(guards, misuse, access);
    let mut frames = [0; FRAMES];
    let stack = heap.profile().stack(&mut frames);
    // The frames before that of the access are the handler's.
    let skipped = stack.iter().position(|&frame| frame == pc).unwrap_or(0);
    print_stacks(guards, misuse, &stack[skipped..], 0);
}

/// Converts a register to `usize`, which has as many bits.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn to_usize(register: u64) -> usize {
    usize::try_from(register).unwrap_or(0)
}

/// Returns the address of the instruction that a signal interrupted, and what its access was.
fn interrupted(context: *mut c_void) -> (usize, &'static str) {
    let context: *mut libc::ucontext_t = context.cast();
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the kernel passes the context of the interrupted code.
        let registers = unsafe { &(*context).uc_mcontext.gregs };
        let [pc, error] = [libc::REG_RIP, libc::REG_ERR].map(|register| {
            let register = usize::try_from(register).ok().and_then(|at| registers.get(at));
            register.map_or(0, |&value| to_usize(value.cast_unsigned()))
        });
        // Bit 1 of the processor's error code of a page fault.
        (pc, if error & 2 == 0 { "read" } else { "write" })
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: the kernel passes the context of the interrupted code.
        let pc = unsafe { (*context).uc_mcontext.pc };
        (to_usize(pc), "access")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        (0, "access")
    }
}

/// Prints the line that says what happened; `access` is the kind of a faulting access.
fn print_head(guards: &Guards, misuse: &Misuse, access: &str) {
    let record = guards.record(misuse.place);
    let what = match misuse.kind {
        Kind::Overflow => "heap overflow",
        Kind::Underflow => "heap underflow",
        Kind::UseAfterFree => "use after free",
        Kind::DoubleFree => "double free",
        Kind::NotABlock => "free of an address that is no block",
        Kind::WrittenBehind => "heap overflow, found at the free: written",
        Kind::WrittenBefore => "heap underflow, found at the free: written",
    };
    let colon = if access.is_empty() { "" } else { ": " };
    let (start, size, address) = (record.start(), record.size(), misuse.address);
    let state = if shows_free(guards, misuse) { "freed " } else { "" };
    let offset = address.wrapping_sub(start).cast_signed();
    let mut line = FixedBuffer::<512>::new();
    // Writing to a `FixedBuffer` never fails.
    let _ = write!(line, "hz3: {what}{colon}{access} at {address:#x}, offset {offset} ");
    let _ = writeln!(line, "of a {state}block of {size} bytes at {start:#x}");
    line.print();
}

/// Prints the stacks of the misuse, the allocation and the free. The first address of `stack` lies
/// `before` bytes behind the code that it stands for.
fn print_stacks(guards: &Guards, misuse: &Misuse, stack: &[usize], before: usize) {
    let record = guards.record(misuse.place);
    print_stack("misused by", thread::id(), stack.iter().copied(), before);
    let print = |what, event: &Event| print_stack(what, event.thread(), event.stack(), 1);
    print("allocated by", &record.allocated);
    if shows_free(guards, misuse) {
        print("freed by", &record.freed);
    }
}

/// Returns whether the block was freed before the misuse. Damage is found during the free.
fn shows_free(guards: &Guards, misuse: &Misuse) -> bool {
    let is_found_at_free = matches!(misuse.kind, Kind::WrittenBehind | Kind::WrittenBefore);
    guards.record(misuse.place).is_freed() && !is_found_at_free
}

fn print_stack(what: &str, thread: u32, stack: impl Iterator<Item = usize>, before: usize) {
    let mut line = FixedBuffer::<512>::new();
    // Writing to a `FixedBuffer` never fails.
    let _ = writeln!(line, "hz3: {what} thread {thread}:");
    line.print();
    for (at, address) in stack.enumerate() {
        let mut line = FixedBuffer::<512>::new();
        let _ = maps::describe_code(address, if at == 0 { before } else { 1 }, &mut line);
        line.print();
    }
}

/// Reports a misuse that a call noted which no slow path follows.
#[inline]
pub(super) fn poll(heap: &Heap<Linux>) {
    if heap.profile().guards().take_notice() && !shut::is_shut() {
        attend(heap);
    }
}
