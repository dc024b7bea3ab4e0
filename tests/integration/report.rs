//! The report: from a capture to the page's data. What a browser makes of it is looked at by `tests/report/check`.

use std::path::Path;

use serde_json::Value;

use crate::program::{Outcome, Scratch, dcom_sensor, pcap, replay};

fn report<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    let output = dcom_sensor().arg("report").args(arguments).output();
    output.expect("the program runs").into()
}

/// The logs of a sample capture.
fn logs(scratch: &Scratch, capture: &str) -> std::path::PathBuf {
    let logs = scratch.path(capture);
    let run = replay([
        "-q".as_ref(),
        "-o".as_ref(),
        logs.as_os_str(),
        pcap(capture).as_os_str(),
    ]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    logs
}

/// The page about these logs.
fn page(logs: &Path) -> String {
    let run = report([logs.as_os_str(), "-o".as_ref(), "-".as_ref()]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    run.stdout
}

fn data(page: &str) -> Value {
    let (_, rest) = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .expect("the page has data");
    let (data, _) = rest.split_once("</script>").expect("the data ends");
    serde_json::from_str(data).expect("the data is JSON")
}

/// `INSTA_UPDATE=always cargo test report` rewrites the snapshot.
#[test]
fn data_of_a_capture_is_as_somebody_last_looked_at_it() {
    let scratch = Scratch::new();
    let data = data(&page(&logs(&scratch, "mmc20-powershell.pcap")));
    let text = serde_json::to_string_pretty(&data).expect("JSON can be written");
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("report");
    settings.bind(|| insta::assert_snapshot!("mmc20-powershell", text));
}

#[test]
fn the_same_logs_give_the_same_page_and_it_names_no_path() {
    let scratch = Scratch::new();
    let logs = logs(&scratch, "mmc20-connect.pcap");
    let first = page(&logs);
    assert_eq!(first, page(&logs));
    assert!(!first.contains(logs.to_str().expect("a path that is text")));
}

#[test]
fn what_was_written_is_told_and_what_could_not_be_read_ends_with_2() {
    let scratch = Scratch::new();
    let (logs, file) = (logs(&scratch, "mmc20-connect.pcap"), scratch.path("report.html"));
    let run = report([logs.as_os_str(), "-o".as_ref(), file.as_os_str()]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let told = format!(
        "192.0.2.20 had DCOMSRV01 (192.0.2.10) run “cmd.exe /Q /c whoami” through MMC20.Application.\n\
         {}: 1 incident of 3 alerts\n",
        file.display()
    );
    assert_eq!(run.stdout, told);
    let missing = scratch.path("missing");
    let both = report([
        logs.as_os_str(),
        missing.as_os_str(),
        "-q".as_ref(),
        "-o".as_ref(),
        file.as_os_str(),
    ]);
    assert_eq!((both.code, both.stdout.as_str()), (Some(2), ""));
    assert!(both.stderr.contains("missing: cannot open"), "{}", both.stderr);
    // A run that was broken off says nothing of what there was.
    std::fs::write(&missing, "").expect("a file can be written");
    let empty = report([missing.as_os_str(), "-o".as_ref(), file.as_os_str()]);
    assert_eq!(empty.code, Some(2));
    assert!(
        empty.stdout.starts_with("No alert, and nothing else"),
        "{}",
        empty.stdout
    );
    std::fs::remove_file(&missing).expect("the file can be removed");
    let none = report([missing.as_os_str()]);
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("\nhint: "), "{}", none.stderr);
}
