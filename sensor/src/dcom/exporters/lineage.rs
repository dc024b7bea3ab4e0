//! Where an object comes from: the class, the activation, and the members that led to it.

use dcom_parsers::guid::Clsid;

use crate::event::dcom::{ActivationRecord, Proof};

/// Bytes of the longest path that is made longer still.
const MAX_PATH: usize = 256;
/// What stands for an object that nothing was seen to hand out, at the start of a path.
pub(crate) const UNSEEN: &str = "?";

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lineage {
    /// The class that was activated, where that was read.
    pub(crate) clsid: Option<Clsid>,
    /// Its name in the catalogue.
    pub(crate) class: Option<String>,
    /// How the object was reached from there, as code would write it.
    pub(crate) path: String,
    /// The activation, where it was seen, and what ties the object to it.
    pub(crate) activation: Option<ActivationRecord>,
    /// The one class that was activated in its exporter, where nothing else ties the object to the activation.
    pub(crate) beside: Option<Clsid>,
}

impl Lineage {
    /// An object that nothing was seen to hand out.
    pub(crate) fn unseen() -> Self {
        Self {
            clsid: None,
            class: None,
            path: UNSEEN.to_owned(),
            activation: None,
            beside: None,
        }
    }

    /// The members that led here from the class on, without what they were given; nothing for an object that nobody saw come.
    pub(crate) fn members(&self) -> Option<String> {
        let clsid = self.clsid?.to_string();
        let members = self.path.strip_prefix(self.class.as_deref().unwrap_or(&clsid))?;
        Some(without_arguments(members.strip_prefix('.').unwrap_or(members)))
    }

    /// The object that `member` of this one gave. Each may give the next without end: where a path is too long, it says so
    /// and grows no more.
    pub(crate) fn member(&self, member: &str) -> Self {
        let path = if self.path.len() + member.len() <= MAX_PATH {
            format!("{}.{member}", self.path)
        } else if self.path.ends_with(".…") {
            self.path.clone()
        } else {
            format!("{}.…", self.path)
        };
        Self { path, ..self.clone() }
    }

    /// Is an object that is handed out again to be told by this, no longer by what was `known` of it?
    ///
    /// Within one activation it is the same object, and where it came from first stands. What another activation hands out
    /// later is that one's from then on, were it the same object: who is given it anew calls it by that.
    pub(super) fn supersedes(&self, known: &Self) -> bool {
        let strong = |lineage: &Self| lineage.activation.clone().filter(|it| it.proof == Proof::Strong);
        let when = |activation: ActivationRecord| (activation.timestamp, activation.frame);
        match (strong(self), strong(known)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(new), Some(known)) => when(new) > when(known),
        }
    }

    /// The same, less sure.
    pub(super) fn weak(&self) -> Self {
        let weak = |activation| ActivationRecord {
            proof: Proof::Weak,
            ..activation
        };
        Self {
            activation: self.activation.clone().map(weak),
            ..self.clone()
        }
    }
}

/// A path without the texts that its members were given.
pub(crate) fn without_arguments(path: &str) -> String {
    let (mut members, mut rest) = (String::new(), path);
    while let Some((before, given)) = rest.split_once("(\"") {
        members.push_str(before);
        let ends = given.match_indices("\")").map(|(end, _)| end + 2);
        let mut behind = ends.filter_map(|end| given.get(end..));
        rest = behind
            .find(|rest| rest.is_empty() || rest.starts_with('.'))
            .unwrap_or_default();
    }
    members.push_str(rest);
    members
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

    use super::*;

    #[test]
    fn members_are_told_without_what_they_were_given() {
        for (path, members) in [
            ("", ""),
            ("Document.ActiveView", "Document.ActiveView"),
            (r#"Item("a.b").Document"#, "Item.Document"),
            (
                r#"CreateObject("Shell.Application", "x").Windows("(").Item"#,
                "CreateObject.Windows.Item",
            ),
            (r#"Item("a") b").Count"#, "Item.Count"),
            (r#"Item("never ends"#, "Item"),
        ] {
            assert_eq!(without_arguments(path), members, "{path}");
            let clsid = Some(Clsid(Guid::com(5)));
            let lineage = |class: Option<&str>, path| Lineage {
                clsid,
                class: class.map(str::to_owned),
                path,
                ..Lineage::unseen()
            };
            let dot = if path.is_empty() { "" } else { "." };
            let named = lineage(Some("A.Class"), format!("A.Class{dot}{path}"));
            assert_eq!(named.members().as_deref(), Some(members));
            let nameless = lineage(None, format!("{}{dot}{path}", Guid::com(5)));
            assert_eq!(nameless.members().as_deref(), Some(members));
        }
        assert_eq!(Lineage::unseen().member("Document").members(), None);
    }

    #[test]
    fn a_path_without_end_stops_growing() {
        let mut lineage = Lineage {
            path: "A".to_owned(),
            ..Lineage::unseen()
        };
        for _ in 0..1_000 {
            lineage = lineage.member("Next");
        }
        assert!(lineage.path.starts_with("A.Next.Next") && lineage.path.ends_with(".Next.…"));
        assert!(lineage.path.len() <= MAX_PATH + "Next".len() + ".…".len());
    }
}
