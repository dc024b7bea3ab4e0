//! The activations that named each exporter.

use std::collections::VecDeque;
use std::sync::Arc;

use dcom_parsers::guid::Oxid;

use super::life::Life;
use super::lineage::{Lineage, Tie};
use super::machines::Machines;
use super::{MAX_ALIKE, Pair};
use crate::hash::HashMap;
use crate::time::Timestamp;

/// An activation that named an exporter.
#[derive(Debug)]
struct Activated {
    pair: Pair,
    lineage: Arc<Lineage>,
    at: Timestamp,
}

/// By exporter. The one that was named first is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Activations {
    exporters: HashMap<Oxid, Vec<Activated>>,
    order: VecDeque<Oxid>,
}

impl Activations {
    /// An activation's reply names its exporter, of which at most so many are kept.
    pub(super) fn add(&mut self, pair: Pair, oxid: Oxid, lineage: &Lineage, now: Timestamp, most: usize) {
        let activations = self.exporters.entry(oxid).or_default();
        if activations.is_empty() {
            self.order.push_back(oxid);
        }
        activations.retain(|activated| activated.pair != pair || activated.lineage.clsid != lineage.clsid);
        if activations.len() >= MAX_ALIKE {
            activations.remove(0);
        }
        activations.push(Activated {
            pair,
            lineage: Arc::new(lineage.weak(Tie::Exporter)),
            at: now,
        });
        if self.exporters.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.exporters.remove(&oldest);
        }
    }

    /// The activation that an object of this exporter may descend from: the last one by the same client. Where that client
    /// activated several classes there, nobody can say of which the object is; nor where no class object made it (`is_made`).
    pub(super) fn of(
        &self,
        pair: Pair,
        oxid: Oxid,
        is_made: bool,
        (machines, life): (&Machines, &Life),
    ) -> Option<Arc<Lineage>> {
        let fresh = |activated: &&Activated| life.is_recent(activated.at);
        let here = |activated: &&Activated| {
            activated.pair.client == pair.client && machines.is_same(activated.pair.server, pair.server)
        };
        let mut activated = self.exporters.get(&oxid)?.iter().rev().filter(fresh).filter(here);
        let Activated { lineage: last, .. } = activated.next()?;
        let is_one = activated.all(|other| other.lineage.clsid == last.clsid);
        if is_made && is_one {
            return Some(Arc::clone(last));
        }
        Some(Arc::new(Lineage {
            activation: last.activation.clone(),
            tie: last.tie,
            beside: last.clsid.filter(|_| is_one),
            ..Lineage::unseen()
        }))
    }
}
