//! [MS-DCOM]: remote activation, object references, and the object resolver.

mod activation;
mod dual_string;
mod objref;
mod orpc;
mod oxid_resolver;
mod properties;
mod remote_activation;

pub use activation::{ActivationReply, ActivationRequest, InterfaceResult};
pub use dual_string::{DualStringArray, SecurityBinding, StringBinding};
pub use objref::{Objref, Reference, StdObjref};
pub use orpc::{ComVersion, OrpcThat, OrpcThis};
pub use oxid_resolver::{ResolveOxidReply, ResolveOxidRequest, ServerAlive2Reply};
pub use properties::{InstantiationInfo, ScmReplyInfo};
pub use remote_activation::{RemoteActivationReply, RemoteActivationRequest};
