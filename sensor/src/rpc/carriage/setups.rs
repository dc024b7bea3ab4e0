//! Logins by NTLM to SMB itself: the tokens of session setups, where they are in clear.

use std::collections::BTreeMap;
use std::sync::Arc;

use dcom_parsers::security::ntlmssp::Message;
use dcom_parsers::security::{self, Claims};
use dcom_parsers::smb::{RequestId, Verdict};

use crate::capture::At;
use crate::rpc::{Login, logins};

/// Logins of one connection that wait for the server's answer at a time: more have no room.
const MAX_WAITING: usize = 4;

/// What is known of the logins on one SMB connection.
#[derive(Debug, Default)]
pub(super) struct Setups {
    /// The first message of the latest one.
    began: Option<At>,
    /// What the server said of itself, in the latest challenge.
    server: Claims,
    /// Those whose user is known.
    waiting: BTreeMap<RequestId, Login>,
}

impl Setups {
    /// Bytes of what was claimed.
    pub(super) fn held(&self) -> usize {
        let waiting = self.waiting.values().map(|login| logins::weight(&login.claims));
        logins::weight(&self.server) + waiting.sum::<usize>()
    }

    /// Takes in the client's token. A login that had to make room is told without the server's answer.
    pub(super) fn asked(&mut self, at: At, request: RequestId, token: &[u8]) -> Option<Login> {
        match security::ntlm(token)? {
            Message::Negotiate(_) => {
                self.began = Some(at);
                None
            }
            Message::Challenge(_) => None,
            message @ Message::Authenticate(_) => {
                let mut claims = self.server.clone();
                claims.merge(message.into());
                let login = Login {
                    at: self.began.take().unwrap_or(at),
                    claims: Arc::new(claims),
                    success: None,
                };
                let again = self.waiting.insert(request, login);
                let full = self.waiting.len() > MAX_WAITING;
                again.or_else(|| if full { self.waiting.pop_first() } else { None }.map(|(_, login)| login))
            }
        }
    }

    /// Takes in the server's answer to a request: its token, and what it says of the login, which then is over.
    pub(super) fn answered(&mut self, request: RequestId, token: &[u8], verdict: Verdict) -> Option<Login> {
        if let Some(message @ Message::Challenge(_)) = security::ntlm(token) {
            self.server = message.into();
        }
        let success = match verdict {
            Verdict::Continued => return None,
            Verdict::Accepted => Some(true),
            Verdict::Refused => Some(false),
        };
        let login = self.waiting.remove(&request)?;
        Some(Login { success, ..login })
    }

    /// Nothing more will come: what waits is told without an answer.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = Login> + use<> {
        std::mem::take(self).waiting.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEGOTIATE: &[u8] = include_bytes!("../../../../parsers/corpus/security/ntlm_negotiate_impacket.bin");
    const CHALLENGE: &[u8] = include_bytes!("../../../../parsers/corpus/security/ntlm_challenge_emulated_server.bin");
    const AUTHENTICATE: &[u8] = include_bytes!("../../../../parsers/corpus/security/ntlm_authenticate_impacket.bin");
    const IN_SPNEGO: [&[u8]; 3] = [
        include_bytes!("../../../../parsers/corpus/security/spnego_init_ntlm_negotiate.bin"),
        include_bytes!("../../../../parsers/corpus/security/spnego_resp_ntlm_challenge.bin"),
        include_bytes!("../../../../parsers/corpus/security/spnego_resp_ntlm_authenticate.bin"),
    ];

    fn at(frame: u64) -> At {
        At { frame, ..At::default() }
    }

    /// The first three messages of a login, as requests of these numbers.
    fn begin(setups: &mut Setups, frame: u64, first: u64, tokens: [&[u8]; 3]) {
        let [negotiate, challenge, authenticate] = tokens;
        let told = [
            setups.asked(at(frame), RequestId(first), negotiate),
            setups.answered(RequestId(first), challenge, Verdict::Continued),
            setups.asked(at(frame + 2), RequestId(first + 1), authenticate),
        ];
        assert_eq!(told, [const { None }; 3]);
    }

    #[test]
    fn a_login_is_told_with_the_servers_answer_raw_and_in_spnego() {
        for tokens in [[NEGOTIATE, CHALLENGE, AUTHENTICATE], IN_SPNEGO] {
            for (verdict, success) in [(Verdict::Accepted, true), (Verdict::Refused, false)] {
                let mut setups = Setups::default();
                begin(&mut setups, 8, 2, tokens);
                let login = setups.answered(RequestId(3), &[], verdict).unwrap();
                assert_eq!((login.at.frame, login.success), (8, Some(success)));
                assert_eq!(login.claims.user.as_deref(), Some("alice"));
                assert_eq!(login.claims.server_netbios.as_deref(), Some("DCOMSRV01"));
                assert!(setups.finish().next().is_none() && setups.answered(RequestId(3), &[], verdict).is_none());
            }
        }
    }

    #[test]
    fn logins_between_one_another_have_their_own_answers() {
        let mut setups = Setups::default();
        begin(&mut setups, 8, 2, [NEGOTIATE, CHALLENGE, AUTHENTICATE]);
        begin(&mut setups, 11, 4, [NEGOTIATE, CHALLENGE, AUTHENTICATE]);
        let second = setups.answered(RequestId(5), &[], Verdict::Refused).unwrap();
        let first = setups.answered(RequestId(3), &[], Verdict::Accepted).unwrap();
        assert_eq!((first.at.frame, first.success), (8, Some(true)));
        assert_eq!((second.at.frame, second.success), (11, Some(false)));
    }

    #[test]
    fn a_login_without_an_answer_is_told_at_the_end_and_few_wait() {
        let mut setups = Setups::default();
        let mut told = 0;
        for request in 0..100 {
            told += usize::from(setups.asked(at(request), RequestId(request), AUTHENTICATE).is_some());
            assert!(setups.waiting.len() <= MAX_WAITING);
        }
        let rest: Vec<Login> = setups.finish().collect();
        assert_eq!(told + rest.len(), 100);
        assert!(rest.iter().all(|login| login.success.is_none()));
        assert_eq!(setups.held(), 0);
        // What is no NTLM is none.
        assert!(setups.asked(at(1), RequestId(1), b"something else").is_none());
        assert!(
            setups
                .answered(RequestId(1), b"NTLMSSP\0cut", Verdict::Accepted)
                .is_none()
        );
        assert!(setups.finish().next().is_none());
    }
}
