//! Facts of the wire that tell one implementation from others, as the TOML files spell them.

use memchr::memmem;
use serde::Deserialize;

/// A fact of the wire that tells one implementation from others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// What tools call it by.
    pub id: String,
    /// The fact as a clause: what an analyst reads.
    pub what: String,
    /// What is looked at.
    pub field: Field,
    /// How it has to be.
    pub is: Option<Expected>,
    /// Or the least number that it is.
    pub from: Option<u64>,
    /// And the greatest.
    pub to: Option<u64>,
    /// Bits outside of which it has none.
    pub mask: Option<u64>,
    /// How its text begins.
    pub starts: Option<String>,
    /// What it contains, in this order; of bytes, in hexadecimal.
    #[serde(default)]
    pub contains: Vec<String>,
    /// How often it has to be seen on one connection.
    #[serde(default = "once")]
    pub times: u32,
    /// Where it was seen: captures, or a source that was read.
    pub seen_in: String,
}

/// What a value has to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

fn once() -> u32 {
    1
}

/// Facts of one kind are from one place in what is sent: they do not confirm each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The bind.
    Bind,
    /// Verifiers: how a security context is numbered, and what pads.
    Verifier,
    /// NTLM's messages.
    Ntlm,
    /// The activation's properties.
    Activation,
    /// How structures are marshaled.
    Marshaling,
    /// The server's name in the activation.
    ServerName,
    /// ORPCTHIS.
    OrpcThis,
    /// The interfaces that an object is asked for.
    Queries,
    /// How members are called.
    Dispatch,
    /// The members asked for by name, and in which order.
    Names,
    /// What is run.
    Command,
    /// WMI's login.
    Wmi,
}

impl Kind {
    /// In lower case, for the page about tools.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Verifier => "verifier",
            Self::Ntlm => "ntlm",
            Self::Activation => "activation",
            Self::Marshaling => "marshaling",
            Self::ServerName => "server name",
            Self::OrpcThis => "orpcthis",
            Self::Queries => "queries",
            Self::Dispatch => "dispatch",
            Self::Names => "names",
            Self::Command => "command",
            Self::Wmi => "wmi",
        }
    }
}

/// The forms that values have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Flag,
    Number,
    Text,
    List,
    Bytes,
}

macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident, $form:ident;)+) => {
        /// What can be looked at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Field {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Field {
            /// To which kind its facts belong.
            pub fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)+
                }
            }

            /// Its name in the files.
            pub(super) fn name(self) -> String {
                let camel = match self {
                    $(Self::$name => stringify!($name),)+
                };
                let mut snake = String::new();
                for letter in camel.chars() {
                    if letter.is_uppercase() && !snake.is_empty() {
                        snake.push('_');
                    }
                    snake.push(letter.to_ascii_lowercase());
                }
                snake
            }

            pub(super) fn form(self) -> Form {
                match self {
                    $(Self::$name => Form::$form,)+
                }
            }

            pub(super) const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, concat!($($doc),+))),+];
        }
    };
}

fields! {
    /// Longest fragment of the first bind, when sending and receiving it are the same.
    BindFragment: Bind, Number;
    /// Does the first bind offer NDR64?
    BindNdr64: Bind, Flag;
    /// Does the first bind negotiate features?
    BindFeatures: Bind, Flag;
    /// `auth_context_id` of the first verifier.
    AuthContextId: Verifier, Number;
    /// The four unused bytes of `rpc_auth_3`, in hexadecimal.
    Auth3Padding: Verifier, Text;
    /// The byte that pads a request's stub up to its verifier, in hexadecimal.
    RequestPadding: Verifier, Text;
    /// `NegotiateFlags` of NTLM's first message.
    NtlmFlags: Ntlm, Number;
    /// `Version` of NTLM's first message, e.g. `10.0.19044`.
    NtlmVersion: Ntlm, Text;
    /// `MsvAvTargetName` in the NTLM response.
    NtlmTarget: Ntlm, Text;
    /// Does the NTLM response name a workstation?
    NtlmWorkstation: Ntlm, Flag;
    /// Does the NTLM response say that it has a message integrity code?
    NtlmMic: Ntlm, Flag;
    /// Is there an LM response that is not all zeroes?
    NtlmLmResponse: Ntlm, Flag;
    /// The operation that activates.
    ActivationOperation: Activation, Text;
    /// Length of the stub of `RemoteCreateInstance`, sealed or not.
    CreateInstanceStub: Activation, Number;
    /// Length of the stub of `RemoteGetClassObject`, sealed or not.
    GetClassObjectStub: Activation, Number;
    /// The activation properties in their order, by the first number of their CLSIDs in hexadecimal.
    ActivationProperties: Activation, List;
    /// Does the activation bring the client's context?
    ActivationContext: Activation, Flag;
    /// `classCtx` of the activation.
    ClassContext: Activation, Number;
    /// The stub of the activation.
    ActivationBytes: Marshaling, Bytes;
    /// COSERVERINFO `pwszName`.
    ServerName: ServerName, Text;
    /// `flags` of the activation's ORPCTHIS.
    OrpcFlags: OrpcThis, Number;
    /// `cid` of the activation's ORPCTHIS.
    Causality: OrpcThis, Text;
    /// An interface that an object is asked for.
    InterfaceQuery: Queries, Text;
    /// `lcid` of `GetIDsOfNames`, then of `Invoke`, in hexadecimal.
    Lcids: Dispatch, List;
    /// Where the numbers of called members come from: `names` (`GetIDsOfNames`) or `type_information` (`GetTypeInfo`).
    InvokeNumbers: Dispatch, Text;
    /// The members asked for by name on the connection so far.
    Names: Names, List;
    /// A call as code would write it: `ShellExecute(cmd.exe, /c whoami)`.
    Call: Command, Text;
    /// The same with the types of the arguments: `ShellExecute(VT_BSTR, VT_BSTR)`.
    CallTypes: Command, Text;
    /// The command line that is run.
    CommandLine: Command, Text;
    /// The namespace of `NTLMLogin`.
    WmiNamespace: Wmi, Text;
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A text.
    Text(&'a str),
    /// Several texts.
    List(&'a [String]),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl Fact {
    /// Is the fact there, going by what was seen in its field?
    pub(super) fn holds(&self, seen: Seen<'_>) -> bool {
        let is = match (&self.is, seen) {
            (None, _) => true,
            (Some(Expected::Flag(is)), Seen::Flag(seen)) => *is == seen,
            (Some(Expected::Number(is)), Seen::Number(seen)) => *is == seen,
            (Some(Expected::Text(is)), Seen::Text(seen)) => is == seen,
            (Some(Expected::List(is)), Seen::List(seen)) => is == seen,
            (Some(_), _) => false,
        };
        let within = match seen {
            Seen::Number(seen) => {
                self.from.is_none_or(|least| seen >= least)
                    && self.to.is_none_or(|most| seen <= most)
                    && self.mask.is_none_or(|mask| seen & !mask == 0)
            }
            _ => true,
        };
        let begins = match (&self.starts, seen) {
            (Some(start), Seen::Text(seen)) => seen.starts_with(start.as_str()),
            (start, _) => start.is_none(),
        };
        is && within && begins && self.contained(seen)
    }

    /// Is all that it has to contain there, in order?
    fn contained(&self, seen: Seen<'_>) -> bool {
        match seen {
            _ if self.contains.is_empty() => true,
            Seen::Text(text) => {
                let mut rest = text.as_bytes();
                self.contains
                    .iter()
                    .all(|part| match memmem::find(rest, part.as_bytes()) {
                        Some(at) => {
                            rest = &rest[at + part.len()..];
                            true
                        }
                        None => false,
                    })
            }
            Seen::List(list) => {
                let mut rest = list.iter();
                self.contains.iter().all(|part| rest.any(|element| element == part))
            }
            Seen::Bytes(bytes) => self
                .contains
                .iter()
                .filter_map(|part| hexadecimal(part))
                .all(|part| !part.is_empty() && memmem::find(bytes, &part).is_some()),
            Seen::Flag(_) | Seen::Number(_) => false,
        }
    }

    /// What is wrong with it, if something is.
    pub(super) fn fault(&self) -> Option<String> {
        let form = self.field.form();
        let says_number = self.from.is_some() || self.to.is_some() || self.mask.is_some();
        let fits = match &self.is {
            None => true,
            Some(Expected::Flag(_)) => form == Form::Flag,
            Some(Expected::Number(_)) => form == Form::Number,
            Some(Expected::Text(_)) => form == Form::Text,
            Some(Expected::List(_)) => form == Form::List,
        } && (!says_number || form == Form::Number)
            && (self.starts.is_none() || form == Form::Text)
            && (self.contains.is_empty() || matches!(form, Form::Text | Form::List | Form::Bytes));
        if !fits {
            return Some(format!(
                "fact `{}` compares a {} with something else",
                self.id,
                form.name()
            ));
        }
        if self.is.is_none() && !says_number && self.starts.is_none() && self.contains.is_empty() {
            return Some(format!(
                "fact `{}` says nothing: it needs `is`, `from`, `to`, `mask`, `starts` or `contains`",
                self.id
            ));
        }
        let not_bytes = |part: &&String| hexadecimal(part).is_none_or(|bytes| bytes.is_empty());
        if form == Form::Bytes
            && let Some(part) = self.contains.iter().find(not_bytes)
        {
            return Some(format!("fact `{}`: `{part}` is not bytes in hexadecimal", self.id));
        }
        if self.id.trim().is_empty() || self.what.trim().is_empty() || self.seen_in.trim().is_empty() {
            return Some(format!("fact `{}` has an empty `id`, `what` or `seen_in`", self.id));
        }
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Some(format!("fact `{}`: no number is from {from} to {to}", self.id));
        }
        (self.times == 0).then(|| format!("fact `{}`: `times` is at least 1", self.id))
    }
}

impl Form {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flag => "yes or no",
            Self::Number => "number",
            Self::Text => "text",
            Self::List => "list of texts",
            Self::Bytes => "string of bytes",
        }
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = |start| {
        text.get(start..start + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(field: &str, test: &str) -> Fact {
        let text = format!("id = 'a'\nwhat = 'b'\nseen_in = 'c'\nfield = '{field}'\n{test}\n");
        toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_fact_compares_what_is_in_its_field() {
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let (long, short) = (list(&["a", "b", "c"]), list(&["c", "a"]));
        for (field, test, yes, no) in [
            ("bind_fragment", "is = 4280", Seen::Number(4280), Seen::Number(5840)),
            ("auth_context_id", "from = 5\nto = 7", Seen::Number(7), Seen::Number(8)),
            (
                "auth_context_id",
                "from = 5\nmask = 0x0f",
                Seen::Number(15),
                Seen::Number(16),
            ),
            ("bind_ndr64", "is = false", Seen::Flag(false), Seen::Flag(true)),
            (
                "ntlm_target",
                "starts = 'cifs/'",
                Seen::Text("cifs/dc"),
                Seen::Text("RPCSS/cifs/"),
            ),
            (
                "call",
                "contains = ['f(', ', x']",
                Seen::Text("f(a, xy)"),
                Seen::Text(", x f("),
            ),
            ("names", "contains = ['a', 'c']", Seen::List(&long), Seen::List(&short)),
            ("names", "is = ['c', 'a']", Seen::List(&short), Seen::List(&long)),
            (
                "activation_bytes",
                "contains = ['fafa']",
                Seen::Bytes(&[0, 0xfa, 0xfa]),
                Seen::Bytes(&[0xfa, 0, 0xfa]),
            ),
        ] {
            let fact = fact(field, test);
            assert_eq!(fact.fault(), None, "{test}");
            assert!(fact.holds(yes) && !fact.holds(no), "{field} {test}");
            assert_eq!(fact.field.name(), field);
        }
    }

    #[test]
    fn a_fact_that_compares_nothing_or_something_else_is_refused() {
        for (field, test, cause) in [
            ("bind_fragment", "", "says nothing"),
            ("bind_fragment", "is = '4280'", "compares a number"),
            ("bind_ndr64", "from = 1", "compares a yes or no"),
            ("names", "starts = 'a'", "compares a list of texts"),
            ("activation_bytes", "contains = ['fa0']", "not bytes in hexadecimal"),
            ("activation_bytes", "contains = ['é']", "not bytes in hexadecimal"),
            ("call", "contains = ['f']\ntimes = 0", "at least 1"),
        ] {
            let fault = fact(field, test).fault().unwrap_or_default();
            assert!(fault.contains(cause), "{field} {test}: {fault}");
        }
    }
}
