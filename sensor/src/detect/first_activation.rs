//! A source activates a class on a target for the first time: the baseline of quiet traffic does not know it.

use super::signature::FIRST_ACTIVATION;
use super::{Found, address, alert, as_whom, result};
use crate::catalog::Catalog;
use crate::dcom::Record;
use crate::severity::Severity;

/// What is told of an activation that the baseline does not know.
pub(crate) fn first_activation(record: &Record, catalog: &Catalog) -> Found {
    let Record { meta, dcom, .. } = record;
    let class = dcom.clsid.and_then(|clsid| catalog.class(clsid));
    let severity = match class {
        Some(class) if class.benign.is_some() => Severity::Informational,
        Some(_) => Severity::Medium,
        None => Severity::Low,
    };
    let message = format!(
        "{} asked {} for {} for the first time since the baseline began{}: {}",
        address(meta.client),
        address(meta.server),
        dcom.class_name().unwrap_or_default(),
        as_whom(&dcom.client),
        result(dcom),
    );
    alert(&FIRST_ACTIVATION, severity, "medium", message, record)
}

#[cfg(test)]
mod tests {
    use super::super::testing::activation;
    use super::*;

    #[test]
    fn what_administration_activates_is_worth_less() {
        let catalog = Catalog::built_in();
        let severity = |class| first_activation(&activation(class), &catalog).alert.severity;
        assert_eq!(severity("WbemLevel1Login (WMI)"), Severity::Informational);
        assert_eq!(severity("MMC20.Application"), Severity::Medium);
        assert_eq!(severity(""), Severity::Low);
    }
}
