//! Texts as events hold them: names that come again and again are held once, long ones are cut.

use std::sync::Arc;

use crate::hash::HashSet;
use crate::limits::host_log as limits;

/// The texts of one input.
#[derive(Debug, Default)]
pub(super) struct Texts {
    names: HashSet<Arc<str>>,
    /// How many were cut.
    pub(super) cut: u64,
}

impl Texts {
    /// A name: of a computer, an account, an image.
    pub(super) fn name(&mut self, text: &str) -> Arc<str> {
        if text.len() > limits::NAME {
            return self.text(text);
        }
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        if self.names.len() >= limits::NAMES {
            self.names.clear();
        }
        let name: Arc<str> = text.into();
        self.names.insert(name.clone());
        name
    }

    /// The name of a computer, of which there may be as many as records.
    pub(super) fn host(&mut self, text: &str) -> Arc<str> {
        let kept = self.up_to(limits::HOST, text);
        self.name(kept)
    }

    /// Anything else.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        self.up_to(limits::TEXT, text).into()
    }

    fn up_to<'t>(&mut self, bytes: usize, text: &'t str) -> &'t str {
        let mut end = bytes.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let kept = &text[..end];
        self.cut += u64::from(kept.len() < text.len());
        kept
    }
}
