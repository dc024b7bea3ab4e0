//! What is wrong with some bytes, said so that a log line can be acted on: which structure, where, and who claimed it.

use std::fmt;

/// Why a structure could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The structure by its specification name.
    pub structure: &'static str,
    /// Offset in bytes from the start of what the parser was given.
    pub offset: usize,
    /// What was found there.
    pub kind: ErrorKind,
}

/// The ways in which bytes fail to be a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The bytes end before the structure does.
    Truncated {
        /// Bytes needed from `offset` on.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// A field holds a value that the specification rules out.
    Invalid {
        /// The field by its specification name.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// A field holds a value that is legal and that we do not read.
    Unsupported {
        /// The field by its specification name.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// A count or a depth is beyond what we are willing to follow.
    Limit {
        /// The field by its specification name.
        field: &'static str,
        /// Our bound.
        max: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            structure,
            offset,
            kind,
        } = self;
        match kind {
            ErrorKind::Truncated { need, have } => {
                write!(f, "{structure}: {need} bytes needed, {have} there (offset {offset})")
            }
            ErrorKind::Invalid { field, value } => {
                write!(
                    f,
                    "{structure}: `{field}` is {value:#x}, which is not valid (offset {offset})"
                )
            }
            ErrorKind::Unsupported { field, value } => {
                write!(
                    f,
                    "{structure}: `{field}` is {value:#x}, which is not supported (offset {offset})"
                )
            }
            ErrorKind::Limit { field, max } => {
                write!(
                    f,
                    "{structure}: `{field}` is beyond the limit of {max} (offset {offset})"
                )
            }
        }
    }
}

impl std::error::Error for ParseError {}

/// A parser's answer.
pub type Result<T> = std::result::Result<T, ParseError>;
