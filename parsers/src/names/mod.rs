//! Names of interfaces, operations and statuses. They are data: tab-separated tables that say their source and licence.
//!
//! | table | key | what it names |
//! |---|---|---|
//! | `data/interfaces.tsv` | UUID | RPC interfaces and COM interfaces |
//! | `data/operations.tsv` | UUID, opnum | their operations |
//! | `data/statuses.tsv` | code | HRESULT and Win32 codes |
//! | `data/faults.tsv` | code | statuses of fault PDUs |
//!
//! Where Zeek names a thing, the name is Zeek's, letter for letter, so that what was written for its `dce_rpc.log`
//! works here. The one exception is `IWbemServices` 16 and 17, where Zeek is wrong.

pub mod known;

use std::sync::LazyLock;

use memchr::memchr;

use crate::guid::Guid;

const INTERFACES: &str = include_str!("data/interfaces.tsv");
const OPERATIONS: &str = include_str!("data/operations.tsv");
const STATUSES: &str = include_str!("data/statuses.tsv");
const FAULTS: &str = include_str!("data/faults.tsv");

/// Marks an HRESULT that wraps a Win32 code ([MS-ERREF] 2.1.2 HRESULT From WIN32 Error Code Macro).
const FROM_WIN32: u32 = 0x8007_0000;
/// The severity bit of an HRESULT ([MS-ERREF] 2.1 HRESULT).
const FAILURE: u32 = 0x8000_0000;

/// The name of an RPC or COM interface: `IObjectExporter`, `IDispatch`, `svcctl`.
pub fn interface(uuid: Guid) -> Option<&'static str> {
    static TABLE: LazyLock<Table<u128>> = LazyLock::new(|| Table::parse(INTERFACES, uuid_column));
    TABLE.find(uuid.number())
}

/// The name of an operation of an interface: `RemoteCreateInstance`, `Invoke`, `ept_map`.
pub fn operation(uuid: Guid, opnum: u16) -> Option<&'static str> {
    static TABLE: LazyLock<Table<(u128, u16)>> = LazyLock::new(|| Table::parse(OPERATIONS, operation_columns()));
    TABLE.find((uuid.number(), opnum))
}

/// The name of an HRESULT or a Win32 code: `0x80070005` is `E_ACCESSDENIED`, 5 is `ERROR_ACCESS_DENIED`.
///
/// An HRESULT that only wraps a Win32 code and has no name of its own gets the name of that code.
pub fn status(code: u32) -> Option<&'static str> {
    static TABLE: LazyLock<Table<u32>> = LazyLock::new(|| Table::parse(STATUSES, code_column));
    TABLE.find(code).or_else(|| match code ^ FROM_WIN32 {
        win32 @ 1..=0xffff => TABLE.find(win32),
        _ => None,
    })
}

/// The name of a fault PDU's status: `0x1c010003` is `nca_unk_if`, 5 is `ERROR_ACCESS_DENIED`.
///
/// COM also puts failed HRESULTs there; those are named as [`status`] names them.
pub fn fault(code: u32) -> Option<&'static str> {
    static TABLE: LazyLock<Table<u32>> = LazyLock::new(|| Table::parse(FAULTS, code_column));
    TABLE
        .find(code)
        .or_else(|| if code & FAILURE == 0 { None } else { status(code) })
}

/// Lines, or the columns of one: what stands before each separator, and behind the last. Empty ones end it.
struct Pieces {
    rest: &'static str,
    separator: u8,
}

impl Iterator for Pieces {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        let end = memchr(self.separator, self.rest.as_bytes()).unwrap_or(self.rest.len());
        let (piece, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        (!piece.is_empty()).then_some(piece)
    }
}

type Columns = Pieces;

/// What stands in the leading columns of a table.
trait Key: Copy + PartialEq {
    /// A number that few others have.
    fn mixed(self) -> u64;
}

impl Key for u32 {
    fn mixed(self) -> u64 {
        self.into()
    }
}

impl Key for u128 {
    fn mixed(self) -> u64 {
        // The halves: UUIDs of one maker differ in the first, others in both.
        let [low, high] = [self, self >> 64].map(|half| u64::try_from(half & Self::from(u64::MAX)).unwrap_or_default());
        low ^ high.rotate_left(29)
    }
}

impl Key for (u128, u16) {
    fn mixed(self) -> u64 {
        self.0.mixed() ^ u64::from(self.1).wrapping_mul(0x9e37_79b9)
    }
}

/// A hash table that is built once, with open addressing: several names are looked up for each call.
///
/// INVARIANT: no key stands twice in a file; they are also sorted, and a test holds them to both.
struct Table<K> {
    rows: Vec<(K, &'static str)>,
    /// Numbers of rows from 1, 0 where none is. A power of two of them, more than twice as many as there are rows.
    slots: Vec<u16>,
}

impl<K: Key> Table<K> {
    /// `key` takes the leading columns of a line; the name follows them, and the source ends the line.
    fn parse(text: &'static str, mut key: impl FnMut(&mut Columns) -> Option<K>) -> Self {
        let row = |line: &'static str| {
            let mut columns = Columns {
                rest: line,
                separator: b'\t',
            };
            Some((key(&mut columns)?, columns.next()?))
        };
        let rows: Vec<_> = lines(text).filter_map(row).collect();
        let mut table = Self {
            slots: vec![0; rows.len().saturating_mul(2).next_power_of_two()],
            rows: Vec::new(),
        };
        for (number, (key, _)) in (1..).zip(&rows) {
            if let Some(slot) = table.probe(*key).find(|&slot| table.slots.get(slot) == Some(&0))
                && let Some(slot) = table.slots.get_mut(slot)
            {
                *slot = number;
            }
        }
        table.rows = rows;
        table
    }

    /// Where a key may stand, in the order in which that is looked at.
    fn probe(&self, key: K) -> impl Iterator<Item = usize> + use<K> {
        let length = self.slots.len();
        // The upper bits of a product depend on all bits of what is multiplied.
        let start = key.mixed().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let start = usize::try_from(start).unwrap_or_default();
        (0..length).map(move |step| start.wrapping_add(step) & length.wrapping_sub(1))
    }

    fn find(&self, key: K) -> Option<&'static str> {
        for slot in self.probe(key) {
            let number = usize::from(*self.slots.get(slot)?);
            let (known, name) = self.rows.get(number.checked_sub(1)?)?;
            if *known == key {
                return Some(name);
            }
        }
        None
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    let lines = Pieces {
        rest: text,
        separator: b'\n',
    };
    lines.filter(|line| !line.starts_with('#'))
}

fn uuid_column(columns: &mut Columns) -> Option<u128> {
    Guid::parse(columns.next()?).map(Guid::number)
}

/// The operations of an interface stand together: its UUID is read once.
fn operation_columns() -> impl FnMut(&mut Columns) -> Option<(u128, u16)> {
    let mut latest = ("", None);
    move |columns| {
        let uuid = columns.next()?;
        if uuid != latest.0 {
            latest = (uuid, Guid::parse(uuid).map(Guid::number));
        }
        Some((latest.1?, columns.next()?.parse().ok()?))
    }
}

fn code_column(columns: &mut Columns) -> Option<u32> {
    u32::from_str_radix(columns.next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn guid(text: &str) -> Guid {
        Guid::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    /// Every line makes a row, in order, and each column says something.
    fn check<K: Key + Ord + Debug>(
        text: &'static str,
        key: impl FnMut(&mut Columns) -> Option<K>,
        columns: usize,
    ) -> usize {
        let header = text.lines().take_while(|line| line.starts_with('#')).count();
        assert!(
            header >= 3,
            "a header says what it is, where it is from, and what the columns are"
        );
        for line in lines(text) {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), columns, "{line:?}");
            assert!(
                cells.iter().all(|cell| !cell.is_empty() && cell.trim() == *cell),
                "{line:?}"
            );
        }
        let table = Table::parse(text, key);
        let rows = &table.rows;
        assert_eq!(rows.len(), text.lines().count() - header, "a line is not a row");
        for pair in rows.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{:?} is not before {:?}", pair[0], pair[1]);
        }
        assert!(rows.iter().all(|(key, name)| table.find(*key) == Some(name)));
        rows.len()
    }

    #[test]
    fn tables_are_whole_and_sorted() {
        assert!(check(INTERFACES, uuid_column, 3) >= 479);
        assert!(check(OPERATIONS, operation_columns(), 4) >= 7000);
        assert!(check(STATUSES, code_column, 3) >= 100);
        assert!(check(FAULTS, code_column, 3) >= 50);
    }

    #[test]
    fn every_operation_belongs_to_a_named_interface() {
        for line in lines(OPERATIONS) {
            let uuid = Guid::parse(line.split('\t').next().unwrap()).unwrap();
            assert!(interface(uuid).is_some(), "{line}");
        }
    }

    #[test]
    fn zeek_licence_is_stated_where_its_names_stand() {
        for text in [INTERFACES, OPERATIONS] {
            assert!(lines(text).any(|line| line.ends_with("\tzeek")));
            assert!(
                text.lines()
                    .any(|line| line.starts_with('#') && line.contains("BSD-3-Clause"))
            );
        }
    }

    #[test]
    fn interfaces_have_zeek_names() {
        for (uuid, name) in [
            ("000001a0-0000-0000-c000-000000000046", "IRemoteSCMActivator"),
            ("99fcfec4-5260-101b-bbcb-00aa0021347a", "IObjectExporter"),
            ("4d9f4ab8-7d1c-11cf-861e-0020af6e7c57", "IActivation"),
            ("e1af8308-5d1f-11c9-91a4-08002b14a0fa", "epmapper"),
            ("afa8bd80-7d8a-11c9-bef4-08002b102989", "mgmt"),
            ("00000131-0000-0000-c000-000000000046", "IRemUnknown"),
            ("00000143-0000-0000-c000-000000000046", "IRemUnknown2"),
            ("00020400-0000-0000-c000-000000000046", "IDispatch"),
            ("dc12a681-737f-11cf-884d-00aa004b2e24", "IWbemClassObject interface"),
            ("4590f812-1d3a-11d0-891f-00aa004b2e24", "IWbemClassObject unmarshaler"),
            ("9556dc99-828c-11cf-a37e-00aa003240c7", "IWbemServices"),
            ("541679ab-2e5f-11d3-b34e-00104bcc4b4a", "IWbemLoginHelper interface"),
            ("367abb81-9844-35f1-ad32-98f038001003", "svcctl"),
            ("338cd001-2244-31f1-aaaa-900038001003", "winreg"),
            ("1ff70682-0a51-30e8-076d-740be8cee98b", "atsvc"),
            ("86d35949-83c9-4044-b424-db363231fd0c", "ITaskSchedulerService"),
            ("e3514235-4b06-11d1-ab04-00c04fc2dcd2", "drsuapi"),
            ("c8cb7687-e6d3-11d2-a958-00c04f682e16", "DAV RPC SERVICE"),
            ("c681d488-d850-11d0-8c52-00c04fd90f7e", "efsrpc2"),
            ("12345678-1234-abcd-ef00-0123456789ab", "spoolss"),
            ("45f52c28-7f9f-101a-b52b-08002b2efabe", "winspipe"),
        ] {
            assert_eq!(interface(guid(uuid)), Some(name), "{uuid}");
        }
        assert_eq!(interface(Guid::NULL), None);
    }

    #[test]
    fn operations_have_zeek_names() {
        for (uuid, opnum, name) in [
            (
                "000001a0-0000-0000-c000-000000000046",
                0,
                "QueryInterfaceIRemoteSCMActivator",
            ),
            ("000001a0-0000-0000-c000-000000000046", 3, "RemoteGetClassObject"),
            ("000001a0-0000-0000-c000-000000000046", 4, "RemoteCreateInstance"),
            ("4d9f4ab8-7d1c-11cf-861e-0020af6e7c57", 0, "RemoteActivation"),
            ("99fcfec4-5260-101b-bbcb-00aa0021347a", 0, "ResolveOxid"),
            ("99fcfec4-5260-101b-bbcb-00aa0021347a", 2, "ComplexPing"),
            ("99fcfec4-5260-101b-bbcb-00aa0021347a", 5, "ServerAlive2"),
            ("e1af8308-5d1f-11c9-91a4-08002b14a0fa", 3, "ept_map"),
            ("e1af8308-5d1f-11c9-91a4-08002b14a0fa", 8, "ept_map_auth_async"),
            ("afa8bd80-7d8a-11c9-bef4-08002b102989", 0, "inq_if_ids"),
            ("afa8bd80-7d8a-11c9-bef4-08002b102989", 4, "inq_princ_name"),
            ("f309ad18-d86a-11d0-a075-00c04fb68820", 3, "EstablishPosition"),
            ("f309ad18-d86a-11d0-a075-00c04fb68820", 6, "NTLMLogin"),
            ("9556dc99-828c-11cf-a37e-00aa003240c7", 24, "ExecMethod"),
            ("00000143-0000-0000-c000-000000000046", 3, "RemQueryInterface"),
            ("00000143-0000-0000-c000-000000000046", 6, "RemQueryInterface2"),
            ("00000131-0000-0000-c000-000000000046", 5, "RemRelease"),
            ("00020400-0000-0000-c000-000000000046", 3, "GetTypeInfoCount"),
            ("00020400-0000-0000-c000-000000000046", 6, "Invoke"),
            ("00020401-0000-0000-c000-000000000046", 16, "CreateInstance"),
            ("367abb81-9844-35f1-ad32-98f038001003", 12, "CreateServiceW"),
            ("3dde7c30-165d-11d1-ab8f-00805f14db40", 0, "bkrp_BackupKey"),
            ("e3514235-4b06-11d1-ab04-00c04fc2dcd2", 3, "DRSGetNCChanges"),
            ("338cd001-2244-31f1-aaaa-900038001003", 22, "BaseRegSetValue"),
            (
                "12345678-1234-abcd-ef00-0123456789ab",
                65,
                "RpcRemoteFindFirstPrinterChangeNotificationEx",
            ),
            (
                "6bffd098-a112-3610-9833-46c3f87e345a",
                31,
                "NetrWorkstationResetDfsCache",
            ),
            ("c386ca3e-9061-4a72-821e-498d83be188f", 66, "AudioVolumeStepDown"),
        ] {
            assert_eq!(operation(guid(uuid), opnum), Some(name), "{uuid} {opnum}");
        }
    }

    #[test]
    fn what_zeek_misnames_or_lacks_is_named() {
        let services = guid("9556dc99-828c-11cf-a37e-00aa003240c7");
        assert_eq!(operation(services, 16), Some("DeleteInstance"));
        for (uuid, opnum, name) in [
            ("484809d6-4239-471b-b5bc-61df8c23ac48", 2, "RpcConnect"),
            ("6b5bdd1e-528c-422c-af8c-a4079be4fe48", 67, "RRPC_FWSetFirewallRule2_20"),
            ("45f52c28-7f9f-101a-b52b-08002b2efabe", 20, "R_WinsStatusWHdl"),
            ("77df7a80-f298-11d0-8358-00a024c480a8", 26, "S_DSCloseServerHandle"),
            ("12345678-1234-abcd-ef00-0123456789ab", 96, "RpcFlushPrinter"),
            ("5b821720-f63b-11d0-aad2-00c04fc324db", 67, "R_DhcpSetSubnetInfoV6"),
            ("ea0a3165-4834-11d2-a6f8-00c04fa346cc", 0, "FAX_GetServicePrinters"),
        ] {
            assert_eq!(operation(guid(uuid), opnum), Some(name), "{uuid} {opnum}");
        }
        let backup = guid("c49e32c6-bc8b-11d2-85d4-00105a1f8304");
        assert_eq!(interface(backup), None, "the class, not an interface");
        assert_eq!(operation(services, 17), Some("DeleteInstanceAsync"));
        assert_eq!(operation(known::ICLASS_FACTORY, 3), Some("RemoteCreateInstance"));
        assert_eq!(operation(known::ICLASS_FACTORY, 4), Some("RemoteLockServer"));
        assert_eq!(operation(known::ICLASS_FACTORY2, 7), Some("RemoteCreateInstanceLic"));
        let login_client = guid("d4781cd6-e5d3-44df-ad94-930efe48a887");
        assert_eq!(operation(login_client, 3), Some("SetClientInfo"));
        assert_eq!(
            operation(known::IDISPATCH, 0),
            None,
            "IUnknown's own are not on the wire"
        );
        assert_eq!(operation(known::IDISPATCH, u16::MAX), None);
    }

    #[test]
    fn statuses_are_named() {
        assert_eq!(status(0), Some("S_OK"));
        assert_eq!(status(0x8007_0005), Some("E_ACCESSDENIED"));
        assert_eq!(status(5), Some("ERROR_ACCESS_DENIED"));
        assert_eq!(status(0x8004_0154), Some("REGDB_E_CLASSNOTREG"));
        assert_eq!(status(0x8002_0009), Some("DISP_E_EXCEPTION"));
        assert_eq!(status(0x8004_1003), Some("WBEM_E_ACCESS_DENIED"));
        assert_eq!(
            status(0x8007_06ba),
            Some("RPC_S_SERVER_UNAVAILABLE"),
            "by its Win32 code"
        );
        assert_eq!(status(0x8007_0000), None);
        assert_eq!(status(0xdead_beef), None);
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(fault(0x1c01_0003), Some("nca_unk_if"));
        assert_eq!(fault(0x1c01_0002), Some("nca_op_rng_error"));
        assert_eq!(fault(5), Some("ERROR_ACCESS_DENIED"));
        assert_eq!(fault(0x6f7), Some("RPC_X_BAD_STUB_DATA"));
        assert_eq!(fault(0x8001_0108), Some("RPC_E_DISCONNECTED"));
        assert_eq!(fault(0), None, "success is no fault");
    }
}
