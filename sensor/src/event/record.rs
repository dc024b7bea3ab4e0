//! What a log line is made of: one declaration of a record makes the struct, its columns and their documentation.
//!
//! ```text
//! record! {
//!     /// What the record is about.
//!     #[derive(Default)]
//!     pub struct Auth in "dcom.auth" {
//!         /// In eve.json as `dcom.auth.service`, in the Zeek log as `auth_service`.
//!         service: Option<Cow<'static, str>> => eve, zeek "auth_service";
//!         /// In eve.json only, as `dcom.auth.realm_name`.
//!         realm: Option<String> => eve "realm_name";
//!         /// A record of its own: its columns stand here.
//!         server: Server => group;
//!         /// One value seen as several columns: those of `Source`, which is made from it.
//!         client: Option<Endpoint> => group(Source);
//!         /// No column of its own: another record, made from this one, tells it.
//!         message: String => apart;
//!     }
//! }
//! ```
//! A name that is left out is the field's own; the record's prefix (`in`) stands before each EVE name.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::{Causality, Clsid, Guid, Iid, Ipid, Oid, Oxid};

use crate::flow::Name;
use crate::time::Timestamp;

/// One column of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Path in eve.json, objects separated by dots; none when the column is not there.
    pub eve: Option<&'static str>,
    /// The object it stands in there.
    pub eve_place: Place,
    /// What stands before its value there, with the quote of text: `"name":"`.
    pub eve_key: &'static [u8],
    /// Column in the Zeek log; none when the column is not there.
    pub zeek: Option<&'static str>,
    /// The same as a member of a JSON object: `"name":"`.
    pub zeek_key: &'static [u8],
    /// Its type in the Zeek log's header.
    pub zeek_type: &'static str,
    /// Has it a value whenever its record is there?
    pub always: bool,
    /// The columns of the records that are in it, or in its list.
    pub record: Option<&'static [Self]>,
    /// What it means.
    pub doc: &'static str,
}

/// An object of eve.json, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path, objects separated by dots; empty for the outermost.
    pub path: &'static str,
    /// A number for it: the same for all columns in it, and for no others.
    pub id: u32,
    /// The number of the object that it stands in; 0 for the outermost.
    pub outer: u32,
    /// In how many objects it stands.
    pub depth: usize,
    /// How it begins there: `"name":{`.
    pub opening: &'static [u8],
}

impl Place {
    /// The line itself.
    pub const OUTERMOST: Self = Self::new("", b"");

    pub(crate) const fn new(path: &'static str, opening: &'static [u8]) -> Self {
        Self {
            path,
            id: number(path),
            outer: if path.is_empty() { 0 } else { number(object(path)) },
            depth: depth(path),
            opening,
        }
    }
}

/// Who is shown a record's columns in order, each with its value. Any closure that takes both can be.
pub trait Columns {
    /// Are those of interest that are unset?
    const UNSET_TOO: bool = true;

    /// One column.
    fn column(&mut self, column: &'static Column, value: Value<'_>);

    /// One column that is a list, for those who can do better when they know of what.
    #[inline]
    fn list<T: Field>(&mut self, column: &'static Column, list: &[T]) {
        self.column(column, Value::List(&list));
    }
}

impl<F: FnMut(&'static Column, Value<'_>) + ?Sized> Columns for F {
    #[inline]
    fn column(&mut self, column: &'static Column, value: Value<'_>) {
        self(column, value);
    }
}

/// The same where it is not known when the program is built who that is.
pub type Visitor<'v> = dyn FnMut(&'static Column, Value<'_>) + 'v;

/// Something that has columns; usable behind a reference to any of them.
pub trait Visit {
    /// Shows every column with its value.
    fn visit(&self, visitor: &mut Visitor<'_>);
}

/// A kind of record: [`Visit`] with what is known without a value. Made by `record!`.
pub trait Record: Visit {
    /// The Rust name.
    const NAME: &'static str;
    /// What the record is about.
    const DOC: &'static str;
    /// Its columns, in the order in which [`Visit::visit`] shows them.
    const COLUMNS: &'static [Column];

    /// [`Visit::visit`] for a visitor that is known when the program is built: what it does with each column becomes
    /// straight code, and an unset column costs next to nothing.
    fn show<V: Columns + ?Sized>(&self, visitor: &mut V);
}

/// A group that may be missing as a whole: then each of its columns is unset.
impl<R: Record> Record for Option<R> {
    const NAME: &'static str = R::NAME;
    const DOC: &'static str = R::DOC;
    const COLUMNS: &'static [Column] = R::COLUMNS;

    #[inline]
    fn show<V: Columns + ?Sized>(&self, visitor: &mut V) {
        match self {
            Some(record) => record.show(visitor),
            None if V::UNSET_TOO => R::COLUMNS
                .iter()
                .for_each(|column| visitor.column(column, Value::Unset)),
            None => {}
        }
    }
}

impl<R: Record> Visit for Option<R> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.show(visitor);
    }
}

/// What stands in a column. Borrowed, so that showing an event allocates nothing.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Not known, or not there.
    Unset,
    /// Yes or no.
    Bool(bool),
    /// A count.
    Uint(u64),
    /// A number that may be negative.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text, possibly from the wire: whoever prints it escapes it.
    Text(&'a str),
    /// Text of ours, as it lives as long as the program: without quotes, backslashes and control characters, so that nobody
    /// has to look for them.
    Word(&'static str),
    /// A name of ours, as plain.
    Name(&'a [u8]),
    /// A GUID, printed as text.
    Guid(Guid),
    /// A number printed as text, `0x` and at least so many digits.
    Hexadecimal(u64, usize),
    /// Two numbers printed as text, with a point between them.
    Dotted(u16, u16),
    /// An IP address.
    Addr(IpAddr),
    /// A TCP or UDP port.
    Port(u16),
    /// A moment.
    Time(Timestamp),
    /// A length of time.
    Interval(Interval),
    /// Several values.
    List(&'a dyn Elements),
    /// A record within a list.
    Object(&'a dyn Visit),
    /// Counters by dotted name.
    Counters(&'a [(&'static str, u64)]),
    /// The name of the event's body, which its envelope cannot know: see [`super::Event::eve`].
    EventType,
}

impl Value<'_> {
    /// Is it unset, or a list or table without elements? Objects leave such members out.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Unset | Self::Counters([]) => true,
            Self::List(elements) => elements.is_empty(),
            _ => false,
        }
    }
}

/// A list of values.
pub trait Elements {
    /// Has it none?
    fn is_empty(&self) -> bool;
    /// Shows them in order.
    fn each(&self, visitor: &mut dyn FnMut(Value<'_>));
}

/// A type that a column can have.
pub trait Field {
    /// Its name in a Zeek log's header.
    const ZEEK_TYPE: &'static str;
    /// The name of a list of them.
    const ZEEK_LIST_TYPE: &'static str = "vector[string]";
    /// Has it always a value?
    const ALWAYS: bool = true;
    /// The columns of the records that it is or holds.
    const RECORD: Option<&'static [Column]> = None;
    /// What to write.
    fn value(&self) -> Value<'_>;

    /// Shows it as a column.
    #[inline]
    fn show_in<V: Columns + ?Sized>(&self, column: &'static Column, visitor: &mut V) {
        visitor.column(column, self.value());
    }

    /// Shows its own columns, if it is a record.
    #[inline]
    fn show_columns<V: Columns + ?Sized>(&self, _: &mut V) {}
}

/// A length of time in nanoseconds: milliseconds in eve.json, seconds in Zeek's logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub i64);

/// A port, which Zeek tells apart from other numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(pub u16);

/// Stands where the name of the event's body belongs among the columns of its envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventType;

impl<T: Field> Field for Option<T> {
    const ZEEK_TYPE: &'static str = T::ZEEK_TYPE;
    const ZEEK_LIST_TYPE: &'static str = T::ZEEK_LIST_TYPE;
    const ALWAYS: bool = false;
    const RECORD: Option<&'static [Column]> = T::RECORD;

    #[inline]
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Unset, T::value)
    }
}

impl<T: Field> Field for Vec<T> {
    const ZEEK_TYPE: &'static str = T::ZEEK_LIST_TYPE;
    // An empty one is left out.
    const ALWAYS: bool = false;
    const RECORD: Option<&'static [Column]> = T::RECORD;

    #[inline]
    fn value(&self) -> Value<'_> {
        Value::List(self)
    }

    #[inline]
    fn show_in<V: Columns + ?Sized>(&self, column: &'static Column, visitor: &mut V) {
        visitor.list(column, self);
    }
}

impl<T: Field> Elements for Vec<T> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn each(&self, visitor: &mut dyn FnMut(Value<'_>)) {
        self.as_slice().each(visitor);
    }
}

impl<T: Field> Elements for &[T] {
    fn is_empty(&self) -> bool {
        (**self).is_empty()
    }

    fn each(&self, visitor: &mut dyn FnMut(Value<'_>)) {
        for element in *self {
            visitor(element.value());
        }
    }
}

macro_rules! fields {
    ($($type:ty: $zeek:literal, $list:literal, $self:ident => $value:expr;)+) => {$(
        impl Field for $type {
            const ZEEK_TYPE: &'static str = $zeek;
            const ZEEK_LIST_TYPE: &'static str = $list;

            #[inline]
            fn value(&$self) -> Value<'_> {
                $value
            }
        }
    )+};
}

impl<const N: usize> Field for Name<N> {
    const ZEEK_TYPE: &'static str = "string";

    #[inline]
    fn value(&self) -> Value<'_> {
        Value::Name(&self.0)
    }
}

fields! {
    bool: "bool", "vector[bool]", self => Value::Bool(*self);
    u8: "count", "vector[count]", self => Value::Uint(u64::from(*self));
    u16: "count", "vector[count]", self => Value::Uint(u64::from(*self));
    u32: "count", "vector[count]", self => Value::Uint(u64::from(*self));
    u64: "count", "vector[count]", self => Value::Uint(*self);
    i64: "int", "vector[int]", self => Value::Int(*self);
    f64: "double", "vector[double]", self => Value::Float(*self);
    String: "string", "vector[string]", self => Value::Text(self);
    Arc<str>: "string", "vector[string]", self => Value::Text(self);
    &'static str: "string", "vector[string]", self => Value::Word(self);
    Cow<'static, str>: "string", "vector[string]", self => match self {
        Cow::Borrowed(ours) => Value::Word(ours),
        Cow::Owned(text) => Value::Text(text),
    };
    IpAddr: "addr", "vector[addr]", self => Value::Addr(*self);
    Port: "port", "vector[port]", self => Value::Port(self.0);
    Timestamp: "time", "vector[time]", self => Value::Time(*self);
    Interval: "interval", "vector[interval]", self => Value::Interval(*self);
    EventType: "string", "vector[string]", self => Value::EventType;
    Guid: "string", "vector[string]", self => Value::Guid(*self);
    Clsid: "string", "vector[string]", self => Value::Guid(self.0);
    Iid: "string", "vector[string]", self => Value::Guid(self.0);
    Ipid: "string", "vector[string]", self => Value::Guid(self.0);
    Causality: "string", "vector[string]", self => Value::Guid(self.0);
    Oid: "string", "vector[string]", self => Value::Hexadecimal(self.0, 16);
    Oxid: "string", "vector[string]", self => Value::Hexadecimal(self.0, 16);
}

/// How many columns the parts have together; for `record!`.
pub(crate) const fn count(parts: &[&[Column]]) -> usize {
    let (mut part, mut total) = (0, 0);
    while part < parts.len() {
        total += parts[part].len();
        part += 1;
    }
    total
}

/// A name, or nothing; for `record!`.
pub(crate) const fn text(name: Option<&'static str>) -> &'static str {
    match name {
        Some(name) => name,
        None => "",
    }
}

/// The object that something at a dotted path stands in: what comes before the last dot.
pub(crate) const fn object(path: &str) -> &str {
    let mut end = path.len();
    while end > 0 {
        end -= 1;
        if path.as_bytes()[end] == b'.' {
            return path.split_at(end).0;
        }
    }
    ""
}

/// What it is called there: what comes behind the last dot.
pub(crate) const fn name(path: &str) -> &str {
    match object(path).len() {
        0 => path,
        // Past the dot.
        end => path.split_at(end + 1).1,
    }
}

/// A number for a path (FNV-1a). That no two have the same is tested.
const fn number(path: &str) -> u32 {
    let (mut number, mut index) = (0x811c_9dc5_u32, 0);
    while index < path.len() {
        number = (number ^ path.as_bytes()[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    number
}

/// How many names a path has.
const fn depth(path: &str) -> usize {
    match path.len() {
        0 => 0,
        _ => 1 + depth(object(path)),
    }
}

/// A name in quotes and what stands behind it; for `record!`. Names are ours: letters, digits, dots, underscores.
pub(crate) const fn key<const N: usize>(name: &str, behind: &str) -> [u8; N] {
    let mut key = [b'"'; N];
    let mut index = 0;
    while index < name.len() {
        key[1 + index] = name.as_bytes()[index];
        index += 1;
    }
    let mut index = 0;
    while index < behind.len() {
        key[N - behind.len() + index] = behind.as_bytes()[index];
        index += 1;
    }
    key
}

/// Which of the parts' columns with a name there stand in the Zeek log that is without some of them, in the order in which
/// they are shown.
pub(crate) const fn kept<const N: usize>(parts: &[&[Column]], without: &[&str]) -> [bool; N] {
    let mut kept = [false; N];
    let (mut part, mut next) = (0, 0);
    while part < parts.len() {
        let mut column = 0;
        while column < parts[part].len() {
            if let Some(name) = parts[part][column].zeek {
                kept[next] = !contains(without, name);
                next += 1;
            }
            column += 1;
        }
        part += 1;
    }
    kept
}

const fn contains(names: &[&str], wanted: &str) -> bool {
    let mut name = 0;
    while name < names.len() {
        if same(names[name].as_bytes(), wanted.as_bytes()) {
            return true;
        }
        name += 1;
    }
    false
}

/// `==` is not for constants yet.
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    a.len() == b.len() && index == a.len()
}

/// The parts' columns in one row; for `record!`.
pub(crate) const fn concat<const N: usize>(parts: &[&[Column]]) -> [Column; N] {
    let mut all = [Column {
        eve: None,
        eve_place: Place::OUTERMOST,
        eve_key: &[],
        zeek: None,
        zeek_key: &[],
        zeek_type: "",
        always: false,
        record: None,
        doc: "",
    }; N];
    let (mut part, mut next) = (0, 0);
    while part < parts.len() {
        let mut column = 0;
        while column < parts[part].len() {
            all[next] = parts[part][column];
            next += 1;
            column += 1;
        }
        part += 1;
    }
    all
}

/// Declares a record: see the module's page for the syntax.
macro_rules! record {
    ($(#[$($attribute:tt)+])+ pub struct $name:ident in $prefix:literal { $($fields:tt)+ }) => {
        $crate::event::record::record! { @make [$prefix] $(#[$($attribute)+])+ pub struct $name { $($fields)+ } }
    };
    ($(#[$($attribute:tt)+])+ pub struct $name:ident { $($fields:tt)+ }) => {
        $crate::event::record::record! { @make [] $(#[$($attribute)+])+ pub struct $name { $($fields)+ } }
    };
    (
        @make $prefix:tt
        $(#[doc = $about:literal])+
        $(#[derive($($derive:ident),+)])?
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty => $($how:ident $($label:literal)? $(($view:ident))?),+;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq $($(, $derive)+)?)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                pub $field: $type,
            )+
        }

        impl $crate::event::record::Record for $name {
            const NAME: &'static str = stringify!($name);
            const DOC: &'static str = concat!($($about, "\n"),+);
            const COLUMNS: &'static [$crate::event::record::Column] = {
                const PARTS: &[&[$crate::event::record::Column]] = &[$(
                    $crate::event::record::record!(
                        @part $prefix $field [$type] [$($doc)+] $($how $($label)? $(($view))?),+
                    )
                ),+];
                const ALL: [$crate::event::record::Column; $crate::event::record::count(PARTS)] =
                    $crate::event::record::concat(PARTS);
                &ALL
            };

            fn show<V: $crate::event::record::Columns + ?Sized>(&self, visitor: &mut V) {
                // No `..`: a field without a column does not compile.
                let Self { $($field),+ } = self;
                $($crate::event::record::record!(
                    @visit visitor $prefix $field [$type] [$($doc)+] $($how $($label)? $(($view))?),+
                );)+
            }
        }

        impl $crate::event::record::Visit for $name {
            fn visit(&self, visitor: &mut $crate::event::record::Visitor<'_>) {
                $crate::event::record::Record::show(self, visitor);
            }
        }

        impl $crate::event::record::Field for $name {
            const ZEEK_TYPE: &'static str = "string";
            const RECORD: Option<&'static [$crate::event::record::Column]> =
                Some(<Self as $crate::event::record::Record>::COLUMNS);

            fn value(&self) -> $crate::event::record::Value<'_> {
                $crate::event::record::Value::Object(self)
            }

            fn show_columns<V: $crate::event::record::Columns + ?Sized>(&self, visitor: &mut V) {
                $crate::event::record::Record::show(self, visitor);
            }
        }
    };

    (@part $prefix:tt $field:ident [$type:ty] $doc:tt group) => { <$type as $crate::event::record::Record>::COLUMNS };
    (@part $prefix:tt $field:ident [$type:ty] $doc:tt group($view:ident)) => {
        <$view as $crate::event::record::Record>::COLUMNS
    };
    (@part $prefix:tt $field:ident [$type:ty] $doc:tt apart) => { &[] };
    (@part $($column:tt)+) => { &[$crate::event::record::record!(@column $($column)+)] };

    (@visit $visitor:ident $prefix:tt $field:ident [$type:ty] $doc:tt group) => {
        $crate::event::record::Record::show($field, $visitor)
    };
    (@visit $visitor:ident $prefix:tt $field:ident [$type:ty] $doc:tt group($view:ident)) => {
        $crate::event::record::Record::show(&$view::from($field), $visitor)
    };
    (@visit $visitor:ident $prefix:tt $field:ident [$type:ty] $doc:tt apart) => { let _ = $field; };
    (@visit $visitor:ident $prefix:tt $field:ident [$type:ty] $doc:tt $($how:tt)+) => {{
        const COLUMN: &$crate::event::record::Column =
            &$crate::event::record::record!(@column $prefix $field [$type] $doc $($how)+);
        $crate::event::record::Field::show_in($field, COLUMN, $visitor)
    }};

    (@column $prefix:tt $field:ident $type:tt $doc:tt eve $($eve:literal)?) => {
        $crate::event::record::record!(
            @made $type $doc Some($crate::event::record::record!(@path $prefix $field $($eve)?)), None
        )
    };
    (@column $prefix:tt $field:ident $type:tt $doc:tt zeek $($zeek:literal)?) => {
        $crate::event::record::record!(
            @made $type $doc None, Some($crate::event::record::record!(@path [] $field $($zeek)?))
        )
    };
    (@column $prefix:tt $field:ident $type:tt $doc:tt eve $($eve:literal)?, zeek $($zeek:literal)?) => {
        $crate::event::record::record!(
            @made $type $doc
            Some($crate::event::record::record!(@path $prefix $field $($eve)?)),
            Some($crate::event::record::record!(@path [] $field $($zeek)?))
        )
    };
    (@made [$type:ty] [$($doc:literal)+] $eve:expr, $zeek:expr) => {{
        use $crate::event::record::{Place, key, name, object, text};
        const EVE: &str = text($eve);
        const OBJECT: &str = object(EVE);
        const OPENING: [u8; name(OBJECT).len() + 4] = key(name(OBJECT), ":{");
        const EVE_KEY: [u8; name(EVE).len() + 4] = key(name(EVE), ":\"");
        const ZEEK: &str = text($zeek);
        const ZEEK_KEY: [u8; ZEEK.len() + 4] = key(ZEEK, ":\"");
        $crate::event::record::Column {
            eve: $eve,
            eve_place: Place::new(OBJECT, &OPENING),
            eve_key: &EVE_KEY,
            zeek: $zeek,
            zeek_key: &ZEEK_KEY,
            zeek_type: <$type as $crate::event::record::Field>::ZEEK_TYPE,
            always: <$type as $crate::event::record::Field>::ALWAYS,
            record: <$type as $crate::event::record::Field>::RECORD,
            doc: concat!($($doc),+),
        }
    }};

    (@path [] $field:ident) => { stringify!($field) };
    (@path [] $field:ident $label:literal) => { $label };
    (@path [$prefix:literal] $field:ident) => { concat!($prefix, ".", stringify!($field)) };
    (@path [$prefix:literal] $field:ident $label:literal) => { concat!($prefix, ".", $label) };
}

/// Declares an enumeration whose values are names in the logs.
macro_rules! names {
    ($(
        $(#[$attribute:meta])+
        pub enum $name:ident { $($(#[$variant_attribute:meta])+ $variant:ident => $text:literal,)+ }
    )+) => {$(
        $(#[$attribute])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_attribute])+ $variant,)+
        }

        impl $name {
            /// Its name in the logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl $crate::event::record::Field for $name {
            const ZEEK_TYPE: &'static str = "string";

            fn value(&self) -> $crate::event::record::Value<'_> {
                $crate::event::record::Value::Word(self.name())
            }
        }
    )+};
}

pub(crate) use names;
pub(crate) use record;
