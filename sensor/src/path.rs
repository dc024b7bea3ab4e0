//! Paths as Windows writes them.

/// What stands behind the last slash of a path, whichever way each of its slashes leans.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_stands_behind_the_last_slash() {
        for (path, name) in [
            (r"C:\Windows\System32\cmd.exe", "cmd.exe"),
            (r"\\server\share/folder/a b.txt", "a b.txt"),
            ("cmd.exe", "cmd.exe"),
            (r"C:\Windows\", ""),
            ("", ""),
        ] {
            assert_eq!(file_name(path), name, "{path}");
        }
    }
}
