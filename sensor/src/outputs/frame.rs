//! What stands around a line on its way.

/// What stands before a line, and whether a line feed ends it.
pub(super) struct Frame {
    before: Vec<u8>,
    line_feed: bool,
}

impl Frame {
    pub(super) fn new(before: &str, line_feed: bool) -> Self {
        Self {
            before: before.as_bytes().to_vec(),
            line_feed,
        }
    }

    /// Adds the line to `out`, as it is sent.
    pub(super) fn put(&self, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        if self.line_feed {
            out.push(b'\n');
        }
    }
}
