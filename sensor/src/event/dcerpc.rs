//! One RPC exchange, in the words of Suricata's and Zeek's own DCE/RPC logs.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use dcom_parsers::guid::Guid;

use super::dcom::{Auth, Flags};
use super::few::Few;
use super::login::ByLogin;
use super::record::{Field, Value, record};

/// An interface's version, printed as `1.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InterfaceVersion {
    /// Left of the point.
    pub major: u16,
    /// Right of the point.
    pub minor: u16,
}

impl fmt::Display for InterfaceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Field for InterfaceVersion {
    const ZEEK_TYPE: &'static str = "string";

    fn value(&self) -> Value<'_> {
        Value::Dotted(self.major, self.minor)
    }
}

record! {
    /// One RPC exchange: a request and its response, or a bind and its answer.
    #[derive(Default)]
    pub struct Dcerpc in "dcerpc" {
        /// What was asked, e.g. `REQUEST`, `BIND`; `REQUEST_LOST` when only the answer was seen.
        request: Option<&'static str> => eve;
        /// The request's size.
        req: Option<RequestSize> => group;
        /// The interfaces that were offered, or the one that was called.
        interfaces: Few<DcerpcInterface> => eve;
        /// What was answered, e.g. `RESPONSE`, `BINDACK`; `UNREPLIED` when nothing was.
        response: Option<&'static str> => eve;
        /// The response's size.
        res: Option<ResponseSize> => group;
        /// Ties request and response together; over UDP the same as `seqnum`.
        call_id: u32 => eve;
        /// Over UDP: the client's thread of calls.
        activityuuid: Option<Guid> => eve;
        /// Over UDP: which call of the activity.
        seqnum: Option<u32> => eve;
        /// The protocol's version: `5.0`, over UDP `4.0`.
        rpc_version: &'static str => eve;
        /// The row of `dce_rpc.log`: there for a reply to a request, as in Zeek.
        zeek_row: Option<ZeekRow> => group;
        /// What stands beside it in its line of eve.json.
        circumstances: Circumstances => apart;
    }
}

record! {
    /// What Suricata's `dcerpc` has no keys for: what carried the exchange, who vouches for it, and why it was refused.
    #[derive(Default)]
    pub struct Circumstances in "dcom" {
        /// What it runs on: `ncacn_ip_tcp`, `ncacn_np`, `ncacn_http` or `ncadg_ip_udp`.
        protocol_sequence: &'static str => eve;
        /// The named pipe; where no `bind_ack` was seen, as the pipe was opened.
        named_pipe: Option<Arc<str>> => eve;
        /// How the caller authenticated.
        auth: ByLogin<Auth> => group;
        /// Of a bind with a login: do both sides sign headers too? Of an `alter_context`, if they do.
        header_signing: Option<bool> => eve;
        /// Of a bind: the association group, which several connections may share.
        association_group: Option<Flags> => eve;
        /// Of a bind: the features that were agreed on, e.g. `security_context_multiplexing`.
        features: Vec<&'static str> => eve;
        /// Of a bind: why it was refused as a whole.
        refusal: Option<String> => eve;
        /// Of a bind: the contexts that were refused, and why, e.g. `1: proposed_transfer_syntaxes_not_supported`.
        refused_contexts: Vec<String> => eve;
        /// Of a call: the fault's status, when the answer was a fault.
        fault: Option<String> => eve;
        /// Length of the request's stub, when it was sealed.
        sealed_stub_length: Option<u32> => eve;
        /// Length of the reply's stub, when that was sealed.
        sealed_reply_length: Option<u32> => eve;
        /// Was a stub sealed, and opened by one of the user's keys?
        decrypted: Option<bool> => eve;
        /// The name of that key: whose it is.
        key: Option<Arc<str>> => eve;
    }
}

record! {
    /// How large a request was.
    #[derive(Default)]
    pub struct RequestSize in "dcerpc.req" {
        /// The operation's number.
        opnum: u16 => eve;
        /// How many fragments it came in.
        frag_cnt: u32 => eve;
        /// Bytes of stub data in all of them.
        stub_data_size: u64 => eve;
    }
}

record! {
    /// How large a response was.
    #[derive(Default)]
    pub struct ResponseSize in "dcerpc.res" {
        /// How many fragments it came in.
        frag_cnt: u32 => eve;
        /// Bytes of stub data in all of them.
        stub_data_size: u64 => eve;
    }
}

record! {
    /// An interface that was offered or called.
    #[derive(Default)]
    pub struct DcerpcInterface {
        /// The interface's identifier.
        uuid: Guid => eve;
        /// The interface's version, e.g. `0.0`.
        version: InterfaceVersion => eve;
        /// The server's answer to the offer: 0 accepted, 2 refused, 3 negotiated.
        ack_result: Option<u16> => eve;
        /// The interface's name, when known.
        service: Option<&'static str> => eve;
        /// The operation's name, when known.
        procedure: Option<&'static str> => eve;
    }
}

record! {
    /// A request and its response as `dce_rpc.log` tells them.
    #[derive(Default)]
    pub struct ZeekRow {
        /// The `bind_ack`'s secondary address: a port or a pipe's name.
        named_pipe: Option<Arc<str>> => zeek;
        /// The interface's name as Zeek spells it, or `unknown-` and its identifier.
        endpoint: Option<Cow<'static, str>> => zeek;
        /// The operation's name as Zeek spells it, or `unknown-` and its number.
        operation: Option<Cow<'static, str>> => zeek;
    }
}

record! {
    /// A login by NTLM in the columns of Zeek's `ntlm.log`, where its tokens are in clear: to RPC, to SMB. Its time is that of its
    /// first token.
    #[derive(Default)]
    pub struct NtlmRow {
        /// The account, as the client gives it; unset for an anonymous login.
        username: Option<String> => zeek;
        /// The client's computer.
        hostname: Option<String> => zeek;
        /// The account's domain.
        domainname: Option<String> => zeek;
        /// The server's `NetBIOS` name.
        server_nb_computer_name: Option<String> => zeek;
        /// The server's DNS name.
        server_dns_computer_name: Option<String> => zeek;
        /// The server's forest.
        server_tree_name: Option<String> => zeek;
        /// Did the server accept it? To RPC: it answered a call, or its token says so. To SMB: what its status says.
        success: Option<bool> => zeek;
    }
}
