//! The demonstration over a wire of the machine's own, as `make demo-live` runs it.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use crate::live::run;
use crate::program::{Outcome, Scratch, workspace};

#[test]
fn attacks_are_shown_as_they_come_logged_and_reported() {
    let own = ["--net", "ip", "link", "set", "lo", "up"];
    let may = run(Command::new("unshare").args(own))
        || run(Command::new("unshare").args(["--user", "--map-root-user"]).args(own));
    if !may || !run(Command::new("python3").arg("--version")) {
        let _ = writeln!(
            io::stderr(),
            "not tested: the demonstration needs network namespaces, iproute2 and python3"
        );
        return;
    }
    let scratch = Scratch::new();
    let out = scratch.path("demo");
    let output = Command::new(workspace().join("packaging/demo/run"))
        .env("DEMO", "quick")
        .env("DEMO_DIR", &out)
        .env("SENSOR", env!("CARGO_BIN_EXE_dcom-sensor"))
        .output();
    let outcome = Outcome::from(output.expect("the script runs"));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    // Each attack's alert stands below it and above the next.
    let shown = &outcome.stdout;
    let place = |text: &str| shown.find(text).unwrap_or_else(|| panic!("no {text} in {shown}"));
    let order = [
        "listening on far",
        "mmc20-powershell.pcap",
        "ExecuteShellCommand",
        "wmi-process.pcap",
        "excel-registerxll.pcap",
        "RegisterXLL",
        "report.html",
    ];
    let places = order.map(place);
    assert!(places.is_sorted(), "{order:?} at {places:?} in {shown}");
    let eve = fs::read_to_string(out.join("logs/eve.json")).expect("a log");
    let executions = eve.lines().filter(|line| line.contains("\"signature_id\":1021303,"));
    assert!(executions.count() >= 2, "{shown}");
    let page = fs::read_to_string(out.join("report.html")).expect("a report");
    assert!(page.contains("MMC20.Application"));
}
