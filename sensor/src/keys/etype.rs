//! Encryption types: how Kerberos makes keys of keys, opens what is sealed, and signs.

use aes::{Aes128, Aes256};
use cts::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, InnerIvInit, KeyInit};
use cts::{CbcCs3, Decrypt};
use hmac::{Hmac, Mac};
use md5::Md5;
use rc4::{Rc4, StreamCipher};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

/// An encryption type that is known: RFC 3961 section 8 Assigned Numbers, RFC 4757, RFC 8009.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Etype {
    Aes128Sha1,
    Aes256Sha1,
    Aes128Sha256,
    Aes256Sha384,
    Rc4,
}

/// The number of [`Etype::Rc4`].
pub(super) const RC4: i32 = 23;

/// Bytes that are overwritten when they are let go.
pub(super) type Wiped = Zeroizing<Vec<u8>>;

/// RFC 4120 section 7.5.1 Key Usage Numbers.
pub(super) const TICKET: u32 = 2;
pub(super) const AS_REP: u32 = 3;
pub(super) const TGS_AUTHENTICATOR: u32 = 7;
pub(super) const TGS_REP: u32 = 8;
pub(super) const TGS_REP_SUBKEY: u32 = 9;
/// RFC 6113 section 7.4.
pub(super) const FAST_REP: u32 = 52;
pub(super) const AUTHENTICATOR: u32 = 11;
pub(super) const AP_REP: u32 = 12;

/// RFC 3961 section 5.3: which of a usage's keys.
pub(super) const CHECKSUM: u8 = 0x99;
const ENCRYPTION: u8 = 0xaa;
const INTEGRITY: u8 = 0x55;

pub(super) const BLOCK: usize = 16;

impl Etype {
    pub(super) const fn of(number: i32) -> Option<Self> {
        Some(match number {
            17 => Self::Aes128Sha1,
            18 => Self::Aes256Sha1,
            19 => Self::Aes128Sha256,
            20 => Self::Aes256Sha384,
            RC4 => Self::Rc4,
            _ => return None,
        })
    }

    pub(super) const fn key_length(self) -> usize {
        match self {
            Self::Aes128Sha1 | Self::Aes128Sha256 | Self::Rc4 => 16,
            Self::Aes256Sha1 | Self::Aes256Sha384 => 32,
        }
    }

    /// By its name in an account database's text.
    pub(super) fn named(name: &str) -> Option<i32> {
        Some(match name {
            "aes128-cts-hmac-sha1-96" => 17,
            "aes256-cts-hmac-sha1-96" => 18,
            "aes128-cts-hmac-sha256-128" => 19,
            "aes256-cts-hmac-sha384-192" => 20,
            "rc4_hmac" | "rc4-hmac" | "arcfour-hmac" => RC4,
            _ => return None,
        })
    }

    /// Is the checksum one of what is sealed (RFC 8009 section 5), and not of what it was before?
    pub(super) const fn signs_sealed(self) -> bool {
        matches!(self, Self::Aes128Sha256 | Self::Aes256Sha384)
    }

    /// Opens an `EncryptedData`: what it holds, if the key is right.
    pub(super) fn open(self, key: &[u8], usage: u32, cipher: &[u8]) -> Option<Wiped> {
        if self == Self::Rc4 {
            return open_rc4(key, usage, cipher);
        }
        let keys = SealKeys::derive(self, key, usage)?;
        let (sealed, checksum) = cipher.split_at_checked(cipher.len().checked_sub(keys.integrity.length())?)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        keys.decrypt(&mut plain)?;
        let right = if self.signs_sealed() {
            keys.integrity.is(&[&[0; BLOCK], sealed], checksum)
        } else {
            keys.integrity.is(&[&plain], checksum)
        };
        right.then(|| Zeroizing::new(plain[BLOCK..].to_vec()))
    }
}

impl Etype {
    /// Would that which is opened begin with this byte? Costs the same whatever the length, so that many keys can be tried
    /// before one of them opens all of it.
    pub(super) fn begins(self, key: &[u8], usage: u32, cipher: &[u8], first: u8) -> Option<bool> {
        if self == Self::Rc4 {
            let (checksum, sealed) = cipher.split_at_checked(16)?;
            let mut plain = Zeroizing::new(*sealed.first_chunk::<9>()?);
            rc4(&*hmac_md5(&*rc4_usage(key, usage), &[checksum])).apply_keystream(&mut *plain);
            return Some(plain[8] == first);
        }
        // The first block is the confounder; the last two are no plain CBC.
        let (blocks, _) = cipher.as_chunks::<BLOCK>();
        let [confounder, second, _, _, _, ..] = blocks else {
            return None;
        };
        let aes = Aes::new(&derive(self, key, usage, ENCRYPTION)?)?;
        let mut plain = Zeroizing::new(*second);
        aes.decrypt_block(&mut plain);
        Some(plain[0] ^ confounder[0] == first)
    }
}

/// RFC 4757 section 5.1 Encryption Types: the key of a usage.
fn rc4_usage(key: &[u8], usage: u32) -> Zeroizing<[u8; 16]> {
    // Section 3 Basic Operations: it has another number here. So has 9 there, which an erratum takes back; nobody did so.
    let usage = if usage == AS_REP { 8 } else { usage };
    hmac_md5(key, &[&usage.to_le_bytes()])
}

/// RFC 4757 section 5.1 Encryption Types.
fn open_rc4(key: &[u8], usage: u32, cipher: &[u8]) -> Option<Wiped> {
    let (checksum, sealed) = cipher.split_at_checked(16)?;
    let of_usage = rc4_usage(key, usage);
    let mut plain = Zeroizing::new(sealed.to_vec());
    rc4(&*hmac_md5(&*of_usage, &[checksum])).apply_keystream(&mut plain);
    let right = *hmac_md5(&*of_usage, &[&plain]) == *checksum;
    right.then(|| plain.get(8..).map(|data| Zeroizing::new(data.to_vec())))?
}

pub(super) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(mac::<Hmac<Md5>>(key, parts).into())
}

pub(super) fn rc4(key: &[u8]) -> Rc4 {
    Rc4::new_from_slice(key).expect("RC4 takes keys from one byte on, and none here is empty or longer than 256")
}

fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> cts::cipher::array::Array<u8, M::OutputSize> {
    let mut mac = keyed::<M>(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes()
}

/// AES with either length of key.
pub(super) enum Aes {
    Short(Box<Aes128>),
    Long(Box<Aes256>),
}

impl Aes {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Box::new).map(Self::Short),
            32 => Aes256::new_from_slice(key).ok().map(Box::new).map(Self::Long),
            _ => None,
        }
    }

    fn encrypt_block(&self, block: &mut [u8; BLOCK]) {
        match self {
            Self::Short(aes) => aes.encrypt_block(block.into()),
            Self::Long(aes) => aes.encrypt_block(block.into()),
        }
    }

    fn decrypt_block(&self, block: &mut [u8; BLOCK]) {
        match self {
            Self::Short(aes) => aes.decrypt_block(block.into()),
            Self::Long(aes) => aes.decrypt_block(block.into()),
        }
    }

    /// RFC 3962 section 5 Key Generation and Encryption: CBC with ciphertext stealing, from a zero vector.
    fn decrypt(&self, data: &mut [u8]) -> Option<()> {
        fn cts<C: BlockCipherDecrypt<BlockSize = cts::cipher::consts::U16>>(aes: &C, data: &mut [u8]) -> Option<()> {
            CbcCs3::inner_iv_init(aes, &[0; BLOCK].into()).decrypt(data).ok()
        }
        match self {
            Self::Short(aes) => cts(&**aes, data),
            Self::Long(aes) => cts(&**aes, data),
        }
    }
}

/// A keyed checksum, cut as the encryption type says.
pub(super) enum Checksum {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
}

impl Checksum {
    fn new(etype: Etype, key: &[u8]) -> Self {
        match etype {
            Etype::Aes128Sha256 => Self::Sha256(keyed(key)),
            Etype::Aes256Sha384 => Self::Sha384(keyed(key)),
            _ => Self::Sha1(keyed(key)),
        }
    }

    /// Its length in bytes.
    pub(super) const fn length(&self) -> usize {
        match self {
            Self::Sha1(_) => 12,
            Self::Sha256(_) => 16,
            Self::Sha384(_) => 24,
        }
    }

    /// Is `checksum` the one of these parts?
    pub(super) fn is(&self, parts: &[&[u8]], checksum: &[u8]) -> bool {
        fn right<M: Mac + Clone>(keyed: &M, parts: &[&[u8]], checksum: &[u8]) -> bool {
            let mut mac = keyed.clone();
            for part in parts {
                mac.update(part);
            }
            mac.verify_truncated_left(checksum).is_ok()
        }
        checksum.len() == self.length()
            && match self {
                Self::Sha1(keyed) => right(keyed, parts, checksum),
                Self::Sha256(keyed) => right(keyed, parts, checksum),
                Self::Sha384(keyed) => right(keyed, parts, checksum),
            }
    }
}

/// The keys by which one usage seals.
pub(super) struct SealKeys {
    cipher: Aes,
    pub(super) integrity: Checksum,
}

impl SealKeys {
    pub(super) fn derive(etype: Etype, key: &[u8], usage: u32) -> Option<Self> {
        Some(Self {
            cipher: Aes::new(&derive(etype, key, usage, ENCRYPTION)?)?,
            integrity: Checksum::new(etype, &derive(etype, key, usage, INTEGRITY)?),
        })
    }

    /// In place; the first block is the confounder.
    pub(super) fn decrypt(&self, data: &mut [u8]) -> Option<()> {
        if data.len() < BLOCK {
            return None;
        }
        self.cipher.decrypt(data)
    }
}

/// The key by which one usage signs.
pub(super) fn signing_key(etype: Etype, key: &[u8], usage: u32) -> Option<Checksum> {
    Some(Checksum::new(etype, &derive(etype, key, usage, CHECKSUM)?))
}

/// A key of a key, for one usage and purpose.
fn derive(etype: Etype, key: &[u8], usage: u32, purpose: u8) -> Option<Wiped> {
    let [a, b, c, d] = usage.to_be_bytes();
    let label = [a, b, c, d, purpose];
    match etype {
        Etype::Aes128Sha1 | Etype::Aes256Sha1 => derive_sha1(key, &label),
        Etype::Aes128Sha256 => Some(kdf_sha2::<Hmac<Sha256>>(key, &[&label, &[0]], 16)),
        Etype::Aes256Sha384 => {
            let length = if purpose == ENCRYPTION { 32 } else { 24 };
            Some(kdf_sha2::<Hmac<Sha384>>(key, &[&label, &[0]], length))
        }
        Etype::Rc4 => None,
    }
}

/// RFC 3961 section 5.1 A Key Derivation Function.
fn derive_sha1(key: &[u8], label: &[u8]) -> Option<Wiped> {
    let aes = Aes::new(key)?;
    let mut block = Zeroizing::new(n_fold(label));
    let mut derived = Zeroizing::new(Vec::with_capacity(key.len()));
    while derived.len() < key.len() {
        aes.encrypt_block(&mut block);
        derived.extend_from_slice(&*block);
    }
    Some(derived)
}

/// RFC 8009 section 3 Key Derivation Function: so many bytes by label, zero, and context.
fn kdf_sha2<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]], length: u32) -> Wiped {
    let (one, bits) = (1_u32.to_be_bytes(), (length * 8).to_be_bytes());
    let parts: Vec<&[u8]> = [&one[..]]
        .into_iter()
        .chain(parts.iter().copied())
        .chain([&bits[..]])
        .collect();
    let whole = Zeroizing::new(mac::<M>(key, &parts).to_vec());
    Zeroizing::new(whole[..length as usize].to_vec())
}

impl Etype {
    /// RFC 3961 section 3 `pseudo-random`.
    fn pseudo_random(self, key: &[u8], input: &[u8]) -> Option<Wiped> {
        Some(match self {
            // RFC 3961 section 5.3: a digest cut to whole blocks, of which there is one.
            Self::Aes128Sha1 | Self::Aes256Sha1 => {
                let digest = Zeroizing::new(Sha1::digest(input).to_vec());
                let mut block = Zeroizing::new(*digest.first_chunk::<BLOCK>()?);
                Aes::new(&derive_sha1(key, b"prf")?)?.encrypt_block(&mut block);
                Zeroizing::new(block.to_vec())
            }
            // RFC 8009 section 5.
            Self::Aes128Sha256 => kdf_sha2::<Hmac<Sha256>>(key, &[b"prf", &[0], input], 32),
            Self::Aes256Sha384 => kdf_sha2::<Hmac<Sha384>>(key, &[b"prf", &[0], input], 48),
            // As it is done: RFC 4757 has none.
            Self::Rc4 => Zeroizing::new(mac::<Hmac<Sha1>>(key, &[input]).to_vec()),
        })
    }

    /// RFC 6113 section 5.1 `KRB-FX-PRF+`, as long as a key of type `of`.
    fn long_pseudo_random(self, key: &[u8], input: &[u8], of: Self) -> Option<Wiped> {
        let length = of.key_length();
        let mut whole = Zeroizing::new(Vec::with_capacity(length + 48));
        for number in 1..=2_u8 {
            whole.extend_from_slice(&self.pseudo_random(key, &[&[number], input].concat())?);
        }
        whole.get(..length).map(|whole| Zeroizing::new(whole.to_vec()))
    }

    /// RFC 6113 section 5.1 `KRB-FX-CF2`: a key of two, of the first one's type.
    pub(super) fn combine(keys: [(Self, &[u8]); 2], inputs: [&[u8]; 2]) -> Option<(Self, Wiped)> {
        let [(etype, first), (other, second)] = keys;
        let mut key = etype.long_pseudo_random(first, inputs[0], etype)?;
        let second = other.long_pseudo_random(second, inputs[1], etype)?;
        key.iter_mut().zip(&*second).for_each(|(byte, other)| *byte ^= other);
        Some((etype, key))
    }
}

/// RFC 3961 section 5.1 `n-fold`, to one block: copies of the input, each turned right by 13 bits more, are added with
/// end-around carry. The input is shorter than a block, as all labels are.
fn n_fold(input: &[u8]) -> [u8; BLOCK] {
    let bits = input.len() * 8;
    let value = input.iter().fold(0_u128, |value, &byte| value << 8 | u128::from(byte));
    let copies: Vec<u8> = (0..lcm(input.len(), BLOCK) / input.len())
        .map(|copy| 13 * copy % bits)
        .flat_map(|turn| {
            (value >> turn | value << (bits - turn))
                .to_be_bytes()
                .into_iter()
                .skip(BLOCK - input.len())
        })
        .collect();
    let (pieces, _) = copies.as_chunks::<BLOCK>();
    let sum = pieces.iter().fold(0_u128, |sum, piece| {
        let (added, carried) = sum.overflowing_add(u128::from_be_bytes(*piece));
        added + u128::from(carried)
    });
    sum.to_be_bytes()
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

#[cfg(test)]
pub(super) mod tests {
    use std::ops::Range;

    use cts::Encrypt;

    use super::*;
    use crate::keys::secretsdump::hex;

    /// Seals in place of a client: what stands at `stub` is signed between `head` and `trailer`.
    pub(in crate::keys) fn seal(
        etype: Etype,
        key: &[u8],
        usage: u32,
        plain: &[u8],
        stub: Range<usize>,
        head: &[u8],
        trailer: &[u8],
    ) -> Vec<u8> {
        let keys = SealKeys::derive(etype, key, usage).unwrap();
        let mut sealed = plain.to_vec();
        let vector = &[0; BLOCK].into();
        match &keys.cipher {
            Aes::Short(aes) => CbcCs3::inner_iv_init(&**aes, vector).encrypt(&mut sealed).unwrap(),
            Aes::Long(aes) => CbcCs3::inner_iv_init(&**aes, vector).encrypt(&mut sealed).unwrap(),
        }
        let (vector, of): (&[u8], &[u8]) = if etype.signs_sealed() {
            (&[0; BLOCK], &sealed)
        } else {
            (&[], plain)
        };
        let parts = [
            vector,
            &of[..stub.start],
            head,
            &of[stub.clone()],
            trailer,
            &of[stub.end..],
        ]
        .concat();
        let integrity = derive(etype, key, usage, INTEGRITY).unwrap();
        let whole = match etype {
            Etype::Aes128Sha256 => mac::<Hmac<Sha256>>(&integrity, &[&parts]).to_vec(),
            Etype::Aes256Sha384 => mac::<Hmac<Sha384>>(&integrity, &[&parts]).to_vec(),
            _ => mac::<Hmac<Sha1>>(&integrity, &[&parts]).to_vec(),
        };
        sealed.extend(&whole[..keys.integrity.length()]);
        sealed
    }

    #[test]
    fn the_first_byte_tells_wrong_keys_from_the_right_one() {
        for (number, length) in [(17, 16), (18, 32), (19, 16), (20, 32)] {
            let etype = Etype::of(number).unwrap();
            let plain = [&[7; BLOCK][..], &[0x63; 70]].concat();
            let cipher = seal(etype, &vec![1; length], TICKET, &plain, 16..16, &[], &[]);
            assert_eq!(etype.begins(&vec![1; length], TICKET, &cipher, 0x63), Some(true));
            assert_eq!(etype.begins(&vec![1; length], TICKET, &cipher, 0x62), Some(false));
            assert_eq!(etype.begins(&vec![1; length], TICKET, &cipher[..79], 0x63), None);
        }
        let key = [3; 16];
        let plain = [&[7; 8][..], &[0x63; 20]].concat();
        let of_usage = rc4_usage(&key, TICKET);
        let checksum = hmac_md5(&*of_usage, &[&plain]);
        let mut sealed = plain.clone();
        rc4(&*hmac_md5(&*of_usage, &[&*checksum])).apply_keystream(&mut sealed);
        let cipher = [&checksum[..], &sealed].concat();
        assert_eq!(*open_rc4(&key, TICKET, &cipher).unwrap(), plain[8..]);
        assert_eq!(Etype::Rc4.begins(&key, TICKET, &cipher, 0x63), Some(true));
        assert_eq!(Etype::Rc4.begins(&key, TICKET, &cipher, 0x62), Some(false));
        assert_eq!(Etype::Rc4.begins(&key, TICKET, &cipher[..24], 0x63), None);
    }

    #[test]
    fn of_the_usages_of_rc4_that_of_a_reply_to_a_login_alone_has_another_number() {
        for (usage, number) in [
            (TICKET, 2_u32),
            (AS_REP, 8),
            (TGS_REP, 8),
            (TGS_REP_SUBKEY, 9),
            (AUTHENTICATOR, 11),
        ] {
            assert_eq!(rc4_usage(&[3; 16], usage), hmac_md5(&[3; 16], &[&number.to_le_bytes()]));
        }
    }

    #[test]
    fn keys_are_combined_as_rfc_6113_appendix_a_has_it() {
        let combined = |etype: Etype, first: &str, second: &str| {
            let [first, second] = [first, second].map(bytes);
            let keys = [(etype, &first[..]), (etype, &second[..])];
            Etype::combine(keys, [b"a", b"b"]).unwrap().1.to_vec()
        };
        // The keys there are those of the passwords "key1" and "key2", salted by themselves.
        for (etype, first, second, both) in [
            (
                Etype::Aes128Sha1,
                "ae272e7cdec86ac5138cdb196d8e297d",
                "67ab1cfef35e4c27ffdeac60385a3e9c",
                "97df97e4b798b29eb31ed7280287a92a",
            ),
            (
                Etype::Aes256Sha1,
                "c01f157211f7b77eaaf457c3e156690127ee127d810ba6392e97baa243eb0616",
                "9d520d2d980aa7cb6b693682b62da258b333867951642ce647ae62b1e5e0b5e9",
                "4d6ca4e629785c1f01baf55e2e548566b9617ae3a96868c337cb93b5e72b1c7b",
            ),
            (
                Etype::Rc4,
                "624d808c5b78ce675750060d46bec126",
                "6fc56e4767bdcb48aecd1e1425b508f7",
                "24d7f6b6bae4e5c00d2082c5ebab3672",
            ),
        ] {
            assert_eq!(combined(etype, first, second), bytes(both), "{etype:?}");
        }
    }

    fn bytes(text: &str) -> Vec<u8> {
        hex(text).unwrap().to_vec()
    }

    #[test]
    fn n_fold_gives_the_values_of_rfc_3961_appendix_a_1() {
        assert_eq!(n_fold(b"kerberos").to_vec(), bytes("6b65726265726f737b9b5b2b93132b93"));
    }

    #[test]
    fn sha2_keys_are_those_of_rfc_8009_appendix_a() {
        let short = bytes("3705d96080c17728a0e800eab6e0d23c");
        assert_eq!(
            derive(Etype::Aes128Sha256, &short, 2, CHECKSUM).unwrap().to_vec(),
            bytes("b31a018a48f54776f403e9a396325dc3")
        );
        assert_eq!(
            derive(Etype::Aes128Sha256, &short, 2, ENCRYPTION).unwrap().to_vec(),
            bytes("9b197dd1e8c5609d6e67c3e37c62c72e")
        );
        let long = bytes("6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52");
        assert_eq!(
            derive(Etype::Aes256Sha384, &long, 2, ENCRYPTION).unwrap().to_vec(),
            bytes("56ab22bee63d82d7bc5227f6773f8ea7a5eb1c825160c38312980c442e5c7e49")
        );
        assert_eq!(
            derive(Etype::Aes256Sha384, &long, 2, INTEGRITY).unwrap().to_vec(),
            bytes("69b16514e3cd8e56b82010d5c73012b622c4d00ffc23ed1f")
        );
    }

    #[test]
    fn what_rfc_8009_appendix_a_seals_is_opened_and_a_flipped_bit_is_not() {
        let long = bytes("6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52");
        let sealed =
            bytes("4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9f559c7f664f69eab7b6092237526ea0d1f61cb20d69d10f2");
        assert_eq!(
            Etype::Aes256Sha384.open(&long, 2, &sealed).unwrap().to_vec(),
            bytes("000102030405")
        );
        let short = bytes("3705d96080c17728a0e800eab6e0d23c");
        let sealed = bytes("84d7f30754ed987bab0bf3506beb09cfb55402cef7e6877ce99e247e52d16ed4421dfdf8976c");
        assert_eq!(
            Etype::Aes128Sha256.open(&short, 2, &sealed).unwrap().to_vec(),
            bytes("000102030405")
        );
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(Etype::Aes128Sha256.open(&short, 2, &flipped).is_none(), "byte {at}");
        }
    }
}
