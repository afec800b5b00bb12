//! Programs in C and C++ on `libhz3.so` and `libhz3.a`.
//!
//! One small program in `tests/c` answers one question. It prints what failed, and "ok" if nothing
//! did; here it is compiled, run, and held to its answer. No test depends on the time it takes:
//! a watchdog ends what hangs.

mod guard;
mod handlers;
mod harness;

mod attack;
mod cxx;
mod dlopen;
mod early;
mod environment;
mod exhaustion;
mod exports;
mod family;
mod foreign;
mod fork_alone;
mod fork_siblings;
mod fork_storm;
mod fork_threads;
mod invisible;
mod limit;
mod linked;
mod metrics;
mod misuse;
mod options;
mod page;
mod probes;
mod profile;
mod refused;
mod signals;
mod termination;
mod threads;
mod trim;
mod utilization;
