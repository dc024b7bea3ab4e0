//! The members that lead from one object to the next, as code would write them: `Document.ActiveView`, `Windows.Item("1")`.

/// What every object of an application calls the application.
pub(super) const APPLICATION: &str = "Application";

/// A path without the texts that its members were given.
pub(crate) fn without_arguments(path: &str) -> String {
    outside(path).map(|(_, char)| char).collect()
}

/// What stands behind the last member that is called `Application`.
pub(crate) fn behind_application(members: &str) -> Option<&str> {
    let dots = starts(members);
    let mut end = members.len();
    dots.iter().rev().find_map(|&dot| {
        let behind = members.get(end..);
        let member = members.get(dot + 1..end)?;
        end = dot;
        behind.filter(|_| member.eq_ignore_ascii_case(APPLICATION))
    })
}

/// Where its members begin, each with its dot.
pub(crate) fn starts(members: &str) -> Vec<usize> {
    let dots = outside(members).filter(|&(_, char)| char == '.');
    dots.map(|(at, _)| at).collect()
}

/// What of a path is no text that a member was given, with its place. A quotation mark in a text is written twice.
fn outside(path: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let (mut given, mut quoted) = (false, false);
    path.char_indices().filter(move |&(at, char)| {
        let was_given = given;
        match char {
            '(' if !given => given = path.split_at(at + 1).1.starts_with('"'),
            '"' if given => quoted = !quoted,
            ')' if !quoted => given = false,
            _ => {}
        }
        !was_given && !given
    })
}

#[cfg(test)]
mod tests {
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
            (r#"Item("a"") b"").c").Count"#, "Item.Count"),
            (r#"GetTypeInfo().Item("a", …).Count"#, "GetTypeInfo().Item.Count"),
            (r#"Item("never ends"#, "Item"),
        ] {
            assert_eq!(without_arguments(path), members, "{path}");
        }
    }

    #[test]
    fn the_last_application_counts_and_texts_are_none() {
        for (members, behind) in [
            ("", None),
            (".Documents", None),
            (".Applications.Quit", None),
            (".Application", Some("")),
            (".application.Quit", Some(".Quit")),
            (".Application.Documents.Item.Application.Quit", Some(".Quit")),
            (r#".Open("x.Application.y").Quit"#, None),
            (
                r#".Application.Open("x.Application.y").Quit"#,
                Some(r#".Open("x.Application.y").Quit"#),
            ),
            (r#".Application("x").Quit"#, None),
        ] {
            assert_eq!(behind_application(members), behind, "{members}");
        }
    }
}
