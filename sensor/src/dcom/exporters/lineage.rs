//! Where an object comes from: the class, the activation, and the members that led to it.

use dcom_parsers::guid::Clsid;

use crate::catalog::{members, without_arguments};
use crate::event::dcom::{ActivationRecord, Proof};

/// Bytes of the longest path, but for a last member that is longer by itself.
const MAX_PATH: usize = 256;
/// What stands for members that are left out of a path.
const LEFT_OUT: &str = "…";
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
    /// Why that proves less than each reference on the way would, where it does.
    pub(crate) tie: Option<Tie>,
    /// The one class that was activated in its exporter, where nothing else ties the object to the activation.
    pub(crate) beside: Option<Clsid>,
}

/// What ties an object to an activation less surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    /// Its exporter alone.
    Exporter,
    /// It, or what led to it, was handed to another address than the one that called it.
    OtherClient,
    /// It, or what led to it, was handed out at another address, which is not known to be the same machine's.
    OtherServer,
    /// The last reference to what led to it was released before, as far as was seen.
    Released,
}

impl Lineage {
    /// An object that nothing was seen to hand out.
    pub(crate) fn unseen() -> Self {
        Self {
            clsid: None,
            class: None,
            path: UNSEEN.to_owned(),
            activation: None,
            tie: None,
            beside: None,
        }
    }

    /// The members that led here from the class on, without what they were given; nothing for an object that nobody saw come.
    pub(crate) fn members(&self) -> Option<String> {
        let clsid = self.clsid?.to_string();
        let members = self.path.strip_prefix(self.class.as_deref().unwrap_or(&clsid))?;
        Some(without_arguments(members.strip_prefix('.').unwrap_or(members)))
    }

    /// The object that `member` of this one gave. Each may give the next without end: where a path is too long, its first
    /// members are left out, since what runs something is told by the last ones.
    pub(crate) fn member(&self, member: &str) -> Self {
        let mut path = format!("{}.{member}", self.path);
        if path.len() > MAX_PATH {
            let (root, members) = path.split_at(self.root().len());
            let most = MAX_PATH.saturating_sub(root.len() + ".".len() + LEFT_OUT.len());
            let starts = members::starts(members);
            let fits = starts.iter().find(|&start| members.len() - start <= most);
            let start = *fits.or(starts.last()).unwrap_or(&0);
            path = format!("{root}.{LEFT_OUT}{}", members.split_at(start).1);
        }
        Self { path, ..self.clone() }
    }

    /// How its path begins.
    fn root(&self) -> &str {
        let begins = |root: &str| self.path.get(..root.len()).filter(|start| *start == root);
        let clsid = self.clsid.map(|clsid| clsid.to_string());
        let named = self.class.as_deref().or(clsid.as_deref());
        named.and_then(begins).or_else(|| begins(UNSEEN)).unwrap_or_default()
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

    /// The same, less sure; the first reason stays.
    pub(super) fn weak(&self, tie: Tie) -> Self {
        let weak = |activation| ActivationRecord {
            proof: Proof::Weak,
            ..activation
        };
        Self {
            activation: self.activation.clone().map(weak),
            tie: self.tie.or(Some(tie)),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

    use super::*;

    #[test]
    fn members_are_told_without_what_they_were_given() {
        for (path, members) in [("", ""), (r#"Item("a.b").Document"#, "Item.Document")] {
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
    fn of_a_path_without_end_the_last_members_stay() {
        let mut lineage = Lineage {
            class: Some("A.Class".to_owned()),
            path: "A.Class".to_owned(),
            ..Lineage::unseen()
        };
        for number in 0..1_000 {
            lineage = lineage.member(&format!("Next{number}(\"a.b.c\")"));
            assert!(lineage.path.len() <= MAX_PATH, "{}", lineage.path);
        }
        let path = lineage.member("Open").path;
        assert!(path.starts_with("A.Class.….Next98"), "{path}");
        assert!(path.ends_with(".Next998(\"a.b.c\").Next999(\"a.b.c\").Open"), "{path}");
        assert_eq!(path.matches(LEFT_OUT).count(), 1);
        let long = "n".repeat(2 * MAX_PATH);
        assert_eq!(lineage.member(&long).path, format!("A.Class.….{long}"));
        assert_eq!(Lineage::unseen().member(&long).path, format!("?.….{long}"));
    }
}
