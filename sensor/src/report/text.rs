//! Text out of events, as a page may show it.

use serde_json::Value;

use crate::emit::console::printable;

/// So many bytes of text are kept whole.
const MAX_BYTES: usize = 64 << 20;
/// When these are used up, each text is cut to so many characters.
const MAX_AFTERWARDS: usize = 40;

/// Lengths in characters.
pub(super) const NAME: usize = 200;
pub(super) const SENTENCE: usize = 600;
pub(super) const COMMAND: usize = 8_000;
pub(super) const SCRIPT: usize = 16_000;

/// Takes text in: cut to a length, and with what would hide or reorder other text spelled out.
#[derive(Debug)]
pub(super) struct Texts {
    left: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Self { left: MAX_BYTES }
    }
}

impl Texts {
    /// One line.
    pub(super) fn line(&mut self, text: &str, most: usize) -> String {
        let most = if self.left == 0 { most.min(MAX_AFTERWARDS) } else { most };
        let taken = cut(&printable(text), most);
        self.left = self.left.saturating_sub(taken.len());
        taken
    }

    /// Several lines, as a script has.
    pub(super) fn block(&mut self, text: &str, most: usize) -> String {
        let most = if self.left == 0 { most.min(MAX_AFTERWARDS) } else { most };
        let text = text.replace("\r\n", "\n").replace('\t', "    ");
        let lines: Vec<_> = text.split('\n').map(printable).collect();
        let taken = cut(&lines.join("\n"), most);
        self.left = self.left.saturating_sub(taken.len());
        taken
    }

    /// What stands at a place of an event, if it is text or a number.
    pub(super) fn at(&mut self, event: &Value, place: &str, most: usize) -> Option<String> {
        match event.pointer(place)? {
            Value::String(text) => Some(self.line(text, most)),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(is) => Some(is.to_string()),
            _ => None,
        }
    }

    /// The same, of a list: so many at most.
    pub(super) fn list(&mut self, event: &Value, place: &str, longest: usize, most: usize) -> Vec<String> {
        let Some(list) = event.pointer(place).and_then(Value::as_array) else {
            return self.at(event, place, most).into_iter().collect();
        };
        let mut taken: Vec<String> = list
            .iter()
            .filter_map(|element| self.at(element, "", most))
            .take(longest)
            .collect();
        if list.len() > longest {
            taken.push(format!("… and {} more", list.len() - longest));
        }
        taken
    }

    /// Keys and values of an object, whatever they are called.
    pub(super) fn pairs(&mut self, event: &Value, place: &str) -> Vec<(String, String)> {
        let Some(object) = event.pointer(place) else {
            return Vec::new();
        };
        let Some(object) = object.as_object() else {
            return self
                .at(object, "", SENTENCE)
                .map(|text| (String::new(), text))
                .into_iter()
                .collect();
        };
        object
            .iter()
            .take(24)
            .filter_map(|(key, value)| Some((self.line(key, NAME).replace('_', " "), self.at(value, "", COMMAND)?)))
            .collect()
    }
}

/// Says how much is not there.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => {
            let (kept, rest) = text.split_at(end);
            format!("{kept}… (and {} more characters)", rest.chars().count())
        }
    }
}

/// A number with its noun; thousands are set apart.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut all = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            all.push(',');
        }
        all.push(digit);
    }
    all
}

/// `a, b and c`.
pub(super) fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_cut_and_what_hides_is_spelled_out() {
        let mut texts = Texts::default();
        assert_eq!(texts.line("a\u{202e}b\nc", 80), "a\\u{202e}b\\u{0a}c");
        assert_eq!(texts.block("a\r\n\tb\u{2066}", 80), "a\n    b\\u{2066}");
        assert_eq!(texts.line("abcdef", 4), "abcd… (and 2 more characters)");
        let event = json!({"list": ["a", {}, 7, "b"], "one": "x"});
        assert_eq!(texts.list(&event, "/list", 3, 9), ["a", "7", "b", "… and 1 more"]);
        assert_eq!(texts.list(&event, "/one", 3, 9), ["x"]);
        assert!(texts.list(&event, "/none", 3, 9).is_empty());
    }

    #[test]
    fn when_the_room_is_used_up_texts_are_short() {
        let mut texts = Texts { left: 50 };
        assert_eq!(texts.line(&"x".repeat(60), 100).len(), 60);
        assert!(
            texts
                .line(&"x".repeat(60), 100)
                .starts_with(&format!("{}… (and 20", "x".repeat(40)))
        );
    }

    #[test]
    fn numbers_read_well() {
        let told = [0, 999, 1_000, 12_345_678].map(grouped);
        assert_eq!(told, ["0", "999", "1,000", "12,345,678"]);
        assert_eq!(listed(&["a".to_owned(), "b".to_owned(), "c".to_owned()]), "a, b and c");
    }
}
