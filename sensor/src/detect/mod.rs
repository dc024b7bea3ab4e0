//! Detections: one file each. Every one is described under `docs/detections`.

mod remote_activation;

use crate::catalog::Catalog;
use crate::dcom::Record;
use crate::event::Alert;

/// Everything that fires on a finished record.
pub fn detect(record: &Record, catalog: &Catalog) -> impl Iterator<Item = Alert> {
    remote_activation::detect(record, catalog).into_iter()
}
