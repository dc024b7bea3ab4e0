//! What a path on another machine is: a machine that opens it logs in there.

/// Does the text name a file on another machine than the one that opens it?
///
/// Windows takes `/` for `\` in such names, and `\\?\` and `\\.\` in front of them for its own namespaces, of which one leads
/// to other machines again: `UNC` ("Naming Files, Paths, and Namespaces" on learn.microsoft.com). `localhost` and loopback
/// addresses are the machine itself; of its own names nothing is known here.
pub(super) fn is_elsewhere(path: &str) -> bool {
    let text = path.trim_start();
    let Some(rest) = after_slashes(text) else {
        return text.strip_prefix(r"\??\").and_then(unc).is_some_and(is_other_host);
    };
    match rest.split_once(['\\', '/']) {
        Some(("?" | ".", rest)) => unc(rest).is_some_and(is_other_host),
        _ => is_other_host(rest),
    }
}

/// What follows two slashes of either kind.
fn after_slashes(text: &str) -> Option<&str> {
    text.strip_prefix(['\\', '/'])?.strip_prefix(['\\', '/'])
}

/// Behind a namespace's prefix: host and share, where the name leads to the network.
fn unc(name: &str) -> Option<&str> {
    const TO_THE_NETWORK: [&str; 2] = ["UNC", r"GLOBALROOT\Device\Mup"];
    TO_THE_NETWORK.into_iter().find_map(|prefix| {
        let (start, rest) = name.split_at_checked(prefix.len())?;
        let rest = rest.strip_prefix(['\\', '/'])?;
        start.replace('/', "\\").eq_ignore_ascii_case(prefix).then_some(rest)
    })
}

/// Is it the name or address of another machine that the path begins with? `@` sets off a port, or that TLS is to be used.
fn is_other_host(rest: &str) -> bool {
    let host = rest.split(['\\', '/', '@']).next().unwrap_or_default();
    let host = host.trim().to_ascii_lowercase();
    let loopback = host.strip_prefix("127.");
    let loopback = loopback.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    // The first three are no hosts: a prefix, and nothing behind it.
    let own = ["", ".", "?", "localhost", "::1", "[::1]", "0--1.ipv6-literal.net"];
    !loopback && !own.contains(&host.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_elsewhere_by_either_slash_and_behind_each_prefix_that_does() {
        for path in [
            r"\\192.0.2.66\share",
            "//192.0.2.66/share",
            r"\/host\share",
            r"/\host",
            r"\\?\UNC\host\share",
            r"\\.\unc\host\share",
            "//?/UNC/host/share",
            r"\\?\GLOBALROOT\Device\Mup\host\share",
            r"\??\UNC\host\share",
            r"\\host@8080\DavWWWRoot\x",
            r"\\host@SSL\x",
            r"\\[2001:db8::1]\x",
            r"\\127.example\x",
            r"\\localhost.example\x",
        ] {
            assert!(is_elsewhere(path), "{path}");
        }
        for path in [
            "",
            "\\",
            r"\\",
            r"C:\images",
            r"\images\working",
            r"\\?\C:\images",
            r"\\.\C:\images",
            "//./C:/images",
            r"\\.\pipe\x",
            r"\\?\Volume{01234567-89ab-cdef-0123-456789abcdef}\x",
            r"\\localhost\c$\img",
            r"\\LOCALHOST@80\x",
            r"\\127.0.0.1\c$",
            r"\\?\UNC\127.1\c$",
            r"\\?\UNC\",
            r"\??\C:\x",
            r"\\?",
            r"\\.",
            "http://host/x",
            "müll",
        ] {
            assert!(!is_elsewhere(path), "{path}");
        }
    }
}
