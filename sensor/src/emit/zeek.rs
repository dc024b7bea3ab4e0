//! Zeek's logs: tab-separated with header lines, or a JSON object a line. A log is made at its first row.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::sink::{Sink, Start};
use super::{Unfinished, json, number};
use crate::event::record::{Column, Columns, Elements, Interval, Value, Visit};
use crate::event::{Event, ZeekLog};
use crate::time::Timestamp;

/// Bytes of a date in header lines, and at least so many as the line has that ends a log.
const DATE: usize = 19;
const END: u64 = 64;

const UNSET: &[u8] = b"-";
const EMPTY: &[u8] = b"(empty)";

/// How rows are written, and what the files are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `dcom.log`: tab-separated, with header lines.
    Tsv,
    /// `dcom.log`: JSON, as Zeek names it.
    Json,
    /// `dcom.json`: JSON, where `dcom.log` is taken.
    JsonBesideTsv,
}

impl Form {
    /// What a log's file is called in this form.
    pub(super) fn file_name(self, log: &ZeekLog) -> String {
        format!("{}.{}", log.path, self.ending())
    }

    /// Can rows of this form follow what is in the file? Not behind `#close`, where readers stop, not under other columns,
    /// and not behind rows of the other form.
    pub(super) fn goes_on(self, log: &ZeekLog, path: &Path) -> io::Result<bool> {
        let about = path.metadata()?;
        // A pipe holds nothing yet.
        if !about.is_file() || about.len() == 0 {
            return Ok(true);
        }
        let (before, after) = (before_open(log), after_open(log));
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        let header = before.len() + DATE + 1 + after.len();
        (&mut file).take(header as u64).read_to_end(&mut head)?;
        if self != Self::Tsv {
            return Ok(head.starts_with(b"{"));
        }
        let is_ours = head.starts_with(before.as_bytes())
            && head
                .get(before.len() + DATE..)
                .and_then(|rest| rest.strip_prefix(b"\n"))
                == Some(after.as_bytes());
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(about.len().saturating_sub(END)))?;
        file.read_to_end(&mut end)?;
        Ok(is_ours && memchr::memmem::rfind(&end, b"\n#close\t").is_none())
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Tsv | Self::Json => "log",
            Self::JsonBesideTsv => "json",
        }
    }
}

/// The logs in one folder.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    form: Form,
    start: Start,
    open: Vec<Log>,
}

/// A log with at least one row.
#[derive(Debug)]
struct Log {
    kind: &'static ZeekLog,
    sink: Sink,
    /// Where in the file the time stands at which it was opened; none in JSON.
    opened_at: Option<u64>,
}

impl Logs {
    /// Makes no file yet.
    pub(super) fn new(folder: &Path, form: Form, start: Start) -> Self {
        Self {
            folder: folder.to_path_buf(),
            form,
            start,
            open: Vec::new(),
        }
    }

    /// Adds an event's rows to its logs, if it has any.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        self.write_where(event, |_| true).1
    }

    /// The same for logs that are to have them. Is it in all logs?
    pub(super) fn write_where(&mut self, event: &Event, takes: impl Fn(&Sink) -> bool) -> (bool, io::Result<()>) {
        let (mut whole, mut result) = (true, Ok(()));
        for kind in event.body.zeek_logs() {
            // By path, which is a log's name: to compare all their columns costs more than the row.
            let known = self.open.iter().position(|log| log.kind.path == kind.path);
            if known.is_some_and(|number| !takes(&self.open[number].sink)) {
                whole = false;
            } else {
                result = result.and(self.add(event, kind, known));
            }
        }
        (whole, result)
    }

    fn add(&mut self, event: &Event, kind: &'static ZeekLog, known: Option<usize>) -> io::Result<()> {
        let mut opened = Ok(());
        let number = known.unwrap_or_else(|| {
            opened = self.begin(kind, event.meta.timestamp);
            self.open.len() - 1
        });
        let sink = &mut self.open[number].sink;
        match self.form {
            Form::Tsv => tsv(event, kind, sink.line()),
            Form::Json | Form::JsonBesideTsv => json_line(event, kind, sink.line()),
        }
        sink.settle()?;
        opened
    }

    /// Makes a log at its first row. Apart from what is done for each: else the date in its head is computed for each, too.
    #[inline(never)]
    fn begin(&mut self, kind: &'static ZeekLog, now: Timestamp) -> io::Result<()> {
        let mut log = Log::new(&self.folder, kind, self.form, self.start);
        let opened = log.open(now);
        self.open.push(log);
        opened
    }

    /// Goes on with those logs of others of the same form that are still where they were made: they do not end.
    pub(super) fn take_over(&mut self, others: &mut Self) {
        let (stay, end) = others.open.drain(..).partition(|log| log.sink.is_in_place());
        others.open = end;
        self.open = stay;
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Brings the rows so far to the files.
    pub fn flush(&mut self) -> io::Result<()> {
        // Each is tried, whatever becomes of another.
        self.open
            .iter_mut()
            .map(|log| log.sink.flush())
            .fold(Ok(()), Result::and)
    }

    pub(super) fn sinks(&self) -> impl Iterator<Item = &Sink> {
        self.open.iter().map(|log| &log.sink)
    }

    /// Ends the logs: `#open` becomes the time of the first frame that was read, `#close` that of the last. Those that
    /// go on in a file keep the time at which it was opened.
    pub(super) fn finish(self, first: Timestamp, last: Timestamp) -> impl Iterator<Item = Unfinished> {
        let logs = self.open.into_iter();
        logs.filter_map(move |log| log.finish(first, last).err())
    }
}

impl Log {
    fn new(folder: &Path, kind: &'static ZeekLog, form: Form, start: Start) -> Self {
        Self {
            kind,
            sink: Sink::new(folder.join(form.file_name(kind)), start),
            opened_at: (form == Form::Tsv).then(|| before_open(kind).len() as u64),
        }
    }

    /// Makes the file, with header lines if it is a new one of that form.
    fn open(&mut self, now: Timestamp) -> io::Result<()> {
        let opened = self.sink.open();
        if self.opened_at.is_some() && opened.as_ref().is_ok_and(|&length| length > 0) {
            return Ok(());
        }
        if self.opened_at.is_some() {
            let header = format!("{}{}\n{}", before_open(self.kind), date(now), after_open(self.kind));
            self.sink.line().extend_from_slice(header.as_bytes());
        }
        opened.map(|_| ())
    }

    fn finish(mut self, first: Timestamp, last: Timestamp) -> Result<(), Unfinished> {
        if self.opened_at.is_some() {
            self.sink
                .line()
                .extend_from_slice(format!("#close\t{}\n", date(last)).as_bytes());
        }
        self.sink.finish()?;
        match self.opened_at {
            Some(offset) => Ok(self.sink.overwrite(offset, date(first).as_bytes())?),
            None => Ok(()),
        }
    }
}

fn before_open(log: &ZeekLog) -> String {
    format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{}\n#open\t",
        log.path
    )
}

fn after_open(log: &ZeekLog) -> String {
    let names: Vec<&str> = log.columns().map(|(name, _)| name).collect();
    let types: Vec<&str> = log.columns().map(|(_, column)| column.zeek_type).collect();
    format!("#fields\t{}\n#types\t{}\n", names.join("\t"), types.join("\t"))
}

/// `2020-07-18-23-10-02`, always of one length, so that it can be overwritten in place.
fn date(time: Timestamp) -> String {
    time.to_string()
        .chars()
        .take(DATE)
        .map(|c| if c.is_ascii_digit() { c } else { '-' })
        .collect()
}

/// Writes an event's tab-separated row of one of its logs, the line feed included.
pub fn tsv(event: &Event, log: &ZeekLog, out: &mut Vec<u8>) {
    event.zeek(log, Cells(out));
    // Behind the last there is no tabulator.
    out.pop();
    out.push(b'\n');
}

/// Is there nothing to say? A list of ours without an element was not read, or does not belong to such a record: empty are
/// those alone that Zeek itself has.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "of which kind the value of a column is, is known where it stands"
)]
fn is_unset(column: &Column, value: &Value<'_>) -> bool {
    match value {
        Value::Unset => true,
        Value::List(elements) => column.eve.is_some() && elements.is_empty(),
        _ => false,
    }
}

/// Values with a tabulator behind each.
struct Cells<'o>(&'o mut Vec<u8>);

impl Columns for Cells<'_> {
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "of which kind the value of a column is, is known where it stands"
    )]
    fn column(&mut self, column: &'static Column, value: Value<'_>) {
        // Most columns of most rows.
        if is_unset(column, &value) {
            self.0.extend_from_slice(b"-\t");
        } else {
            cell(self.0, value, Place::Column);
            self.0.push(b'\t');
        }
    }
}

/// Writes an event's JSON object for one of its logs, a line feed included.
pub fn json_line(event: &Event, log: &ZeekLog, out: &mut Vec<u8>) {
    out.push(b'{');
    event.zeek(log, Members(out));
    json::close(out, b'}');
    out.push(b'\n');
}

/// Members of a JSON object.
struct Members<'o>(&'o mut Vec<u8>);

impl Columns for Members<'_> {
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "of which kind the value of a column is, is known where it stands"
    )]
    fn column(&mut self, column: &'static Column, value: Value<'_>) {
        if !is_unset(column, &value) {
            json_value(self.0, column.zeek_key, value);
        }
    }
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "of which kind the value of a column is, is known where it stands"
)]
fn json_value(out: &mut Vec<u8>, key: &[u8], value: Value<'_>) {
    match value {
        Value::Time(time) => json::bare(out, key, |out| number::millionths(out, time.microseconds())),
        Value::Interval(interval) => json::bare(out, key, |out| seconds(out, interval)),
        Value::List(elements) => json::bare(out, key, |out| json::list(out, elements, json_value)),
        Value::Object(record) => first_of(record, &mut |value| json_value(out, key, value)),
        value => json::plain(out, key, value),
    }
}

/// Where text stands: among the elements of a list a comma separates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Column,
    List,
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "of which kind the value of a column is, is known where it stands"
)]
fn cell(out: &mut Vec<u8>, value: Value<'_>, place: Place) {
    match value {
        Value::Unset | Value::Counters(_) | Value::EventType => out.extend_from_slice(UNSET),
        Value::Bool(true) => out.push(b'T'),
        Value::Bool(false) => out.push(b'F'),
        Value::Uint(number) => number::whole(out, number),
        Value::Int(number) => number::signed(out, number),
        Value::Float(number) => json::display(out, format_args!("{number:?}")),
        Value::Word("") => out.extend_from_slice(EMPTY),
        Value::Word(ours) if place == Place::Column => json::word(out, ours),
        Value::Text(string) | Value::Word(string) => text(out, string, place),
        Value::Name(name) => out.extend_from_slice(name),
        Value::Guid(guid) => out.extend_from_slice(&guid.text()),
        Value::Hexadecimal(number, least) => number::hexadecimal(out, number, least),
        Value::Dotted(left, right) => number::dotted(out, left, right),
        Value::Addr(address) => number::address(out, address),
        Value::Port(port) => number::whole(out, port.into()),
        Value::Time(time) => number::millionths(out, time.microseconds()),
        Value::Interval(interval) => seconds(out, interval),
        Value::List(elements) => list(out, elements),
        Value::Object(record) => first_of(record, &mut |value| cell(out, value, place)),
    }
}

/// Seconds with six decimals.
fn seconds(out: &mut Vec<u8>, interval: Interval) {
    number::millionths(out, interval.0 / 1_000);
}

fn list(out: &mut Vec<u8>, elements: &dyn Elements) {
    if elements.is_empty() {
        out.extend_from_slice(EMPTY);
    }
    let mut later = false;
    elements.each(&mut |element| {
        if later {
            out.push(b',');
        }
        later = true;
        cell(out, element, Place::List);
    });
}

/// A flat log has no objects: a record in a list is told by its first column, in practice its identifier.
fn first_of(record: &dyn Visit, write: &mut dyn FnMut(Value<'_>)) {
    let mut written = false;
    record.visit(&mut |_: &'static Column, value| {
        if !written {
            written = true;
            write(value);
        }
    });
}

/// Control characters and backslashes are escaped, as is the first byte of what would read as unset or empty.
fn text(out: &mut Vec<u8>, text: &str, place: Place) {
    if text.is_empty() {
        out.extend_from_slice(EMPTY);
        return;
    }
    // Both begin with what few texts begin with.
    let reserved = text.starts_with(['-', '(']) && (text.as_bytes() == UNSET || text.as_bytes() == EMPTY);
    let separator = if place == Place::List { b',' } else { b'\\' };
    if !reserved && json::all_plain(text.as_bytes(), separator) {
        return out.extend_from_slice(text.as_bytes());
    }
    if !reserved && json::is_printable(text.as_bytes()) {
        // Accounts, paths and what stands in lists: all that has to be escaped are backslashes and separators.
        let mut done = 0;
        for at in memchr::memchr2_iter(b'\\', separator, text.as_bytes()) {
            out.extend_from_slice(&text.as_bytes()[done..at]);
            done = at;
            if text.as_bytes()[at] == b'\\' {
                out.push(b'\\');
            } else {
                escape(out, ',');
                done += 1;
            }
        }
        return out.extend_from_slice(&text.as_bytes()[done..]);
    }
    for (index, character) in text.char_indices() {
        match character {
            '\\' => out.extend_from_slice(b"\\\\"),
            ',' if place == Place::List => escape(out, character),
            character if character.is_control() || (reserved && index == 0) => escape(out, character),
            character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn escape(out: &mut Vec<u8>, character: char) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        json::display(out, format_args!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::emit::Scratch;
    use crate::event::dcerpc::ZeekRow;
    use crate::event::dcom::Kind;
    use crate::event::{Body, Dcerpc, Dcom, Shared, samples};

    fn row(event: &Event, write: fn(&Event, &ZeekLog, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        for log in event.body.zeek_logs() {
            write(event, log, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_body_has_its_row() {
        let rows: String = samples::all().iter().map(|event| row(event, tsv)).collect();
        assert_eq!(
            rows,
            concat!(
                "1595113802.061141\tCJioLj2aEkGc9R3T0\t172.16.66.25\t49744\t172.16.66.36\t135\t0.072954\tactivation\t",
                "RemoteCreateInstance\t4\t000001a0-0000-0000-c000-000000000046\tIRemoteSCMActivator\t",
                "49b2791a-b1ae-4c90-9b8e-e860ba07f889\tMMC20.Application\t",
                "00000000-0000-0000-c000-000000000046,00020400-0000-0000-c000-000000000046\t-\t-\t-\t-\t0x00000000\tS_OK\t-\tsucceeded\t",
                "0xbed05b18ecb13abf\t0000b400-0f20-ffff-a9a5-0b3f0f6f8b3a\t-\t-\t0156s-win16-ir[60283],172.16.66.36[60283]\t",
                "172.16.66.36\t60283\toxid_binding\tT\tntlm\tpkt_integrity\t-\t-\t-\talice\tLAB\tWS5\t-\t-\tLAB\\\\runner\tclass\t-\tF\t0\t",
                "-\t-\t-\t-\t-\t-",
                "\n",
                "1595113802.061141\tCJioLj2aEkGc9R3T0\t172.16.66.25\t49744\t172.16.66.36\t135\t-\t-\t-\ttcp\tDCOM::Remote_Activation\t",
                "172.16.66.25 activated MMC20.Application on 172.16.66.36\tT1021.003\t172.16.66.25\t172.16.66.36\t135\t-\t",
                "dcom-sensor\tNotice::ACTION_LOG\t(empty)\t0.000000\t-\t-\t-\t-\t-\t1:4yGOw7A+UdQfp33AK3WL3nNiH0Y=",
                "\n",
                "1595113802.061141\tCJioLj2aEkGc9R3T0\t172.16.66.25\t49744\t172.16.66.36\t135\t0.072954\t135\tIRemoteSCMActivator\t",
                "RemoteCreateInstance",
                "\n",
                "1595113802.061141\tCJioLj2aEkGc9R3T0\t172.16.66.25\t49744\t172.16.66.36\t135\tfragment_out_of_place\t",
                "common_header: `frag_length` is 3 (offset 8)\tF\tdcom-sensor\tDCE_RPC",
                "\n",
                "1595113802.061141\tdcom-sensor\t-\t324\t40960\t-\t-\t-\t-\t-\t-\t-\t-\t-\t0\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-",
                "\n",
                "1595113802.061141\t2.500000\tdcom-sensor\t0\t0\t0.0\n",
            )
        );
    }

    #[test]
    fn each_body_has_its_json_line() {
        let rows: String = samples::all().iter().map(|event| row(event, json_line)).collect();
        assert_eq!(
            rows,
            concat!(
                r#"{"ts":1595113802.061141,"uid":"CJioLj2aEkGc9R3T0","id.orig_h":"172.16.66.25","id.orig_p":49744,"#,
                r#""id.resp_h":"172.16.66.36","id.resp_p":135,"rtt":0.072954,"kind":"activation","#,
                r#""operation":"RemoteCreateInstance","opnum":4,"interface_uuid":"000001a0-0000-0000-c000-000000000046","#,
                r#""interface":"IRemoteSCMActivator","clsid":"49b2791a-b1ae-4c90-9b8e-e860ba07f889","#,
                r#""class":"MMC20.Application","iids":["00000000-0000-0000-c000-000000000046","#,
                r#""00020400-0000-0000-c000-000000000046"],"hresult":"0x00000000","hresult_name":"S_OK","outcome":"succeeded","#,
                r#""oxid":"0xbed05b18ecb13abf","ipids":["0000b400-0f20-ffff-a9a5-0b3f0f6f8b3a"],"#,
                r#""bindings":["0156s-win16-ir[60283]","172.16.66.36[60283]"],"endpoint_h":"172.16.66.36","endpoint_p":60283,"#,
                r#""learned_from":"oxid_binding","followed":true,"auth_service":"ntlm","auth_level":"pkt_integrity","#,
                r#""client_user":"alice","client_domain":"LAB","client_workstation":"WS5","runs_as":"LAB\\runner","#,
                r#""evidence":"class","bind_seen":false,"bytes_missing":0}"#,
                "\n",
                r#"{"ts":1595113802.061141,"uid":"CJioLj2aEkGc9R3T0","id.orig_h":"172.16.66.25","id.orig_p":49744,"#,
                r#""id.resp_h":"172.16.66.36","id.resp_p":135,"proto":"tcp","note":"DCOM::Remote_Activation","#,
                r#""msg":"172.16.66.25 activated MMC20.Application on 172.16.66.36","sub":"T1021.003","src":"172.16.66.25","#,
                r#""dst":"172.16.66.36","p":135,"peer_descr":"dcom-sensor","actions":["Notice::ACTION_LOG"],"email_dest":[],"#,
                r#""suppress_for":0.000000,"community_id":"1:4yGOw7A+UdQfp33AK3WL3nNiH0Y="}"#,
                "\n",
                r#"{"ts":1595113802.061141,"uid":"CJioLj2aEkGc9R3T0","id.orig_h":"172.16.66.25","id.orig_p":49744,"#,
                r#""id.resp_h":"172.16.66.36","id.resp_p":135,"rtt":0.072954,"named_pipe":"135","#,
                r#""endpoint":"IRemoteSCMActivator","operation":"RemoteCreateInstance"}"#,
                "\n",
                r#"{"ts":1595113802.061141,"uid":"CJioLj2aEkGc9R3T0","id.orig_h":"172.16.66.25","id.orig_p":49744,"#,
                r#""id.resp_h":"172.16.66.36","id.resp_p":135,"name":"fragment_out_of_place","#,
                r#""addl":"common_header: `frag_length` is 3 (offset 8)","notice":false,"peer":"dcom-sensor","#,
                r#""source":"DCE_RPC"}"#,
                "\n",
                r#"{"ts":1595113802.061141,"peer":"dcom-sensor","pkts_proc":324,"bytes_recv":40960,"tcp_conns":0}"#,
                "\n",
                r#"{"ts":1595113802.061141,"ts_delta":2.500000,"peer":"dcom-sensor","gaps":0,"acks":0,"percent_lost":0.0}"#,
                "\n",
            )
        );
    }

    fn dcom_row(fill: fn(&mut Dcom)) -> Vec<String> {
        let mut dcom = Dcom {
            kind: Kind::Activation,
            ..Dcom::default()
        };
        fill(&mut dcom);
        let row = row(&samples::event(Body::Dcom(Shared::new(dcom))), tsv);
        assert_eq!(row.matches('\n').count(), 1, "{row:?}");
        let cells: Vec<String> = row.trim_end_matches('\n').split('\t').map(str::to_owned).collect();
        assert_eq!(cells.len(), ZeekLog::DCOM.columns().count(), "{cells:?}");
        cells
    }

    fn cell_of(cells: &[String], name: &str) -> String {
        cells[ZeekLog::DCOM.columns().position(|(known, _)| known == name).unwrap()].clone()
    }

    #[test]
    fn what_would_read_as_unset_or_empty_or_as_a_separator_is_escaped() {
        let cells = dcom_row(|dcom| {
            dcom.class = Some("-".to_owned());
            dcom.operation = "(empty)".to_owned().into();
            dcom.target_name = Some(String::new());
            dcom.fault = Some("a,b\\x09".to_owned());
            dcom.bindings = vec!["a,b".to_owned(), "-".to_owned(), String::new()];
        });
        assert_eq!(cell_of(&cells, "class"), "\\x2d");
        assert_eq!(cell_of(&cells, "operation"), "\\x28empty)");
        assert_eq!(cell_of(&cells, "target_name"), "(empty)");
        assert_eq!(cell_of(&cells, "fault"), "a,b\\\\x09");
        assert_eq!(cell_of(&cells, "bindings"), "a\\x2cb,\\x2d,(empty)");
        assert_eq!(cell_of(&cells, "ipids"), "-", "none came back, or nobody read which");
        assert_eq!(cell_of(&cells, "clsid"), "-");
    }

    #[test]
    fn hostile_text_stays_in_its_cell() {
        let cells = dcom_row(|dcom| {
            dcom.class = Some("a\tb\nc\rd\0\x1b[2J\x7f\u{9b}é\u{fffd}".to_owned());
            dcom.because = vec!["\n#close\t".into()];
        });
        assert_eq!(
            cell_of(&cells, "class"),
            "a\\x09b\\x0ac\\x0dd\\x00\\x1b[2J\\x7f\\xc2\\x9bé\u{fffd}"
        );
        assert_eq!(cell_of(&cells, "because"), "\\x0a#close\\x09");
    }

    #[test]
    fn the_header_is_zeeks() {
        let header = |log: &ZeekLog| format!("{}DATE\n{}", before_open(log), after_open(log));
        assert_eq!(
            header(&ZeekLog::DCE_RPC),
            concat!(
                "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdce_rpc\n#open\tDATE\n",
                "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\trtt\tnamed_pipe\tendpoint\toperation\n",
                "#types\ttime\tstring\taddr\tport\taddr\tport\tinterval\tstring\tstring\tstring\n",
            )
        );
        assert!(header(&ZeekLog::NOTICE).ends_with(concat!(
            "#path\tnotice\n#open\tDATE\n",
            "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tfuid\tfile_mime_type\tfile_desc\tproto\tnote\t",
            "msg\tsub\tsrc\tdst\tp\tn\tpeer_descr\tactions\temail_dest\tsuppress_for\tremote_location.country_code\t",
            "remote_location.region\tremote_location.city\tremote_location.latitude\tremote_location.longitude\t",
            "community_id\n",
            "#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tstring\tstring\tenum\tenum\t",
            "string\tstring\taddr\taddr\tport\tcount\tstring\tset[enum]\tset[string]\tinterval\tstring\t",
            "string\tstring\tdouble\tdouble\tstring\n",
        )));
        assert!(header(&ZeekLog::WEIRD).ends_with(concat!(
            "#path\tweird\n#open\tDATE\n",
            "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tname\taddl\tnotice\tpeer\tsource\n",
            "#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tstring\tbool\tstring\tstring\n",
        )));
    }

    #[test]
    fn a_log_is_made_at_its_first_row_and_carries_the_captures_times() {
        let folder = Scratch::new("zeek");
        let mut logs = Logs::new(&folder.0, Form::Tsv, Start::Anew);
        let unanswered = samples::event(Body::Dcerpc(Shared::default()));
        logs.write(&unanswered).unwrap();
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
        let zeek_row = Some(ZeekRow::default());
        logs.write(&samples::event(Body::Dcerpc(Shared::new(Dcerpc {
            zeek_row,
            ..Dcerpc::default()
        }))))
        .unwrap();
        let (first, last) = (
            Timestamp::new(1_595_113_700, 0),
            Timestamp::new(1_595_113_816, 999_999_999),
        );
        assert_eq!(logs.finish(first, last).count(), 0);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
        let log = fs::read_to_string(folder.0.join("dce_rpc.log")).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[5], "#open\t2020-07-18-23-08-20");
        assert!(lines[6].starts_with("#fields\tts\t"));
        assert!(lines[8].ends_with("\t0.072954\t-\t-\t-"));
        assert_eq!(lines[9], "#close\t2020-07-18-23-10-16");
    }

    fn rows_in(folder: &Path, form: Form) -> Logs {
        let mut logs = Logs::new(folder, form, Start::GoOn);
        logs.write(&samples::all().remove(0)).unwrap();
        logs.flush().unwrap();
        logs
    }

    #[test]
    fn rows_follow_no_end_no_other_columns_and_no_other_form() {
        let folder = Scratch::new("zeek-goes-on");
        let path = folder.0.join("dcom.log");
        let goes_on = |form: Form| form.goes_on(&ZeekLog::DCOM, &path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(goes_on(Form::Tsv) && goes_on(Form::Json), "nothing is in it");
        let logs = rows_in(&folder.0, Form::Tsv);
        assert!(goes_on(Form::Tsv), "whoever wrote it was killed");
        assert!(!goes_on(Form::Json));
        let killed = fs::read_to_string(&path).unwrap();
        assert_eq!(logs.finish(samples::time(), samples::time()).count(), 0);
        assert!(!goes_on(Form::Tsv), "it was ended");
        fs::write(&path, killed.replace("#fields\tts\t", "#fields\tts\told\t")).unwrap();
        assert!(!goes_on(Form::Tsv), "its columns are others");
        fs::write(&path, &killed[..100]).unwrap();
        assert!(!goes_on(Form::Tsv), "it has none");
        fs::write(&path, "{\"ts\":1}\n").unwrap();
        assert!(goes_on(Form::Json) && !goes_on(Form::Tsv));
    }

    #[test]
    fn a_log_that_is_opened_anew_where_it_is_does_not_end() {
        let folder = Scratch::new("zeek-take-over");
        let path = folder.0.join("dcom.log");
        let mut before = rows_in(&folder.0, Form::Tsv);
        let mut logs = Logs::new(&folder.0, Form::Tsv, Start::GoOn);
        logs.take_over(&mut before);
        assert_eq!(before.finish(samples::time(), samples::time()).count(), 0);
        logs.write(&samples::all().remove(0)).unwrap();
        logs.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let headers = text.lines().filter(|line| line.starts_with('#')).count();
        assert_eq!((headers, text.lines().count()), (8, 10), "{text}");
        // One that was moved away does, and another has its name.
        let moved = folder.0.join("dcom.log.1");
        fs::rename(&path, &moved).unwrap();
        let mut next = Logs::new(&folder.0, Form::Tsv, Start::GoOn);
        next.take_over(&mut logs);
        assert_eq!(logs.finish(samples::time(), samples::time()).count(), 0);
        next.write(&samples::all().remove(0)).unwrap();
        next.flush().unwrap();
        let ended = fs::read_to_string(&moved).unwrap();
        assert!(ended.starts_with(&text) && ended.lines().last().unwrap().starts_with("#close\t"));
        assert!(fs::read_to_string(&path).unwrap().starts_with("#separator"));
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let mut logs = Logs::new(Path::new("/nonexistent/folder"), Form::Json, Start::Anew);
        let error = logs.write(&samples::all().remove(0)).unwrap_err();
        assert!(
            error.to_string().starts_with("/nonexistent/folder/dcom.log: "),
            "{error}"
        );
    }
}
