//! Numbers of the wire that a specification has names for.

/// Gives a newtype over a number its constants, and the name of each. Other numbers stay what they are, and have none.
macro_rules! named {
    ($type:ident { $($(#[$doc:meta])* $name:ident = $value:literal $text:literal;)* }) => {
        impl $type {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The specification's name, where there is one.
            pub const fn name(self) -> Option<&'static str> {
                match self { $(Self::$name => Some($text),)* _ => None }
            }
        }
    };
}

pub(crate) use named;
