//! A stream cut into PDUs. The one place that knows how long a PDU is, and that finds the next one after damage.
//!
//! INVARIANT: which PDUs come out depends on the bytes of the stream alone, never on how they were cut into pieces.

use dcom_parsers::rpce::{CommonHeader, Prefix, has_usual_representation, recognise_next};

use crate::capture::At;

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framed<'a> {
    /// A whole PDU, with the frame that carries its last byte.
    Pdu(At, CommonHeader, &'a [u8]),
    /// A PDU of which bytes are missing: what there is of its start, with the frame that carries the last of it.
    Damaged(At, CommonHeader, &'a [u8]),
    /// Bytes that are no PDU, where one had to start.
    Junk(At),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What comes next starts a PDU, or goes on with the one in the buffer.
    Aligned,
    /// So many bytes of a damaged PDU are still to come.
    Skipping(u64),
    /// It is not known where the next PDU starts.
    Lost,
}

/// One direction of a connection. Holds less than one PDU: 64 KiB.
#[derive(Debug)]
pub(super) struct Framer {
    state: State,
    buffer: Vec<u8>,
    /// The frame that brought the last byte in the buffer.
    latest: At,
    /// The data representation of the last header.
    representation: [u8; 4],
}

impl Default for Framer {
    fn default() -> Self {
        Self {
            state: State::Aligned,
            buffer: Vec::new(),
            latest: At::default(),
            representation: [0; 4],
        }
    }
}

/// Room that is made at once for a PDU that is not whole: as much as those that most implementations send.
const RESERVED: usize = 8 << 10;

impl Framer {
    /// Takes the next bytes of the stream in.
    pub(super) fn data(&mut self, at: At, mut bytes: &[u8], out: &mut dyn FnMut(Framed<'_>)) {
        self.latest = at;
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Skipping(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.skip(left, skipped as u64);
                    &bytes[skipped..]
                }
                State::Aligned if self.buffer.is_empty() => self.whole(at, bytes, out),
                State::Aligned => self.continued(at, bytes, out),
                State::Lost if self.buffer.is_empty() => self.search(bytes),
                State::Lost => {
                    // The last bytes may start a header that ends in these: look at them together.
                    let mut joined = std::mem::take(&mut self.buffer);
                    joined.extend_from_slice(bytes);
                    let rest = self.search(&joined);
                    let found = joined.len() - rest.len();
                    if self.state == State::Lost {
                        return;
                    }
                    return self.data(at, &joined[found..], out);
                }
            };
        }
    }

    /// So many bytes of the stream will never come.
    pub(super) fn gap(&mut self, bytes: u64, out: &mut dyn FnMut(Framed<'_>)) {
        match self.state {
            State::Skipping(left) if bytes <= left => self.skip(left, bytes),
            State::Aligned => {
                let buffer = std::mem::take(&mut self.buffer);
                self.state = State::Lost;
                if let Prefix::Header(header) = recognise_next(&buffer) {
                    out(Framed::Damaged(self.latest, header, &buffer));
                    let left = u64::from(header.frag_length) - buffer.len() as u64;
                    if bytes <= left {
                        self.skip(left, bytes);
                    }
                }
            }
            State::Skipping(_) | State::Lost => {
                self.buffer.clear();
                self.state = State::Lost;
            }
        }
    }

    /// Is it unknown where the next PDU starts, and so how many were not seen?
    pub(super) fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// The room that an unfinished PDU takes.
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Gives the unfinished PDU up, to save memory; the stream goes on behind it.
    pub(super) fn give_up(&mut self, out: &mut dyn FnMut(Framed<'_>)) {
        let buffer = std::mem::take(&mut self.buffer);
        if let (State::Aligned, Prefix::Header(header)) = (self.state, recognise_next(&buffer)) {
            out(Framed::Damaged(self.latest, header, &buffer));
            self.skip(u64::from(header.frag_length), buffer.len() as u64);
        } else {
            self.state = State::Lost;
        }
    }

    fn skip(&mut self, left: u64, bytes: u64) {
        self.state = if left == bytes {
            State::Aligned
        } else {
            State::Skipping(left - bytes)
        };
    }

    /// A PDU starts here. When all of it is here, it is handed on without being copied.
    fn whole<'a>(&mut self, at: At, bytes: &'a [u8], out: &mut dyn FnMut(Framed<'_>)) -> &'a [u8] {
        match recognise_next(bytes) {
            Prefix::Header(header) => {
                self.representation.copy_from_slice(&bytes[4..8]);
                if let Some((pdu, rest)) = bytes.split_at_checked(header.frag_length.into()) {
                    out(Framed::Pdu(at, header, pdu));
                    return rest;
                }
                self.buffer
                    .reserve_exact(usize::from(header.frag_length).min(RESERVED).max(bytes.len()));
                self.buffer.extend_from_slice(bytes);
                &[]
            }
            Prefix::TooShort => {
                self.buffer.extend_from_slice(bytes);
                &[]
            }
            Prefix::Foreign => {
                out(Framed::Junk(at));
                self.state = State::Lost;
                bytes
            }
        }
    }

    /// Goes on with the PDU in the buffer.
    fn continued<'a>(&mut self, at: At, bytes: &'a [u8], out: &mut dyn FnMut(Framed<'_>)) -> &'a [u8] {
        let wanted = match recognise_next(&self.buffer) {
            Prefix::Header(header) => header.frag_length.into(),
            _ => CommonHeader::LENGTH,
        };
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.buffer.len()));
        self.buffer.extend_from_slice(taken);
        let next = recognise_next(&self.buffer);
        if let Prefix::Header(_) = next {
            self.representation.copy_from_slice(&self.buffer[4..8]);
        }
        match next {
            Prefix::Header(header) if self.buffer.len() == usize::from(header.frag_length) => {
                // Connections are many, and most of them silent: none keeps room that it has no use for.
                let pdu = std::mem::take(&mut self.buffer);
                out(Framed::Pdu(at, header, &pdu));
            }
            Prefix::Header(_) | Prefix::TooShort => {}
            Prefix::Foreign => {
                out(Framed::Junk(at));
                self.state = State::Lost;
            }
        }
        rest
    }

    /// Looks for the next header; keeps what may be the start of one.
    fn search<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        for (index, _) in bytes.iter().enumerate().filter(|&(_, &byte)| byte == 5) {
            let header = &bytes[index..];
            match recognise_next(header) {
                // It has to look like one that anybody sends, or like those that came before.
                Prefix::Header(_)
                    if !has_usual_representation(header) && !header[4..].starts_with(&self.representation) => {}
                Prefix::Header(_) => {
                    self.state = State::Aligned;
                    return header;
                }
                Prefix::TooShort => {
                    self.buffer.extend_from_slice(header);
                    return &[];
                }
                Prefix::Foreign => {}
            }
        }
        &[]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pdu(call_id: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![5, 0, 0, 3, 0x10, 0, 0, 0, length, 0, 0, 0, call_id, 0, 0, 0];
        bytes.resize(length.into(), call_id);
        bytes
    }

    /// Plays pieces (None for a gap) and writes down what comes out.
    fn play(pieces: &[Result<&[u8], u64>]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut framer = Framer::default();
        for (frame, piece) in pieces.iter().enumerate() {
            let mut out = |framed: Framed<'_>| {
                lines.push(match framed {
                    Framed::Pdu(at, header, bytes) => format!("{} {} {}", at.frame, header.call_id, bytes.len()),
                    Framed::Damaged(_, header, _) => format!("damaged {}", header.call_id),
                    Framed::Junk(_) => "junk".to_owned(),
                });
            };
            match piece {
                Ok(bytes) => framer.data(
                    At {
                        frame: frame as u64,
                        ..At::default()
                    },
                    bytes,
                    &mut out,
                ),
                Err(gap) => framer.gap(*gap, &mut out),
            }
        }
        lines
    }

    #[test]
    fn pdus_in_one_piece_and_across_pieces_are_cut_at_their_length() {
        let stream = [pdu(1, 30), pdu(2, 40), pdu(3, 50)].concat();
        assert_eq!(play(&[Ok(&stream)]), ["0 1 30", "0 2 40", "0 3 50"]);
        assert_eq!(
            play(&[Ok(&stream[..35]), Ok(&stream[35..71]), Ok(&stream[71..])]),
            ["0 1 30", "1 2 40", "2 3 50"]
        );
    }

    #[test]
    fn after_a_gap_inside_a_pdu_the_next_one_is_found_by_its_length() {
        let stream = [pdu(1, 60), pdu(2, 40)].concat();
        assert_eq!(
            play(&[Ok(&stream[..20]), Err(20), Ok(&stream[40..])]),
            ["damaged 1", "2 2 40"]
        );
        assert_eq!(
            play(&[Ok(&stream[..20]), Err(40), Ok(&stream[60..])]),
            ["damaged 1", "2 2 40"]
        );
    }

    #[test]
    fn after_a_gap_across_pdus_the_next_one_is_found_by_its_look() {
        let stream = [pdu(1, 60), pdu(2, 60), pdu(3, 40)].concat();
        assert_eq!(
            play(&[Ok(&stream[..20]), Err(60), Ok(&stream[80..])]),
            ["damaged 1", "2 3 40"]
        );
    }

    #[test]
    fn what_the_receiver_passes_over_ends_no_stream() {
        let with = |reserved: u8, call_id: u8| {
            let mut bytes = pdu(call_id, 60);
            bytes[6] = reserved;
            bytes
        };
        let stream = [with(0, 1), with(7, 2), with(9, 3), with(9, 4), with(9, 5), with(0, 6)].concat();
        let all = ["0 1 60", "0 2 60", "0 3 60", "0 4 60", "0 5 60", "0 6 60"];
        assert_eq!(play(&[Ok(&stream)]), all);
        // After damage it takes one that is usual, or is like the last.
        assert_eq!(
            play(&[Ok(&stream[..20]), Err(60), Ok(&stream[80..])]),
            ["damaged 1", "2 6 60"]
        );
        for first in [140, 121] {
            let pieces = [
                Ok(&stream[..first]),
                Ok(&stream[first..140]),
                Err(60),
                Ok(&stream[200..]),
            ];
            let told = play(&pieces);
            assert_eq!(told[2..], ["damaged 3", "3 5 60", "3 6 60"], "{first}");
        }
        let junk = [&stream[..180], b"junk\x05\0\0\x03", &stream[180..]].concat();
        let all = ["0 1 60", "0 2 60", "0 3 60", "junk", "0 4 60", "0 5 60", "0 6 60"];
        assert_eq!(play(&[Ok(&junk)]), all);
    }

    #[test]
    fn a_pdu_given_up_is_stepped_over() {
        let stream = [pdu(1, 60), pdu(2, 40)].concat();
        let mut lines = Vec::new();
        let mut framer = Framer::default();
        let mut out = |framed: Framed<'_>| {
            lines.push(match framed {
                Framed::Pdu(_, header, _) => header.call_id,
                Framed::Damaged(_, header, _) => 100 + header.call_id,
                Framed::Junk(_) => 0,
            });
        };
        framer.data(At::default(), &stream[..50], &mut out);
        framer.give_up(&mut out);
        framer.data(At::default(), &stream[50..], &mut out);
        assert_eq!((lines, framer.held()), (vec![101, 2], 0));
    }

    #[test]
    fn junk_is_named_once_and_stepped_over() {
        let stream = [pdu(1, 30), b"HTTP/1.1 \x05 200 \x05\x00".to_vec(), pdu(2, 40)].concat();
        assert_eq!(play(&[Ok(&stream)]), ["0 1 30", "junk", "0 2 40"]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lengths in proptest::collection::vec(24_u8..80, 1..8),
            junk in proptest::collection::vec(prop_oneof![Just(5_u8), Just(0), any::<u8>()], 0..40),
            cuts in proptest::collection::vec(0_usize..600, 0..20),
            bytewise: bool,
        ) {
            let mut stream = pdu(99, 30);
            stream.extend(&junk);
            for (index, &length) in lengths.iter().enumerate() {
                stream.extend(pdu(u8::try_from(index).unwrap(), length));
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            if bytewise {
                cuts = (0..=stream.len()).collect();
            }
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| Ok(&stream[cut[0]..cut[1]])).collect();
            let strip = |lines: Vec<String>| -> Vec<String> {
                lines.into_iter().map(|line| line.split_once(' ').map_or(line.clone(), |(_, rest)| rest.to_owned())).collect()
            };
            prop_assert_eq!(strip(play(&pieces)), strip(play(&[Ok(&stream)])));
        }
    }
}
