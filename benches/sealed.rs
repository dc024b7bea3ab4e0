//! A long sealed conversation: the login of a sample, and after it as many requests as are wanted, sealed by its keys.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use dcom_sensor::Sensor;
use dcom_sensor::capture::{At, CaptureFile, Frame, Input, LinkType};
use dcom_sensor::catalog::Catalog;
use dcom_sensor::dcom::Calls;
use dcom_sensor::event::Event;
use dcom_sensor::keys::{Keep, Keys};
use dcom_sensor::limits::Limits;
use dcom_sensor::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use md4::Digest;
use md5::Md5;
use rc4::{Rc4, StreamCipher};

/// A stub as long as Windows makes them, so that its PDU has 5840 bytes.
const STUB: usize = 5_792;
/// Behind the Ethernet header.
const IP: usize = 14;

/// Frames, and keys to what is in them.
pub(crate) struct Requests {
    frames: Vec<Vec<u8>>,
    keys: Arc<Keys>,
    link_type: LinkType,
    /// Bytes of the sealed stubs.
    pub(crate) stubs: usize,
}

/// One direction's way of sealing: [MS-NLMP] 3.4.
struct Sealer {
    rc4: Rc4,
    signing: Vec<u8>,
    sequence: u32,
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn rc4(key: &[u8]) -> Rc4 {
    Rc4::new_from_slice(key).expect("any length there is")
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

impl Sealer {
    /// The client's, of the first login in these frames.
    fn of(frames: &[Vec<u8>], password: &str) -> Self {
        let message = |kind: u8| {
            let tokens = frames.iter().filter_map(|frame| {
                let start = frame.windows(8).position(|window| window == b"NTLMSSP\0")?;
                Some(&frame[start..])
            });
            tokens
                .into_iter()
                .find(|token| token[8] == kind)
                .expect("the sample logs in")
        };
        let (challenge, login) = (message(2), message(3));
        let field = |at: usize| &login[u16_at(login, at + 4)..][..u16_at(login, at)];
        let (response, domain, user, session_key) = (field(20), field(28), field(36), field(52));
        let user = String::from_utf16_lossy(
            &user
                .as_chunks::<2>()
                .0
                .iter()
                .map(|unit| u16::from_le_bytes(*unit))
                .collect::<Vec<_>>(),
        );
        let owner = hmac(
            &md4::Md4::digest(utf16(password)),
            &[&utf16(&user.to_uppercase()), domain],
        );
        assert_eq!(
            hmac(&owner, &[&challenge[24..32], &response[16..]]),
            response[..16],
            "the password is right"
        );
        let mut exported = session_key.to_vec();
        rc4(&hmac(&owner, &[&response[..16]])).apply_keystream(&mut exported);
        let derive = |purpose: &str| {
            let magic = format!("session key to client-to-server {purpose} key magic constant\0");
            Md5::new_with_prefix(&exported).chain_update(magic).finalize().to_vec()
        };
        Self {
            rc4: rc4(&derive("sealing")),
            signing: derive("signing"),
            sequence: 0,
        }
    }

    fn seal(&mut self, pdu: &mut Vec<u8>) {
        let checksum = hmac(&self.signing, &[&self.sequence.to_le_bytes(), pdu]);
        self.rc4.apply_keystream(&mut pdu[24..24 + STUB]);
        let mut checksum = checksum[..8].to_vec();
        self.rc4.apply_keystream(&mut checksum);
        pdu.extend([1, 0, 0, 0]);
        pdu.extend(checksum);
        pdu.extend(self.sequence.to_le_bytes());
        self.sequence += 1;
    }
}

impl Requests {
    /// So many bytes of stubs, after the login of the sample.
    pub(crate) fn new(folder: &Path, bytes: usize) -> Self {
        let keys = folder.join("keys.toml");
        fs::write(&keys, "[[ntlm]]\nuser = \"alice\"\npassword = \"Rig-Test-1!\"\n").expect("a temporary file");
        fs::set_permissions(&keys, Permissions::from_mode(0o600)).expect("its mode can be set");
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps/mmc20-sealed.pcap");
        let mut capture = CaptureFile::open(&Input::File(sample)).expect("the sample");
        let mut frames = Vec::new();
        let mut link_type = LinkType(1);
        while let Some(frame) = capture.next_frame().expect("the sample") {
            link_type = frame.link_type;
            frames.push(frame.bytes.to_vec());
        }
        let payload = |frame: &[u8]| {
            let tcp = IP + usize::from(frame[IP] & 15) * 4;
            (tcp, tcp + usize::from(frame[tcp + 12] >> 4) * 4)
        };
        let first = frames
            .iter()
            .position(|frame| matches!(frame[payload(frame).1..], [5, 0, 0, ..]));
        let template = frames[first.expect("the sample has a request")].clone();
        frames.truncate(first.unwrap_or_default());
        let mut sealer = Sealer::of(&frames, "Rig-Test-1!");
        let (tcp, start) = payload(&template);
        let mut sequence = u32::from_be_bytes(*template[tcp + 4..].first_chunk().expect("a TCP header"));
        let length = u16::try_from(24 + STUB + 8 + 16).expect("a PDU's length").to_le_bytes();
        let trailer = template.len() - 24..template.len() - 16;
        let requests = bytes / STUB;
        for call_id in 0..u32::try_from(requests).expect("few") {
            let mut pdu = vec![5, 0, 0, 3, 0x10, 0, 0, 0, length[0], length[1], 16, 0];
            pdu.extend(call_id.wrapping_add(100).to_le_bytes());
            // An operation that nobody reads: only opening it costs.
            pdu.extend([0, 0, 0, 0, 0, 0, 99, 0]);
            pdu.resize(24 + STUB, 0x5a);
            pdu.extend(&template[trailer.clone()]);
            pdu[24 + STUB + 2] = 0;
            sealer.seal(&mut pdu);
            let mut frame = template[..start].to_vec();
            frame[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
            sequence = sequence.wrapping_add(u32::try_from(pdu.len()).expect("short"));
            frame.extend(pdu);
            let total = u16::try_from(frame.len() - IP).expect("short").to_be_bytes();
            frame[IP + 2..IP + 4].copy_from_slice(&total);
            frames.push(frame);
        }
        Self {
            frames,
            keys: Arc::new(Keys::load(&keys).expect("the keys")),
            link_type,
            stubs: requests * STUB,
        }
    }

    /// Opens all of them.
    pub(crate) fn open(&self) {
        let mut sensor = Sensor::new(Catalog::built_in(), Limits::default(), Calls::default());
        sensor.use_keys(Arc::clone(&self.keys), Keep::Records);
        let events = self.push(&mut sensor);
        let opened = events
            .iter()
            .any(|event| format!("{:?}", event.body).contains("(\"dcom.sealed.failed\", 0)"));
        assert!(opened, "all is opened");
    }

    /// Takes them in without keys.
    pub(crate) fn pass(&self) {
        self.push(&mut Sensor::new(
            Catalog::built_in(),
            Limits::default(),
            Calls::default(),
        ));
    }

    /// Gives the events of the end.
    fn push(&self, sensor: &mut Sensor) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, bytes) in (1..).zip(&self.frames) {
            events.clear();
            let at = At {
                frame: number,
                time: Timestamp(i64::try_from(number).expect("few") * 1_000),
                ..At::default()
            };
            let original_length = u32::try_from(bytes.len()).expect("short");
            sensor.push(
                &Frame {
                    at,
                    link_type: self.link_type,
                    bytes,
                    original_length,
                },
                &mut events,
            );
        }
        events.clear();
        sensor.finish(&mut events);
        events
    }
}
