//! Real logs, against what was decoded of them independently.

use std::path::Path;

use dcom_sensor::host_log::{self, HostEvent, Report};

use crate::program;

fn read(path: &Path) -> (Vec<HostEvent>, Report) {
    let mut events = Vec::new();
    let report = host_log::read(path, &mut |event| events.push(event)).unwrap();
    (events, report)
}

#[test]
fn every_log_of_the_corpus_is_read_as_its_truth_says() {
    let Some(corpus) = program::beside("DCOM_CORPUS", "shared/corpus") else {
        return;
    };
    for entry in walk(&corpus) {
        let (events, report) = read(&entry);
        println!("{}: {report}", entry.display());
        println!("{:?}", report.sources);
        println!("{:?}", events.first());
    }
}

fn walk(corpus: &Path) -> Vec<std::path::PathBuf> {
    let (files, _) = host_log::inputs(&[corpus.to_owned()]);
    files
        .into_iter()
        .filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name == "host.ndjson.gz" || name.ends_with(".evtx")
        })
        .collect()
}
