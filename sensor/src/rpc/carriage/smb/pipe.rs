//! An open pipe, and the association that it carries.

use std::sync::Arc;

use dcom_parsers::rpce;
use dcom_parsers::smb::{FileId, Payload, Reference, RequestId};

use super::{Asked, Handle, Session, begins_like_rpc};
use crate::capture::At;
use crate::flow::{Side, StreamEvent};
use crate::rpc::{Association, Handling, RpcBody, RpcEvent};

/// An open pipe, or what may be one.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// By what name it was opened, if that was seen.
    pub(super) name: Option<Arc<str>>,
    /// What it carries, once it turned out to be DCE/RPC.
    pub(super) association: Option<Box<Association>>,
    /// What was written to it, while that is too short to tell what it is.
    pub(super) start: Vec<u8>,
    /// The last frame that was about it.
    used: At,
}

impl Session {
    /// A pipe is open that was asked for in this session, by this request. What was sent to it in the same message as
    /// that is under its handle from now on.
    pub(super) fn open(
        &mut self,
        at: At,
        (session, request): (u64, RequestId),
        file: FileId,
        name: Arc<str>,
        handling: &mut Handling<'_>,
    ) {
        let handle = Handle::new(session, Reference::Id(file));
        let unnamed = Handle::new(session, Reference::AnswerTo(request));
        // The handle is used again: what it stood for is closed.
        self.close_pipe(handle, handling);
        for asked in self.asked.values_mut() {
            match asked {
                Asked::Bytes(asked) | Asked::Close(asked) if *asked == unnamed => *asked = handle,
                _ => {}
            }
        }
        for written in self.written.iter_mut().filter(|written| written.handle == unnamed) {
            written.handle = handle;
        }
        if let Some(pipe) = self.pipes.remove(&unnamed) {
            self.pipes.insert(handle, pipe);
        }
        let pipe = self.pipe(at, handle, handling);
        pipe.name = Some(name);
    }

    pub(super) fn close_pipe(&mut self, handle: Handle, handling: &mut Handling<'_>) {
        self.take_written_to(handle, usize::MAX, handling);
        if let Some(mut pipe) = self.pipes.remove(&handle) {
            feed(&mut pipe, StreamEvent::Closed, &mut self.opened, handling);
        }
    }

    /// By what name the pipe of a handle is opened, if that is still going on.
    fn name_asked(&self, handle: Handle) -> Option<Arc<str>> {
        match handle.file? {
            Reference::Id(_) => None,
            Reference::AnswerTo(request) => match self.asked.get(&request)? {
                Asked::Open(_, name) => Some(Arc::clone(name)),
                _ => None,
            },
        }
    }

    /// The pipe of a handle, which is new if it was not known; then the one that was idle longest may have to go.
    fn pipe(&mut self, at: At, handle: Handle, handling: &mut Handling<'_>) -> &mut Pipe {
        if !self.pipes.contains_key(&handle) && self.pipes.len() >= handling.bounds.limits.pipes {
            let idle = self
                .pipes
                .iter()
                .min_by_key(|(_, pipe)| (pipe.used.input, pipe.used.frame));
            if let Some(idle) = idle.map(|(&handle, _)| handle) {
                handling.bounds.carriage.over_limit += 1;
                self.close_pipe(idle, handling);
            }
        }
        let pipe = self.pipes.entry(handle).or_default();
        pipe.used = at;
        pipe
    }

    /// Hands bytes of a pipe to its association; it has one from its first DCE/RPC header on.
    pub(super) fn carry(
        &mut self,
        at: At,
        handle: Handle,
        side: Side,
        payload: Payload<'_>,
        handling: &mut Handling<'_>,
    ) {
        let mut start = Vec::new();
        if !self.is_rpc(handle) {
            let pipe = self.pipes.get_mut(&handle);
            // Of what is known to be a pipe a header may come in several writes.
            if let Some(pipe) = pipe.filter(|pipe| side == Side::Client && pipe.name.is_some()) {
                start = std::mem::take(&mut pipe.start);
                let joined = [&start, payload.bytes].concat();
                if payload.bytes.len() == payload.length && rpce::recognise(&joined) == rpce::Prefix::TooShort {
                    pipe.start = joined;
                    return;
                }
                if !matches!(rpce::recognise(&joined), rpce::Prefix::Header(_)) {
                    return;
                }
            } else if !begins_like_rpc(&payload) {
                return;
            }
            handling.bounds.carriage.pipes += 1;
            let opening = self.name_asked(handle);
            let pipe = self.pipe(at, handle, handling);
            let name = pipe.name.clone().or(opening);
            pipe.association = Some(Box::new(Association::on_pipe(name)));
        }
        let Some(pipe) = self.pipes.get_mut(&handle) else {
            return;
        };
        pipe.used = at;
        let Payload { bytes, length } = payload;
        for bytes in [&start[..], bytes].into_iter().filter(|bytes| !bytes.is_empty()) {
            feed(pipe, StreamEvent::Data { at, side, bytes }, &mut self.opened, handling);
        }
        if let Some(missing) = length.checked_sub(bytes.len()).filter(|&missing| missing > 0) {
            let bytes = missing as u64;
            feed(pipe, StreamEvent::Gap { side, bytes }, &mut self.opened, handling);
        }
    }
}

/// Hands something to a pipe's association.
pub(super) fn feed(pipe: &mut Pipe, event: StreamEvent<'_>, opened: &mut bool, handling: &mut Handling<'_>) {
    on_pipe(pipe, opened, handling, |association, handling| {
        association.push(event, handling);
    });
}

/// Does something to a pipe's association. That a connection is opened is said once, with its first pipe; that it is
/// closed, at its own end.
pub(super) fn on_pipe(
    pipe: &mut Pipe,
    opened: &mut bool,
    handling: &mut Handling<'_>,
    act: impl FnOnce(&mut Association, &mut Handling<'_>),
) {
    let Some(association) = &mut pipe.association else {
        return;
    };
    let Handling {
        connection,
        bounds,
        out,
    } = handling;
    let mut told = |event: RpcEvent| match event.body {
        RpcBody::Closed => {}
        RpcBody::Opened if *opened => {}
        RpcBody::Opened => {
            *opened = true;
            out(event);
        }
        _ => out(event),
    };
    let mut handling = Handling {
        connection,
        bounds,
        out: &mut told,
    };
    act(association, &mut handling);
}
