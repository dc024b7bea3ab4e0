//! [MS-NLMP]: the three messages of NTLM authentication. They name the user, both computers and their domains, in
//! clear.

use std::fmt;

use bitflags::bitflags;

use super::NAME_BYTES;
use crate::error::{ErrorKind, Result};
use crate::input::{ByteOrder, Input};
use crate::utf16;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

bitflags! {
    /// [MS-NLMP] 2.2.2.5 NEGOTIATE. The ones that change how a message is read, or say something about its sender.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct NegotiateFlags: u32 {
        /// NTLMSSP_NEGOTIATE_UNICODE: names are UTF-16.
        const UNICODE = 0x0000_0001;
        /// NTLM_NEGOTIATE_OEM: names are in the sender's code page.
        const OEM = 0x0000_0002;
        /// NTLMSSP_REQUEST_TARGET.
        const REQUEST_TARGET = 0x0000_0004;
        /// NTLMSSP_NEGOTIATE_SIGN.
        const SIGN = 0x0000_0010;
        /// NTLMSSP_NEGOTIATE_SEAL.
        const SEAL = 0x0000_0020;
        /// NTLMSSP_NEGOTIATE_DATAGRAM.
        const DATAGRAM = 0x0000_0040;
        /// NTLMSSP_NEGOTIATE_LM_KEY.
        const LM_KEY = 0x0000_0080;
        /// NTLMSSP_NEGOTIATE_NTLM.
        const NTLM = 0x0000_0200;
        /// The connection should be anonymous.
        const ANONYMOUS = 0x0000_0800;
        /// NTLMSSP_NEGOTIATE_OEM_DOMAIN_SUPPLIED.
        const OEM_DOMAIN_SUPPLIED = 0x0000_1000;
        /// NTLMSSP_NEGOTIATE_OEM_WORKSTATION_SUPPLIED.
        const OEM_WORKSTATION_SUPPLIED = 0x0000_2000;
        /// NTLMSSP_NEGOTIATE_ALWAYS_SIGN.
        const ALWAYS_SIGN = 0x0000_8000;
        /// NTLMSSP_TARGET_TYPE_DOMAIN: `TargetName` is a domain.
        const TARGET_TYPE_DOMAIN = 0x0001_0000;
        /// NTLMSSP_TARGET_TYPE_SERVER: `TargetName` is a server.
        const TARGET_TYPE_SERVER = 0x0002_0000;
        /// NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY.
        const EXTENDED_SESSIONSECURITY = 0x0008_0000;
        /// NTLMSSP_NEGOTIATE_IDENTIFY.
        const IDENTIFY = 0x0010_0000;
        /// NTLMSSP_REQUEST_NON_NT_SESSION_KEY.
        const REQUEST_NON_NT_SESSION_KEY = 0x0040_0000;
        /// NTLMSSP_NEGOTIATE_TARGET_INFO.
        const TARGET_INFO = 0x0080_0000;
        /// NTLMSSP_NEGOTIATE_VERSION: the `Version` field means something.
        const VERSION = 0x0200_0000;
        /// NTLMSSP_NEGOTIATE_128.
        const KEY_128 = 0x2000_0000;
        /// NTLMSSP_NEGOTIATE_KEY_EXCH.
        const KEY_EXCH = 0x4000_0000;
        /// NTLMSSP_NEGOTIATE_56.
        const KEY_56 = 0x8000_0000;
    }
}

/// [MS-NLMP] 2.2.2.10 VERSION: of the sender's operating system, for what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// `ProductMajorVersion`.
    pub major: u8,
    /// `ProductMinorVersion`.
    pub minor: u8,
    /// `ProductBuild`.
    pub build: u16,
    /// `NTLMRevisionCurrent`, 15 for every Windows since XP.
    pub ntlm_revision: u8,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// [MS-DTYP] 2.3.3 FILETIME: tenths of a microsecond since 1601, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileTime(pub u64);

/// [MS-NLMP] 2.2.2.1 `AV_PAIR`, a list of them. An empty name is `None`; a list that ends early gives what stood before
/// its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AvPairs {
    /// `MsvAvNbComputerName`: the server.
    pub netbios_computer: Option<String>,
    /// `MsvAvNbDomainName`: its domain.
    pub netbios_domain: Option<String>,
    /// `MsvAvDnsComputerName`.
    pub dns_computer: Option<String>,
    /// `MsvAvDnsDomainName`.
    pub dns_domain: Option<String>,
    /// `MsvAvDnsTreeName`: its forest.
    pub dns_tree: Option<String>,
    /// `MsvAvFlags`: 1 constrained account, 2 the message has an integrity code, 4 the target name is not to be
    /// trusted.
    pub flags: Option<u32>,
    /// `MsvAvTimestamp`: the server's clock.
    pub timestamp: Option<FileTime>,
    /// `MsvAvTargetName`: the service principal that the client means to talk to.
    pub target_name: Option<String>,
    /// Does `MsvAvChannelBindings` bind the login to a channel (is there one, and is it not all zeroes)?
    pub channel_bindings: bool,
}

/// [MS-NLMP] 2.2.1.1 `NEGOTIATE_MESSAGE`: the client begins. Old clients leave out what follows the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiate {
    /// `NegotiateFlags`.
    pub flags: NegotiateFlags,
    /// `DomainName` of the client's computer.
    pub domain: Option<String>,
    /// `Workstation`: the client's computer.
    pub workstation: Option<String>,
    /// `Version`, if the flags say that it means something.
    pub version: Option<Version>,
}

/// [MS-NLMP] 2.2.1.2 `CHALLENGE_MESSAGE`: the server's answer. Old servers leave out what follows the challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `NegotiateFlags`.
    pub flags: NegotiateFlags,
    /// `TargetName`: the server's domain, or itself.
    pub target_name: Option<String>,
    /// `ServerChallenge`.
    pub server_challenge: [u8; 8],
    /// `TargetInfo`.
    pub av_pairs: AvPairs,
    /// `Version`, if the flags say that it means something.
    pub version: Option<Version>,
}

/// [MS-NLMP] 2.2.1.3 `AUTHENTICATE_MESSAGE`: who the client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticate {
    /// `NegotiateFlags`: what both sides settled on.
    pub flags: NegotiateFlags,
    /// `DomainName` of the user.
    pub domain: Option<String>,
    /// `UserName`.
    pub user: Option<String>,
    /// `Workstation`: the client's computer.
    pub workstation: Option<String>,
    /// `Version`, if the flags say that it means something.
    pub version: Option<Version>,
    /// Does the response say that the message has a `MIC` (2.2.2.1, `MsvAvFlags`)?
    pub mic: bool,
    /// Neither user nor response (3.2.5.1.2): an anonymous login.
    pub anonymous: bool,
    /// Is there an `LmChallengeResponse` that is not all zeroes? Beside a time in the AV pairs Windows sends none
    /// (3.1.5.1.2).
    pub lm_response: bool,
    /// Bytes of `NtChallengeResponse`: 24 is `NTLMv1`, more is `NTLMv2`.
    pub nt_response_length: u16,
    /// The AV pairs in `NTLMv2`'s response (2.2.2.7 `NTLMv2_CLIENT_CHALLENGE)`: the server's own, and some the client
    /// adds.
    pub av_pairs: AvPairs,
}

/// What of an [MS-NLMP] 2.2.1.3 `AUTHENTICATE_MESSAGE` proves the password, and what the session's keys are made from: the
/// bytes as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof<'a> {
    /// `NegotiateFlags`.
    pub flags: NegotiateFlags,
    /// `LmChallengeResponse`.
    pub lm_response: &'a [u8],
    /// `NtChallengeResponse`.
    pub nt_response: &'a [u8],
    /// `DomainName`.
    pub domain: &'a [u8],
    /// `UserName`.
    pub user: &'a [u8],
    /// `EncryptedRandomSessionKey`.
    pub session_key: &'a [u8],
}

impl<'a> Proof<'a> {
    /// Reads it out of a message; None if that is not the third.
    pub fn of(message: &'a [u8]) -> Option<Self> {
        let mut input = Input::new(message, ByteOrder::Little, "AUTHENTICATE_MESSAGE");
        if input.take(SIGNATURE.len()).ok()? != SIGNATURE || input.u32().ok()? != 3 {
            return None;
        }
        let mut next = || Field::read(&mut input).ok().map(|field| field.of(message));
        let (lm_response, nt_response) = (next()?, next()?);
        let (domain, user, _workstation, session_key) = (next()?, next()?, next()?, next()?);
        Some(Self {
            flags: NegotiateFlags::from_bits_retain(input.u32().ok()?),
            lm_response,
            nt_response,
            domain,
            user,
            session_key,
        })
    }
}

/// [MS-NLMP] 2.2.1 NTLM Messages: one of the three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first.
    Negotiate(Negotiate),
    /// The second.
    Challenge(Challenge),
    /// The third.
    Authenticate(Authenticate),
}

impl Message {
    /// Does `bytes` begin with NTLM's signature?
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(SIGNATURE)
    }

    /// Reads a message. A name whose bytes are not within the message is `None`; only fixed fields can fail it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input::new(bytes, ByteOrder::Little, "NTLMSSP");
        let start = input;
        let signature = input.take(SIGNATURE.len())?;
        if signature != SIGNATURE {
            return Err(start.invalid("Signature", signature.first().copied().unwrap_or_default()));
        }
        let start = input;
        match input.u32()? {
            1 => Negotiate::parse(bytes, input).map(Self::Negotiate),
            2 => Challenge::parse(bytes, input).map(Self::Challenge),
            3 => Authenticate::parse(bytes, input).map(Self::Authenticate),
            other => Err(start.error(ErrorKind::Unsupported {
                field: "MessageType",
                value: other.into(),
            })),
        }
    }
}

impl Negotiate {
    fn parse(message: &[u8], mut input: Input<'_>) -> Result<Self> {
        input.enter("NEGOTIATE_MESSAGE");
        let flags = NegotiateFlags::from_bits_retain(input.u32()?);
        // Without its flag a field has to be ignored, and both names are in the OEM code page whatever is negotiated.
        let mut supplied = |flag| {
            let field = Field::read(&mut input).ok().filter(|_| flags.contains(flag))?;
            text(field.of(message), NegotiateFlags::OEM)
        };
        let domain = supplied(NegotiateFlags::OEM_DOMAIN_SUPPLIED);
        let workstation = supplied(NegotiateFlags::OEM_WORKSTATION_SUPPLIED);
        Ok(Self {
            flags,
            domain,
            workstation,
            version: Version::read(&mut input, flags),
        })
    }
}

impl Challenge {
    fn parse(message: &[u8], mut input: Input<'_>) -> Result<Self> {
        input.enter("CHALLENGE_MESSAGE");
        let target_name = Field::read(&mut input)?;
        let flags = NegotiateFlags::from_bits_retain(input.u32()?);
        let mut server_challenge = [0; 8];
        server_challenge.copy_from_slice(input.take(8)?);
        let target_info = input.skip(8).and_then(|()| Field::read(&mut input)).ok();
        Ok(Self {
            flags,
            target_name: text(target_name.of(message), flags),
            server_challenge,
            av_pairs: target_info
                .map(|field| AvPairs::parse(field.of(message)))
                .unwrap_or_default(),
            version: Version::read(&mut input, flags),
        })
    }
}

impl Authenticate {
    fn parse(message: &[u8], mut input: Input<'_>) -> Result<Self> {
        input.enter("AUTHENTICATE_MESSAGE");
        let lm_response = Field::read(&mut input)?;
        let nt_response = Field::read(&mut input)?;
        let domain = Field::read(&mut input)?;
        let user = Field::read(&mut input)?;
        let workstation = Field::read(&mut input)?;
        let _session_key = Field::read(&mut input)?;
        let flags = NegotiateFlags::from_bits_retain(input.u32()?);
        let av_pairs = client_av_pairs(nt_response.of(message));
        Ok(Self {
            flags,
            domain: text(domain.of(message), flags),
            user: text(user.of(message), flags),
            workstation: text(workstation.of(message), flags),
            version: Version::read(&mut input, flags),
            mic: av_pairs.flags.is_some_and(|bits| bits & 2 != 0),
            anonymous: user.length == 0 && nt_response.length == 0 && lm_response.length <= 1,
            lm_response: lm_response.of(message).iter().any(|&byte| byte != 0),
            nt_response_length: nt_response.length,
            av_pairs,
        })
    }
}

/// [MS-NLMP] 2.2.2.8 `NTLMv2_RESPONSE`: 16 bytes of proof, then 2.2.2.7 `NTLMv2_CLIENT_CHALLENGE`, whose AV pairs
/// follow 28 bytes of versions, time and challenge. `NTLMv1`'s response (2.2.2.6) is 24 bytes and has none.
fn client_av_pairs(response: &[u8]) -> AvPairs {
    match response.get(16..) {
        Some([1, 1, blob @ ..]) => blob.get(26..).map(AvPairs::parse).unwrap_or_default(),
        _ => AvPairs::default(),
    }
}

impl AvPairs {
    fn parse(bytes: &[u8]) -> Self {
        let mut pairs = Self::default();
        let mut input = Input::new(bytes, ByteOrder::Little, "AV_PAIR");
        while let Ok(Some((id, value))) = Self::next(&mut input) {
            let name = || text(value.rest(), NegotiateFlags::UNICODE);
            match id {
                1 => pairs.netbios_computer = name(),
                2 => pairs.netbios_domain = name(),
                3 => pairs.dns_computer = name(),
                4 => pairs.dns_domain = name(),
                5 => pairs.dns_tree = name(),
                6 => pairs.flags = { value }.u32().ok(),
                7 => pairs.timestamp = { value }.u64().ok().map(FileTime),
                9 => pairs.target_name = name(),
                10 => pairs.channel_bindings = value.rest().iter().any(|byte| *byte != 0),
                // 8 is MsvAvSingleHost; what comes after 10 is not known today.
                _ => {}
            }
        }
        pairs
    }

    /// The next pair; nothing at `MsvAvEOL`.
    fn next<'a>(input: &mut Input<'a>) -> Result<Option<(u16, Input<'a>)>> {
        let id = input.u16()?;
        let length = input.u16()?;
        if id == 0 {
            Ok(None)
        } else {
            Ok(Some((id, input.sub(length.into())?)))
        }
    }
}

impl Version {
    /// The next eight bytes, if they are there and mean something.
    fn read(input: &mut Input<'_>, flags: NegotiateFlags) -> Option<Self> {
        if !flags.contains(NegotiateFlags::VERSION) {
            return None;
        }
        let [major, minor, build @ ..] = *input.take(8).ok()?.first_chunk::<8>()?;
        let [build_low, build_high, _, _, _, ntlm_revision] = build;
        Some(Self {
            major,
            minor,
            build: u16::from_le_bytes([build_low, build_high]),
            ntlm_revision,
        })
    }
}

/// Where a variable field is: length, allocated length, offset from the message's start ([MS-NLMP] 2.2.1.1,
/// `DomainNameFields`).
#[derive(Clone, Copy)]
struct Field {
    length: u16,
    offset: u32,
}

impl Field {
    fn read(input: &mut Input<'_>) -> Result<Self> {
        let length = input.u16()?;
        input.skip(2)?;
        Ok(Self {
            length,
            offset: input.u32()?,
        })
    }

    /// Its bytes; none if any of them is outside the message.
    fn of(self, message: &[u8]) -> &[u8] {
        usize::try_from(self.offset)
            .ok()
            .and_then(|offset| message.get(offset..)?.get(..usize::from(self.length)))
            .unwrap_or_default()
    }
}

/// A name as the flags say it is written; `None` if empty. What is not valid in its encoding is replaced, and nothing
/// is stripped: an OEM name is read as UTF-8, since its code page is not told and ASCII is common to them all.
fn text(bytes: &[u8], flags: NegotiateFlags) -> Option<String> {
    let bytes = bytes.get(..NAME_BYTES).unwrap_or(bytes);
    if bytes.is_empty() {
        return None;
    }
    if flags.contains(NegotiateFlags::UNICODE) {
        let (units, _) = bytes.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        Some(utf16::text(&units))
    } else {
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEGOTIATE_SAMBA: &[u8] = include_bytes!("../../corpus/security/ntlm_negotiate_samba.bin");
    const NEGOTIATE_IMPACKET: &[u8] = include_bytes!("../../corpus/security/ntlm_negotiate_impacket.bin");
    const CHALLENGE: &[u8] = include_bytes!("../../corpus/security/ntlm_challenge_emulated_server.bin");
    const AUTHENTICATE_SAMBA: &[u8] = include_bytes!("../../corpus/security/ntlm_authenticate_samba.bin");
    const AUTHENTICATE_IMPACKET: &[u8] = include_bytes!("../../corpus/security/ntlm_authenticate_impacket.bin");

    fn authenticate(bytes: &[u8]) -> Authenticate {
        match Message::parse(bytes) {
            Ok(Message::Authenticate(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn negotiate(bytes: &[u8]) -> Negotiate {
        match Message::parse(bytes) {
            Ok(Message::Negotiate(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "short for what the fields hold")]
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn server_pairs() -> AvPairs {
        AvPairs {
            netbios_computer: some("DCOMSRV01"),
            netbios_domain: some("LAB"),
            dns_computer: some("dcomsrv01.lab.example"),
            dns_domain: some("lab.example"),
            dns_tree: some("lab.example"),
            ..AvPairs::default()
        }
    }

    #[test]
    fn the_proof_is_the_bytes_as_they_were_sent() {
        let proof = Proof::of(AUTHENTICATE_IMPACKET).unwrap();
        let told = authenticate(AUTHENTICATE_IMPACKET);
        assert_eq!(text(proof.user, proof.flags), told.user);
        assert_eq!(text(proof.domain, proof.flags), told.domain);
        assert_eq!(proof.nt_response.len(), usize::from(told.nt_response_length));
        assert_eq!(proof.session_key.len(), 16);
        assert_eq!(Proof::of(CHALLENGE), None);
    }

    #[test]
    fn samba_negotiates_with_a_version_and_without_names() {
        let message = negotiate(NEGOTIATE_SAMBA);
        assert_eq!(message.flags.bits(), 0x6208_8235);
        assert_eq!(message.version.unwrap().to_string(), "6.1.0");
        assert_eq!((message.domain, message.workstation), (None, None));
    }

    #[test]
    fn impacket_negotiates_without_a_version() {
        let message = negotiate(NEGOTIATE_IMPACKET);
        assert_eq!(message.flags.bits(), 0xe088_8235);
        assert_eq!(message.version, None);
    }

    #[test]
    fn names_of_a_negotiate_count_only_with_their_flags() {
        let mut bytes = b"NTLMSSP\0\x01\0\0\0".to_vec();
        bytes.extend([0x01, 0x10, 0, 0]);
        bytes.extend([3, 0, 3, 0, 32, 0, 0, 0]);
        bytes.extend([2, 0, 2, 0, 35, 0, 0, 0]);
        bytes.extend(b"LABPC");
        let message = negotiate(&bytes);
        assert_eq!(message.domain, some("LAB"));
        assert_eq!(message.workstation, None);
        bytes[13] = 0x30;
        assert_eq!(negotiate(&bytes).workstation, some("PC"));
    }

    #[test]
    fn a_negotiate_may_end_with_its_flags() {
        let message = negotiate(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\x02");
        assert_eq!(message.flags.bits(), 0x0208_8207);
        assert_eq!(message.version, None);
    }

    #[test]
    fn a_challenge_names_the_server() {
        let Ok(Message::Challenge(message)) = Message::parse(CHALLENGE) else {
            panic!("no challenge")
        };
        assert!(
            message
                .flags
                .contains(NegotiateFlags::TARGET_TYPE_DOMAIN | NegotiateFlags::UNICODE)
        );
        assert_eq!(message.target_name, some("LAB"));
        assert_eq!(
            message.server_challenge,
            [0xa6, 0xf8, 0x21, 0xf1, 0x4d, 0x6d, 0xd4, 0xd0]
        );
        // 2026-11-22 04:33:37.103620200 UTC by tshark's reckoning.
        let timestamp = Some(FileTime((11_644_473_600 + 1_795_322_017) * 10_000_000 + 1_036_202));
        assert_eq!(
            message.av_pairs,
            AvPairs {
                timestamp,
                ..server_pairs()
            }
        );
        assert_eq!(message.version, None);
    }

    #[test]
    fn samba_authenticates_with_everything() {
        let message = authenticate(AUTHENTICATE_SAMBA);
        assert_eq!(
            (message.domain, message.user, message.workstation),
            (some("LAB"), some("alice"), some("VM"))
        );
        assert_eq!(message.version.unwrap().to_string(), "6.1.0");
        assert!(message.mic);
        assert!(!message.anonymous);
        assert_eq!(message.nt_response_length, 304);
        let AvPairs {
            target_name,
            flags,
            channel_bindings,
            timestamp,
            ..
        } = message.av_pairs.clone();
        assert_eq!(target_name, some("host/127.0.0.10"));
        assert_eq!(flags, Some(2));
        assert!(!channel_bindings, "all zeroes bind nothing");
        assert_eq!(
            message.av_pairs,
            AvPairs {
                flags,
                timestamp,
                target_name,
                ..server_pairs()
            }
        );
    }

    #[test]
    fn impacket_authenticates_without_workstation_version_and_mic() {
        let message = authenticate(AUTHENTICATE_IMPACKET);
        assert_eq!(
            (message.domain, message.user, message.workstation),
            (some("LAB"), some("alice"), None)
        );
        assert_eq!((message.version, message.mic), (None, false));
        assert_eq!(message.av_pairs.target_name, some("cifs/dcomsrv01.lab.example"));
    }

    #[test]
    fn a_name_outside_the_message_is_none_and_the_rest_is_read() {
        let mut bytes = AUTHENTICATE_SAMBA.to_vec();
        bytes[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        let message = authenticate(&bytes);
        assert_eq!((message.domain, message.user), (some("LAB"), None));
        assert!(!message.anonymous, "a name that cannot be read is still a name");
    }

    #[test]
    fn an_oem_name_is_not_read_as_utf_16() {
        let mut bytes = AUTHENTICATE_SAMBA.to_vec();
        bytes[60] = 0x36;
        bytes[422..432].copy_from_slice(b"Alice\xffSmit");
        assert_eq!(authenticate(&bytes).user, some("Alice\u{fffd}Smit"));
    }

    #[test]
    fn broken_utf_16_is_replaced() {
        let mut bytes = AUTHENTICATE_SAMBA.to_vec();
        bytes[422..424].copy_from_slice(&[0x00, 0xd8]);
        assert_eq!(authenticate(&bytes).user, some("\u{fffd}lice"));
    }

    #[test]
    fn neither_user_nor_response_is_an_anonymous_login() {
        let mut bytes = AUTHENTICATE_SAMBA.to_vec();
        for length in [12, 20, 36] {
            bytes[length..length + 2].fill(0);
        }
        let message = authenticate(&bytes);
        assert!(message.anonymous);
        assert_eq!((message.user, message.domain), (None, some("LAB")));
    }

    #[test]
    fn av_pairs_that_end_early_keep_what_came_before() {
        let pairs = AvPairs::parse(&[2, 0, 4, 0, b'A', 0, b'B', 0, 1, 0, 0xff, 0xff, b'C', 0]);
        assert_eq!(
            pairs,
            AvPairs {
                netbios_domain: some("AB"),
                ..AvPairs::default()
            }
        );
        let bound = AvPairs::parse(&[10, 0, 2, 0, 0, 7]);
        assert!(bound.channel_bindings);
    }

    #[test]
    fn a_fourth_message_type_is_unsupported() {
        let error = Message::parse(b"NTLMSSP\0\x04\0\0\0").unwrap_err();
        assert_eq!(
            error.kind,
            ErrorKind::Unsupported {
                field: "MessageType",
                value: 4
            }
        );
        assert!(Message::parse(b"NTLMSSX\0\x01\0\0\0").is_err());
    }
}
