//! Allow-lists: what is known and need not be told.

use dcom_parsers::guid::{Clsid, Guid};
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::pattern::{AnyOf, Day, Expiry, Host, Hours, Words};
use crate::host_log::event::image_name;

/// One entry: all that it asks for must fit, of a list one value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Why it is there.
    pub comment: String,
    /// From when it no longer holds, by the traffic's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
    /// Who calls: address, range or name. A name is what the caller says of itself.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub source: AnyOf<Host>,
    /// Who is called: address, range or name.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub target: AnyOf<Host>,
    /// The class: its name or its CLSID.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub class: AnyOf<Words>,
    /// The caller: `user`, or `DOMAIN\user`.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub user: AnyOf<Words>,
    /// The tool that the wire gives away.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub tool: AnyOf<Words>,
    /// The method that was called; where none was read, the operation.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub method: AnyOf<Words>,
    /// What was run.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub command_line: AnyOf<Words>,
    /// The computer whose log it stands in.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub host: AnyOf<Host>,
    /// The process that started another: its image's name, or its path.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub parent: AnyOf<Words>,
    /// The process that was started: its image's name, or its path.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub child: AnyOf<Words>,
    /// The command line of the process that started it.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub parent_command_line: AnyOf<Words>,
    /// The signature.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub sig_id: AnyOf<u32>,
    /// Days of the week, in UTC.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub days: AnyOf<Day>,
    /// Hours of the day, in UTC.
    #[serde(default, skip_serializing_if = "AnyOf::is_empty")]
    pub hours: AnyOf<Hours>,
    /// The line of the file that it stands in.
    #[serde(skip)]
    line: usize,
}

impl Allow {
    /// What an entry can ask for.
    pub const CONDITIONS: [&str; 14] = [
        "source",
        "target",
        "class",
        "user",
        "tool",
        "method",
        "command_line",
        "host",
        "parent",
        "child",
        "parent_command_line",
        "sig_id",
        "days",
        "hours",
    ];

    /// The same, with its place in the file.
    #[must_use]
    pub fn in_line(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The line of the file that it stands in.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Does it ask for nothing?
    pub fn is_boundless(&self) -> bool {
        self.source.is_empty()
            && self.target.is_empty()
            && self.class.is_empty()
            && self.user.is_empty()
            && self.tool.is_empty()
            && self.method.is_empty()
            && self.command_line.is_empty()
            && self.host.is_empty()
            && self.parent.is_empty()
            && self.child.is_empty()
            && self.parent_command_line.is_empty()
            && self.sig_id.is_empty()
            && self.days.is_empty()
            && self.hours.is_empty()
    }

    /// The classes that it asks for by a whole name.
    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        let words = self.class.0.iter().map(Words::as_str);
        words.filter(|words| Guid::parse(words).is_none() && !words.contains(['*', '?']))
    }

    /// Is the alert about what it allows? What the alert does not know fits nothing.
    pub(super) fn fits(&self, facts: &Facts<'_>) -> bool {
        let dcom = facts.alert.about();
        let known = |text: Option<&str>, words: &Words| text.is_some_and(|text| words.fit(text));
        self.sig_id.fits(|&id| id == facts.alert.signature_id)
            && self.source.fits(|host| host.is(facts.source, &facts.source_names))
            && facts.each_target(|target, names| self.target.fits(|host| host.is(target, names)))
            && facts.each_class(|class, clsid| {
                self.class.fits(|words| match Guid::parse(words.as_str()) {
                    Some(guid) => clsid == Some(Clsid(guid)),
                    None => known(class, words),
                })
            })
            && self
                .method
                .fits(|words| words.fit(dcom.method.as_deref().unwrap_or(&dcom.operation)))
            && self.command_line.fits(|words| known(facts.command_line(), words))
            && self
                .host
                .fits(|host| facts.host().is_some_and(|name| host.is(None, &[name])))
            && self.parent.fits(|words| image(facts.parent_image(), words))
            && self.child.fits(|words| image(facts.child_image(), words))
            && self
                .parent_command_line
                .fits(|words| known(facts.parent_command_line(), words))
            && self.days.fits(|&day| day == Day::of(facts.at))
            && self.hours.fits(|hours| hours.hold(facts.at))
            && self.user.fits(|words| facts.users().any(|user| words.fit(&user)))
            && (self.tool.is_empty() || facts.tool().is_some_and(|tool| self.tool.fits(|words| words.fit(tool))))
    }
}

/// Is the image one with that name, or that path?
fn image(path: Option<&str>, words: &Words) -> bool {
    path.is_some_and(|path| words.fit(&image_name(path)) || words.fit(path))
}
