//! Frames that wait for the rest of their IP packet, and those that came after them: they are written in their order.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::capture::{At, Frame, Interface, LinkType};
use crate::time::Timestamp;

/// Bytes that are held, with what holding takes. Beyond it what has waited longest is left out.
const MOST_HELD: usize = 32 << 20;
/// What holding a frame takes beside its bytes.
const OVERHEAD: usize = 200;

/// Where a frame goes: the files, and between which hosts it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Where {
    pub(super) files: Vec<u32>,
    pub(super) pair: Option<(IpAddr, IpAddr)>,
    /// What is said of it beside what was noted.
    pub(super) comment: Option<String>,
}

/// A frame that is held.
#[derive(Debug)]
pub(super) struct Held {
    at: At,
    link_type: LinkType,
    bytes: Vec<u8>,
    original_length: u32,
    pub(super) interface: Interface,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    /// It belongs to a packet of this number, of which something is missing.
    Waits(u64),
    Goes(Where),
    Dropped,
}

/// The frames, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Held>,
    /// Place of the first frame in the order of all that were ever held.
    first: u64,
    /// Which frames wait for which packet.
    waiting: HashMap<u64, Vec<u64>>,
    held: usize,
    /// Fragments that were let go undecided.
    pub(super) left_out: u64,
}

impl Held {
    pub(super) fn frame(&self) -> Frame<'_> {
        Frame {
            at: self.at,
            link_type: self.link_type,
            bytes: &self.bytes,
            original_length: self.original_length,
        }
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// A frame whose place is known, behind others that wait.
    pub(super) fn push(&mut self, frame: &Frame<'_>, interface: &Interface, to: Where) {
        self.hold(frame, interface, Fate::Goes(to));
    }

    /// A frame with a part of that packet.
    pub(super) fn wait(&mut self, frame: &Frame<'_>, interface: &Interface, packet: u64) {
        let place = self.first + self.frames.len() as u64;
        self.waiting.entry(packet).or_default().push(place);
        self.hold(frame, interface, Fate::Waits(packet));
    }

    fn hold(&mut self, frame: &Frame<'_>, interface: &Interface, fate: Fate) {
        self.held += frame.bytes.len() + OVERHEAD;
        self.frames.push_back(Held {
            at: frame.at,
            link_type: frame.link_type,
            bytes: frame.bytes.to_vec(),
            original_length: frame.original_length,
            interface: interface.clone(),
            fate,
        });
    }

    /// That packet is a part of another one, which waits itself.
    pub(super) fn join(&mut self, inner: u64, outer: u64) {
        for place in self.waiting.remove(&inner).unwrap_or_default() {
            if let Some(held) = self.at(place) {
                held.fate = Fate::Waits(outer);
                self.waiting.entry(outer).or_default().push(place);
            }
        }
    }

    /// It is known where that packet goes, or that it goes nowhere.
    pub(super) fn decide(&mut self, packet: u64, to: Option<&Where>) {
        for place in self.waiting.remove(&packet).unwrap_or_default() {
            if let Some(held) = self.at(place) {
                held.fate = to.map_or(Fate::Dropped, |to| {
                    Fate::Goes(Where {
                        // That stands on the frame that made the packet whole.
                        comment: None,
                        ..to.clone()
                    })
                });
            }
        }
    }

    fn at(&mut self, place: u64) -> Option<&mut Held> {
        let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
        self.frames.get_mut(index)
    }

    /// The next frame whose place is known. What has waited since before `patience`, or for whom there is no room, is passed over.
    pub(super) fn next(&mut self, patience: Timestamp) -> Option<(Held, Where)> {
        loop {
            let front = self.frames.front_mut()?;
            let late = front.at.time < patience || self.held > MOST_HELD;
            match &mut front.fate {
                Fate::Waits(_) if !late => return None,
                Fate::Waits(packet) => {
                    // The places of its other frames stay: they are decided, or passed over, in their turn.
                    let packet = *packet;
                    let first = self.first;
                    if let Some(places) = self.waiting.get_mut(&packet) {
                        places.retain(|&place| place != first);
                        if places.is_empty() {
                            self.waiting.remove(&packet);
                        }
                    }
                    self.left_out += 1;
                    self.take();
                }
                Fate::Dropped => {
                    self.take();
                }
                Fate::Goes(to) => {
                    let to = std::mem::take(to);
                    return self.take().map(|held| (held, to));
                }
            }
        }
    }

    fn take(&mut self) -> Option<Held> {
        let held = self.frames.pop_front()?;
        self.first += 1;
        self.held -= held.bytes.len() + OVERHEAD;
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64) -> Frame<'static> {
        Frame {
            at: At {
                frame: number,
                time: Timestamp(i64::try_from(number).unwrap()),
                ..At::default()
            },
            link_type: LinkType(1),
            bytes: b"bytes",
            original_length: 5,
        }
    }

    fn interface() -> Interface {
        Interface {
            place: (0, 0),
            link_type: LinkType(1),
            snap_length: 0,
            name: None,
            description: None,
        }
    }

    fn drained(queue: &mut Queue, patience: i64) -> Vec<u64> {
        std::iter::from_fn(|| queue.next(Timestamp(patience)))
            .map(|(held, _)| held.frame().at.frame)
            .collect()
    }

    fn to() -> Where {
        Where {
            files: vec![0],
            ..Where::default()
        }
    }

    #[test]
    fn what_waits_holds_up_what_came_after_it_until_it_is_decided() {
        let mut queue = Queue::default();
        queue.wait(&frame(1), &interface(), 7);
        queue.push(&frame(2), &interface(), to());
        queue.wait(&frame(3), &interface(), 8);
        queue.wait(&frame(4), &interface(), 7);
        assert!(drained(&mut queue, 0).is_empty());
        queue.decide(7, Some(&to()));
        assert_eq!(drained(&mut queue, 0), [1, 2]);
        queue.decide(8, None);
        assert_eq!(drained(&mut queue, 0), [4]);
        assert!(queue.is_empty() && queue.held == 0 && queue.left_out == 0);
    }

    #[test]
    fn a_packet_in_a_packet_waits_with_it() {
        let mut queue = Queue::default();
        queue.wait(&frame(1), &interface(), 1);
        queue.wait(&frame(2), &interface(), 1);
        queue.join(1, 2);
        queue.decide(1, None);
        queue.decide(2, Some(&to()));
        assert_eq!(drained(&mut queue, 0), [1, 2]);
    }

    #[test]
    fn what_waits_too_long_is_left_out_and_counted() {
        let mut queue = Queue::default();
        for number in 1..=3 {
            queue.wait(&frame(number), &interface(), 7);
        }
        assert!(drained(&mut queue, 3).is_empty());
        assert_eq!(queue.left_out, 2);
        queue.decide(7, Some(&to()));
        assert_eq!(drained(&mut queue, 3), [3]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut queue = Queue::default();
        for number in 0..400_000 {
            queue.wait(&frame(number), &interface(), number);
            while queue.next(Timestamp(0)).is_some() {}
        }
        assert!(queue.held <= MOST_HELD && queue.left_out > 0);
        assert_eq!(queue.waiting.len(), queue.frames.len());
    }
}
