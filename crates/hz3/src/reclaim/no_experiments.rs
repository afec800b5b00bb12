//! In place of the experiments, in a build without them: there is none to configure.

use core::fmt::{self, Write};

use super::pass::Passes;
use super::source::Layers;
use super::tick::Next;
use crate::cache::OwnCache;
use crate::cache::below::Below;
use crate::options::Config;
use crate::os::Os;
use crate::stats::Stats;

/// No value.
#[derive(Debug)]
pub(super) enum Experiment {}

impl Experiment {
    pub(super) fn of(_config: &Config) -> Option<Experiment> {
        None
    }

    pub(super) fn take_due(&self, _own: OwnCache<'_>) -> bool {
        match *self {}
    }

    pub(super) fn tick<O: Os>(&self, _passes: &Passes, _layers: Layers<'_, O>) -> Next {
        match *self {}
    }

    pub(super) fn thread_ended<O: Os>(&self, _passes: &Passes, _below: Below<'_, O>) {
        match *self {}
    }

    pub(super) fn is_quiet<O: Os>(&self, _layers: Layers<'_, O>) -> bool {
        match *self {}
    }

    pub(super) fn report(&self, _stats: &mut Stats) {
        match *self {}
    }

    pub(super) fn forget_other_threads(&self) {
        match *self {}
    }

    pub(super) fn write_lines(&self, _out: &mut impl Write, _stats: &Stats) -> fmt::Result {
        match *self {}
    }
}
