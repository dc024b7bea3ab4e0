//! Names of members, by number.

use super::known::ToldBy;

/// Members remembered of one object, and parameters: as many as the objects of large applications have.
pub(super) const MAX_NAMES: usize = 512;
/// Bytes of the longest name remembered. No identifier is that long.
pub(super) const MAX_NAME: usize = 255;

/// Is it one that is remembered?
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME
}

/// A member.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) by: ToldBy,
    /// Is it of a name that means something where it is called?
    pub(super) matters: bool,
}

/// Members of one object. The one that was told first is forgotten first, those that matter last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names(Vec<Member>);

impl Names {
    /// The number of a member was told. Is that one more?
    pub(super) fn learn(&mut self, member: Member) -> bool {
        match self.0.iter_mut().find(|known| known.number == member.number) {
            Some(known) if known.by > member.by => return false,
            Some(known) => {
                *known = member;
                return false;
            }
            None => {}
        }
        let full = self.0.len() >= MAX_NAMES;
        if full {
            let least = self.0.iter().position(|known| !known.matters);
            self.0.remove(least.unwrap_or(0));
        }
        self.0.push(member);
        !full
    }

    pub(super) fn member(&self, number: i64) -> Option<(&str, ToldBy)> {
        let known = self.0.iter().find(|known| known.number == number)?;
        Some((&known.name, known.by))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.name == name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_those_that_matter() {
        let mut names = Names::default();
        let mut learn = |number: usize, matters| {
            let number = i64::try_from(number).unwrap();
            names.learn(Member {
                number,
                name: format!("M{number}"),
                by: ToldBy::GetIdsOfNames,
                matters,
            })
        };
        assert!(learn(0, true) && !learn(0, true), "known");
        let more = (1..3 * MAX_NAMES).filter(|&number| learn(number, false)).count();
        assert_eq!(more, MAX_NAMES - 1);
        let last = 3 * MAX_NAMES - 1;
        for (number, is_kept) in [(0, true), (1, false), (last - MAX_NAMES, false), (last, true)] {
            let member = names.member(i64::try_from(number).unwrap());
            assert_eq!(member.is_some(), is_kept, "{number}");
        }
        assert_eq!((names.len(), names.has("M0")), (MAX_NAMES, true));
    }
}
