//! RPC over HTTP: PDUs behind the banner that servers send a proxy ([MS-RPCH] 2.1.1.2.1 and 2.1.2.2.1 Legacy Server
//! Response), or behind the HTTP heads of version 2 ([MS-RPCH] 2.1.2.1 Client to Inbound or Outbound Proxy), whose two
//! channels are two connections.

use dcom_parsers::rpce;

use crate::flow::{BANNER, Side, Sides, StreamEvent};
use crate::rpc::{Association, Handling};

/// What is kept for one connection.
#[derive(Debug, Default)]
pub struct Channel {
    association: Option<Box<Association>>,
    sides: Sides<Text>,
}

/// What stands before the PDUs of one side.
#[derive(Debug)]
enum Text {
    /// PDUs, a banner or an HTTP head may start here; too few bytes of it to tell.
    Start(Vec<u8>),
    /// In an HTTP head, or in a body that is none of ours, with so many bytes of an empty line seen.
    Head(usize),
    /// Only PDUs from here on.
    Over,
}

impl Default for Text {
    fn default() -> Self {
        Self::Start(Vec::new())
    }
}

impl Channel {
    /// Bytes of unfinished PDUs and of stubs.
    pub(super) fn held(&self) -> usize {
        self.association.as_ref().map_or(0, |association| association.held())
    }
}

/// What ends an HTTP head.
const EMPTY_LINE: &[u8; 4] = b"\r\n\r\n";

impl Text {
    /// Steps over text; gives the PDUs behind it.
    fn strip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut pending = match self {
            Self::Start(held) => std::mem::take(held),
            Self::Head(_) | Self::Over => Vec::new(),
        };
        pending.extend_from_slice(bytes);
        let mut rest = &pending[..];
        loop {
            match self {
                Self::Start(_) => match rpce::recognise(rest) {
                    rpce::Prefix::Header(_) => *self = Self::Over,
                    _ if rest.starts_with(BANNER) => {
                        rest = &rest[BANNER.len()..];
                        *self = Self::Over;
                    }
                    rpce::Prefix::TooShort => {
                        *self = Self::Start(rest.to_vec());
                        return Vec::new();
                    }
                    rpce::Prefix::Foreign if BANNER.starts_with(rest) => {
                        *self = Self::Start(rest.to_vec());
                        return Vec::new();
                    }
                    rpce::Prefix::Foreign => *self = Self::Head(0),
                },
                Self::Head(seen) => {
                    let Some((&byte, behind)) = rest.split_first() else {
                        return Vec::new();
                    };
                    rest = behind;
                    *seen = match (byte == EMPTY_LINE[*seen], byte) {
                        (true, _) => *seen + 1,
                        (false, b'\r') => 1,
                        (false, _) => 0,
                    };
                    if *seen == EMPTY_LINE.len() {
                        *self = Self::Start(Vec::new());
                    }
                }
                Self::Over => return rest.to_vec(),
            }
        }
    }
}

impl Channel {
    /// Takes in what the stream brings.
    pub fn push(&mut self, event: StreamEvent<'_>, handling: &mut Handling<'_>) {
        let stripped;
        let event = match event {
            StreamEvent::Data { at, side, bytes } if !matches!(self.sides[side], Text::Over) => {
                stripped = self.sides[side].strip(bytes);
                if stripped.is_empty() {
                    return;
                }
                let bytes = &stripped;
                StreamEvent::Data { at, side, bytes }
            }
            StreamEvent::Gap { side, .. } if !matches!(self.sides[side], Text::Over) => {
                self.lose(side);
                return;
            }
            other => other,
        };
        let association = match (&mut self.association, event) {
            (Some(association), _) => association,
            (None, StreamEvent::Data { .. }) => self.association.insert(Box::default()),
            // There never was a PDU.
            (None, _) => return,
        };
        association.push(event, handling);
    }

    /// Bytes of the text are lost: what comes behind them may be anything.
    fn lose(&mut self, side: Side) {
        self.sides[side] = Text::Head(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PDU: &[u8; 24] = &[
        5, 0, 20, 3, 16, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    /// The PDUs behind some text, which comes in pieces of every size.
    fn stripped(stream: &[u8]) -> Vec<u8> {
        let whole = Text::default().strip(stream);
        for size in 1..stream.len() {
            let mut text = Text::default();
            let pieces: Vec<u8> = stream.chunks(size).flat_map(|piece| text.strip(piece)).collect();
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn a_banner_is_stepped_over() {
        assert_eq!(stripped(&[&BANNER[..], PDU, PDU].concat()), [&PDU[..], PDU].concat());
    }

    #[test]
    fn heads_and_the_bodies_of_refusals_are_stepped_over() {
        let refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\n<p>no</p>";
        let success = b"HTTP/1.1 200 Success\r\nContent-Length: 1073741824\r\n\r\n";
        assert_eq!(stripped(&[&refusal[..], success, PDU].concat()), PDU);
        let asked = b"RPC_IN_DATA /rpc/rpcproxy.dll?a:593 HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            stripped(&[&asked[..], asked, PDU, PDU].concat()),
            [&PDU[..], PDU].concat()
        );
    }
}
