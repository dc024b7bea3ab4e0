//! docs/EVENTS.md, written from the declarations.

use std::fmt::Write;

use super::alert::Notice;
use super::anomaly::Weird;
use super::dcerpc::{Circumstances, DcerpcInterface, NtlmRow};
use super::dcom::{NamedGuid, SecurityBinding, TowerRecord};
use super::ecs::Ecs;
use super::host_alert::{HostAlert, RelatedEvent};
use super::ocsf::{Attack, Evidence, Finding, Observable};
use super::record::{Column, Record};
use super::stats::{CaptureLossRow, Counters, StatsRow};
use super::{Alert, Anomaly, Dcerpc, Dcom, EveType, Flow, Meta, Stats, ZeekLog};

const OPENING: &str = "# Events

Written from the declarations under `sensor/src/event`; `UPDATE_DOCS=1 cargo test` rewrites it.

Keys that are unset, and lists without an element, are left out of eve.json and of Zeek's logs in JSON; in Zeek's tab-separated
logs they are `-`. An empty text is `(empty)` there, and so is an empty list in a column that Zeek itself has. That a call had no
arguments is said by `evidence`: with `arguments` they were read.
";

/// Every column of every log: the text of docs/EVENTS.md.
pub fn reference() -> String {
    let mut page = Page {
        text: OPENING.to_owned(),
        told: Vec::new(),
    };
    page.logs();
    page.record::<Meta>("in every event");
    page.record::<Dcom>("in `dcom` and `alert` events");
    page.record::<NamedGuid>("element of `dcom.iids`; in Zeek's logs its `uuid`");
    page.record::<SecurityBinding>("element of `dcom.security_bindings`");
    page.record::<TowerRecord>("element of `dcom.towers`");
    page.record::<Dcerpc>("in `dcerpc` and `alert` events");
    page.record::<DcerpcInterface>("element of `dcerpc.interfaces`");
    page.record::<Circumstances>("in `dcerpc` events, beside what stands under Dcerpc");
    page.record::<NtlmRow>("in `ntlm.log`");
    page.record::<Alert>("in `alert` events, beside what stands under Dcom and Dcerpc");
    page.record::<HostAlert>("in `alert` events of `dcom-sensor hunt`");
    page.record::<RelatedEvent>("element of `host_event.related`");
    page.record::<Notice>("`alert` events in `notice.log`");
    page.record::<Anomaly>("in `anomaly` events");
    page.record::<Weird>("`anomaly` events in `weird.log`");
    page.record::<Flow>("in `flow` events");
    page.record::<Stats>("in `stats` events");
    page.record::<StatsRow>("`stats` events in `stats.log`");
    page.record::<CaptureLossRow>("`stats` events in `capture_loss.log`");
    page.line(FORMS);
    page.form::<Ecs>("ecs.json", "every line");
    page.form::<Finding>("ocsf.json", "every line");
    page.form::<Attack>("ocsf.json", "element of `finding_info.attacks` and of `attacks`");
    page.form::<Evidence>("ocsf.json", "element of `evidences`");
    page.form::<Observable>("ocsf.json", "element of `observables`");
    page.text
}

const FORMS: &str = "
## Forms of others

[FORMATS.md](FORMATS.md) says who reads them and how. ecs.json has a line for each line of eve.json, with what that says
under `dcom` as it is, and under `dcom.tunnel`, `dcom.dcerpc`, `dcom.host_event`, `dcom.anomaly`, `dcom.flow`, `dcom.tcp` and `dcom.stats` what
stands beside it there. ocsf.json has a line for each alert, and live for what host logs say of one later, with the same
under `unmapped`.";

struct Page {
    text: String,
    /// What stands on the page is not told again where it is part of another record.
    told: Vec<&'static Column>,
}

impl Page {
    fn logs(&mut self) {
        self.line("\n## eve.json\n");
        for kind in EveType::ALL {
            let mut objects: Vec<&str> = kind
                .columns()
                .filter_map(|(path, column)| match path.split_once('.') {
                    Some((object, _)) => Some(object),
                    None if column.zeek_type == Counters::ZEEK_TYPE => Some(path),
                    None => None,
                })
                .collect();
            objects.dedup();
            let objects: Vec<String> = objects.iter().map(|object| format!("`{object}`")).collect();
            self.line(&format!("- `event_type` `{}`: {}", kind.name, objects.join(", ")));
        }
        self.line("\n## Zeek's logs\n");
        for log in ZeekLog::ALL {
            let names: Vec<&str> = log.columns().map(|(name, _)| name).collect();
            self.line(&format!("- `{}.log`: `{}`", log.path, names.join(" ")));
        }
    }

    fn record<R: Record>(&mut self, place: &str) {
        self.line(&format!("\n## {}: {place}\n\n{}\n", R::NAME, R::DOC.trim()));
        self.line("| eve.json | Zeek | type in Zeek | meaning |\n|---|---|---|---|");
        for column in R::COLUMNS {
            if self.told.contains(&column) {
                continue;
            }
            self.told.push(column);
            let eve = column.eve.map(|path| format!("`{path}`")).unwrap_or_default();
            let zeek = column.zeek.map(|name| format!("`{name}`")).unwrap_or_default();
            let zeek_type = column
                .zeek
                .map(|_| format!("`{}`", column.zeek_type))
                .unwrap_or_default();
            self.line(&format!(
                "| {eve} | {zeek} | {zeek_type} | {} |",
                column.doc.trim().replace('|', "\\|")
            ));
        }
    }

    fn form<R: Record>(&mut self, file: &str, place: &str) {
        self.line(&format!("\n## {}: {place} of {file}\n\n{}\n", R::NAME, R::DOC.trim()));
        self.line(&format!("| {file} | meaning |\n|---|---|"));
        for column in R::COLUMNS {
            let path = column.eve.unwrap_or_default();
            self.line(&format!("| `{path}` | {} |", column.doc.trim().replace('|', "\\|")));
        }
    }

    fn line(&mut self, line: &str) {
        // Writing to memory cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}
