//! The arguments of a call as text: how a log shows them, whatever the call is.

/// The most characters shown of one argument: the longest command line that Windows runs.
pub const MAX_SHOWN: usize = 32_767;

/// `text`, cut at [`MAX_SHOWN`] characters; the cut is marked.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A row of arguments, put together one by one. Absent ones are left out.
#[derive(Debug, Default)]
pub(crate) struct Arguments(Vec<(&'static str, String)>);

impl Arguments {
    /// A string that may be absent.
    pub(crate) fn text(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.0.extend(value.map(|text| (name, shown(text))));
        self
    }

    /// A number that is read as bits.
    pub(crate) fn flags(mut self, name: &'static str, value: u32) -> Self {
        self.0.push((name, format!("{value:#x}")));
        self
    }

    /// Anything else that has a text.
    pub(crate) fn value(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.0.push((name, shown(&value.to_string())));
        self
    }

    /// Strings side by side, when there are any.
    pub(crate) fn list(mut self, name: &'static str, values: &[String]) -> Self {
        if !values.is_empty() {
            self.0.push((name, shown(&values.join(" "))));
        }
        self
    }

    /// The row.
    pub(crate) fn done(self) -> Vec<(&'static str, String)> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_argument_is_cut_between_characters_and_says_so() {
        let text = "ä".repeat(MAX_SHOWN + 1);
        let cut = shown(&text);
        assert_eq!(cut.chars().count(), MAX_SHOWN + 1);
        assert!(cut.ends_with("ä…"));
        assert_eq!(shown("cmd.exe"), "cmd.exe");
    }

    #[test]
    fn absent_arguments_are_left_out() {
        let row = Arguments::default()
            .text("a", None)
            .text("b", Some("x"))
            .list("c", &[])
            .flags("d", 16);
        assert_eq!(row.done(), vec![("b", "x".to_owned()), ("d", "0x10".to_owned())]);
    }
}
