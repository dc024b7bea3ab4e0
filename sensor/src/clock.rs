//! The order and the time of frames, which both halves go by: which frame it is, what is due before it.

use crate::capture::At;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::worker::Place;

/// Nanoseconds between two looks at what is due on connections that say nothing.
const TICK: i64 = 50_000_000;

/// Counts frames and follows their time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    continuation: i64,
    sequence: u64,
    first: Option<At>,
    last: At,
    /// When something is looked at next.
    next_tick: Timestamp,
}

/// What happens before a frame is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Time has come this far.
    Tick,
    /// It is of another time: what was on its way will not come.
    Settle,
}

impl Clock {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            continuation: limits.continuation,
            sequence: 0,
            first: None,
            last: At::default(),
            next_tick: Timestamp::default(),
        }
    }

    /// The next frame: its number among all, and what is due before it.
    #[inline]
    pub(crate) fn step(&mut self, at: At) -> (u64, Due) {
        self.sequence += 1;
        let apart = at.time.since(self.last.time);
        let due = if self.first.is_none() {
            self.first = Some(at);
            self.wind(at.time);
            Due::Nothing
        } else if at.input != self.last.input
            && self.continuation < i64::MAX
            && !(0..=self.continuation).contains(&apart)
        {
            // Another input, of another time.
            self.wind(at.time);
            Due::Settle
        } else if at.time >= self.next_tick {
            self.wind(at.time);
            Due::Tick
        } else {
            Due::Nothing
        };
        self.last = at;
        (self.sequence, due)
    }

    /// Time has come this far without a frame.
    pub(crate) fn idle(&mut self, now: Timestamp) -> Option<Place> {
        (self.first.is_some() && now >= self.next_tick).then(|| {
            self.wind(now);
            self.sequence += 1;
            self.place(now)
        })
    }

    /// Where the last frame stands.
    pub(crate) fn end(&self) -> Place {
        self.place(self.last.time)
    }

    /// Times of the first and the last frame.
    pub(crate) fn span(&self) -> (Timestamp, Timestamp) {
        (self.first.unwrap_or_default().time, self.last.time)
    }

    /// Whole seconds between them.
    pub(crate) fn uptime(&self) -> u64 {
        let (first, last) = self.span();
        u64::try_from(last.since(first) / 1_000_000_000).unwrap_or_default()
    }

    fn wind(&mut self, now: Timestamp) {
        self.next_tick = Timestamp(now.0.saturating_add(TICK));
    }

    fn place(&self, time: Timestamp) -> Place {
        Place {
            sequence: self.sequence,
            time,
        }
    }
}
