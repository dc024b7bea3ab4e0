//! `IWbemServices`: objects got, put and deleted, queries and methods run. An asynchronous method has the layout of its
//! synchronous twin but for what stands last, which is a sink instead of a place for results and is left unread.

use super::marshal::{bstr, object, reference, reference_behind_pointer};
use super::wmio::Object;
use crate::arguments::Arguments;
use crate::dcom::{OrpcThat, OrpcThis};
use crate::error::Result;
use crate::ndr::Reader;

/// A request that names one thing: [MS-WMI] 3.1.4.3.1 `OpenNamespace` (Opnum 3), 3.1.4.3.4 `GetObject` (Opnum 6),
/// 3.1.4.3.8 `DeleteClass` (Opnum 10), 3.1.4.3.10 `CreateClassEnum` (Opnum 12), 3.1.4.3.14 `DeleteInstance` (Opnum 16),
/// 3.1.4.3.16 `CreateInstanceEnum` (Opnum 18), and the asynchronous twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// What is named.
    pub kind: Named,
    /// The name.
    pub name: Option<String>,
    /// `lFlags`: `WBEM_FLAG_*`.
    pub flags: u32,
}

/// What a [`NameRequest`] ([MS-WMI] 3.1.4.3 `IWbemServices` Interface) names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A namespace below the current one.
    Namespace,
    /// A class or an instance, by its path.
    ObjectPath,
    /// A class to be deleted.
    Class,
    /// The class whose instances or subclasses are asked for.
    Superclass,
}

impl Named {
    /// What the request with this operation number names; None for those of another layout.
    pub fn by(opnum: u16) -> Option<Self> {
        match opnum {
            3 => Some(Self::Namespace),
            6 | 7 | 16 | 17 => Some(Self::ObjectPath),
            10 | 11 => Some(Self::Class),
            12 | 13 | 18 | 19 => Some(Self::Superclass),
            _ => None,
        }
    }

    /// The argument's name in a log.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::ObjectPath => "object_path",
            Self::Class => "class",
            Self::Superclass => "superclass",
        }
    }
}

impl NameRequest {
    /// Reads the request stub.
    pub fn parse(kind: Named, reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("IWbemServices request");
        Ok(Self {
            orpc_this,
            kind,
            name: bstr(reader)?,
            flags: reader.u32()?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default()
            .text(self.kind.argument(), self.name.as_deref())
            .flags("flags", self.flags)
            .done()
    }
}

/// A request that brings a class or an instance: [MS-WMI] 3.1.4.3.6 `PutClass` (Opnum 8), 3.1.4.3.12 `PutInstance`
/// (Opnum 14), and the asynchronous twins.
#[derive(Clone, Debug, PartialEq)]
pub struct PutRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `pObject`, `pInst`; None when it is null or not sent by value.
    pub object: Option<Result<Object>>,
    /// `lFlags`: create, update, or both.
    pub flags: u32,
}

impl PutRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("IWbemServices Put request");
        let object = object(reference(reader)?);
        Ok(Self {
            orpc_this,
            object,
            flags: reader.u32()?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        with_object(Arguments::default(), "object", self.object.as_ref())
            .flags("flags", self.flags)
            .done()
    }
}

/// A query: [MS-WMI] 3.1.4.3.18 `ExecQuery` (Opnum 20), 3.1.4.3.20 `ExecNotificationQuery` (Opnum 22), and the asynchronous
/// twins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `strQueryLanguage`: WQL, always.
    pub language: Option<String>,
    /// `strQuery`.
    pub query: Option<String>,
    /// `lFlags`: `WBEM_FLAG_*`.
    pub flags: u32,
}

impl QueryRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("IWbemServices query request");
        Ok(Self {
            orpc_this,
            language: bstr(reader)?,
            query: bstr(reader)?,
            flags: reader.u32()?,
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        Arguments::default()
            .text("query_language", self.language.as_deref())
            .text("query", self.query.as_deref())
            .flags("flags", self.flags)
            .done()
    }
}

/// A method run: [MS-WMI] 3.1.4.3.22 `ExecMethod` (Opnum 24), 3.1.4.3.23 `ExecMethodAsync` (Opnum 25).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecMethodRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// `strObjectPath`: the class or the instance, such as `Win32_Process`.
    pub object_path: Option<String>,
    /// `strMethodName`.
    pub method: Option<String>,
    /// `lFlags`.
    pub flags: u32,
    /// `pInParams`: an instance of `__PARAMETERS` with the arguments as properties; None when the method has none.
    pub in_parameters: Option<Result<Object>>,
}

impl ExecMethodRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("ExecMethod request");
        let object_path = bstr(reader)?;
        let method = bstr(reader)?;
        let flags = reader.u32()?;
        reference(reader)?; // pCtx
        Ok(Self {
            orpc_this,
            object_path,
            method,
            flags,
            in_parameters: object(reference(reader)?),
        })
    }

    /// The arguments as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        let row = Arguments::default()
            .text("object_path", self.object_path.as_deref())
            .text("method", self.method.as_deref())
            .flags("flags", self.flags);
        with_object(row, "in_parameters", self.in_parameters.as_ref()).done()
    }
}

/// A reply that brings an object: those of [MS-WMI] 3.1.4.3.4 `GetObject` and 3.1.4.3.22 `ExecMethod`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectReply {
    /// `ppObject`, or `ppOutParams`: an instance of `__PARAMETERS` with the results and `ReturnValue` as properties.
    pub object: Option<Result<Object>>,
    /// The HRESULT.
    pub status: u32,
}

impl ObjectReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("IWbemServices reply");
        let object = object(reference_behind_pointer(reader)?);
        reference_behind_pointer(reader)?; // ppCallResult
        Ok(Self {
            object,
            status: reader.u32()?,
        })
    }

    /// The results as text.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        with_object(Arguments::default(), "object", self.object.as_ref())
            .flags("status", self.status)
            .done()
    }
}

/// The HRESULT of a reply that otherwise brings a call result at most: those of `PutClass`, `PutInstance`, `DeleteClass` and
/// `DeleteInstance`.
pub fn parse_status(reader: &mut Reader<'_>) -> Result<u32> {
    OrpcThat::parse(reader)?;
    reader.enter("IWbemServices reply");
    reference_behind_pointer(reader)?; // ppCallResult
    reader.u32()
}

fn with_object(row: Arguments, name: &'static str, object: Option<&Result<Object>>) -> Arguments {
    match object {
        Some(Ok(object)) => row.value(name, object),
        Some(Err(error)) => row.value(name, error),
        None => row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;
    use crate::wmi::Value;

    macro_rules! stub {
        ($name:literal) => {
            Reader::new(
                include_bytes!(concat!("../../corpus/wmi/", $name, ".bin")),
                ByteOrder::Little,
                Encoding::Ndr20,
                "test",
            )
        };
    }

    fn text<'a>(object: &'a Object, name: &str) -> &'a str {
        object.get(name).and_then(Value::as_text).unwrap()
    }

    #[test]
    fn the_command_line_of_create_is_read() {
        let mut reader = stub!("exec-method-create-request");
        let request = ExecMethodRequest::parse(&mut reader).unwrap();
        assert_eq!(request.object_path.as_deref(), Some("Win32_Process"));
        assert_eq!(request.method.as_deref(), Some("Create"));
        let parameters = request.in_parameters.unwrap().unwrap();
        assert_eq!(parameters.class.as_deref(), Some("__PARAMETERS"));
        assert_eq!(text(&parameters, "CommandLine"), "cmd.exe /Q /c whoami");
        assert_eq!(text(&parameters, "currentdirectory"), "C:\\");
        assert_eq!(parameters.get("ProcessStartupInformation"), Some(&Value::Null));
        assert_eq!(parameters.get("NoSuchProperty"), None);
    }

    #[test]
    fn the_process_and_the_return_value_of_create_are_read() {
        let mut reader = stub!("exec-method-create-reply");
        let reply = ObjectReply::parse(&mut reader).unwrap();
        let results = reply.object.unwrap().unwrap();
        assert_eq!(results.get("ProcessId").and_then(Value::as_unsigned), Some(4711));
        assert_eq!(results.get("ReturnValue").and_then(Value::as_unsigned), Some(0));
        assert_eq!(reply.status, 0);
        assert!(reader.rest().is_empty());
    }

    #[test]
    fn a_class_tells_its_properties_and_methods() {
        let mut reader = stub!("get-object-win32-process-reply");
        let reply = ObjectReply::parse(&mut reader).unwrap();
        let class = reply.object.unwrap().unwrap();
        assert_eq!(class.class.as_deref(), Some("Win32_Process"));
        assert_eq!(class.server.as_deref(), Some("DCOMSRV01"));
        assert_eq!(class.namespace.as_deref(), Some("ROOT\\CIMV2"));
        assert_eq!(class.methods, ["Create"]);
        let names: Vec<_> = class.properties.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["Handle", "Name", "ProcessId"]);
        assert!(class.properties.iter().all(|p| p.value == Value::Null));
    }

    #[test]
    fn an_object_within_the_parameters_is_read() {
        let mut reader = stub!("exec-method-create-startup-request");
        let request = ExecMethodRequest::parse(&mut reader).unwrap();
        let parameters = request.in_parameters.unwrap().unwrap();
        assert_eq!(text(&parameters, "CommandLine"), "powershell.exe -nop -c \"é 中\"");
        let Some(Value::Object(startup)) = parameters.get("ProcessStartupInformation") else {
            panic!("no object in {parameters}")
        };
        assert_eq!(
            startup.to_string(),
            "Win32_ProcessStartup { CreateFlags: 16, ShowWindow: 0, Title: quiet }"
        );
    }

    #[test]
    fn the_query_of_an_event_filter_is_read() {
        let request = PutRequest::parse(&mut stub!("put-instance-event-filter-request")).unwrap();
        let filter = request.object.unwrap().unwrap();
        assert_eq!(filter.class.as_deref(), Some("__EventFilter"));
        assert_eq!(filter.superclass.as_deref(), Some("__IndicationRelated"));
        assert_eq!(filter.namespace.as_deref(), Some("ROOT\\subscription"));
        assert_eq!(text(&filter, "Name"), "EF_update");
        assert_eq!(text(&filter, "EventNamespace"), "root\\cimv2");
        assert_eq!(text(&filter, "QueryLanguage"), "WQL");
        assert_eq!(
            text(&filter, "Query"),
            "SELECT * FROM __InstanceModificationEvent WITHIN 60 WHERE TargetInstance ISA \"Win32_LocalTime\""
        );
        assert_eq!(
            filter.get("CreatorSID").unwrap().to_string(),
            "[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0]"
        );
    }

    #[test]
    fn the_command_of_a_consumer_is_read() {
        let request = PutRequest::parse(&mut stub!("put-instance-command-line-consumer-request")).unwrap();
        let consumer = request.object.unwrap().unwrap();
        assert_eq!(consumer.class.as_deref(), Some("CommandLineEventConsumer"));
        assert_eq!(text(&consumer, "CommandLineTemplate"), "cmd.exe /c calc.exe");
        assert_eq!(consumer.get("Priority"), Some(&Value::Signed(32)));
        assert_eq!(consumer.get("KillTimeout"), Some(&Value::Unsigned(0)));
        assert_eq!(consumer.get("UseDefaultErrorMode"), Some(&Value::Boolean(true)));
        assert_eq!(consumer.get("RunInteractively"), Some(&Value::Boolean(false)));
        assert_eq!(consumer.properties[0].name, "MachineName");
    }

    #[test]
    fn the_script_of_a_consumer_is_read() {
        let request = PutRequest::parse(&mut stub!("put-instance-active-script-consumer-request")).unwrap();
        let consumer = request.object.unwrap().unwrap();
        assert_eq!(text(&consumer, "ScriptingEngine"), "VBScript");
        assert_eq!(
            text(&consumer, "ScriptText"),
            "Set s = CreateObject(\"WScript.Shell\")\r\ns.Run \"notepad.exe\", 0\r\n"
        );
    }

    #[test]
    fn a_query_is_read() {
        let mut reader = stub!("exec-query-request");
        let request = QueryRequest::parse(&mut reader).unwrap();
        assert_eq!(request.language.as_deref(), Some("WQL"));
        assert_eq!(
            request.query.as_deref(),
            Some("SELECT * FROM Win32_Service WHERE Name = \"Winmgmt\"")
        );
        assert_eq!(request.flags, 0x30);
    }

    #[test]
    fn a_query_reads_the_same_in_ndr64() {
        let mut bytes = vec![5, 0, 7, 0];
        bytes.extend([0; 36]); // to the end of ORPCTHIS: flags, reserved, causality, padding, no extensions
        for text in ["WQL", "SELECT 1"] {
            let count = u8::try_from(text.len()).unwrap();
            bytes.extend([
                1,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                count,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                2 * count,
                0,
                0,
                0,
                count,
                0,
                0,
                0,
            ]);
            bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes.extend([0x30, 0, 0, 0]);
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr64, "test");
        let request = QueryRequest::parse(&mut reader).unwrap();
        assert_eq!(request.language.as_deref(), Some("WQL"));
        assert_eq!(request.query.as_deref(), Some("SELECT 1"));
        assert_eq!(request.flags, 0x30);
    }

    #[test]
    fn a_context_before_the_parameters_is_stepped_over() {
        let mut bytes = include_bytes!("../../corpus/wmi/exec-method-create-request.bin").to_vec();
        let objref = bytes.windows(4).position(|w| w == b"MEOW").unwrap();
        let context = objref - 16; // pCtx, then pInParams: pointer, count and size
        assert_eq!(bytes[context..context + 4], [0; 4]);
        bytes.splice(
            context..context + 4,
            [1, 0, 2, 0, 5, 0, 0, 0, 5, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0],
        );
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let request = ExecMethodRequest::parse(&mut reader).unwrap();
        let parameters = request.in_parameters.unwrap().unwrap();
        assert_eq!(text(&parameters, "CommandLine"), "cmd.exe /Q /c whoami");
    }

    #[test]
    fn an_object_that_cannot_be_read_costs_no_other_argument() {
        let mut bytes = include_bytes!("../../corpus/wmi/exec-method-create-request.bin").to_vec();
        let unit = bytes.windows(4).position(|w| w == [0x78, 0x56, 0x34, 0x12]).unwrap();
        bytes[unit] = 0;
        let mut reader = Reader::new(&bytes, ByteOrder::Little, Encoding::Ndr20, "test");
        let request = ExecMethodRequest::parse(&mut reader).unwrap();
        assert_eq!(request.method.as_deref(), Some("Create"));
        let arguments = request.arguments();
        assert_eq!(
            arguments.last().unwrap(),
            &(
                "in_parameters",
                "EncodingUnit: `Signature` is 0x12345600, which is not valid (offset 4)".to_owned()
            )
        );
    }
}
