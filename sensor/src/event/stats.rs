//! What the sensor counted.

use super::record::{Field, Value, record};

record! {
    /// Counters, at the end of a run.
    #[derive(Default)]
    pub struct Stats {
        /// Each counter by its dotted name, e.g. `decoder.pkts`; the sensor's own are under `dcom`.
        counters: Counters => eve "stats";
    }
}

/// Counters by dotted name. Names that share a parent stand together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub Vec<(&'static str, u64)>);

impl Field for Counters {
    const ZEEK_TYPE: &'static str = "string";

    fn value(&self) -> Value<'_> {
        Value::Counters(&self.0)
    }
}
