//! One core for each side, where it matters which: latency.

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Core {
    /// Wherever the system puts it.
    Any,
    /// On the first core that this process may use.
    First,
    /// On the second; without one, on any.
    Second,
}

impl Core {
    /// Does something whose child processes run there. A system that does not
    /// let us choose is no error: the figures are then only less steady.
    #[cfg(target_os = "linux")]
    pub(super) fn hold<T>(self, start: impl FnOnce() -> T) -> T {
        let Ok(all) = sched_getaffinity(None) else { return start() };
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        let core = match self {
            Self::Any => None,
            Self::First => cores.next(),
            Self::Second => cores.nth(1),
        };
        let Some(core) = core else { return start() };
        let mut one = CpuSet::new();
        one.set(core);
        let _ = sched_setaffinity(None, &one);
        let result = start();
        let _ = sched_setaffinity(None, &all);
        result
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn hold<T>(self, start: impl FnOnce() -> T) -> T {
        start()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_started_inside_is_held_to_a_core() {
        let before = sched_getaffinity(None).unwrap();
        let inside = Core::First.hold(|| sched_getaffinity(None).unwrap());
        assert_eq!(inside.count(), 1);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        assert_eq!(Core::Any.hold(|| sched_getaffinity(None).unwrap()), before);
    }
}
