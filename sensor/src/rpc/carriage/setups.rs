//! Logins by NTLM to SMB itself: the tokens of session setups, where they are in clear.

use std::collections::VecDeque;
use std::sync::Arc;

use dcom_parsers::security::ntlmssp::Message;
use dcom_parsers::security::{self, Claims};
use dcom_parsers::smb::{RequestId, Verdict};

use crate::capture::At;
use crate::rpc::{Login, logins};

/// Logins of one connection that are under way at a time: more have no room.
const MAX_WAITING: usize = 8;

/// What is known of the logins on one SMB connection, in the order in which they were begun.
#[derive(Debug, Default)]
pub(super) struct Setups {
    waiting: VecDeque<Setup>,
}

/// A login under way. Its session has a number from the first answer on: [MS-SMB2] 3.3.5.5 Receiving an SMB2
/// `SESSION_SETUP` Request.
#[derive(Debug)]
struct Setup {
    step: Step,
    /// Its first message, if that was seen.
    began: Option<At>,
    /// What the server said of itself.
    server: Claims,
    /// Once the user is known.
    login: Option<Login>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The server's, by this request.
    Asked(RequestId),
    /// The client's, in this session.
    Challenged(u64),
}

impl Setups {
    /// Bytes of what was claimed.
    pub(super) fn held(&self) -> usize {
        let weight = |setup: &Setup| {
            let login = setup.login.as_ref().map_or(0, |login| logins::weight(&login.claims));
            logins::weight(&setup.server) + login
        };
        self.waiting.iter().map(weight).sum()
    }

    /// Takes in the client's token. A login that had to make room is told without the server's answer.
    pub(super) fn asked(&mut self, at: At, (session, request): (u64, RequestId), token: &[u8]) -> Option<Login> {
        let step = Step::Asked(request);
        let setup = match security::ntlm(token)? {
            Message::Negotiate(_) => Setup {
                step,
                began: Some(at),
                server: Claims::default(),
                login: None,
            },
            Message::Challenge(_) => return None,
            message @ Message::Authenticate(_) => {
                let earlier = self.challenged(session);
                let (began, mut claims) = earlier.map_or_else(Default::default, |setup| (setup.began, setup.server));
                claims.merge(message.into());
                Setup {
                    step,
                    began,
                    server: Claims::default(),
                    login: Some(Login {
                        at: began.unwrap_or(at),
                        claims: Arc::new(claims),
                        success: None,
                    }),
                }
            }
        };
        let again = self.take(step);
        self.add(setup).or(again).and_then(|setup| setup.login)
    }

    /// Takes in the server's answer to a request: its token, and what it says of the login, which then is over.
    pub(super) fn answered(
        &mut self,
        (session, request): (u64, RequestId),
        token: &[u8],
        verdict: Verdict,
    ) -> Option<Login> {
        let success = match verdict {
            Verdict::Continued => {
                let message @ Message::Challenge(_) = security::ntlm(token)? else {
                    return None;
                };
                let began = self.take(Step::Asked(request)).and_then(|setup| setup.began);
                let setup = Setup {
                    step: Step::Challenged(session),
                    began,
                    server: message.into(),
                    login: None,
                };
                return self.add(setup)?.login;
            }
            Verdict::Accepted => Some(true),
            Verdict::Refused => Some(false),
        };
        let login = self.take(Step::Asked(request))?.login?;
        Some(Login { success, ..login })
    }

    /// The login that the client goes on with in a session; if no challenge was seen, the one that was begun last.
    fn challenged(&mut self, session: u64) -> Option<Setup> {
        let in_session = |setup: &Setup| setup.step == Step::Challenged(session);
        let begun = |setup: &Setup| setup.login.is_none() && matches!(setup.step, Step::Asked(_));
        let place = self.waiting.iter().rposition(in_session);
        let place = place.or_else(|| self.waiting.iter().rposition(begun))?;
        self.waiting.remove(place)
    }

    fn take(&mut self, step: Step) -> Option<Setup> {
        let place = self.waiting.iter().position(|setup| setup.step == step)?;
        self.waiting.remove(place)
    }

    /// Adds one. The first may have to go.
    fn add(&mut self, setup: Setup) -> Option<Setup> {
        self.waiting.push_back(setup);
        if self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    /// Nothing more will come: what waits is told without an answer.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = Login> + use<> {
        let waiting = std::mem::take(self).waiting;
        waiting.into_iter().filter_map(|setup| setup.login)
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

    /// The first three messages of a login, as requests of these numbers; the server numbers the session so.
    fn begin(setups: &mut Setups, frame: u64, first: u64, tokens: [&[u8]; 3]) {
        let [negotiate, challenge, authenticate] = tokens;
        let told = [
            setups.asked(at(frame), (0, RequestId(first)), negotiate),
            setups.answered((first, RequestId(first)), challenge, Verdict::Continued),
            setups.asked(at(frame + 2), (first, RequestId(first + 1)), authenticate),
        ];
        assert_eq!(told, [const { None }; 3]);
    }

    #[test]
    fn a_login_is_told_with_the_servers_answer_raw_and_in_spnego() {
        for tokens in [[NEGOTIATE, CHALLENGE, AUTHENTICATE], IN_SPNEGO] {
            for (verdict, success) in [(Verdict::Accepted, true), (Verdict::Refused, false)] {
                let mut setups = Setups::default();
                begin(&mut setups, 8, 2, tokens);
                let login = setups.answered((2, RequestId(3)), &[], verdict).unwrap();
                assert_eq!((login.at.frame, login.success), (8, Some(success)));
                assert_eq!(login.claims.user.as_deref(), Some("alice"));
                assert_eq!(login.claims.server_netbios.as_deref(), Some("DCOMSRV01"));
                assert!(setups.finish().next().is_none() && setups.answered((2, RequestId(3)), &[], verdict).is_none());
            }
        }
    }

    #[test]
    fn logins_between_one_another_have_their_own_answers() {
        let mut setups = Setups::default();
        begin(&mut setups, 8, 2, [NEGOTIATE, CHALLENGE, AUTHENTICATE]);
        begin(&mut setups, 11, 4, [NEGOTIATE, CHALLENGE, AUTHENTICATE]);
        let second = setups.answered((4, RequestId(5)), &[], Verdict::Refused).unwrap();
        let first = setups.answered((2, RequestId(3)), &[], Verdict::Accepted).unwrap();
        assert_eq!((first.at.frame, first.success), (8, Some(true)));
        assert_eq!((second.at.frame, second.success), (11, Some(false)));
    }

    #[test]
    fn each_session_has_its_own_beginning() {
        let mut setups = Setups::default();
        for (frame, request) in [(8, 2), (9, 3)] {
            assert!(setups.asked(at(frame), (0, RequestId(request)), NEGOTIATE).is_none());
        }
        for (session, request) in [(70, 3), (60, 2)] {
            let answer = setups.answered((session, RequestId(request)), CHALLENGE, Verdict::Continued);
            assert!(answer.is_none());
        }
        for (session, request) in [(60, 4), (70, 5)] {
            assert!(
                setups
                    .asked(at(20), (session, RequestId(request)), AUTHENTICATE)
                    .is_none()
            );
        }
        let began: Vec<u64> = setups.finish().map(|login| login.at.frame).collect();
        assert_eq!(began, [8, 9]);
        // Where only the client is heard, its second leg goes on with the one that was begun last.
        setups.asked(at(8), (0, RequestId(2)), NEGOTIATE);
        setups.asked(at(9), (60, RequestId(3)), AUTHENTICATE);
        let began: Vec<u64> = setups.finish().map(|login| login.at.frame).collect();
        assert_eq!(began, [8]);
    }

    #[test]
    fn a_login_without_an_answer_is_told_at_the_end_and_few_wait() {
        let mut setups = Setups::default();
        let mut told = 0;
        for request in 0..100 {
            told += usize::from(
                setups
                    .asked(at(request), (1, RequestId(request)), AUTHENTICATE)
                    .is_some(),
            );
            assert!(setups.waiting.len() <= MAX_WAITING);
        }
        let rest: Vec<Login> = setups.finish().collect();
        assert_eq!(told + rest.len(), 100);
        assert!(rest.iter().all(|login| login.success.is_none()));
        assert_eq!(setups.held(), 0);
        // What is no NTLM is none.
        assert!(setups.asked(at(1), (1, RequestId(1)), b"something else").is_none());
        assert!(
            setups
                .answered((1, RequestId(1)), b"NTLMSSP\0cut", Verdict::Accepted)
                .is_none()
        );
        assert!(setups.finish().next().is_none());
    }
}
