//! [MS-DCOM]: remote activation, object references, their upkeep, and the object resolver.

mod activation;
mod blob;
mod context;
mod dual_string;
mod error_info;
mod objref;
mod orpc;
mod oxid_resolver;
mod ping;
mod properties;
mod rem_unknown;
mod remote_activation;
mod reply_properties;
#[cfg(test)]
mod round_trips;
mod url_moniker;

pub use activation::{ActivationReply, ActivationRequest, InterfaceResult};
pub use blob::CustomHeader;
pub use context::{Context, ContextProperty};
pub use dual_string::{DualStringArray, SecurityBinding, StringBinding, protocol_sequence};
pub use error_info::ErrorInfo;
pub use objref::{DataElement, Objref, ObjrefOutline, Reference, StdObjref};
pub use orpc::{ComVersion, OrpcExtent, OrpcThat, OrpcThis};
pub use oxid_resolver::{ResolveOxidReply, ResolveOxidRequest, ServerAlive2Reply};
pub use ping::{ComplexPingReply, ComplexPingRequest, ServerAliveReply, SetId, SimplePingReply, SimplePingRequest};
pub use properties::{
    ActivationContextInfo, ActivationFlags, ActivationProperties, InstanceInfo, InstantiationInfo, LocationInfo,
    MarshaledContext, ScmRequestInfo, SecurityInfo, SpecialProperties,
};
pub use rem_unknown::{
    RemAddRefReply, RemInterfaceRef, RemQi2Result, RemQiResult, RemQueryInterface2Reply, RemQueryInterfaceReply,
    RemQueryInterfaceRequest, RemReferencesRequest, RemReleaseReply,
};
pub use remote_activation::{RemoteActivationReply, RemoteActivationRequest};
pub use reply_properties::ScmReplyInfo;
pub use url_moniker::UrlMoniker;
