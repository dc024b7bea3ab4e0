//! One direction of an SMB connection, cut into messages. What nobody wants is stepped over without being kept.
//!
//! INVARIANT: which messages come out depends on the bytes of the stream alone, never on how they were cut into pieces.

use dcom_parsers::smb::{Block, Start, recognise};

use crate::capture::At;

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The start of a message of so many bytes, with the frame that brought it: is the rest of it wanted?
    Head(At, &'a [u8], usize),
    /// A whole message, with the frame that carries its last byte.
    Whole(At, &'a [u8]),
    /// A message of which the end is missing, or is given up: what there is of it.
    Cut(At, &'a [u8]),
    /// Bytes are lost, and with them the place where the next message starts.
    Lost(u64),
}

/// The answer to a [`Piece::Head`]; no other is heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What comes next starts a block, or goes on with the one in the buffer.
    Aligned,
    /// The same, and the block in the buffer is wanted.
    Wanted,
    /// So many bytes that nobody wants are still to come.
    Skipping(u64),
    /// It is not known where the next block starts.
    Lost,
}

/// One direction. Holds no more than one message.
#[derive(Debug)]
pub(super) struct Blocks {
    state: State,
    buffer: Vec<u8>,
    /// The frame that brought the last byte in the buffer.
    latest: At,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            state: State::Aligned,
            buffer: Vec::new(),
            latest: At::default(),
        }
    }
}

/// So many bytes tell whether a message is wanted: its header, its parameters, and the first of what it carries.
const HEAD: usize = 192;
/// So many tell that a block starts.
const START: usize = Block::LENGTH + 4;

type Out<'a> = &'a mut dyn FnMut(Piece<'_>) -> Verdict;

impl Blocks {
    /// Takes the next bytes of the stream in.
    pub(super) fn data(&mut self, at: At, mut bytes: &[u8], out: Out<'_>) {
        self.latest = at;
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Skipping(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.skip(left, skipped as u64);
                    &bytes[skipped..]
                }
                State::Aligned if self.buffer.is_empty() => self.start(at, bytes, out),
                State::Aligned | State::Wanted => self.continued(at, bytes, out),
                State::Lost if self.buffer.is_empty() => self.search(bytes),
                State::Lost => {
                    // The last bytes may start a block that goes on in these: look at them together.
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
    pub(super) fn gap(&mut self, bytes: u64, out: Out<'_>) {
        if let State::Skipping(left) = self.state
            && bytes <= left
        {
            return self.skip(left, bytes);
        }
        let left = self.give_up(out);
        if let Some(left) = left.filter(|&left| bytes <= left) {
            self.skip(left, bytes);
        } else {
            self.state = State::Lost;
            out(Piece::Lost(bytes));
        }
    }

    /// Bytes of an unfinished message.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Gives up the unfinished message, and steps over the rest of it. How long that is, where it is known.
    pub(super) fn give_up(&mut self, out: Out<'_>) -> Option<u64> {
        let buffer = std::mem::take(&mut self.buffer);
        let Start::Block(block) = recognise(&buffer) else {
            self.state = State::Lost;
            return None;
        };
        out(Piece::Cut(self.latest, &buffer[Block::LENGTH..]));
        let left = (Block::LENGTH + block.length - buffer.len()) as u64;
        self.skip(left, 0);
        Some(left)
    }

    fn skip(&mut self, left: u64, bytes: u64) {
        self.state = if left == bytes {
            State::Aligned
        } else {
            State::Skipping(left - bytes)
        };
    }

    /// A block starts here. When all of it is here, it is handed on without being copied.
    fn start<'a>(&mut self, at: At, bytes: &'a [u8], out: Out<'_>) -> &'a [u8] {
        match recognise(bytes) {
            Start::Block(block) => {
                if let Some((whole, rest)) = bytes.split_at_checked(Block::LENGTH + block.length) {
                    out(Piece::Whole(at, &whole[Block::LENGTH..]));
                    return rest;
                }
                if bytes.len() < HEAD || self.is_wanted(bytes, block, out) {
                    self.buffer.extend_from_slice(bytes);
                }
                &[]
            }
            Start::TooShort => {
                self.buffer.extend_from_slice(bytes);
                &[]
            }
            Start::Foreign => {
                self.state = State::Lost;
                bytes
            }
        }
    }

    /// Asks whether a message is wanted that starts with these bytes; if not, the rest of it is stepped over.
    fn is_wanted(&mut self, bytes: &[u8], block: Block, out: Out<'_>) -> bool {
        let verdict = out(Piece::Head(self.latest, &bytes[Block::LENGTH..], block.length));
        self.state = match verdict {
            Verdict::Keep => State::Wanted,
            Verdict::Skip => State::Skipping((Block::LENGTH + block.length - bytes.len()) as u64),
        };
        verdict == Verdict::Keep
    }

    /// Goes on with the block in the buffer.
    fn continued<'a>(&mut self, at: At, bytes: &'a [u8], out: Out<'_>) -> &'a [u8] {
        let wanted = match recognise(&self.buffer) {
            Start::Block(block) if self.state == State::Wanted => Block::LENGTH + block.length,
            Start::Block(block) => HEAD.min(Block::LENGTH + block.length),
            _ if self.buffer.len() < Block::LENGTH => Block::LENGTH,
            _ => START,
        };
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.buffer.len()));
        self.buffer.extend_from_slice(taken);
        match recognise(&self.buffer) {
            Start::Block(block) if self.buffer.len() == Block::LENGTH + block.length => {
                let buffer = std::mem::take(&mut self.buffer);
                self.state = State::Aligned;
                out(Piece::Whole(at, &buffer[Block::LENGTH..]));
            }
            Start::Block(block) if self.state == State::Aligned && self.buffer.len() == HEAD => {
                let mut buffer = std::mem::take(&mut self.buffer);
                if self.is_wanted(&buffer, block, out) {
                    buffer.reserve(Block::LENGTH + block.length - HEAD);
                    self.buffer = buffer;
                }
            }
            Start::Block(_) | Start::TooShort => {}
            Start::Foreign => self.state = State::Lost,
        }
        rest
    }

    /// Looks for the next message; keeps what may be the start of one.
    fn search<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let messages = bytes.iter().enumerate().filter(|&(_, &byte)| byte == Block::MESSAGE);
        for (index, _) in messages {
            match recognise(&bytes[index..]) {
                Start::Block(block) if block.length > 0 => {
                    self.state = State::Aligned;
                    return &bytes[index..];
                }
                Start::TooShort => {
                    self.buffer.extend_from_slice(&bytes[index..]);
                    return &[];
                }
                Start::Block(_) | Start::Foreign => {}
            }
        }
        &[]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message that starts with an SMB2 identifier and then says who it is.
    fn block(id: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        bytes.extend(b"\xfeSMB");
        bytes.resize(length + 4, id);
        bytes
    }

    /// Plays pieces (Err for a gap) and writes down what comes out. Messages of odd ids are not wanted.
    fn play(pieces: &[Result<&[u8], u64>]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut blocks = Blocks::default();
        let at = At::default();
        for piece in pieces {
            let mut out = |piece: Piece<'_>| {
                match piece {
                    Piece::Head(_, bytes, _) if bytes[4] % 2 == 1 => return Verdict::Skip,
                    Piece::Whole(_, bytes) if bytes.get(4).is_some_and(|id| id % 2 == 1) => {}
                    Piece::Head(..) => {}
                    Piece::Whole(_, bytes) => lines.push(format!("{:?} {}", bytes.get(4), bytes.len())),
                    Piece::Cut(_, bytes) => lines.push(format!("cut {} {}", bytes[4], bytes.len())),
                    Piece::Lost(bytes) => lines.push(format!("lost {bytes}")),
                }
                Verdict::Keep
            };
            match piece {
                Ok(bytes) => blocks.data(at, bytes, &mut out),
                Err(gap) => blocks.gap(*gap, &mut out),
            }
        }
        lines
    }

    #[test]
    fn messages_that_nobody_wants_are_stepped_over() {
        let stream = [block(2, 600), block(3, 5000), block(4, 40)].concat();
        let pieces: Vec<_> = stream.chunks(1000).map(Ok).collect();
        assert_eq!(play(&pieces), ["Some(2) 600", "Some(4) 40"]);
    }

    #[test]
    fn a_gap_in_what_nobody_wants_is_no_loss() {
        let stream = [block(3, 5000), block(4, 40)].concat();
        assert_eq!(
            play(&[Ok(&stream[..1000]), Err(3000), Ok(&stream[4000..])]),
            ["Some(4) 40"]
        );
    }

    #[test]
    fn a_gap_inside_a_message_cuts_it_and_one_beyond_loses_the_place() {
        let stream = [block(2, 600), block(4, 600), block(6, 40)].concat();
        let inside = [Ok(&stream[..300]), Err(100), Ok(&stream[400..])];
        assert_eq!(play(&inside), ["cut 2 296", "Some(4) 600", "Some(6) 40"]);
        let beyond = [Ok(&stream[..300]), Err(500), Ok(&stream[800..])];
        assert_eq!(play(&beyond), ["cut 2 296", "lost 500", "Some(6) 40"]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lengths in proptest::collection::vec((0_u8..8, 32_usize..900), 1..8),
            junk in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..40),
            cuts in proptest::collection::vec(0_usize..6000, 0..20),
            bytewise: bool,
        ) {
            let mut stream = vec![0x85, 0, 0, 0];
            stream.extend(block(2, 40));
            stream.extend(&junk);
            for (id, length) in lengths {
                stream.extend(block(id, length));
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            if bytewise {
                cuts = (0..=stream.len()).collect();
            }
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| Ok(&stream[cut[0]..cut[1]])).collect();
            prop_assert_eq!(play(&pieces), play(&[Ok(&stream)]));
        }
    }
}
