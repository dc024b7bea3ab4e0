//! How long the end may take: whoever stops a service waits, and kills what does not end.

use std::time::{Duration, Instant};

/// So long what waited is told.
const MOST: Duration = Duration::from_millis(1_400);
/// A machine that is busy with other things may take so many times as long.
const SHARED: u32 = 4;
/// What so much takes tells what more will take.
const ENOUGH: usize = 2_000;

/// What there is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Everything,
    /// Where all of it would take too long, alerts come first.
    Alerts,
    Nothing,
}

/// The end, from when it was asked for on.
pub(super) struct Ending {
    began: Instant,
    /// What this thread had taken of the processor by then.
    used: Duration,
    pace: Pace,
}

impl Ending {
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            used: processor_time(),
            pace: Pace::default(),
        }
    }

    /// What there is time for while so much waits.
    ///
    /// It goes by how much of the processor was had, lest a busy machine cost logs; and by the clock, lest a slow disk take for
    /// ever.
    pub(super) fn left(&mut self, waiting: usize) -> Left {
        let used = processor_time().saturating_sub(self.used);
        self.pace.left(used.max(self.began.elapsed() / SHARED), waiting)
    }
}

/// How fast what waits becomes less.
#[derive(Default)]
struct Pace {
    /// How much of the time was gone the last time, how much waited then, and what was there time for?
    last: Option<(Duration, usize, Left)>,
    /// How long it took to write everything of so much.
    took: Duration,
    done: usize,
}

impl Pace {
    fn left(&mut self, gone: Duration, waiting: usize) -> Left {
        if let Some((before, waited, Left::Everything)) = self.last {
            self.took += gone.saturating_sub(before);
            self.done += waited.saturating_sub(waiting);
        }
        let rest = MOST.saturating_sub(gone);
        let is_known = self.done >= ENOUGH;
        let needed = self.took.as_nanos() * waiting as u128 / self.done.max(1) as u128;
        let left = if rest.is_zero() {
            Left::Nothing
        } else if is_known && needed > rest.as_nanos() {
            Left::Alerts
        } else {
            Left::Everything
        };
        self.last = Some((gone, waiting, left));
        left
    }
}

/// What this thread has taken of the processor.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // It was never set, and does not go back.
    Duration::try_from(used).unwrap_or_default()
}

/// Where it cannot be told, the clock alone counts.
#[cfg(not(target_os = "linux"))]
fn processor_time() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many there was no time for, of which nothing but alerts were written, and how long it took, when each takes so many
    /// microseconds, and its alerts alone the half.
    fn end(mut waiting: usize, each: u64) -> (usize, usize, Duration) {
        let (mut pace, mut gone, mut alerts_alone) = (Pace::default(), Duration::from_millis(100), 0);
        loop {
            let left = pace.left(gone, waiting);
            let slice = waiting.min(250);
            match left {
                _ if slice == 0 => return (0, alerts_alone, gone),
                Left::Nothing => return (waiting, alerts_alone, gone),
                Left::Everything => gone += Duration::from_micros(each * slice as u64),
                Left::Alerts => {
                    alerts_alone += slice;
                    gone += Duration::from_micros(each * slice as u64 / 2);
                }
            }
            waiting -= slice;
        }
    }

    #[test]
    fn alerts_come_first_where_there_is_no_time_for_everything() {
        assert_eq!(end(0, 20), (0, 0, Duration::from_millis(100)));
        assert_eq!(end(60_000, 20), (0, 0, Duration::from_millis(1_300)));
        // A little more than there is time for: no alert is missing, and the time is made use of.
        let (missing, alerts_alone, took) = end(80_000, 20);
        assert_eq!(missing, 0);
        assert!((10_000..40_000).contains(&alerts_alone), "{alerts_alone}");
        assert!(MOST.saturating_sub(took) < Duration::from_millis(50), "{took:?}");
        // More than there is time to look at.
        let (missing, alerts_alone, took) = end(200_000, 20);
        assert!((60_000..80_000).contains(&missing), "{missing}");
        assert!(alerts_alone > 120_000, "{alerts_alone}");
        assert!(took < MOST + Duration::from_millis(10), "{took:?}");
    }

    #[test]
    fn the_end_has_time_when_it_begins() {
        assert_eq!(Ending::begin().left(1_000_000), Left::Everything);
    }
}
