//! Methods of dual interfaces, called by their own operation numbers instead of `Invoke`.
//!
//! [MS-OAUT] 2.2.49.4.2 Dual Interfaces: such an interface has both, so that what `IDispatch` can do can be done without
//! it. The catalogue lists those that run something, as far as their order in the interface is published.

use dcom_parsers::dcom::{OrpcThis, UrlMoniker};
use dcom_parsers::error::{ParseError, Result};
use dcom_parsers::ndr::Reader;
use dcom_parsers::oaut::{Bstr, InterfacePointer, Variant};

use super::{Read, dispatch, management};
use crate::catalog::{Operation, Parameter};

/// Reads a method of a dual interface that the catalogue lists.
pub(super) fn read(call: &mut Read<'_>, operation: &Operation) {
    if let (Some(error), Some(message)) = (arguments(call, &operation.arguments), call.exchange.request.as_ref()) {
        call.odd.push(super::unreadable(message, &error));
    }
    dispatch::set_effect(call, call.dcom.arguments.len(), operation.path.as_deref());
    result(call);
}

/// Reads the request's arguments, and says where they make no sense.
pub(super) fn arguments(call: &mut Read<'_>, parameters: &[Parameter]) -> Option<ParseError> {
    let request = |reader: &mut Reader<'_>| {
        let this = OrpcThis::parse(reader)?;
        let mut arguments = Vec::with_capacity(parameters.len());
        let broken = read_arguments(reader, parameters, &mut arguments).err();
        Ok((this, arguments, broken))
    };
    let (this, arguments, broken) = call.sound_request(request, |(.., broken)| broken.is_none())?;
    call.dcom.causality = Some(this.causality);
    call.dcom.arguments = arguments;
    broken
}

/// What became of the call: each ends with an HRESULT.
pub(super) fn result(call: &mut Read<'_>) {
    if let Some(status) = super::response(call.exchange).and_then(management::status) {
        call.result(status);
    }
}

/// From the first argument on, what was read stays when the next cannot be.
fn read_arguments(reader: &mut Reader<'_>, parameters: &[Parameter], arguments: &mut Vec<String>) -> Result<()> {
    for parameter in parameters {
        reader.enter("method of a dual interface");
        arguments.push(match parameter {
            Parameter::Bstr => Bstr::parse(reader)?.to_text(),
            Parameter::Variant => Variant::parse(reader)?.to_text(),
            Parameter::Number => reader.u32()?.to_string(),
            Parameter::Text => text(reader)?,
            Parameter::Moniker => moniker(InterfacePointer::parse(reader)?),
        });
    }
    Ok(())
}

/// A text in whichever of its forms the bytes are whole: each says its length in places of its own.
fn text(reader: &mut Reader<'_>) -> Result<String> {
    let mut bstr = *reader;
    if let Ok(text) = Bstr::parse(&mut bstr)
        && !text.bytes().is_empty()
    {
        *reader = bstr;
        return Ok(text.to_text());
    }
    let mut unique = *reader;
    if let Ok(Some(text)) = unique.optional_wide_string()
        && !text.is_empty()
    {
        *reader = unique;
        return Ok(text);
    }
    reader.wide_string()
}

/// The URL of a moniker that is passed by value, or what is referred to.
fn moniker(pointer: Option<InterfacePointer<'_>>) -> String {
    let Some(pointer) = pointer else { return String::new() };
    let objref = pointer.objref().ok();
    let url = objref.as_ref().and_then(UrlMoniker::of);
    url.map_or_else(|| pointer.to_string(), |moniker| moniker.url)
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

    use super::super::super::rig::{Bytes, Rig};
    use crate::catalog::Effect;
    use crate::event::dcom::{Evidence, Outcome};
    use crate::rpc::Stub;

    /// `View` of the management console (Windows SDK, mmcobj.idl).
    const VIEW: Guid = Guid::new(
        0x6efc_2da2,
        0xb38c,
        0x457e,
        [0x9a, 0xbb, 0xed, 0x2d, 0x18, 0x9b, 0x8c, 0x38],
    );
    /// `IShellDispatch`, which the others of the shell derive from (Windows SDK, shldisp.idl).
    const SHELL: Guid = Guid::new(
        0xd8f0_15c0,
        0xc278,
        0x11ce,
        [0xa4, 0x9e, 0x44, 0x45, 0x53, 0x54, 0x00, 0x00],
    );
    /// `IWebBrowser2`.
    const BROWSER_2: Guid = Guid::new(
        0xd30c_1661,
        0xcdaf,
        0x11d0,
        [0x8a, 0x3e, 0x00, 0xc0, 0x4f, 0xc9, 0xe2, 0x6e],
    );

    fn view() -> Rig {
        Rig::new().reached("MMC20.Application", "MMC20.Application.Document.ActiveView")
    }

    fn command() -> Bytes {
        let texts = ["cmd.exe", "c:\\", "/c calc", "7"];
        texts.iter().fold(Bytes::request(), |bytes, text| bytes.bstr(text))
    }

    #[test]
    fn a_method_called_by_its_own_number_is_read_as_invoke_is() {
        let mut rig = view();
        let dcom = rig.call(VIEW, 33, command().into(), Some(Bytes::reply().words(&[0]).0));
        assert_eq!(dcom.method.as_deref(), Some("ExecuteShellCommand"));
        assert_eq!(dcom.arguments, ["cmd.exe", "c:\\", "/c calc", "7"]);
        assert_eq!(dcom.command_line.as_deref(), Some("cmd.exe /c calc"));
        assert_eq!(
            (dcom.effect, dcom.evidence, dcom.outcome),
            (Some(Effect::Execution), Evidence::Arguments, Some(Outcome::Succeeded))
        );
        let refused = rig.call(VIEW, 33, command().into(), Some(Bytes::reply().words(&[0x8007_0005]).0));
        assert_eq!(refused.outcome, Some(Outcome::Failed));
        assert!(rig.odd.is_empty(), "{:?}", rig.odd);
    }

    #[test]
    fn variants_stand_behind_the_text_in_the_shell_of_any_version() {
        // IShellDispatch2 to 6.
        for shell in [
            "a4c6892c-3ba9-11d2-9dea-00c04fb16162",
            "177160ca-bb5a-411c-841d-bd38facdeaa0",
            "efd84b2d-4bcf-4298-be25-eb542a59fbda",
            "866738b9-6cf2-4de8-8767-f794ebe74f4e",
            "286e6f1b-7113-4355-9562-96b7e9d64c54",
        ] {
            let shell = listed(shell);
            let rest = ["/c calc", "C:\\", "open", "0"];
            let stub = rest
                .iter()
                .fold(Bytes::request().bstr("cmd.exe"), |bytes, text| bytes.variant(text));
            let dcom = Rig::new()
                .reached("ShellWindows", "ShellWindows")
                .call(shell, 31, stub.into(), None);
            assert_eq!(dcom.arguments, ["cmd.exe", "/c calc", "C:\\", "open", "0"]);
            assert_eq!(dcom.command_line.as_deref(), Some("cmd.exe /c calc"));
        }
    }

    #[test]
    fn an_interface_that_one_object_has_tells_it() {
        let mut rig = Rig::new();
        let dcom = rig.call(VIEW, 33, command().into(), None);
        assert_eq!(dcom.class.as_deref(), Some("MMC20.Application"));
        assert!(dcom.because[0].starts_with("class concluded"), "{:?}", dcom.because);
        for path in ["ShellWindows.FindWindowSW.QueryService.Application", "?"] {
            let mut rig = Rig::new().reached("ShellWindows", path);
            let dcom = rig.call(SHELL, 12, Bytes::request().variant("C:\\x.exe").into(), None);
            assert_eq!(dcom.command_line.as_deref(), Some("C:\\x.exe"), "{path}");
            assert_eq!(dcom.evidence, Evidence::Arguments);
        }
    }

    #[test]
    fn the_number_alone_says_what_it_is_when_it_is_sealed() {
        let dcom = view().call(VIEW, 33, Stub::Sealed, None);
        assert_eq!(
            (dcom.effect, dcom.evidence, &dcom.command_line),
            (Some(Effect::Execution), Evidence::Class, &None)
        );
    }

    #[test]
    fn what_was_read_before_an_argument_that_makes_no_sense_stays() {
        let mut rig = view();
        let mut stub = command();
        stub.0.truncate(stub.0.len() - 4);
        let dcom = rig.call(VIEW, 33, stub.into(), None);
        assert_eq!(dcom.arguments, ["cmd.exe", "c:\\", "/c calc"]);
        assert_eq!((rig.odd.len(), rig.odd[0].name), (1, "malformed_stub"));
    }

    #[test]
    fn a_name_that_means_more_than_one_thing_runs_something_on_some_objects_only() {
        let stub = || Bytes::request().bstr("http://192.0.2.66/x.hta").into();
        let open = |path| {
            Rig::new()
                .reached("InternetExplorer.Application", path)
                .call(BROWSER_2, 11, stub(), None)
        };
        let browser = open("InternetExplorer.Application");
        assert_eq!(browser.command_line.as_deref(), Some("http://192.0.2.66/x.hta"));
        assert_eq!(browser.effect, Some(Effect::Execution));
        assert_eq!(open("Lab.Viewer").effect, None);
    }

    #[test]
    fn an_interface_of_one_class_tells_the_class() {
        for (interface, opnum, stub, path, command) in [
            (
                VIEW,
                33,
                command(),
                "MMC20.Application.Document.ActiveView",
                "cmd.exe /c calc",
            ),
            (
                Guid::com(0x0002_08d5),
                35,
                Bytes::request().bstr("EXEC(\"calc\")").words(&[0x409]),
                "Excel.Application",
                "EXEC(\"calc\")",
            ),
            (
                Guid::com(0x0002_08d5),
                57,
                Bytes::request().words(&[5, 0x409]),
                "Excel.Application",
                "FOXPROW.EXE",
            ),
            (
                listed("8961f0a0-ff62-403b-91b4-7b9280241ceb"),
                7,
                Bytes::request().words(&[4, 0]).bstr("a b"),
                "BDEUILauncher",
                "a b",
            ),
        ] {
            let dcom = Rig::new().call(interface, opnum, stub.into(), None);
            assert_eq!(
                (dcom.object_path.as_deref(), dcom.command_line.as_deref()),
                (Some(path), Some(command))
            );
            assert!(
                dcom.class.as_deref().is_some_and(|class| path.starts_with(class)),
                "{path}"
            );
            assert_eq!(
                (dcom.effect, dcom.evidence),
                (Some(Effect::Execution), Evidence::Arguments)
            );
        }
        // It cannot be activated from afar: something made it there.
        let shell = listed("41904400-be18-11d3-a28b-00104bd35090");
        let dcom = Rig::new().call(shell, 19, Bytes::request().bstr("cmd.exe").into(), None);
        assert_eq!(
            (dcom.class.as_deref(), dcom.command_line.as_deref()),
            (None, Some("cmd.exe"))
        );
        let known = Rig::new().reached("ShellWindows", "ShellWindows.Item.Document.Application");
        let dcom = { known }.call(SHELL, 12, Bytes::request().variant("C:\\x.exe").into(), None);
        assert_eq!(dcom.class.as_deref(), Some("ShellWindows"), "what is known stays");
    }

    #[test]
    fn navigate_2_is_the_first_of_its_interface() {
        let stub = Bytes::request().variant("http://192.0.2.66/x.hta").into();
        let dcom = Rig::new()
            .reached("InternetExplorer.Application", "InternetExplorer.Application")
            .call(BROWSER_2, 52, stub, None);
        assert_eq!(dcom.command_line.as_deref(), Some("http://192.0.2.66/x.hta"));
    }

    fn listed(uuid: &str) -> Guid {
        Guid::parse(uuid).unwrap()
    }

    const DENIED: u32 = 0x8007_0005;

    #[test]
    fn a_listed_operation_is_told_with_what_became_of_it() {
        // IMsiCustomAction.LoadEmbeddedDLL: what it takes is not told.
        let interface = listed("000c1025-0000-0000-c000-000000000046");
        for (answer, outcome) in [(0, Outcome::Succeeded), (DENIED, Outcome::Failed)] {
            let reply = Bytes::reply().words(&[answer]).0;
            let dcom = Rig::new().call(interface, 33, Bytes::request().into(), Some(reply));
            assert_eq!(
                (dcom.effect, dcom.evidence),
                (Some(Effect::Execution), Evidence::Header)
            );
            assert_eq!(
                (dcom.outcome, dcom.hresult),
                (Some(outcome), Some(crate::event::dcom::Hresult(answer)))
            );
        }
        let mut rig = Rig::new();
        let own = "[[operation]]\ninterface = \"00000077-0000-0000-c000-000000000046\"\nopnum = 7\nname = \"Start\"\n\
                   arguments = [\"number\", \"bstr\"]\nprogram = 1\n";
        rig.catalog.extend_from_toml("own.toml", own).unwrap();
        let stub = Bytes::request().words(&[1]).bstr("cmd.exe");
        let dcom = rig.call(Guid::com(0x77), 7, stub.into(), Some(Bytes::reply().words(&[DENIED]).0));
        assert_eq!(
            (dcom.command_line.as_deref(), dcom.outcome),
            (Some("cmd.exe"), Some(Outcome::Failed))
        );
        assert_eq!(dcom.evidence, Evidence::Arguments);
    }

    #[test]
    fn what_was_read_of_an_operations_arguments_is_inferred() {
        let mut rig = Rig::new();
        let own = "[[operation]]\ninterface = \"00000077-0000-0000-c000-000000000046\"\nopnum = 8\nname = \"Start\"\n\
                   arguments = [\"bstr\", \"number\", \"bstr\"]\nprogram = 0\n";
        rig.catalog.extend_from_toml("own.toml", own).unwrap();
        let dcom = rig.call(
            Guid::com(0x77),
            8,
            Bytes::request().bstr("cmd.exe").words(&[7]).into(),
            None,
        );
        assert_eq!(
            (dcom.command_line.as_deref(), dcom.evidence),
            (Some("cmd.exe"), Evidence::Inferred)
        );
        let because: Vec<_> = dcom.because.iter().map(ToString::to_string).collect();
        assert_eq!(because, ["operation 8 is Start; 2 of its arguments could be read"]);
    }

    #[test]
    fn a_text_is_read_in_whichever_form_it_travels() {
        let url = "file:///C:/x.exe";
        let units: Vec<u8> = url.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let count = u32::try_from(units.len() / 2).unwrap();
        let string = |bytes: Bytes| bytes.words(&[count, 0, count]).with(&units);
        for stub in [
            Bytes::request().bstr(url),
            string(Bytes::request().words(&[0x2_0000])),
            string(Bytes::request()),
        ] {
            let mut rig = Rig::new();
            let dcom = rig.call(listed("8cec595b-07a1-11d9-b15e-000d56bfe6ee"), 3, stub.into(), None);
            assert_eq!(dcom.command_line.as_deref(), Some(url));
            assert_eq!((dcom.evidence, rig.odd.len()), (Evidence::Arguments, 0));
        }
        for stub in [Stub::Sealed, Bytes::request().words(&[7]).into()] {
            let mut rig = Rig::new();
            let dcom = rig.call(listed("8cec595b-07a1-11d9-b15e-000d56bfe6ee"), 3, stub, None);
            assert_eq!(
                (dcom.effect, dcom.evidence),
                (Some(Effect::Execution), Evidence::Header)
            );
            assert_eq!((&dcom.command_line, rig.odd.len()), (&None, 0));
        }
    }

    #[test]
    fn the_url_of_a_moniker_by_value_is_what_is_run() {
        let url: Vec<u8> = "javascript:x()\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u32::try_from(url.len()).unwrap();
        let objref = Bytes::default().with("MEOW").words(&[4]).guid(Guid::com(0xf));
        let objref = objref.guid(listed("79eac9e0-baf9-11ce-8c82-00aa004ba90b"));
        let objref = objref.words(&[0, length + 12, length]).with(&url).0;
        let size = u32::try_from(objref.len()).unwrap();
        let stub = Bytes::request().words(&[1, 0x2_0000, size, size]).with(objref).align(4);
        let load = listed("79eac9c9-baf9-11ce-8c82-00aa004ba90b");
        let dcom = Rig::new().call(load, 5, stub.words(&[0, 0]).into(), None);
        assert_eq!(dcom.command_line.as_deref(), Some("javascript:x()"));
        assert_eq!(
            (dcom.effect, dcom.evidence),
            (Some(Effect::Execution), Evidence::Arguments)
        );
    }

    #[test]
    fn coercion_by_an_interfaces_own_number_takes_a_path_that_leads_elsewhere() {
        let share = "\\\\192.0.2.66\\share\\a.cab";
        let extract = |texts: [&str; 2]| {
            let stub = texts.iter().fold(Bytes::request(), |bytes, text| bytes.bstr(text));
            let dcom = Rig::new().call(listed("03837541-098b-11d8-9414-505054503030"), 31, stub.into(), None);
            (dcom.effect, dcom.command_line.clone())
        };
        let told = (Some(Effect::Coercion), Some(share.to_owned()));
        assert_eq!(extract([share, "C:\\x"]), told);
        assert_eq!(extract(["C:\\a.cab", share]), told);
        assert_eq!(extract(["C:\\a.cab", "\\\\.\\C:\\x"]), (None, None));
    }
}
