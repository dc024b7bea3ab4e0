//! `--explain`: the page of a detection, as it stands in docs/detections; of what `hunt` finds, its section of docs/HUNT.md.

use std::io::{self, Write};

use anyhow::{Result, bail};

use super::RAN;

/// The pages, each with the detections that it tells of in its head.
const PAGES: &[&str] = &[
    include_str!("../../../docs/detections/activation-refused.md"),
    include_str!("../../../docs/detections/activation-without-call.md"),
    include_str!("../../../docs/detections/beside-activation.md"),
    include_str!("../../../docs/detections/coercion.md"),
    include_str!("../../../docs/detections/enumeration.md"),
    include_str!("../../../docs/detections/execution.md"),
    include_str!("../../../docs/detections/fan-out.md"),
    include_str!("../../../docs/detections/first-activation.md"),
    include_str!("../../../docs/detections/frames-lost.md"),
    include_str!("../../../docs/detections/odd-activation.md"),
    include_str!("../../../docs/detections/remote-activation.md"),
    include_str!("../../../docs/detections/sealed-activation.md"),
    include_str!("../../../docs/detections/unanswered.md"),
    include_str!("../../../docs/detections/weak-level.md"),
    include_str!("../../../docs/detections/wmi.md"),
];

/// The page that tells of what `hunt` finds, a section for each.
const HUNT: &str = include_str!("../../../docs/HUNT.md");

/// How long the number of a signature is.
const ID_DIGITS: usize = 7;

/// Prints the page of a signature.
pub(super) fn run(id: u32) -> Result<u8> {
    let Some(page) = page(id) else {
        bail!("there is no signature {id}; docs/detections lists them, and alerts have them as `signature_id`");
    };
    let mut out = io::stdout().lock();
    out.write_all(page.as_bytes())?;
    Ok(RAN)
}

fn page(id: u32) -> Option<&'static str> {
    // Pages hold other numbers too, all of them shorter.
    let id = Some(id.to_string()).filter(|id| id.len() == ID_DIGITS)?;
    let names_it = |text: &str| {
        text.split_whitespace()
            .any(|word| word.trim_end_matches(['.', ',']) == id)
    };
    let page = PAGES.iter().copied().find(|page| names_it(head(page)));
    page.or_else(|| sections(HUNT).find(|section| section.lines().nth(2).is_some_and(names_it)))
}

/// The parts of a page that begin with a heading of the third level.
fn sections(page: &'static str) -> impl Iterator<Item = &'static str> {
    let starts = page.match_indices("\n### ").map(|(at, _)| at + 1);
    starts.filter_map(move |start| {
        let section = page.get(start..)?;
        let end = section.find("\n##").map_or(section.len(), |end| end + 1);
        section.get(..end)
    })
}

/// What stands before a page's first section.
fn head(page: &str) -> &str {
    page.split("\n## ").next().unwrap_or(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{HOST_SIGNATURES, SIGNATURES};

    #[test]
    fn every_signature_has_its_page() {
        for signature in SIGNATURES {
            let page = page(signature.id).unwrap_or_else(|| panic!("{} has no page", signature.id));
            assert!(page.contains("\n## What\n"), "{page}");
        }
        for signature in HOST_SIGNATURES {
            let page = page(signature.id).unwrap_or_else(|| panic!("{} has no page", signature.id));
            assert!(
                page.starts_with("### ") && page.contains("**False positives.**"),
                "{page}"
            );
        }
        assert!(page(1_021_390).is_some_and(|page| page.contains("lost")));
        assert_eq!(page(1), None);
        assert_ne!(page(1_021_301), page(1_021_306));
    }
}
