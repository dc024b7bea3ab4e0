//! The order and the time of frames, which both halves go by: which frame it is, what is due before it.

use crate::capture::At;
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::worker::Place;

/// Nanoseconds between two looks at what is due on connections that say nothing.
const TICK: i64 = 50_000_000;
/// Frames that stand so much out of their order, in nanoseconds, say nothing of the clock that gave their times.
const ORDER: i64 = 1_000_000_000;
/// A frame that is so far ahead of all before it, in nanoseconds, is not believed before a second one says the same.
const AHEAD: i64 = 10_000_000_000;
const DAY: i64 = 86_400_000_000_000;

/// Counts frames and follows their time.
///
/// What waits for something not to happen goes by [`At::steady`], which does not go back: clocks are set back, and captures
/// put one behind another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    continuation: i64,
    sequence: u64,
    first: Option<At>,
    last: At,
    /// How far steady time has come.
    now: Timestamp,
    /// By how many seconds it is ahead of the frames' own.
    set_back: u32,
    /// What the frames' own had come to before that, as long as it did not come there again.
    before: Option<Timestamp>,
    /// The time of the last frame, if it is far ahead of all before it.
    ahead: Option<Timestamp>,
    /// When something is looked at next.
    next_tick: Timestamp,
    /// The first input that begins before the one before it ends, behind that one.
    back: Option<[u32; 2]>,
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
            now: Timestamp::default(),
            set_back: 0,
            before: None,
            ahead: None,
            next_tick: Timestamp::default(),
            back: None,
        }
    }

    /// The next frame: its number among all, and what is due before it. Says how steady time stands to the frame's own.
    #[inline]
    pub(crate) fn step(&mut self, at: &mut At) -> (u64, Due) {
        self.sequence += 1;
        let apart = at.time.since(self.last.time);
        let due = if self.first.is_none() {
            self.first = Some(*at);
            self.begin(at.time);
            Due::Nothing
        } else if at.input != self.last.input
            && self.continuation < i64::MAX
            && !(0..=self.continuation).contains(&apart)
        {
            // Another input, of another time.
            if (-DAY..0).contains(&apart) {
                self.back.get_or_insert([self.last.input, at.input]);
            }
            self.begin(at.time);
            Due::Settle
        } else {
            let (set_back, is_due) = self.hear(at.time);
            at.set_back = set_back;
            if is_due { Due::Tick } else { Due::Nothing }
        };
        self.last = *at;
        (self.sequence, due)
    }

    /// Time has come this far without a frame.
    pub(crate) fn idle(&mut self, time: Timestamp) -> Option<Place> {
        self.first?;
        let (_, is_due) = self.hear(time);
        is_due.then(|| {
            self.sequence += 1;
            self.now()
        })
    }

    /// Where the last frame stands.
    pub(crate) fn end(&self) -> Place {
        Place {
            sequence: self.sequence,
            time: self.last.time,
            steady: self.now,
            set_back: self.set_back,
        }
    }

    /// How far time has come with the frame at hand.
    pub(crate) fn now(&self) -> Place {
        Place {
            sequence: self.sequence,
            time: self.own(),
            steady: self.now,
            set_back: self.set_back,
        }
    }

    /// Times of the first and the last frame.
    pub(crate) fn span(&self) -> (Timestamp, Timestamp) {
        (self.first.unwrap_or_default().time, self.last.time)
    }

    /// Two inputs of which the second begins before the first ends, if there are any: of one day, so that they may belong
    /// together.
    pub(crate) fn back(&self) -> Option<[u32; 2]> {
        self.back
    }

    /// Whole seconds between them.
    pub(crate) fn uptime(&self) -> u64 {
        let (first, last) = self.span();
        u64::try_from(last.since(first) / 1_000_000_000).unwrap_or_default()
    }

    /// By how many seconds the clock that says this was set back, and is it time to look at what is due?
    #[inline]
    fn hear(&mut self, time: Timestamp) -> (u32, bool) {
        let before = self.set_back;
        let set_back = self.follow(time);
        let is_due = self.now >= self.next_tick || self.set_back != before;
        if is_due {
            self.wind();
        }
        (set_back, is_due)
    }

    #[inline]
    fn follow(&mut self, time: Timestamp) -> u32 {
        if self.set_back == 0 && (-ORDER..=ORDER).contains(&time.since(self.now)) {
            self.ahead = None;
            self.now = self.now.max(time);
            return 0;
        }
        self.follow_far(time)
    }

    #[cold]
    fn follow_far(&mut self, time: Timestamp) -> u32 {
        if let Some(ahead) = self.ahead.take()
            && time.since(ahead) >= -ORDER
        {
            // Two say so.
            let set_back = self.set_back_at(ahead);
            self.believe(ahead, set_back);
        }
        let set_back = self.set_back_at(time);
        if time.later(set_back).since(self.now) > AHEAD {
            self.ahead = Some(time);
        } else {
            self.believe(time, set_back);
        }
        set_back
    }

    /// Steady time stands still where the frames' own goes back, and where it leaps to what it was before that.
    fn set_back_at(&self, time: Timestamp) -> u32 {
        let apart = time.later(self.set_back).since(self.now);
        if apart < -ORDER || (apart > ORDER && self.returns(time)) {
            u32::try_from((self.now.since(time) / 1_000_000_000).max(0)).unwrap_or(u32::MAX)
        } else {
            self.set_back
        }
    }

    fn believe(&mut self, time: Timestamp, set_back: u32) {
        if set_back > self.set_back {
            self.before = Some(self.own());
        } else if self.returns(time) {
            self.before = None;
        }
        self.set_back = set_back;
        self.now = self.now.max(time.later(set_back));
    }

    fn returns(&self, time: Timestamp) -> bool {
        self.before.is_some_and(|before| time.since(before) >= -ORDER)
    }

    /// Where the frames' own time stands.
    fn own(&self) -> Timestamp {
        let ahead = i64::from(self.set_back) * 1_000_000_000;
        Timestamp(self.now.0.saturating_sub(ahead))
    }

    fn begin(&mut self, time: Timestamp) {
        self.now = time;
        self.set_back = 0;
        self.before = None;
        self.ahead = None;
        self.wind();
    }

    fn wind(&mut self) {
        self.next_tick = Timestamp(self.now.0.saturating_add(TICK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where steady time stands after frames of these times, in milliseconds, and what their own is said to be behind by.
    fn steady(times: &[i64]) -> Vec<(i64, u32)> {
        let mut clock = Clock::new(&Limits::default());
        let mut step = |&time: &i64| {
            let mut at = At {
                time: Timestamp(time * 1_000_000),
                ..At::default()
            };
            clock.step(&mut at);
            (clock.now().steady.0 / 1_000_000, at.set_back)
        };
        times.iter().map(&mut step).collect()
    }

    #[test]
    fn time_that_is_set_back_goes_on_from_where_it_was() {
        assert_eq!(
            steady(&[500_000, 501_000, 201_000, 202_500, 203_000]),
            [
                (500_000, 0),
                (501_000, 0),
                (501_000, 300),
                (502_500, 300),
                (503_000, 300)
            ]
        );
        // Within seconds nothing is waited for, and a pause is one after that too.
        assert_eq!(
            steady(&[500_000, 200_700, 204_700, 264_700, 264_800]),
            [
                (500_000, 0),
                (500_000, 299),
                (503_700, 299),
                (503_700, 299),
                (563_800, 299)
            ]
        );
    }

    #[test]
    fn one_frame_far_ahead_is_not_believed_and_two_are() {
        let late = 7_200_000;
        assert_eq!(
            steady(&[1_000, 1_100, late, 1_200, late, 1_300]),
            [(1_000, 0), (1_100, 0), (1_100, 0), (1_200, 0), (1_200, 0), (1_300, 0)]
        );
        assert_eq!(
            steady(&[1_000, late, late + 60_000, late + 60_001]),
            [(1_000, 0), (1_000, 0), (late, 0), (late + 60_001, 0)]
        );
        // It came too late to be believed, and what follows is where time was.
        assert_eq!(steady(&[1_000, late, late, 1_300, 1_400]).last(), Some(&(late, 7_198)));
    }

    #[test]
    fn frames_of_two_clocks_do_not_make_time_run() {
        for apart in [1_050, 4_500, 5_000, 90_300] {
            let times: Vec<i64> = (0..1_000)
                .map(|number| 500_000 + number * 10 - if number % 4 < 2 { 0 } else { apart })
                .collect();
            let (now, _) = steady(&times).pop().unwrap();
            assert!((509_900..512_000).contains(&now), "{apart} {now}");
        }
    }

    #[test]
    fn another_input_of_another_time_begins_anew() {
        let mut clock = Clock::new(&Limits::default());
        let mut step = |seconds: i64, input: u32| {
            let time = Timestamp::new(seconds, 0);
            let mut at = At {
                time,
                input,
                ..At::default()
            };
            let (_, due) = clock.step(&mut at);
            (due, at.set_back)
        };
        assert_eq!(step(900, 0), (Due::Nothing, 0));
        assert_eq!(step(300, 0), (Due::Tick, 600));
        assert_eq!(step(200, 1), (Due::Settle, 0));
        assert_eq!(step(201, 1), (Due::Tick, 0));
    }

    #[test]
    fn who_has_no_frames_follows_a_clock_that_is_set_back() {
        let mut clock = Clock::new(&Limits::default());
        assert!(clock.idle(Timestamp::new(900, 0)).is_none(), "nothing has begun");
        clock.step(&mut At {
            time: Timestamp::new(900, 0),
            ..At::default()
        });
        clock.idle(Timestamp::new(600, 0));
        let place = clock.idle(Timestamp::new(605, 0)).unwrap();
        assert_eq!(
            (place.time, place.steady),
            (Timestamp::new(605, 0), Timestamp::new(905, 0))
        );
    }
}
