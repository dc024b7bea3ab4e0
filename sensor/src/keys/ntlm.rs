//! NTLM: [MS-NLMP] 3.3 NTLM v1 and NTLM v2 Messages, 3.4 Session Security Details, with extended session security.

use std::fmt;

use dcom_parsers::security::ntlmssp::{NegotiateFlags, Proof};
use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use rc4::{Rc4, StreamCipher};
use secrecy::ExposeSecret;
use zeroize::{Zeroize, Zeroizing};

use super::etype::{hmac_md5, rc4};
use super::sessions::{Loss, Protected, Verdict};
use super::{Account, KeyName, Keys};
use crate::flow::Sides;

type Key = Zeroizing<[u8; 16]>;

/// What a login came to.
pub(super) enum Login {
    /// By an account whose key is known.
    Known(Box<Established>),
    /// By an account whose key is known, and it does not answer to it: whose.
    Mismatch(KeyName),
    /// By no account that is known, or in a form of NTLM that is not read.
    Unknown,
}

/// A security context whose keys are known.
pub(super) struct Established {
    pub(super) name: KeyName,
    pub(super) directions: Sides<Direction>,
}

/// NT hash of a password: [MS-NLMP] 3.3.1 `NTOWFv1`.
pub(super) fn nt_hash(password: &str) -> Zeroizing<Vec<u8>> {
    // Room for all of it at once: what grows leaves its old place behind. No letter takes more of two bytes than of one.
    let mut units = Zeroizing::new(Vec::with_capacity(2 * password.len()));
    units.extend(password.encode_utf16().flat_map(u16::to_le_bytes));
    Zeroizing::new(Md4::digest(&*units).to_vec())
}

/// What the user's third message comes to.
pub(super) fn login(keys: &Keys, challenge: [u8; 8], proof: &Proof<'_>) -> Login {
    if !proof.flags.contains(NegotiateFlags::EXTENDED_SESSIONSECURITY) {
        return Login::Unknown;
    }
    let (user, domain) = (text(proof.user, proof.flags), text(proof.domain, proof.flags));
    let mut mismatch = None;
    for (account, is_sure) in keys.accounts(&user, &domain) {
        if let Some(base) = session_base_key(account, challenge, proof, &user, &domain) {
            return match Established::new(proof, base, &account.name) {
                Some(established) => Login::Known(Box::new(established)),
                None => Login::Unknown,
            };
        }
        if is_sure {
            mismatch = Some(account.name.clone());
        }
    }
    mismatch.map_or(Login::Unknown, Login::Mismatch)
}

fn text(bytes: &[u8], flags: NegotiateFlags) -> String {
    if flags.contains(NegotiateFlags::UNICODE) {
        let units: Vec<u16> = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|unit| u16::from_le_bytes(*unit))
            .collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// The key exchange key, if the response is the account's. With extended session security it is the session base key of
/// `NTLMv2`, and made from that of `NTLMv1`: [MS-NLMP] 3.4.5.1 KXKEY.
fn session_base_key(account: &Account, challenge: [u8; 8], proof: &Proof<'_>, user: &str, domain: &str) -> Option<Key> {
    let nt_hash = account.nt_hash.expose_secret();
    if let Some((said, blob)) = proof
        .nt_response
        .split_at_checked(16)
        .filter(|(_, blob)| blob.len() > 8)
    {
        // Upper case letter by letter, as Windows does it: a letter whose capital is two stays.
        let upper = user.chars().map(|letter| {
            let mut capital = letter.to_uppercase();
            capital.next().filter(|_| capital.len() == 0).unwrap_or(letter)
        });
        let name: String = upper.chain(domain.chars()).collect();
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let owner = hmac_md5(nt_hash, &[&name]);
        let right = *hmac_md5(&*owner, &[&challenge, blob]) == *said;
        return right.then(|| hmac_md5(&*owner, &[said]));
    }
    // [MS-NLMP] 3.3.1: with extended session security both challenges go into it.
    let client_challenge = proof.lm_response.get(..8)?;
    let both = Md5::new_with_prefix(challenge)
        .chain_update(client_challenge)
        .finalize();
    let right = *desl(nt_hash, &both[..8])? == *proof.nt_response;
    let base = Zeroizing::new(Md4::digest(nt_hash).to_vec());
    right.then(|| hmac_md5(&base, &[&challenge, client_challenge]))
}

/// [MS-NLMP] 6 Appendix A: `DESL`, three times DES with seven bytes of the key each, the last two of which are two and five
/// zeroes.
fn desl(key: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let mut padded = Zeroizing::new([0_u8; 21]);
    padded[..16].copy_from_slice(key.get(..16)?);
    let mut response = Vec::with_capacity(24);
    for seven in padded.as_chunks::<7>().0 {
        let mut bits = Zeroizing::new([0_u8; 8]);
        bits[1..].copy_from_slice(seven);
        let bits = u64::from_be_bytes(*bits);
        // Seven bits in each byte; the eighth is parity, which DES does not look at.
        let spread = Zeroizing::new([0, 1, 2, 3, 4, 5, 6, 7].map(|at| ((bits >> (49 - 7 * at) & 0x7f) as u8) << 1));
        let mut block = des::cipher::Block::<Des>::try_from(data).ok()?;
        Des::new_from_slice(&*spread).ok()?.encrypt_block(&mut block);
        response.extend_from_slice(&block);
    }
    Some(response)
}

impl Established {
    fn new(proof: &Proof<'_>, base: Key, name: &KeyName) -> Option<Self> {
        let mut exported = base;
        if proof.flags.contains(NegotiateFlags::KEY_EXCH) {
            let mut key: Key = Zeroizing::new(proof.session_key.try_into().ok()?);
            rc4(&*exported).apply_keystream(&mut *key);
            exported = key;
        }
        let direction = |name: &str| Direction::new(proof.flags, &exported, name);
        Some(Self {
            name: name.clone(),
            directions: Sides {
                client: direction("client-to-server"),
                server: direction("server-to-client"),
            },
        })
    }
}

/// RC4's key stream: it can be looked at before it is used up.
struct Keystream {
    rc4: Rc4,
    ahead: Zeroizing<Vec<u8>>,
    /// Bytes of `ahead` that are used up.
    used: usize,
}

impl Keystream {
    fn ahead(&mut self, bytes: usize) -> &[u8] {
        let have = self.ahead.len();
        if have - self.used < bytes {
            self.ahead.copy_within(self.used.., 0);
            self.ahead.truncate(have - self.used);
            let from = self.ahead.len();
            self.used = 0;
            if self.ahead.capacity() < bytes {
                // What grows leaves its old place behind: the new one is filled by hand, and the old one overwritten.
                let mut larger = Zeroizing::new(Vec::with_capacity(bytes + from / 2));
                larger.extend_from_slice(&self.ahead);
                self.ahead = larger;
            }
            self.ahead.resize(bytes, 0);
            self.rc4.write_keystream(&mut self.ahead[from..]);
        }
        &self.ahead[self.used..self.used + bytes]
    }

    fn advance(&mut self, bytes: usize) {
        self.ahead(bytes);
        self.used += bytes;
        if self.used == self.ahead.len() {
            // Between PDUs a connection keeps no more than the cipher's state.
            self.ahead = Zeroizing::default();
            self.used = 0;
        }
    }
}

/// One direction of a security context.
pub(super) struct Direction {
    signing: Hmac<Md5>,
    keystream: Keystream,
    /// The sequence number that comes next.
    sequence: u32,
    /// With key exchange, signatures are sealed too, and use up the key stream.
    key_exchange: bool,
    /// Are headers signed too? Known once a signature was right.
    signs_headers: Option<bool>,
    /// What was lost since the last PDU whose place in the key stream is known.
    loss: Loss,
    /// Searches for the place in the key stream that may still be made.
    searches_left: u8,
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Direction(sequence {})", self.sequence)
    }
}

/// [MS-NLMP] 2.2.2.9.2 `NTLMSSP_MESSAGE_SIGNATURE` for extended session security.
struct Signature {
    checksum: [u8; 8],
    sequence: u32,
}

impl Signature {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [1, 0, 0, 0, checksum @ .., a, b, c, d] = *<&[u8; 16]>::try_from(bytes).ok()? else {
            return None;
        };
        Some(Self {
            checksum,
            sequence: u32::from_le_bytes([a, b, c, d]),
        })
    }
}

/// Bytes that a search may hash before it gives up: a tenth of a second or so.
const SEARCH: usize = 32 << 20;
/// Searches in one direction of one context.
const SEARCHES: u8 = 2;
/// Bytes of the key stream that a search may look at.
const REACH: u64 = 1 << 20;
/// Bytes of PDUs in a row that are not right, behind which the place in the key stream counts as lost.
const KNOWN: u64 = 1 << 18;

impl Direction {
    /// [MS-NLMP] 3.4.5.2 SIGNKEY, 3.4.5.3 SEALKEY.
    fn new(flags: NegotiateFlags, exported: &Key, name: &str) -> Self {
        let derive = |key: &[u8], purpose: &str| -> Key {
            let magic = format!("session key to {name} {purpose} key magic constant\0");
            Zeroizing::new(Md5::new_with_prefix(key).chain_update(magic).finalize().into())
        };
        let strength = if flags.contains(NegotiateFlags::KEY_128) {
            16
        } else if flags.contains(NegotiateFlags::KEY_56) {
            7
        } else {
            5
        };
        let signing = derive(&**exported, "signing");
        Self {
            signing: Hmac::new_from_slice(&*signing).expect("HMAC takes keys of any length"),
            keystream: Keystream {
                rc4: rc4(&*derive(&exported[..strength], "sealing")),
                ahead: Zeroizing::default(),
                used: 0,
            },
            sequence: 0,
            key_exchange: flags.contains(NegotiateFlags::KEY_EXCH),
            signs_headers: None,
            loss: Loss::default(),
            searches_left: SEARCHES,
        }
    }

    /// Something of this direction was not seen.
    pub(super) fn lose(&mut self, loss: Loss) {
        self.loss.add(loss);
    }

    /// Checks a PDU, and puts what it holds into `plain` if it was sealed.
    ///
    /// `in_spnego`: the mechanism list may have been signed, which takes a number but, since the key stream is set back
    /// afterwards, none of that ([MS-SPNG] 3.3.5.1).
    pub(super) fn open(&mut self, pdu: &Protected<'_>, in_spnego: bool, plain: &mut Vec<u8>) -> Verdict {
        if self.searches_left == 0 {
            return Verdict::StreamLost;
        }
        let Some(signature) = Signature::parse(pdu.signature) else {
            self.miss(pdu);
            return Verdict::Bad;
        };
        let first = u32::from(self.sequence == 0 && in_spnego && signature.sequence > 0);
        let expected = self.sequence.max(first);
        let missing = signature.sequence.wrapping_sub(expected);
        if missing == 0 {
            // Some do not set the key stream back.
            let signed_list = usize::from(first == 1 && self.key_exchange) * 8;
            if signed_list == 0 && self.keystream.ahead.is_empty() {
                return self.open_next(&signature, pdu, plain);
            }
            for skipped in [0, signed_list] {
                if self.fits(skipped, &signature, pdu, plain) {
                    self.keystream.advance(skipped);
                    self.step(expected, pdu);
                    return Verdict::Right;
                }
                if signed_list == 0 {
                    break;
                }
            }
            self.miss(pdu);
            return Verdict::Bad;
        }
        if let Some(skipped) = self.find(missing, &signature, pdu, plain) {
            self.keystream.advance(skipped);
            self.step(signature.sequence, pdu);
            return Verdict::Right;
        }
        let is_known = self.loss.bytes == 0 && self.loss.stubs < KNOWN;
        self.miss(pdu);
        if is_known {
            return Verdict::Bad;
        }
        self.searches_left -= 1;
        if self.searches_left > 0 {
            return Verdict::StreamLost;
        }
        self.keystream.ahead = Zeroizing::default();
        self.keystream.used = 0;
        Verdict::StreamJustLost
    }

    /// The PDU is the next one: nothing is looked at ahead.
    fn open_next(&mut self, signature: &Signature, pdu: &Protected<'_>, plain: &mut Vec<u8>) -> Verdict {
        let rc4 = &mut self.keystream.rc4;
        let body = if pdu.is_sealed {
            plain.clear();
            plain.extend_from_slice(pdu.body);
            rc4.apply_keystream(plain);
            &**plain
        } else {
            pdu.body
        };
        let mut wanted = signature.checksum;
        if self.key_exchange {
            rc4.apply_keystream(&mut wanted);
        }
        if self.is_signed(wanted, signature.sequence, pdu, body) {
            self.sequence = signature.sequence.wrapping_add(1);
            self.loss = Loss::default();
            return Verdict::Right;
        }
        // Its part of the key stream is put back: what comes next says whether it was used up.
        let mut part = Zeroizing::new(Vec::with_capacity(self.uses(pdu)));
        if pdu.is_sealed {
            part.extend(pdu.body.iter().zip(&*plain).map(|(sealed, open)| sealed ^ open));
        }
        if self.key_exchange {
            part.extend(
                signature
                    .checksum
                    .iter()
                    .zip(wanted)
                    .map(|(sealed, open)| sealed ^ open),
            );
        }
        (self.keystream.ahead, self.keystream.used) = (part, 0);
        plain.zeroize();
        self.miss(pdu);
        Verdict::Bad
    }

    /// Is this the checksum, with headers or without?
    fn is_signed(&mut self, wanted: [u8; 8], sequence: u32, pdu: &Protected<'_>, body: &[u8]) -> bool {
        let found = Protected::signed_headers(self.signs_headers).find(|&signs_headers| {
            let mut mac = self.signing.clone();
            mac.update(&sequence.to_le_bytes());
            for part in pdu.signed(signs_headers, body) {
                mac.update(part);
            }
            mac.finalize().into_bytes()[..8] == wanted
        });
        self.signs_headers = found.or(self.signs_headers);
        found.is_some()
    }

    /// The PDU is not right. Either it was changed on its way, and has used up its part of the key stream, or it is none of
    /// the peer's: the number of the next one tells.
    ///
    /// Whether it was sealed is not relied on either.
    fn miss(&mut self, pdu: &Protected<'_>) {
        let stubs = pdu.body.len() as u64;
        self.lose(Loss { stubs, bytes: 0 });
    }

    /// The PDU has used up its part of the key stream.
    fn step(&mut self, sequence: u32, pdu: &Protected<'_>) {
        self.keystream.advance(self.uses(pdu));
        self.sequence = sequence.wrapping_add(1);
        self.loss = Loss::default();
    }

    fn uses(&self, pdu: &Protected<'_>) -> usize {
        let sealed = if pdu.is_sealed { pdu.body.len() } else { 0 };
        sealed + usize::from(self.key_exchange) * 8
    }

    /// Is the signature right, so many bytes further in the key stream? Then `plain` holds what was sealed.
    fn fits(&mut self, skipped: usize, signature: &Signature, pdu: &Protected<'_>, plain: &mut Vec<u8>) -> bool {
        let uses = self.uses(pdu);
        let stream = &self.keystream.ahead(skipped + uses)[skipped..];
        let body = if pdu.is_sealed {
            plain.clear();
            plain.extend(pdu.body.iter().zip(stream).map(|(byte, key)| byte ^ key));
            &**plain
        } else {
            pdu.body
        };
        let mut wanted = signature.checksum;
        if self.key_exchange {
            let tail = &stream[uses - 8..];
            wanted.iter_mut().zip(tail).for_each(|(byte, key)| *byte ^= key);
        }
        let is_signed = self.is_signed(wanted, signature.sequence, pdu, body);
        if !is_signed {
            plain.zeroize();
        }
        is_signed
    }

    /// After a loss: finds the PDU's place in the key stream. How many PDUs are missing is known from their numbers; how
    /// long they were, from their headers where those were seen. Where not, every place that may be is tried.
    fn find(&mut self, missing: u32, signature: &Signature, pdu: &Protected<'_>, plain: &mut Vec<u8>) -> Option<usize> {
        let signatures = usize::from(self.key_exchange) * 8;
        let signatures = signatures.checked_mul(missing as usize)?;
        if signatures as u64 > REACH {
            return None;
        }
        if !pdu.is_sealed && !self.key_exchange {
            // Nothing uses up a key stream: the number alone counts.
            return self.fits(0, signature, pdu, plain).then_some(0);
        }
        let loss = self.loss;
        let known = usize::try_from(loss.stubs.min(2 * REACH)).ok()?;
        let exact = [known + signatures, signatures];
        // Where all lengths are known, no others come into question.
        let reach = if loss.bytes == 0 {
            0
        } else {
            loss.stubs.saturating_add(loss.bytes)
        };
        let reach = usize::try_from(reach.min(REACH)).ok()?;
        // What is sealed is padded to four bytes at least.
        let others = (signatures..=signatures.saturating_add(reach)).step_by(4);
        let tries = SEARCH / (pdu.body.len() + 64);
        exact
            .into_iter()
            .filter(|&place| place as u64 <= 2 * REACH)
            .chain(others)
            .take(tries)
            .find(|&place| self.fits(place, signature, pdu, plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::secretsdump::hex;

    fn bytes(text: &str) -> Vec<u8> {
        hex(text).unwrap().to_vec()
    }

    #[test]
    fn the_hash_and_its_response_are_those_of_ms_nlmp_4_2() {
        let hash = nt_hash("Password");
        assert_eq!(hash.to_vec(), bytes("a4f49c406510bdcab6824ee7c30fd852"));
        // 4.2.2.2.1 NTLMv1 Response: DESL of the server's challenge.
        assert_eq!(
            desl(&hash, &bytes("0123456789abcdef")).unwrap(),
            bytes("67c43011f30298a2ad35ece64f16331c44bdbed927841f94")
        );
    }

    fn account(keys: &mut Keys) {
        keys.add_account(None, true, "User", nt_hash("Password").to_vec().into());
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    const CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

    /// The login of [MS-NLMP] 4.2.3 NTLM v1 with Client Challenge.
    fn example(keys: &Keys) -> Login {
        let lm_response = bytes("aaaaaaaaaaaaaaaa00000000000000000000000000000000");
        let nt_response = bytes("7537f803ae367128ca458204bde7caf81e97ed2683267232");
        let proof = Proof {
            flags: NegotiateFlags::from_bits_retain(0x820a_8233),
            lm_response: &lm_response,
            nt_response: &nt_response,
            domain: &utf16("Domain"),
            user: &utf16("User"),
            session_key: &[],
        };
        login(keys, CHALLENGE, &proof)
    }

    fn pdu<'a>(body: &'a [u8], signature: &'a [u8]) -> Protected<'a> {
        Protected {
            head: &[],
            body,
            trailer: &[],
            signature,
            is_sealed: true,
        }
    }

    /// [MS-NLMP] 4.2.3.4: the sealed `Plaintext` and its signature.
    #[test]
    fn ntlm_v1_with_extended_session_security_opens_the_example_of_ms_nlmp_4_2_3() {
        let mut keys = Keys::default();
        account(&mut keys);
        let Login::Known(mut session) = example(&keys) else {
            panic!("the login is not known");
        };
        let sealed = bytes("a02372f6530273f3aa1eb90190ce5200c99d");
        let signature = bytes("01000000ff2aeb52f681793a00000000");
        let mut plain = Vec::new();
        let client = &mut session.directions.client;
        assert_eq!(
            client.open(&pdu(&sealed, &signature), false, &mut plain),
            Verdict::Right
        );
        assert_eq!(plain, utf16("Plaintext"));
        keys.accounts.clear();
        keys.add_account(None, true, "User", nt_hash("password").to_vec().into());
        assert!(matches!(example(&keys), Login::Mismatch(name) if &*name == "User"));
    }

    /// What the peer sends in this direction under the next number: the sealed body, and its signature.
    fn seal(direction: &mut Direction, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut mac = direction.signing.clone();
        mac.update(&direction.sequence.to_le_bytes());
        mac.update(plain);
        let mut body = plain.to_vec();
        direction.keystream.rc4.apply_keystream(&mut body);
        let mut checksum = mac.finalize().into_bytes()[..8].to_vec();
        if direction.key_exchange {
            direction.keystream.rc4.apply_keystream(&mut checksum);
        }
        let signature = [&[1, 0, 0, 0], &checksum[..], &direction.sequence.to_le_bytes()].concat();
        direction.sequence += 1;
        (body, signature)
    }

    #[test]
    fn a_pdu_that_is_not_right_takes_none_behind_it_along() {
        let mut keys = Keys::default();
        account(&mut keys);
        for key_exchange in [false, true] {
            let [Login::Known(mut peer), Login::Known(mut session)] = [example(&keys), example(&keys)] else {
                panic!("the login is not known");
            };
            let (peer, direction) = (&mut peer.directions.client, &mut session.directions.client);
            (peer.key_exchange, direction.key_exchange) = (key_exchange, key_exchange);
            let sent: Vec<_> = (10..20).map(|length| seal(peer, &vec![7; length])).collect();
            let mut plain = Vec::new();
            let mut open = |direction: &mut Direction, body: &[u8], signature: &[u8]| {
                direction.open(&pdu(body, signature), false, &mut plain)
            };
            let mut right = |direction: &mut Direction, number: usize| {
                let (body, signature) = &sent[number];
                assert_eq!(open(direction, body, signature), Verdict::Right, "{number}");
            };
            right(direction, 0);
            // A bit is changed on its way: of two in a row, of a body and of a number.
            let mut changed = sent[1].0.clone();
            changed[3] ^= 1;
            let mut plain = Vec::new();
            let verdict = direction.open(&pdu(&changed, &sent[1].1), false, &mut plain);
            assert_eq!(verdict, Verdict::Bad);
            let mut changed = sent[2].1.clone();
            changed[13] ^= 1;
            let verdict = direction.open(&pdu(&sent[2].0, &changed), false, &mut plain);
            assert_eq!(verdict, Verdict::Bad);
            right(direction, 3);
            // Somebody else's, under the right number and under another.
            for number in [4_u32, 5] {
                let signature = [&[1, 0, 0, 0][..], &[9; 8], &number.to_le_bytes()].concat();
                let verdict = direction.open(&pdu(&[9; 33], &signature), false, &mut plain);
                assert_eq!(verdict, Verdict::Bad);
                assert!(plain.is_empty());
            }
            right(direction, 4);
            // One that says that it is of another login.
            direction.lose(Loss {
                stubs: sent[5].0.len() as u64,
                bytes: 0,
            });
            right(direction, 6);
            right(direction, 7);
        }
    }

    #[test]
    fn absurd_numbers_after_a_loss_cost_little_and_are_told_once() {
        let mut keys = Keys::default();
        account(&mut keys);
        let Login::Known(mut session) = example(&keys) else {
            panic!("the login is not known");
        };
        let direction = &mut session.directions.server;
        direction.lose(Loss::of(u64::MAX));
        let mut plain = Vec::new();
        for (number, verdict) in [
            (u32::MAX, Verdict::StreamLost),
            (7, Verdict::StreamJustLost),
            (8, Verdict::StreamLost),
        ] {
            let signature = [&[1, 0, 0, 0][..], &[9; 8], &number.to_le_bytes()].concat();
            assert_eq!(
                direction.open(&pdu(&[0; 5_000], &signature), false, &mut plain),
                verdict,
                "{number}"
            );
            assert!(plain.is_empty());
        }
        assert_eq!(direction.keystream.ahead.capacity(), 0);
    }
}
