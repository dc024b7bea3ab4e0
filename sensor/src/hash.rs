//! The hash tables of what is remembered across connections and records.

/// A table whose seed differs from run to run, so that nobody can choose keys that collide; faster than the standard
/// library's. No table is walked: what is written does not depend on the seed.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// The same without values.
pub(crate) type HashSet<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;
