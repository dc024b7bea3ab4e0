//! What shares hold.

use std::sync::Arc;

/// What a share holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// `IPC$`: pipes.
    Pipes,
    /// An administrative share (`ADMIN$`, or a drive as `C$`), by its path: files of which it is told that they are opened.
    /// Shares of others may end in a dollar sign too.
    Administrative(Arc<str>),
    /// Anything else.
    Files,
}

impl Share {
    pub(super) fn of(path: String) -> Self {
        let upper = path.to_ascii_uppercase();
        let name = upper.rsplit('\\').next().unwrap_or_default();
        if name == "IPC$" {
            Self::Pipes
        } else if name == "ADMIN$" || matches!(name.as_bytes(), [b'A'..=b'Z', b'$']) {
            Self::Administrative(path.into())
        } else {
            Self::Files
        }
    }
}
