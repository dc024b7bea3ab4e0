//! One PDU after another under Kerberos: per-message tokens in the form that DCE asks for ([MS-KILE] 3.4.5.4
//! `GSS_WrapEx()` Call, 3.4.5.6 `GSS_GetMICEx()` Call), where the stub stays in its place and its confounder, padding and
//! checksum go into the token.

use aes::Aes256;
use md5::{Digest, Md5};
use rc4::StreamCipher;
use zeroize::{Zeroize, Zeroizing};

use super::etype::{BLOCK, Checksum, Etype, SealKeys, Wiped, hmac_md5, rc4, signing_key};
use super::sessions::Protected;
use crate::flow::{Side, Sides};

/// A key by which the two ends may seal and sign.
pub(super) struct Protection {
    form: Form,
    /// Are headers signed too? Known once a signature was right.
    signs_headers: Option<bool>,
}

enum Form {
    Cfx(Box<Cfx>),
    Rc4(Box<Rc4Keys>),
}

/// RFC 4121: its keys for each direction.
struct Cfx {
    etype: Etype,
    seal: Sides<SealKeys>,
    sign: Sides<Checksum>,
}

/// RFC 4757: its keys.
struct Rc4Keys {
    sign: Zeroizing<[u8; 16]>,
    sequence: Zeroizing<[u8; 16]>,
    seal: Zeroizing<[u8; 16]>,
}

impl Protection {
    pub(super) fn new(etype: Etype, key: &[u8]) -> Option<Self> {
        let form = if etype == Etype::Rc4 {
            Form::Rc4(Box::new(Rc4Keys::new(key)?))
        } else {
            Form::Cfx(Box::new(Cfx::new(etype, key)?))
        };
        Some(Self {
            form,
            signs_headers: None,
        })
    }

    /// Bytes that it takes, about.
    pub(super) fn kept(&self) -> usize {
        size_of::<Self>()
            + match &self.form {
                Form::Cfx(_) => size_of::<Cfx>() + 2 * size_of::<Aes256>(),
                Form::Rc4(_) => size_of::<Rc4Keys>(),
            }
    }

    /// Is the token right? Then `plain` holds what was sealed.
    pub(super) fn open(&mut self, side: Side, pdu: &Protected<'_>, plain: &mut Vec<u8>) -> bool {
        let found = match &self.form {
            Form::Cfx(cfx) if pdu.is_sealed => cfx.unwrap(side, pdu, self.signs_headers, plain),
            Form::Cfx(cfx) => cfx.verify(side, pdu, self.signs_headers),
            Form::Rc4(keys) => keys.open(side, pdu, self.signs_headers, plain),
        };
        self.signs_headers = found.or(self.signs_headers);
        if found.is_none() {
            plain.zeroize();
        }
        found.is_some()
    }
}

/// RFC 4121 section 4.2.2: the token was sent by the acceptor.
const SENT_BY_ACCEPTOR: u8 = 1;
/// What it holds is sealed.
const SEALED: u8 = 2;

impl Cfx {
    fn new(etype: Etype, key: &[u8]) -> Option<Self> {
        // RFC 4121 section 2: Key Usage Values.
        let seal = |usage| SealKeys::derive(etype, key, usage);
        let sign = |usage| signing_key(etype, key, usage);
        Some(Self {
            etype,
            seal: Sides {
                client: seal(24)?,
                server: seal(22)?,
            },
            sign: Sides {
                client: sign(25)?,
                server: sign(23)?,
            },
        })
    }

    /// RFC 4121 section 4.2.6.1 MIC Tokens. Gives whether headers are signed.
    fn verify(&self, side: Side, pdu: &Protected<'_>, known: Option<bool>) -> Option<bool> {
        let (header, checksum) = pdu.signature.split_first_chunk::<16>()?;
        if header[..2] != [4, 4] || !is_from(side, header[2]) {
            return None;
        }
        Protected::signed_headers(known).find(|&signs_headers| {
            let [head, body, trailer] = pdu.signed(signs_headers, pdu.body);
            self.sign[side].is(&[head, body, trailer, header], checksum)
        })
    }

    /// RFC 4121 section 4.2.6.2 Wrap Tokens, rotated as in 4.2.5; with DCE's form, [MS-KILE] 3.4.5.4.1, the rotation is
    /// by `EC` more than it says.
    fn unwrap(&self, side: Side, pdu: &Protected<'_>, known: Option<bool>, plain: &mut Vec<u8>) -> Option<bool> {
        let (header, rest) = pdu.signature.split_first_chunk::<16>()?;
        if header[..2] != [5, 4] || !is_from(side, header[2]) || header[2] & SEALED == 0 {
            return None;
        }
        let [_, _, _, _, extra @ .., _, _, _, _, _, _, _, _] = *header;
        let [extra_high, extra_low, rotation_high, rotation_low] = extra;
        let extra = usize::from(u16::from_be_bytes([extra_high, extra_low]));
        let rotation = usize::from(u16::from_be_bytes([rotation_high, rotation_low]));
        let keys = &self.seal[side];
        let length = rest.len() + pdu.body.len();
        let sealed = length.checked_sub(keys.integrity.length())?;
        // Confounder, stub, filler, the header again.
        if sealed != BLOCK + pdu.body.len() + extra + 16 {
            return None;
        }
        let mut whole = Wiped::new(Vec::with_capacity(length));
        whole.extend_from_slice(rest);
        whole.extend_from_slice(pdu.body);
        whole.rotate_left((rotation + extra) % length);
        let stub = BLOCK..BLOCK + pdu.body.len();
        let signed = |whole: &[u8], known| {
            let (parts, checksum) = whole.split_at(sealed);
            let (confounder, parts) = parts.split_at(BLOCK);
            let (stub, tail) = parts.split_at(pdu.body.len());
            Protected::signed_headers(known).find(|&signs_headers| {
                let [head, stub, trailer] = pdu.signed(signs_headers, stub);
                let vector = if self.etype.signs_sealed() {
                    &[0; BLOCK][..]
                } else {
                    &[]
                };
                keys.integrity
                    .is(&[vector, confounder, head, stub, trailer, tail], checksum)
            })
        };
        let mut found = None;
        if self.etype.signs_sealed() {
            found = Some(signed(&whole, known)?);
        }
        keys.decrypt(&mut whole[..sealed])?;
        let found = found.or_else(|| signed(&whole, known))?;
        // The header as it was before it was rotated.
        let copy = &whole[stub.end + extra..sealed];
        if copy[..6] != header[..6] || copy[8..] != header[8..] {
            return None;
        }
        plain.clear();
        plain.extend_from_slice(&whole[stub]);
        Some(found)
    }
}

fn is_from(side: Side, flags: u8) -> bool {
    (flags & SENT_BY_ACCEPTOR != 0) == (side == Side::Server)
}

/// RFC 2743 section 3.1: what stands before a token of RFC 4757, with its length left out.
const KERBEROS: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];

impl Rc4Keys {
    fn new(key: &[u8]) -> Option<Self> {
        let key = Zeroizing::new(<[u8; 16]>::try_from(key).ok()?);
        let sealing = Zeroizing::new(key.map(|byte| byte ^ 0xf0));
        Some(Self {
            sign: hmac_md5(&*key, &[b"signaturekey\0"]),
            sequence: hmac_md5(&*key, &[&[0; 4]]),
            seal: hmac_md5(&*sealing, &[&[0; 4]]),
        })
    }

    /// RFC 4757 section 7.2 GSS-API MIC Semantics, 7.3 GSS-API WRAP Semantics. Gives whether headers are signed.
    fn open(&self, side: Side, pdu: &Protected<'_>, known: Option<bool>, plain: &mut Vec<u8>) -> Option<bool> {
        let framed = pdu
            .signature
            .windows(KERBEROS.len())
            .take(8)
            .position(|window| window == KERBEROS);
        let token = framed.map_or(pdu.signature, |at| &pdu.signature[at + KERBEROS.len()..]);
        let (header, rest) = token.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (checksum, confounder) = rest.split_first_chunk::<8>()?;
        let mut number = Zeroizing::new(*sequence);
        rc4(&*hmac_md5(&*self.sequence, &[checksum])).apply_keystream(&mut *number);
        let from_acceptor = match number[4..] {
            [0, 0, 0, 0] => false,
            [0xff, 0xff, 0xff, 0xff] => true,
            _ => return None,
        };
        if from_acceptor != (side == Side::Server) {
            return None;
        }
        let (salt, confounder, body): (u32, _, &[u8]) = match header[..4] {
            [1, 1, 0x11, 0] if !pdu.is_sealed => (15, Zeroizing::default(), pdu.body),
            [2, 1, 0x11, 0] if pdu.is_sealed => {
                let mut confounder: Wiped = Zeroizing::new(confounder.get(..8)?.to_vec());
                let mut cipher = rc4(&*hmac_md5(&*self.seal, &[&number[..4]]));
                cipher.apply_keystream(&mut confounder);
                plain.clear();
                plain.extend_from_slice(pdu.body);
                cipher.apply_keystream(plain);
                (13, confounder, &**plain)
            }
            _ => return None,
        };
        Protected::signed_headers(known).find(|&signs_headers| {
            let mut digest = Md5::new_with_prefix(salt.to_le_bytes());
            digest.update(header);
            digest.update(&*confounder);
            for part in pdu.signed(signs_headers, body) {
                digest.update(part);
            }
            hmac_md5(&*self.sign, &[&digest.finalize()])[..8] == *checksum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::etype::tests::seal;

    const HEAD: &[u8] = &[5; 24];
    const STUB: &[u8] = b"what was said, in a stub of no particular length";
    const TRAILER: &[u8] = &[16, 6, 0, 0, 1, 0, 0, 0];

    /// A stub as [MS-KILE] 3.4.5.4.1 seals it: what stands in the token, and in the stub's place.
    fn wrap(etype: Etype, key: &[u8], side: Side, signs_headers: bool, extra: u16) -> (Vec<u8>, Vec<u8>) {
        let (usage, flags) = match side {
            Side::Client => (24, SEALED),
            Side::Server => (22, SEALED | SENT_BY_ACCEPTOR),
        };
        let checksum: u16 = match etype {
            Etype::Aes128Sha256 => 16,
            Etype::Aes256Sha384 => 24,
            _ => 12,
        };
        let mut header = vec![5, 4, flags, 0xff];
        header.extend(extra.to_be_bytes());
        header.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        let tail = [&vec![0xcc; extra.into()], &header[..]].concat();
        let plain = [&[0x5a; BLOCK], STUB, &tail].concat();
        let (head, trailer) = if signs_headers {
            (HEAD, TRAILER)
        } else {
            (&[][..], &[][..])
        };
        let mut whole = seal(etype, key, usage, &plain, BLOCK..BLOCK + STUB.len(), head, trailer);
        let rotation = 16 + checksum;
        header[6..8].copy_from_slice(&rotation.to_be_bytes());
        whole.rotate_right(usize::from(rotation + extra));
        let body = whole.split_off(whole.len() - STUB.len());
        ([header, whole].concat(), body)
    }

    fn pdu<'a>(signature: &'a [u8], body: &'a [u8]) -> Protected<'a> {
        Protected {
            head: HEAD,
            body,
            trailer: TRAILER,
            signature,
            is_sealed: true,
        }
    }

    #[test]
    fn stubs_sealed_by_every_aes_type_are_opened_in_either_direction() {
        for etype in [
            Etype::Aes128Sha1,
            Etype::Aes256Sha1,
            Etype::Aes128Sha256,
            Etype::Aes256Sha384,
        ] {
            let key = vec![0x42; etype.key_length()];
            for (side, signs_headers, extra) in [
                (Side::Client, true, 16),
                (Side::Client, false, 16),
                (Side::Server, true, 16),
                (Side::Server, false, 0),
                (Side::Client, true, 7),
            ] {
                let (signature, body) = wrap(etype, &key, side, signs_headers, extra);
                let case = format!("{etype:?} {side:?} {signs_headers} {extra}");
                let mut plain = Vec::new();
                let fresh = || Protection::new(etype, &key).unwrap();
                assert!(fresh().open(side, &pdu(&signature, &body), &mut plain), "{case}");
                assert_eq!(plain, STUB, "{case}");
                assert!(!fresh().open(!side, &pdu(&signature, &body), &mut plain), "{case}");
                assert!(plain.is_empty(), "{case}");
                for at in 0..signature.len() {
                    let mut flipped = signature.clone();
                    flipped[at] ^= 1;
                    // The fourth byte fills up, and stands in the copy that is sealed.
                    assert!(
                        !fresh().open(side, &pdu(&flipped, &body), &mut plain),
                        "{case}, byte {at}"
                    );
                }
                for at in 0..body.len() {
                    let mut flipped = body.clone();
                    flipped[at] ^= 0x80;
                    assert!(
                        !fresh().open(side, &pdu(&signature, &flipped), &mut plain),
                        "{case}, byte {at}"
                    );
                }
                for end in 0..signature.len() {
                    assert!(
                        !fresh().open(side, &pdu(&signature[..end], &body), &mut plain),
                        "{case}, {end}"
                    );
                }
            }
        }
    }

    #[test]
    fn tokens_of_nothing_open_nothing() {
        for etype in [Etype::Aes128Sha1, Etype::Rc4] {
            let mut protection = Protection::new(etype, &[7; 16]).unwrap();
            for signature in [&[][..], &[5, 4], &[0x60; 40], &[2, 1, 0x11, 0], &[0; 64]] {
                for is_sealed in [true, false] {
                    let pdu = Protected {
                        is_sealed,
                        ..pdu(signature, &[])
                    };
                    assert!(!protection.open(Side::Client, &pdu, &mut Vec::new()));
                }
            }
        }
    }
}
