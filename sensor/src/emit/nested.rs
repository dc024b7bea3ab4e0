//! JSON objects whose members are named by dotted paths, as in eve.json, for forms that put some of our paths into an object
//! of theirs. Times are ISO 8601 with `Z`.

use super::{json, number};
use crate::event::record::{Column, Value, Visit};
use crate::time::Timestamp;

/// An object that is being written.
pub(super) struct Nested<'o> {
    out: &'o mut Vec<u8>,
    /// The dotted path of the object within it that is open; empty when none is.
    open: String,
}

impl<'o> Nested<'o> {
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            open: String::new(),
        }
    }

    /// Writes a member whose path is the column's behind `prefix`. Unset and empty ones are left out.
    pub(super) fn column(&mut self, prefix: &str, column: &'static Column, value: Value<'_>) {
        if let Some(path) = column.eve
            && !value.is_empty()
        {
            self.path(&format!("{prefix}{path}"));
            write(self.out, json::NO_KEY, value);
        }
    }

    /// Opens the object that a path stands in, and writes its name.
    fn path(&mut self, path: &str) {
        let (object, name) = path.rsplit_once('.').unwrap_or(("", path));
        self.enter(object);
        json::name(self.out, name);
    }

    /// Closes and opens objects until the one at `object` is open.
    fn enter(&mut self, object: &str) {
        let within = |open: &str| {
            let rest = object.strip_prefix(open);
            open.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        while !within(&self.open) {
            let outer = self.open.rfind('.').unwrap_or_default();
            self.open.truncate(outer);
            json::close(self.out, b'}');
            self.out.push(b',');
        }
        let opened = self.open.len();
        for name in object[opened..].split('.').filter(|name| !name.is_empty()) {
            json::name(self.out, name);
            self.out.push(b'{');
        }
        self.open.push_str(&object[opened..]);
    }

    pub(super) fn end(mut self) {
        self.enter("");
        json::close(self.out, b'}');
    }
}

fn write(out: &mut Vec<u8>, key: &[u8], value: Value<'_>) {
    match value {
        Value::Time(time) => json::quoted(out, key, |out| utc(out, time)),
        // Milliseconds with three decimals, as in eve.json.
        Value::Interval(interval) => json::bare(out, key, |out| number::thousandths(out, interval.0 / 1_000)),
        Value::List(elements) => json::bare(out, key, |out| json::list(out, elements, write)),
        Value::Object(record) => json::bare(out, key, |out| object(out, record)),
        Value::Counters(counters) => json::bare(out, key, |out| {
            let mut object = Nested::begin(out);
            for &(name, count) in counters {
                object.path(name);
                number::whole(object.out, count);
                object.out.push(b',');
            }
            object.end();
        }),
        value => json::plain(out, key, value),
    }
}

fn object(out: &mut Vec<u8>, record: &dyn Visit) {
    let mut object = Nested::begin(out);
    record.visit(&mut |column: &'static Column, value| object.column("", column, value));
    object.end();
}

/// `2020-07-18T23:10:02.061141Z`.
fn utc(out: &mut Vec<u8>, time: Timestamp) {
    number::time(out, time);
    // In place of `+0000`.
    out.truncate(out.len() - 5);
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_objects() {
        let mut out = Vec::new();
        let mut object = Nested::begin(&mut out);
        for path in ["a", "b.c", "b.d.e", "b.d.f", "b.g", "bb.c", "b2.x.y.z"] {
            object.path(path);
            object.out.extend_from_slice(b"1,");
        }
        object.end();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":1,"b":{"c":1,"d":{"e":1,"f":1},"g":1},"bb":{"c":1},"b2":{"x":{"y":{"z":1}}}}"#
        );
    }

    #[test]
    fn times_end_in_z() {
        let mut out = Vec::new();
        write(
            &mut out,
            json::NO_KEY,
            Value::Time(Timestamp::new(1_595_113_802, 61_141_999)),
        );
        assert_eq!(out, br#""2020-07-18T23:10:02.061141Z","#);
    }
}
