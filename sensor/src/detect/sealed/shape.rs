//! What the lengths of sealed calls tell of the names in them.
//!
//! A sealed stub cannot be read, but its padding is told in clear, so its length is exact. Of `GetIDsOfNames` everything
//! but the name has one length, so the stub's length tells the name's to within one character; of an `Invoke` that
//! passes nothing, the whole has. IPIDs and opnums stand in clear.

use dcom_parsers::guid::Ipid;
use dcom_parsers::ndr::Encoding;

use crate::catalog::{Catalog, Class};
use crate::event::meta::Place;

/// A sealed call of `IDispatch`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub place: Place,
    pub object: Ipid,
    pub operation: Operation,
    pub length: u32,
    pub reply: Option<u32>,
    /// Is it the first of its interface on its connection? Then what vouches for the bind may stand behind its stub.
    pub first: bool,
}

/// [MS-OAUT] 3.1.4 `IDispatch` Server Details: the operations that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `GetIDsOfNames` (Opnum 5).
    Lookup,
    /// `Invoke` (Opnum 6).
    Invoke,
}

/// Lengths of what is always there.
struct Layout {
    /// A request of [MS-OAUT] 3.1.4.3 `IDispatch::GetIDsOfNames` with one name, without the name's characters.
    lookup: u32,
    /// The reply to it: one number.
    looked_up: u32,
    /// A request of [MS-OAUT] 3.1.4.4 `IDispatch::Invoke` that passes nothing.
    invoke: u32,
}

/// Without extensions of ORPCTHIS and ORPCTHAT ([MS-DCOM] 2.2.13.3, 2.2.13.4).
fn layout(encoding: Encoding) -> Layout {
    match encoding {
        Encoding::Ndr20 => Layout {
            lookup: 76,
            looked_up: 20,
            invoke: 88,
        },
        Encoding::Ndr64 => Layout {
            lookup: 104,
            looked_up: 32,
            invoke: 120,
        },
    }
}

/// Bytes of the answer that tells the number of one name.
pub(super) fn looked_up(encoding: Encoding) -> u32 {
    layout(encoding).looked_up
}

/// [MS-RPCE] 2.2.2.13 Verification Trailer, with the commands that clients send: the bind's contexts, with or without a
/// bitmask and a copy of the header.
const TRAILERS: [u32; 5] = [0, 52, 60, 72, 80];
/// More than this is no extension of ORPCTHIS, but arguments.
const MOST_EXTENSION: u32 = 256;
/// The least answer that can hold a reference to an object ([MS-DCOM] 2.2.18.4 `OBJREF_STANDARD`, in a variant). One that
/// holds nothing has 80 bytes, or 116 from Windows.
pub(super) const OBJECT: u32 = 160;

/// Names of this length are rare.
pub(super) const LONG: usize = 16;

/// How well calls fit what a class leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Properties are read one from the other, so many as on the path, and what the last gives is called with as many
    /// arguments; no name was looked up.
    Unnamed,
    /// Names that fit the path's first, at least two and not all.
    Part,
    /// All names fit: so many, and what the last stands for was called with as many arguments.
    Whole(usize),
}

/// What the calls fit best.
pub(super) struct Verdict<'a> {
    pub fit: Fit,
    pub classes: Vec<&'a Class>,
    /// The path of the first of them.
    pub path: &'a str,
    pub because: Vec<String>,
    /// Are the names so many, or one of them so long, that others hardly fit by chance?
    pub rare: bool,
    /// How many texts the method that is called last takes at least.
    pub texts: u32,
}

/// A member of the path, found.
#[derive(Clone, Copy)]
struct Step<'a> {
    name: &'a str,
    lookup: Option<Sealed>,
    invoke: Sealed,
}

/// Judges a conversation. `over` says that nothing more will come, so that a part is all there is.
pub(super) fn judge<'a>(calls: &[Sealed], encoding: Encoding, catalog: &'a Catalog, over: bool) -> Option<Verdict<'a>> {
    let layout = layout(encoding);
    let least = calls.iter().filter(|call| call.operation == Operation::Invoke);
    let least = least.map(|call| call.length).min()?;
    // A client adds the same extension to each of its calls; two that pass nothing show it.
    let extension = least.checked_sub(layout.invoke)?;
    let extensions = [0, extension];
    let shown = calls
        .iter()
        .filter(|call| call.length == least && call.operation == Operation::Invoke)
        .count()
        > 1;
    let several = shown && extension > 0 && extension <= MOST_EXTENSION && extension.is_multiple_of(4);
    let extensions = extensions.get(..if several { 2 } else { 1 })?;
    let looked_up = calls.iter().any(|call| call.operation == Operation::Lookup);
    let mut best: Option<Verdict<'a>> = None;
    for class in catalog.iter().filter(|class| class.benign.is_none()) {
        for path in &class.paths {
            let names: Vec<&str> = path.split('.').collect();
            let walked = extensions.iter().find_map(|&extension| {
                let wire = Wire {
                    calls,
                    layout: &layout,
                    extension,
                    catalog,
                };
                let steps = if looked_up {
                    wire.named(&names)
                } else {
                    wire.unnamed(&names)
                };
                let fit = match (steps.len() == names.len(), looked_up) {
                    (true, true) => Fit::Whole(names.len()),
                    (true, false) if names.len() > 2 => Fit::Unnamed,
                    (false, true) if over && steps.len() > 1 => Fit::Part,
                    _ => return None,
                };
                Some((fit, wire.because(&steps)))
            });
            let Some((fit, because)) = walked else { continue };
            match &mut best {
                Some(best) if best.fit > fit => {}
                Some(best) if best.fit == fit => {
                    if !best.classes.iter().any(|known| known.clsid == class.clsid) {
                        best.classes.push(class);
                    }
                }
                _ => {
                    best = Some(Verdict {
                        fit,
                        classes: vec![class],
                        path,
                        because,
                        rare: names.len() > 3 || names.iter().any(|name| name.len() >= LONG),
                        texts: names.last().map_or(0, |name| Arguments::of(catalog, name).texts),
                    });
                }
            }
        }
    }
    best
}

struct Wire<'c> {
    calls: &'c [Sealed],
    layout: &'c Layout,
    extension: u32,
    catalog: &'c Catalog,
}

impl Wire<'_> {
    /// The names in their order, each looked up on one object and then called on it, the next on the next object that
    /// appears. The first is a member of the first object whose members were asked for.
    fn named<'n>(&self, names: &[&'n str]) -> Vec<Step<'n>> {
        let mut steps: Vec<Step<'n>> = Vec::new();
        let is_lookup = |call: &&Sealed| call.operation == Operation::Lookup;
        let Some(root) = self.calls.iter().find(is_lookup).map(|call| call.object) else {
            return steps;
        };
        let (mut since, mut next) = (0, Some(root));
        for (index, invoke) in self.calls.iter().enumerate() {
            let Some(&name) = names.get(steps.len()) else { break };
            let is_last = steps.len() + 1 == names.len();
            let in_place = next == Some(invoke.object);
            if !in_place || !self.is_step(invoke, name, is_last) {
                continue;
            }
            let asked = self.calls.get(since..index).unwrap_or_default();
            let lookup = asked
                .iter()
                .rev()
                .find(|call| call.object == invoke.object && self.names(call, name));
            let Some(&lookup) = lookup else { continue };
            steps.push(Step {
                name,
                lookup: Some(lookup),
                invoke: *invoke,
            });
            since = index;
            next = self.next_object(index);
        }
        steps
    }

    /// The object that is called first of those that were not called up to a call.
    fn next_object(&self, index: usize) -> Option<Ipid> {
        let (before, after) = self.calls.split_at_checked(index.saturating_add(1))?;
        let is_new = |object: &Ipid| !before.iter().any(|call| call.object == *object);
        after.iter().map(|call| call.object).find(is_new)
    }

    /// The calls alone: nothing is passed but to the last, and each is on another object. Nothing else is called.
    fn unnamed<'n>(&self, names: &[&'n str]) -> Vec<Step<'n>> {
        let mut steps: Vec<Step<'n>> = Vec::new();
        for invoke in self.calls {
            let known = steps.iter().any(|step| step.invoke.object == invoke.object);
            let Some(&name) = names.get(steps.len()) else { break };
            if known || !self.is_step(invoke, name, steps.len() + 1 == names.len()) {
                return Vec::new();
            }
            steps.push(Step {
                name,
                lookup: None,
                invoke: *invoke,
            });
        }
        steps
    }

    /// Can this call be that of the path's last member, with its arguments, or of another one, which gives an object?
    fn is_step(&self, invoke: &Sealed, name: &str, is_last: bool) -> bool {
        if invoke.operation != Operation::Invoke {
            return false;
        }
        if is_last {
            let least = Arguments::of(self.catalog, name).bytes();
            return self.passed(invoke) >= least && invoke.reply.is_none_or(|reply| reply < OBJECT);
        }
        // A property is read with nothing or an index; a text takes more.
        self.passed(invoke) < TEXT && invoke.reply.is_none_or(|reply| reply >= OBJECT)
    }

    /// Bytes of arguments, at least.
    fn passed(&self, invoke: &Sealed) -> u32 {
        invoke.length.saturating_sub(self.layout.invoke + self.extension)
    }

    /// Does the length of this lookup fit the name?
    fn names(&self, call: &Sealed, name: &str) -> bool {
        let characters = u32::try_from(name.encode_utf16().count()).unwrap_or(u32::MAX);
        let fixed = self.layout.lookup + self.extension;
        // With its end, padded: [MS-DCOM] writes the texts as C706 14.3.4.2 says.
        let length = characters.saturating_add(1).saturating_mul(2).next_multiple_of(4);
        let trailers = TRAILERS
            .get(..if call.first { TRAILERS.len() } else { 1 })
            .unwrap_or_default();
        call.operation == Operation::Lookup
            && call.reply.is_none_or(|reply| reply == self.layout.looked_up)
            && trailers.iter().any(|trailer| call.length == fixed + length + trailer)
    }

    fn because(&self, steps: &[Step<'_>]) -> Vec<String> {
        let mut because = Vec::new();
        for Step { name, lookup, invoke } in steps {
            if let Some(Sealed { place, length, .. }) = lookup {
                because.push(format!("{place}: GetIDsOfNames of {length} bytes fits `{name}`"));
            }
            let Sealed { place, length, .. } = invoke;
            let passed = self.passed(invoke);
            because.push(if passed >= TEXT {
                // Each character takes two bytes; what stands around the arguments leaves fewer.
                let around = Arguments::of(self.catalog, name).least.saturating_mul(NOTHING);
                let characters = passed.saturating_sub(around) / 2;
                format!("{place}: Invoke of {length} bytes passes arguments, of at most {characters} characters")
            } else {
                let reply = invoke.reply.map_or_else(
                    || ", its answer was not seen".to_owned(),
                    |reply| format!(", and its answer of {reply} bytes has room for an object"),
                );
                format!("{place}: Invoke of {length} bytes passes no text{reply}")
            });
        }
        because
    }
}

/// The least that a text takes as an argument: a pointer, a variant's head ([MS-OAUT] 2.2.29.1), and a text of one
/// character (2.2.23.2).
const TEXT: u32 = 44;
/// The same, of a number.
const NUMBER: u32 = 28;
/// The same, of nothing: where one is left out.
const NOTHING: u32 = 24;

/// The arguments that a method that runs something takes, by what the catalogue says of it.
#[derive(Default)]
struct Arguments {
    /// The least there are.
    least: u32,
    /// How many of them are texts for certain.
    texts: u32,
}

impl Arguments {
    fn of(catalog: &Catalog, name: &str) -> Self {
        // What holds whatever the object goes before what one class's own takes.
        let methods = catalog.methods(name);
        let any = methods.iter().find(|method| method.path.is_empty());
        let Some(method) = any.or(methods.first()) else {
            return Self::default();
        };
        let told = [method.program, method.parameters].into_iter().flatten();
        let least = told.clone().max().map_or(0, |last| last.saturating_add(1));
        let texts = if method.programs.is_empty() { told.count() } else { 0 };
        Self {
            least: u32::try_from(least).unwrap_or(u32::MAX),
            texts: u32::try_from(texts).unwrap_or(u32::MAX),
        }
    }

    /// The least number of bytes that they take.
    fn bytes(&self) -> u32 {
        let others = self.least.saturating_sub(self.texts).saturating_mul(NOTHING);
        self.texts.saturating_mul(TEXT).saturating_add(others).max(NUMBER)
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::input::ByteOrder;
    use dcom_parsers::ndr::Reader;
    use dcom_parsers::oaut::{GetIdsOfNamesReply, GetIdsOfNamesRequest, InvokeRequest};

    use super::*;

    /// How many bytes a parser takes from a stub that is zero but for what is set: where, and to what.
    fn taken<T>(
        encoding: Encoding,
        set: &[(usize, u8)],
        read: impl Fn(&mut Reader<'_>) -> dcom_parsers::error::Result<T>,
    ) -> usize {
        let mut stub = vec![0; 400];
        for &(offset, byte) in set {
            stub[offset] = byte;
        }
        let mut reader = Reader::new(&stub, ByteOrder::Little, encoding, "test");
        read(&mut reader).unwrap();
        stub.len() - reader.rest().len()
    }

    #[test]
    fn lengths_are_those_of_the_parsers() {
        let seven = 7;
        // The count of names, the pointer to the only one, and its three counts: `seven` characters and the end.
        let narrow = [(0, 5), (2, 7), (48, 1), (52, 1), (56, seven + 1), (64, seven + 1)];
        let wide = [(0, 5), (2, 7), (56, 1), (64, 1), (72, seven + 1), (88, seven + 1)];
        for (encoding, set, counts) in [(Encoding::Ndr20, narrow, 84), (Encoding::Ndr64, wide, 112)] {
            let layout = layout(encoding);
            let mut set = set.to_vec();
            set.push((counts, 1));
            let asked = taken(encoding, &set, GetIdsOfNamesRequest::parse);
            assert_eq!(u32::try_from(asked).unwrap(), layout.lookup + 16, "{encoding:?}");
            let version = [(0, 5), (2, 7)];
            let invoke = taken(encoding, &version, |reader| {
                InvokeRequest::parse(reader).map(|request| assert_eq!(request.broken, None))
            });
            assert_eq!(u32::try_from(invoke).unwrap(), layout.invoke, "{encoding:?}");
            let one = [(if encoding == Encoding::Ndr20 { 8 } else { 16 }, 1)];
            let reply = taken(encoding, &one, GetIdsOfNamesReply::parse);
            assert_eq!(u32::try_from(reply).unwrap(), layout.looked_up, "{encoding:?}");
        }
    }
}
