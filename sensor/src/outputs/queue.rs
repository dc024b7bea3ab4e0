//! What waits for one output: bounded, so that one that takes nothing costs its own lines and nobody else's.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A line, shared among the outputs that it goes to.
pub(super) type Line = Arc<[u8]>;

/// Bytes that wait for one output; beyond it alerts alone are still taken.
pub(super) const MOST_WAITING: usize = 8 << 20;
/// How long a reader of captures waits for an output that is full to become half empty. One that does not is not waited
/// for again until it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// What keeping a line takes beside its bytes.
const OVERHEAD: usize = 64;

/// Is there time to wait for an output? Packets off a wire do not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Captures: they can be read more slowly.
    Patient,
    /// A wire.
    Live,
}

/// How many lines came to what. Those that are not told yet are what is offered without the others.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Lines that were to go there.
    pub(super) offered: AtomicU64,
    /// Those that went.
    pub(super) delivered: AtomicU64,
    /// Those that found no room, or that the other side refused.
    pub(super) dropped: AtomicU64,
    /// How often the output could not be reached or did not do what it should.
    pub(super) failures: AtomicU64,
    /// Is something wrong at the moment?
    pub(super) ill: AtomicBool,
}

impl Counts {
    pub(super) fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }

    pub(super) fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }

    /// Lines that neither went nor were dropped.
    pub(super) fn waiting(&self) -> u64 {
        // The greatest last: none is taken for waiting that went meanwhile.
        let gone = Self::get(&self.delivered) + Self::get(&self.dropped);
        Self::get(&self.offered).saturating_sub(gone)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Nothing more will come.
    Closing,
    /// Nobody waits for what is left.
    Abandoned,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    phase: Phase,
    /// The courier is gone.
    done: bool,
    /// How often it was asked to connect anew.
    renewals: u64,
    /// It was waited for in vain.
    given_up: bool,
}

/// Between those who tell and the thread that delivers.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to do for the thread.
    news: Condvar,
    /// There is room again.
    room: Condvar,
    most: usize,
    pub(super) counts: Counts,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            news: Condvar::new(),
            room: Condvar::new(),
            most,
            counts: Counts::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is counted is right whenever the lock is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, or counts that there was no room. `precious` ones find twice as much.
    pub(super) fn offer(&self, line: Line, precious: bool, pace: Pace) {
        Counts::add(&self.counts.offered, 1);
        let takes = line.len() + OVERHEAD;
        let most = if precious { 2 * self.most } else { self.most };
        let mut state = self.state();
        let full = |state: &State| !state.lines.is_empty() && state.bytes + takes > most;
        if full(&state) && pace == Pace::Patient && !state.given_up {
            let waited = self
                .room
                .wait_timeout_while(state, PATIENCE, |state| state.bytes > self.most / 2 && !state.done);
            let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.given_up = timeout.timed_out();
        }
        if full(&state) || state.done {
            drop(state);
            Counts::add(&self.counts.dropped, 1);
            return;
        }
        state.bytes += takes;
        state.lines.push_back(line);
        drop(state);
        self.news.notify_one();
    }

    /// Waits for lines, and takes so many at most. False when there will be none. True without any: it is to connect anew.
    pub(super) fn take(&self, most: usize, seen: u64, lines: &mut VecDeque<Line>) -> bool {
        let state = self.state();
        let idle = |state: &mut State| state.lines.is_empty() && state.phase == Phase::Open && state.renewals == seen;
        let mut state = self
            .news
            .wait_while(state, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Abandoned || (state.lines.is_empty() && state.phase == Phase::Closing) {
            return false;
        }
        let count = most.min(state.lines.len());
        let before = lines.len();
        lines.extend(state.lines.drain(..count));
        state.bytes -= lines.range(before..).map(|line| line.len() + OVERHEAD).sum::<usize>();
        if state.bytes <= self.most / 2 {
            state.given_up = false;
            drop(state);
            self.room.notify_all();
        }
        true
    }

    /// Waits before something is tried again, but for `respite`, which the other side asks for, less when somebody waits for
    /// the end; not at all when it is to connect anew. False when it is not to be tried again.
    pub(super) fn pause(&self, time: Duration, respite: Duration, seen: u64) -> bool {
        /// Those who wait for the end wait seconds: it is tried once more at once, then often enough, and not so often that
        /// what is tried a few times only is given up before they would.
        const AT_ONCE: Duration = Duration::from_millis(100);
        const HURRY: Duration = Duration::from_secs(1);
        let begin = Instant::now();
        let state = self.state();
        let hurry = if state.phase == Phase::Open { AT_ONCE } else { HURRY };
        let waits = |state: &mut State| state.phase == Phase::Open && state.renewals == seen;
        let waited = self.news.wait_timeout_while(state, time.max(respite), waits);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() || state.phase != Phase::Closing {
            return state.phase != Phase::Abandoned;
        }
        let time = time.min(hurry).max(respite.saturating_sub(begin.elapsed()));
        let waits = |state: &mut State| state.phase != Phase::Abandoned;
        let waited = self.news.wait_timeout_while(state, time, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.phase != Phase::Abandoned
    }

    /// Is it to connect anew, since this was asked last?
    pub(super) fn renewed(&self, seen: &mut u64) -> bool {
        let renewals = self.state().renewals;
        mem::replace(seen, renewals) != renewals
    }

    /// Asks it to connect anew.
    pub(super) fn renew(&self) {
        self.state().renewals += 1;
        self.news.notify_all();
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.state().phase = Phase::Closing;
        self.news.notify_all();
    }

    /// Nobody waits for what is left.
    pub(super) fn abandon(&self) {
        self.state().phase = Phase::Abandoned;
        self.news.notify_all();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.state().phase == Phase::Abandoned
    }

    /// The thread is gone.
    pub(super) fn end(&self) {
        self.state().done = true;
        self.room.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().done
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn line() -> Line {
        Arc::from([b'x'; 36])
    }

    fn counts(queue: &Queue) -> [u64; 3] {
        let counts = &queue.counts;
        [&counts.offered, &counts.delivered, &counts.dropped].map(Counts::get)
    }

    #[test]
    fn what_finds_no_room_is_counted_and_alerts_find_more() {
        let queue = Queue::new(1_000);
        for _ in 0..15 {
            queue.offer(line(), false, Pace::Live);
        }
        assert_eq!((counts(&queue), queue.bytes()), ([15, 0, 5], 1_000));
        for _ in 0..15 {
            queue.offer(line(), true, Pace::Live);
        }
        assert_eq!((counts(&queue), queue.bytes()), ([30, 0, 10], 2_000));
        let mut lines = VecDeque::new();
        assert!(queue.take(100, 0, &mut lines));
        assert_eq!((lines.len(), queue.bytes(), queue.counts.waiting()), (20, 0, 20));
    }

    #[test]
    fn a_line_longer_than_the_queue_goes_alone() {
        let queue = Queue::new(10);
        queue.offer(line(), false, Pace::Live);
        queue.offer(line(), false, Pace::Live);
        assert_eq!(counts(&queue), [2, 0, 1]);
    }

    #[test]
    fn captures_wait_for_an_output_that_is_slow_and_once_for_one_that_is_stuck() {
        let queue = Arc::new(Queue::new(1_000));
        let reader = Arc::clone(&queue);
        let thread = thread::spawn(move || {
            let mut lines = VecDeque::new();
            while reader.take(1, 0, &mut lines) {
                thread::sleep(Duration::from_millis(2));
            }
            lines.len()
        });
        for _ in 0..50 {
            queue.offer(line(), false, Pace::Patient);
        }
        queue.close();
        assert_eq!((thread.join().unwrap(), counts(&queue)), (50, [50, 0, 0]));

        let stuck = Queue::new(1_000);
        let start = Instant::now();
        for _ in 0..50 {
            stuck.offer(line(), false, Pace::Patient);
        }
        assert_eq!(counts(&stuck), [50, 0, 40]);
        assert!(start.elapsed() >= PATIENCE && start.elapsed() < 2 * PATIENCE);
    }

    #[test]
    fn a_pause_ends_when_it_is_to_connect_anew_or_to_end() {
        let queue = Arc::new(Queue::new(1_000));
        let long = Duration::from_secs(60);
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || {
            let none = Duration::ZERO;
            (
                other.pause(long, none, 0),
                other.renewed(&mut 0),
                other.pause(long, none, 1),
            )
        });
        thread::sleep(Duration::from_millis(20));
        queue.renew();
        thread::sleep(Duration::from_millis(20));
        queue.close();
        assert_eq!(thread.join().unwrap(), (true, true, true));
        queue.abandon();
        assert!(!queue.pause(long, long, 1));
        assert!(!queue.take(1, 1, &mut VecDeque::new()));
    }

    #[test]
    fn the_end_is_no_reason_to_press_who_asks_to_be_left_alone() {
        let queue = Queue::new(1_000);
        queue.close();
        let waited = |time: u64, respite: u64| {
            let begin = Instant::now();
            assert!(queue.pause(Duration::from_millis(time), Duration::from_millis(respite), 0));
            begin.elapsed().as_millis()
        };
        assert!((10..900).contains(&waited(10, 0)));
        assert!((1_000..5_000).contains(&waited(30_000, 0)));
        assert!((1_200..5_000).contains(&waited(30_000, 1_200)));
    }
}
