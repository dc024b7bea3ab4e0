//! How fast are host logs read? `cargo bench --bench host_logs`; README.md beside this file says what is measured.

#[path = "../tests/integration/host_logs/evtx_writer.rs"]
mod evtx_writer;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{env, fs, process};

use divan::Bencher;
use divan::counter::BytesCount;
use evtx_writer::Record;

/// Names the log to read; without it one is built.
const LOG: &str = "DCOM_BENCH_HOST_LOG";
/// How large a built log is.
const SIZE: usize = 64 << 20;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = env::temp_dir().join(format!("dcom-sensor-bench-host-{}", process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
});

/// The samples that are one JSON record a line, again and again, among three times as many that are not of interest.
static LINES: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(named) = env::var_os(LOG) {
        return named.into();
    }
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/host_logs");
    let mut wanted = Vec::new();
    for name in ["nxlog.ndjson", "winlogbeat.ndjson", "velociraptor.ndjson"] {
        let text = fs::read_to_string(samples.join(name)).expect("a sample");
        wanted.extend(text.lines().map(str::to_owned));
    }
    let message =
        "The handle to an object was closed.\\r\\n\\r\\nSubject :\\r\\n\\tSecurity ID:\\t\\tS-1-5-18\\r\\n".repeat(6);
    let mut text = String::with_capacity(SIZE + (1 << 16));
    let mut number = 0_u64;
    while text.len() < SIZE {
        for line in &wanted {
            text.push_str(line);
            text.push('\n');
            for id in [4658, 4656, 4690] {
                number += 1;
                writeln!(
                    text,
                    r#"{{"Keywords":-9214364837600034816,"SeverityValue":2,"EventID":{id},"ProviderGuid":"{{54849625-5478-4994-A5BA-3E3B0328C30D}}","Channel":"Security","host":"wec.lab.example","EventReceivedTime":"2020-09-18 13:07:52","EventTime":"2020-09-18 13:07:50","Message":"{message}","@timestamp":"2020-09-18T17:07:52.046Z","RecordNumber":{number},"SourceName":"Microsoft-Windows-Security-Auditing","HandleId":"0x1a4","Hostname":"ws6.lab.example","tags":["x"]}}"#
                ).expect("text is written to memory");
            }
        }
    }
    let path = FOLDER.join("built.ndjson");
    fs::write(&path, text).expect("the built log");
    path
});

static EVTX: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = FOLDER.join("built.evtx");
    fs::write(&path, evtx_writer::file(&records(SIZE / 1000))).expect("the built log");
    path
});

/// One start of a process in ten, four accesses, which are not of interest, and five values of the registry.
fn records(count: usize) -> Vec<Record<'static>> {
    let text = |text: &str| text.to_owned();
    (0..count as u64)
        .map(|number| {
            let guid = format!("{{d273d0f0-e8f0-5f64-ff00-{number:012x}}}");
            let time = ("UtcTime", text("2020-09-18 17:05:52.782"));
            let (id, data) = match number % 10 {
                0 => (1, vec![
                    ("RuleName", text("-")), time, ("ProcessGuid", guid.clone()), ("ProcessId", number.to_string()),
                    ("Image", text(r"C:\Windows\System32\cmd.exe")), ("FileVersion", text("10.0.18362.1 (WinBuild.160101.0800)")),
                    ("Description", text("Windows Command Processor")), ("OriginalFileName", text("Cmd.Exe")),
                    ("CommandLine", text(r#""C:\Windows\System32\cmd.exe" /Q /c whoami /all"#)), ("User", text(r"LAB\alice")),
                    ("LogonId", text("0x3e7")), ("IntegrityLevel", text("High")),
                    ("Hashes", text("SHA1=090436B0679559CB2D5E863AD9C9135613F38D77,MD5=72260CE9438A7A9A8A5BA101EDA4D6BD")),
                    ("ParentProcessGuid", guid), ("ParentProcessId", text("3572")),
                    ("ParentImage", text(r"C:\Windows\System32\mmc.exe")),
                    ("ParentCommandLine", text(r"C:\Windows\system32\mmc.exe -Embedding")),
                ]),
                1..=4 => (10, vec![
                    ("RuleName", text("-")), time, ("SourceProcessGUID", guid.clone()), ("SourceProcessId", number.to_string()),
                    ("SourceImage", text(r"C:\Windows\System32\svchost.exe")), ("TargetProcessGUID", guid),
                    ("TargetImage", text(r"C:\Windows\System32\lsass.exe")), ("GrantedAccess", text("0x1000")),
                    ("CallTrace", text(r"C:\windows\SYSTEM32\ntdll.dll+9c534|C:\windows\System32\KERNELBASE.dll+305fe|c:\windows\system32\lsm.dll+10e93")),
                ]),
                _ => (13, vec![
                    ("RuleName", text("-")), ("EventType", text("SetValue")), time, ("ProcessGuid", guid),
                    ("ProcessId", number.to_string()), ("Image", text(r"C:\Windows\System32\svchost.exe")),
                    ("TargetObject", text(r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings\Connections")),
                    ("Details", text("QWORD (0x00000000-0x00000000)")),
                ]),
            };
            Record {
                provider: "Microsoft-Windows-Sysmon",
                channel: "Microsoft-Windows-Sysmon/Operational",
                id,
                number,
                time: 1_600_448_752_000 + number,
                computer: "ws6.lab.example",
                data,
            }
        })
        .collect()
}

fn main() {
    divan::main();
    // What is left over is in a folder of temporary files.
    let _ = fs::remove_dir_all(&*FOLDER);
}

fn read(bencher: Bencher<'_, '_>, path: &Path) {
    let size = fs::metadata(path).expect("a log").len();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let mut events = 0_u64;
        let report = dcom_sensor::host_log::read(path, None, &mut |_| events += 1).expect("a log");
        assert!(events > 0, "{report}");
        events
    });
}

/// JSON, one record a line, to events. To be held to 300 MB/s.
#[divan::bench(sample_count = 10)]
fn host_ndjson(bencher: Bencher<'_, '_>) {
    read(bencher, &LINES);
}

/// EVTX to events. To be held to 150 MB/s.
#[divan::bench(sample_count = 10)]
fn host_evtx(bencher: Bencher<'_, '_>) {
    read(bencher, &EVTX);
}
