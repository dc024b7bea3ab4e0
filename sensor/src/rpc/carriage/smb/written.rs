//! What was written to pipes and not answered: a server may refuse it.

use dcom_parsers::smb::{Payload, RequestId};

use super::{Handle, Session};
use crate::capture::At;
use crate::flow::Side;
use crate::rpc::Handling;

/// Bytes written to a pipe.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) request: RequestId,
    pub(super) handle: Handle,
    pub(super) at: At,
    pub(super) bytes: Vec<u8>,
    /// How many there should be.
    length: usize,
}

/// Nanoseconds within which a server refuses what it does not take.
pub(super) const REFUSAL: i64 = 1_000_000_000;

impl Session {
    /// Bytes are written, which go to the pipe when the server does not refuse them.
    pub(super) fn write(
        &mut self,
        (at, request): (At, RequestId),
        handle: Handle,
        payload: Payload<'_>,
        handling: &mut Handling<'_>,
    ) {
        if !self.is_heard {
            return self.carry(at, handle, Side::Client, payload, handling);
        }
        if !self.may_be_rpc(handle, &payload) {
            return;
        }
        let Payload { bytes, length } = payload;
        self.unanswered += bytes.len();
        handling.bounds.held += bytes.len();
        self.written.push_back(Written {
            request,
            handle,
            at,
            bytes: bytes.to_vec(),
            length,
        });
        let limits = handling.bounds.limits;
        while self.written.len() > limits.smb_requests
            || self.unanswered > limits.stubs_per_connection
            || (handling.bounds.held > limits.rpc_total && !self.written.is_empty())
        {
            handling.bounds.carriage.over_limit += 1;
            self.take_written(0, handling);
        }
    }

    /// The server took it, or does not say.
    pub(super) fn take_written(&mut self, place: usize, handling: &mut Handling<'_>) {
        let Some(written) = self.written.remove(place) else {
            return;
        };
        let Written {
            handle,
            at,
            bytes,
            length,
            ..
        } = written;
        self.unanswered -= bytes.len();
        handling.bounds.held -= bytes.len();
        let bytes = &bytes;
        self.carry(at, handle, Side::Client, Payload { bytes, length }, handling);
    }

    /// The server took what was written to this pipe, among the first so many of what was written.
    pub(super) fn take_written_to(&mut self, handle: Handle, first: usize, handling: &mut Handling<'_>) {
        let mut left = first;
        let mut place = 0;
        while place < left
            && let Some(written) = self.written.get(place)
        {
            if written.handle == handle {
                self.take_written(place, handling);
                left -= 1;
            } else {
                place += 1;
            }
        }
    }

    pub(super) fn take_all_written(&mut self, handling: &mut Handling<'_>) {
        while !self.written.is_empty() {
            self.take_written(0, handling);
        }
    }

    /// The server did not take what this request brought.
    pub(super) fn refuse_written(&mut self, request: RequestId, handling: &mut Handling<'_>) {
        self.written.retain(|written| written.request != request);
        handling.bounds.held -= self.unanswered;
        self.unanswered = self.written.iter().map(|written| written.bytes.len()).sum();
        handling.bounds.held += self.unanswered;
    }
}
