//! A timer that is finer than the runtime's, which counts milliseconds.

use std::io;
use std::time::Duration;

/// Ticks at a fixed interval, from when it is made.
#[derive(Debug)]
pub(crate) struct Ticks(inner::Ticks);

impl Ticks {
    /// # Errors
    /// When the system has no such timer left.
    pub(crate) fn every(interval: Duration) -> io::Result<Self> {
        inner::Ticks::every(interval).map(Self)
    }

    /// Waits for the next tick; one that was missed counts. May be dropped.
    ///
    /// # Errors
    /// When the timer does not work.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        self.0.next().await
    }
}

#[cfg(target_os = "linux")]
mod inner {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// A timer of the system's that the runtime waits for as for a socket.
    #[derive(Debug)]
    pub(super) struct Ticks(AsyncFd<OwnedFd>);

    impl Ticks {
        pub(super) fn every(interval: Duration) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            let interval = Timespec { tv_sec: interval.as_secs() as i64, tv_nsec: interval.subsec_nanos().into() };
            let each = Itimerspec { it_interval: interval, it_value: interval };
            timerfd_settime(&timer, TimerfdTimerFlags::empty(), &each)?;
            #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd keeps what that asks for")]
            AsyncFd::with_interest(timer, Interest::READABLE).map(Self)
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            let mut ready = self.0.readable_mut().await?;
            // How often it ticked, in eight bytes.
            let read = rustix::io::read(ready.get_inner(), &mut [0; 8]);
            ready.clear_ready();
            match read {
                Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod inner {
    use std::io;
    use std::time::Duration;

    #[derive(Debug)]
    pub(super) struct Ticks(tokio::time::Interval);

    impl Ticks {
        pub(super) fn every(interval: Duration) -> io::Result<Self> {
            Ok(Self(tokio::time::interval(interval)))
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            self.0.tick().await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_ticks_at_its_rate() {
        let began = Instant::now();
        let mut ticks = Ticks::every(Duration::from_micros(500)).unwrap();
        while began.elapsed() < Duration::from_millis(50) {
            ticks.next().await.unwrap();
            let due = Duration::from_micros(500);
            assert!(began.elapsed() >= due, "never early");
        }
    }
}
