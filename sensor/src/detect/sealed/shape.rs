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
    /// The object's place among all that were called.
    pub number: u64,
    pub operation: Operation,
    pub length: u32,
    pub reply: Option<u32>,
    /// Is it the first of its interface on its connection? Then what vouches for the bind may stand behind its stub.
    pub first: bool,
}

impl Sealed {
    /// Does it hand out an object, or may it?
    pub(super) fn gives(&self) -> bool {
        self.operation == Operation::Invoke && self.reply.is_none_or(|reply| reply >= OBJECT)
    }
}

/// Calls of a conversation, some of which may be of an activation.
#[derive(Clone, Copy)]
pub(super) struct Calls<'c> {
    pub all: &'c [Sealed],
    /// The number of the first object that may be of it.
    pub since: u64,
    /// The number of the first one that is of a later activation, unless one before it gave it.
    pub until: Option<u64>,
    /// The object between these whose members were asked for first.
    pub asked: Option<Ipid>,
    pub origins: &'c Origins,
}

impl<'c> Calls<'c> {
    /// Those that may be of it, with their places among all.
    pub(super) fn own(&self) -> impl Iterator<Item = (usize, &'c Sealed)> {
        let since = self.since;
        let own = move |(_, call): &(usize, &Sealed)| call.number >= since;
        self.all.iter().enumerate().filter(own)
    }
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
    /// Is the first object the one that was asked first, and each other one the next that appeared?
    pub close: bool,
    /// Which of the calls is the path's last.
    pub last: usize,
}

impl Verdict<'_> {
    /// Are these all names of a path that has several?
    pub(super) fn is_strong(&self) -> bool {
        matches!(self.fit, Fit::Whole(2..))
    }
}

/// A member of the path, found.
#[derive(Clone, Copy)]
struct Step<'a> {
    name: &'a str,
    lookup: Option<Sealed>,
    invoke: Sealed,
    /// Which of the calls that is.
    at: usize,
}

/// Where the objects of calls may come from.
pub(super) struct Origins(Vec<Origin>);

/// Where the object of a call may come from.
struct Origin {
    /// The first call on it. What gave it came before.
    first: usize,
    /// The last call before that on an object that was new: this one is taken to be of what comes after that.
    close: usize,
    /// The same, of an object that must be of what came before it, as no more were given by then than were called.
    loose: usize,
}

impl Origins {
    /// `activated` has for each activation the number of the first object that may be of it.
    pub(super) fn of(calls: &[Sealed], activated: &[u64]) -> Self {
        let mut origins: Vec<Origin> = Vec::with_capacity(calls.len());
        let (mut given, mut called) = (0, 0);
        let (mut close, mut loose) = (0, 0);
        for (at, call) in calls.iter().enumerate() {
            let known = calls.iter().take(at).position(|other| other.object == call.object);
            origins.push(match known.and_then(|first| origins.get(first)) {
                Some(origin) => Origin { ..*origin },
                None => Origin {
                    first: at,
                    close,
                    loose,
                },
            });
            if known.is_none() {
                called += 1;
                close = at;
                // Activations give one each.
                let activated = activated.iter().filter(|number| **number <= call.number).count();
                if given + activated <= called {
                    loose = at;
                }
            }
            given += usize::from(call.gives());
        }
        Self(origins)
    }

    /// May a call have handed out the object of a later one? It is the first that was new after it; or, where it need not be
    /// so `close`, another may have been given as well and called before.
    fn may_give(&self, giver: usize, call: usize, close: bool) -> bool {
        self.0.get(call).is_some_and(|origin| {
            let since = if close { origin.close } else { origin.loose };
            (since..origin.first).contains(&giver)
        })
    }
}

/// Judges a conversation by its last call; all of them, where it is `over`, so that a part is all there is.
pub(super) fn judge<'a>(heard: Calls<'_>, encoding: Encoding, catalog: &'a Catalog, over: bool) -> Option<Verdict<'a>> {
    let layout = layout(encoding);
    let lengths = || {
        let invokes = heard.own().filter(|(_, call)| call.operation == Operation::Invoke);
        // What is shorter is none, whatever its number says.
        let lengths = invokes.map(|(_, call)| call.length);
        lengths.filter(|length| *length >= layout.invoke)
    };
    let least = lengths().min()?;
    // A client adds the same extension to each of its calls; two that pass nothing show it.
    let extension = least - layout.invoke;
    let extensions = [0, extension];
    let shown = lengths().filter(|length| *length == least).count() > 1;
    let several = shown && extension > 0 && extension <= MOST_EXTENSION && extension.is_multiple_of(4);
    let extensions = extensions.get(..if several { 2 } else { 1 })?;
    let mut best: Option<Verdict<'a>> = None;
    for class in catalog.iter().filter(|class| class.benign.is_none()) {
        for path in &class.paths {
            let names: Vec<&str> = path.split('.').collect();
            let walked = extensions.iter().find_map(|&extension| {
                let wire = Wire {
                    heard,
                    layout: &layout,
                    extension,
                    catalog,
                    over,
                };
                let (steps, close) = match heard.asked {
                    Some(asked) => wire.named(&names, asked),
                    None => (wire.unnamed(&names), true),
                };
                let fit = match (steps.len() == names.len(), heard.asked) {
                    (true, Some(_)) => Fit::Whole(names.len()),
                    (true, None) if names.len() > 2 => Fit::Unnamed,
                    (false, Some(_)) if over && steps.len() > 1 => Fit::Part,
                    _ => return None,
                };
                Some((fit, close, steps.last()?.at, wire.because(&steps)))
            });
            let Some((fit, close, last, because)) = walked else {
                continue;
            };
            match &mut best {
                Some(best) if (best.fit, best.close) > (fit, close) => {}
                Some(best) if (best.fit, best.close) == (fit, close) => {
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
                        close,
                        last,
                    });
                }
            }
        }
    }
    best
}

struct Wire<'c> {
    heard: Calls<'c>,
    layout: &'c Layout,
    extension: u32,
    catalog: &'c Catalog,
    over: bool,
}

impl Wire<'_> {
    /// The names in their order, and whether that is close: from the object that was asked first, each on the next object
    /// that appeared. A whole path of three names or more may begin at another object, and others may be called in between.
    fn named<'n>(&self, names: &[&'n str], asked: Ipid) -> (Vec<Step<'n>>, bool) {
        let last = self.heard.own().last().zip(names.last());
        let ends = last.and_then(|((at, invoke), name)| self.step(at, invoke, name, true));
        if !self.over && ends.is_none() {
            return (Vec::new(), true);
        }
        let close = self.walk(names, Some(asked));
        if close.len() == names.len() || names.len() < 3 {
            return (close, true);
        }
        let loose = self.walk(names, None);
        if loose.len() == names.len() {
            return (loose, false);
        }
        (close, true)
    }

    /// As many of the names as fit, each looked up on one object and then called on it, the next on an object that this may
    /// have given. With a `root`, the first is a member of that object.
    fn walk<'n>(&self, names: &[&'n str], root: Option<Ipid>) -> Vec<Step<'n>> {
        // Of each name the steps that lead to it, with the place of the one before.
        let mut levels: Vec<Vec<(Step<'n>, usize)>> = Vec::new();
        let until = self.heard.until.unwrap_or(u64::MAX);
        let is_root = |call: &Sealed| root.map_or(call.number < until, |root| root == call.object);
        for (depth, name) in names.iter().enumerate() {
            let is_last = depth + 1 == names.len();
            let only = self.heard.all.len().checked_sub(1).filter(|_| is_last && !self.over);
            let mut level = Vec::new();
            for (at, invoke) in self.heard.own().filter(|(at, _)| only.is_none_or(|only| only == *at)) {
                let before = match levels.last() {
                    None => is_root(invoke).then_some(0),
                    Some(before) => before
                        .iter()
                        .rposition(|(giver, _)| self.heard.origins.may_give(giver.at, at, root.is_some())),
                };
                if let (Some(before), Some(step)) = (before, self.step(at, invoke, name, is_last)) {
                    level.push((step, before));
                }
            }
            if level.is_empty() {
                break;
            }
            levels.push(level);
        }
        let mut steps = Vec::new();
        let mut place = levels.last().map_or(0, |level| level.len().saturating_sub(1));
        for level in levels.iter().rev() {
            let Some((step, before)) = level.get(place) else { break };
            steps.push(*step);
            place = *before;
        }
        steps.reverse();
        steps
    }

    /// A call of a member that was looked up on the same object before.
    fn step<'n>(&self, at: usize, invoke: &Sealed, name: &'n str, is_last: bool) -> Option<Step<'n>> {
        if !self.is_step(invoke, name, is_last) {
            return None;
        }
        let before = self.heard.all.get(..at)?.iter().rev();
        let mut asked = before.filter(|call| call.object == invoke.object && self.names(call, name));
        Some(Step {
            name,
            lookup: Some(*asked.next()?),
            invoke: *invoke,
            at,
        })
    }

    /// The calls alone: nothing is passed but to the last, and each is on another object. Nothing else is called.
    fn unnamed<'n>(&self, names: &[&'n str]) -> Vec<Step<'n>> {
        let mut steps: Vec<Step<'n>> = Vec::new();
        if self.heard.own().count() != names.len() {
            return steps;
        }
        for ((at, invoke), &name) in self.heard.own().zip(names) {
            let known = steps.iter().any(|step| step.invoke.object == invoke.object);
            if known || !self.is_step(invoke, name, steps.len() + 1 == names.len()) {
                return Vec::new();
            }
            steps.push(Step {
                name,
                lookup: None,
                invoke: *invoke,
                at,
            });
        }
        steps
    }

    /// Can this call be that of the path's last member, with its arguments, or of another one, which gives an object?
    fn is_step(&self, invoke: &Sealed, name: &str, is_last: bool) -> bool {
        if invoke.operation != Operation::Invoke || invoke.length < self.layout.invoke {
            return false;
        }
        if is_last {
            let least = Arguments::of(self.catalog, name).bytes();
            return self.passed(invoke) >= least && invoke.reply.is_none_or(|reply| reply < OBJECT);
        }
        // A property is read with nothing or an index; a text takes more.
        self.passed(invoke) < TEXT && invoke.gives()
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
        for Step {
            name, lookup, invoke, ..
        } in steps
        {
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
