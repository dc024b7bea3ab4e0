//! Detections: one file each. Every one is described under `docs/detections`.

mod remote_activation;

use crate::catalog::Catalog;
use crate::event::{Alert, Dcerpc, Dcom, Meta};

/// Everything that fires on a finished record.
pub fn detect(meta: &Meta, dcom: &Dcom, dcerpc: &Dcerpc, catalog: &Catalog) -> Vec<Alert> {
    remote_activation::detect(meta, dcom, dcerpc, catalog)
        .into_iter()
        .collect()
}
