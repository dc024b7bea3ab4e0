//! `IDispatch`: methods called by number, with their arguments as variants.

use std::borrow::Cow;

use dcom_parsers::dcom::OrpcThis;
use dcom_parsers::oaut::{
    Dispid, GetIdsOfNamesReply, GetIdsOfNamesRequest, GetTypeInfoCountReply, GetTypeInfoRequest, InterfaceReply,
    InvokeFlags, InvokeReply, InvokeRequest, Variant,
};

use super::super::exporters::{ToldBy, UNSEEN};
use super::{Descent, Effect, GET_IDS_OF_NAMES, INVOKE, Read, powershell};
use crate::catalog::{Class, behind_application, without_arguments};
use crate::event::Dcom;
use crate::event::dcom::{Evidence, Proof};
use crate::rpc::Reply;

const GET_TYPE_INFO_COUNT: u16 = 3;
const GET_TYPE_INFO: u16 = 4;
/// How a member without a name begins.
const UNNAMED: &str = "[dispid ";
/// Texts of a member in a path, and bytes of each.
const MAX_TEXTS: usize = 4;
const MAX_TEXT: usize = 120;
/// No method has more parameters, as far as their numbers are taken for places.
const MAX_PARAMETERS: usize = 64;

/// True when the call is of interest.
pub(super) fn read(call: &mut Read<'_>, opnum: u16) -> bool {
    match opnum {
        GET_TYPE_INFO_COUNT => {
            call.request(OrpcThis::parse);
            if let Some(reply) = call.response(GetTypeInfoCountReply::parse) {
                call.dcom.result = call.shown.then(|| reply.count.to_string());
                call.result(reply.hresult);
            }
        }
        GET_TYPE_INFO => {
            call.request(GetTypeInfoRequest::parse);
            if let Some(reply) = call.response(InterfaceReply::parse) {
                call.hand_out(reply.interface, Descent::Aside);
                call.result(reply.hresult);
            }
        }
        GET_IDS_OF_NAMES => get_ids_of_names(call),
        INVOKE => invoke(call),
        _ => {}
    }
    is_of_interest(opnum)
}

/// Does the call say what was done?
pub(super) fn is_of_interest(opnum: u16) -> bool {
    matches!(opnum, GET_IDS_OF_NAMES | INVOKE)
}

fn get_ids_of_names(call: &mut Read<'_>) {
    if let Some(request) = call.request(GetIdsOfNamesRequest::parse) {
        call.dcom.causality = Some(request.orpc_this.causality);
        call.dcom.arguments = request.names;
        // Further names are those of parameters.
        if let (Reply::Unanswered, Some(ipid), Some(name)) =
            (&call.exchange.reply, call.dcom.ipid, call.dcom.arguments.first())
        {
            call.effects.push(Effect::Ask(ipid, name.clone()));
        }
    }
    if let Some(reply) = call.response(GetIdsOfNamesReply::parse) {
        let names = call.dcom.arguments.clone();
        // -1 says that there is no such name.
        let told = reply
            .dispids
            .iter()
            .map(|dispid| (*dispid != Dispid::UNKNOWN).then(|| i64::from(dispid.0)));
        let mut told = told.zip(names);
        if let (Some(ipid), Some((Some(member), name))) = (call.dcom.ipid, told.next()) {
            call.name(member, name, ToldBy::GetIdsOfNames);
            let parameters = told.filter_map(|(dispid, name)| Some(Effect::Parameter(ipid, member, dispid?, name)));
            call.effects.extend(parameters);
        }
        let dispids: Vec<_> = reply.dispids.iter().map(|dispid| dispid.0.to_string()).collect();
        call.dcom.result = (!dispids.is_empty()).then(|| dispids.join(" "));
        call.result(reply.hresult);
    }
}

fn invoke(call: &mut Read<'_>) {
    if let Some(request) = call.sound_request(InvokeRequest::parse, |request| request.broken.is_none()) {
        call.dcom.causality = Some(request.orpc_this.causality);
        call.dcom.dispid = Some(request.member.0.into());
        let (method, by) = method(call, request.member);
        let known = call.catalog.method(&method, call.dcom.object_path.as_deref(), &[]);
        let parameters = known.map_or(&[][..], |method| &method.arguments);
        let object = call.object;
        let told = |parameter: Dispid| object?.parameter(request.member.0.into(), parameter.0.into());
        let arguments = Arguments::of(&request, parameters, told);
        arguments.tell(call.dcom);
        if request.broken.is_some() {
            call.dcom.evidence = Evidence::Inferred;
            call.dcom
                .because
                .push("its arguments could be read only in part".into());
        }
        match by {
            NamedBy::Question => {
                call.dcom.evidence = Evidence::Inferred;
                let because = format!("the client asked for the number of {method}, and called this one");
                call.dcom.because.push(because.into());
                call.name(request.member.0.into(), method.to_string(), ToldBy::Question);
            }
            NamedBy::Alike => {
                let because = format!("the server told the number of {method} of another object of the class");
                call.dcom.because.push(because.into());
            }
            NamedBy::Number | NamedBy::Nobody => {}
        }
        call.member = Some(member(&method, request.flags, &arguments));
        call.dcom.method = Some(method.into_owned().into());
        if by == NamedBy::Nobody {
            conclude_method(call, request.member, &arguments);
        }
        conclude_class(call, &arguments);
        set_effect(call, arguments.placed.len(), None);
        if let (Some(error), Some(message)) = (&request.broken, call.exchange.request.as_ref()) {
            call.odd.push(super::unreadable(message, error));
        }
    }
    if let Some(reply) = call.response(InvokeReply::parse) {
        set_invoke_reply(call, &reply);
    }
}

/// What a call passes, as code writes it: each argument at the place of its parameter.
struct Arguments<'a, 'b> {
    /// None where one is left out that others follow.
    placed: Vec<Option<&'b Variant<'a>>>,
    /// Those of which nobody can tell which parameter they are for.
    others: Vec<&'b Variant<'a>>,
}

impl<'a, 'b> Arguments<'a, 'b> {
    /// By [MS-OAUT] 3.1.4.4.1 Invoke Consistency Checks: those without a name come first, as many as there are; the others
    /// say by number which parameter they are for.
    fn of(request: &'b InvokeRequest<'a>, parameters: &[String], told: impl Fn(Dispid) -> Option<&'b str>) -> Self {
        let arguments = &request.arguments;
        let unnamed = arguments.iter().filter(|argument| argument.name.is_none());
        let mut placed: Vec<_> = unnamed.map(|argument| Some(&argument.value)).collect();
        let (mut assigned, mut others) = (Vec::new(), Vec::new());
        let most = if parameters.is_empty() {
            MAX_PARAMETERS
        } else {
            parameters.len()
        };
        for (name, value) in arguments
            .iter()
            .filter_map(|argument| Some((argument.name?, &argument.value)))
        {
            // A value that is assigned is named so, and stands behind what chooses the place for it.
            if name == Dispid::PROPERTY_PUT {
                assigned.push(Some(value));
                continue;
            }
            let same = |told| parameters.iter().position(|name| name.eq_ignore_ascii_case(told));
            // 3.1.4.3: the numbers of parameters may be their places, and are where a type library gives them.
            let place = told(name).and_then(same).or_else(|| usize::try_from(name.0).ok());
            let Some(place) = place.filter(|&place| place < most) else {
                others.push(value);
                continue;
            };
            placed.resize(placed.len().max(place + 1), None);
            match placed.get_mut(place) {
                Some(free @ None) => *free = Some(value),
                _ => others.push(value),
            }
        }
        placed.extend(assigned);
        Self { placed, others }
    }

    fn tell(&self, dcom: &mut Dcom) {
        let placed = self.placed.iter();
        dcom.arguments = placed
            .map(|value| value.map(Variant::to_text).unwrap_or_default())
            .collect();
        if !self.others.is_empty() {
            dcom.arguments.extend(self.others.iter().map(|value| value.to_text()));
            let count = self.others.len();
            dcom.because
                .push(format!("which parameters the last {count} of the arguments are for was not told").into());
        }
    }

    /// Their texts, without those of which nobody can tell the parameter.
    fn known<'t>(&self, dcom: &'t Dcom) -> &'t [String] {
        dcom.arguments.get(..self.placed.len()).unwrap_or_default()
    }

    fn all(&self) -> impl Iterator<Item = &'b Variant<'a>> + '_ {
        self.placed.iter().flatten().chain(&self.others).copied()
    }
}

/// The member as code writes it: with its texts, where it is a method that takes some.
fn member(method: &str, flags: InvokeFlags, arguments: &Arguments<'_, '_>) -> String {
    let mut texts = arguments.all().filter(|value| value.bstr().is_some());
    let mut written: Vec<_> = texts
        .by_ref()
        .take(MAX_TEXTS)
        .map(|value| quoted(&value.to_text()))
        .collect();
    if texts.next().is_some() {
        written.push("…".to_owned());
    }
    // One that may give something is no mere assignment, whatever else the client says of it.
    let assigned = flags.intersects(InvokeFlags::PROPERTY_PUT | InvokeFlags::PROPERTY_PUT_REF)
        && !flags.intersects(InvokeFlags::METHOD | InvokeFlags::PROPERTY_GET);
    if written.is_empty() || assigned {
        method.to_owned()
    } else {
        format!("{method}({})", written.join(", "))
    }
}

/// A text as code writes it, with quotation marks in it twice; of a long one, how it begins and ends.
fn quoted(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    if text.len() > MAX_TEXT {
        let is_boundary = |at: &usize| text.is_char_boundary(*at);
        let begins = (0..=MAX_TEXT / 2).rfind(is_boundary).unwrap_or_default();
        let ends = (text.len() - MAX_TEXT / 2..=text.len())
            .find(is_boundary)
            .unwrap_or_default();
        text = Cow::Owned(format!("{}…{}", text.split_at(begins).0, text.split_at(ends).1));
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Of an object whose class nobody saw, the members may tell it.
///
/// Nobody saw where its path begins either: members may come before these, though the connection was seen from its start, since
/// the object may have been handed out on another one. A number without a name says more with its arguments.
fn conclude_class(call: &mut Read<'_>, arguments: &Arguments<'_, '_>) {
    if call.dcom.class.is_some() || call.dcom.clsid.is_some() {
        return;
    }
    let Some(method) = call.dcom.method.clone() else { return };
    let path = call.dcom.object_path.as_deref().unwrap_or(UNSEEN);
    let Some(before) = path.strip_prefix(UNSEEN) else {
        return;
    };
    let is_alone = before.is_empty();
    let is_named = !method.starts_with(UNNAMED);
    if is_named && is_alone && call.dcom.activation.is_some() {
        // One name says less of a class than the process that it was called in.
        return;
    }
    let members = without_arguments(&format!("{before}.{method}"));
    let found: Vec<_> = call.catalog.with_members(members.trim_start_matches('.')).collect();
    let Some(&(class, path)) = found.first() else { return };
    let is_one = found.iter().all(|(other, _)| other.clsid == class.clsid);
    if is_named {
        if is_one {
            let because = format!("class concluded from the members called: {path}");
            call.dcom.because.push(because.into());
            call.dcom.class = Some(class.name.clone());
        }
        return;
    }
    // One number is that of a member of many things; and that of one method, whichever of the classes it is.
    let named = last(path);
    let is_it = |(_, path): &(_, &str)| path.contains('.') && last(path).eq_ignore_ascii_case(named);
    let given = if is_alone { Given::All } else { Given::Program };
    if !found.iter().all(is_it) || !resembles(call, named, arguments, given) {
        return;
    }
    let beside = call.object.and_then(|object| object.lineage.as_ref()?.beside);
    let is_whole = members.trim_start_matches('.').matches('.').count() == path.matches('.').count();
    if is_one && is_whole && beside == Some(class.clsid) {
        // All members from the class on, and the process that they were called in, say the same.
        let members = path.rsplit_once('.').map_or("", |(before, _)| before);
        call.dcom.method = Some(named.to_owned().into());
        call.dcom.clsid = Some(class.clsid);
        call.dcom.class = Some(class.name.clone());
        call.dcom.object_path = Some(format!("{}.{members}", class.name));
        call.dcom
            .because
            .push(format!("the members called are those of the class that was activated there: {path}").into());
    } else if is_one {
        conclude(call, named, format!("class concluded from the members called: {path}"));
        call.dcom.class = Some(class.name.clone());
    } else {
        let mut classes: Vec<_> = found.iter().map(|(class, _)| class.name.as_str()).collect();
        classes.sort_unstable();
        classes.dedup();
        let classes = classes.join(" or ");
        let because = format!("number and arguments are those of {named} of {classes}; which of them was not told");
        conclude(call, named, because);
    }
}

/// The last member of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// Does the method run something?
///
/// So many of the arguments stand at their parameters' places. `object` is what the object is by its interface, whatever led
/// to it.
pub(super) fn set_effect(call: &mut Read<'_>, placed: usize, object: Option<&str>) {
    let Some(name) = call.dcom.method.as_deref() else {
        return;
    };
    let path = object.or(call.dcom.object_path.as_deref());
    let known = call.dcom.arguments.get(..placed).unwrap_or_default();
    let (method, because) = if let Some(method) = call.catalog.method(name, path, known) {
        (method, None)
    } else {
        let members = members_of_unseen(call.dcom);
        let unseen = members.and_then(|members| call.catalog.method_of_unseen(name, &members, known));
        let Some((method, classes)) = unseen else { return };
        let classes = classes.join(" or ");
        let unknown = if call.dcom.clsid.is_some() {
            "the application of a class that is not in the catalogue"
        } else {
            "nothing told the object's class"
        };
        let because = format!("{unknown}; {name} runs something where it is {classes}");
        (method, Some(because))
    };
    let command_line = method.command_line(known);
    call.dcom.effect = Some(method.effect);
    call.dcom.command_line = command_line;
    if let Some(because) = because {
        call.dcom.evidence = Evidence::Inferred;
        call.dcom.because.push(because.into());
    }
    call.dcom.decoded_command = call.dcom.command_line.as_deref().and_then(powershell::decoded);
}

/// The members that lead to an object of which nothing told what it descends from. Of a class that the catalogue does not know,
/// those behind the application that its objects belong to: documents lead to it, and have classes of their own.
pub(crate) fn members_of_unseen(dcom: &Dcom) -> Option<String> {
    let path = dcom.object_path.as_deref().unwrap_or(UNSEEN);
    match dcom.clsid {
        _ if dcom.class.is_some() => None,
        Some(clsid) => behind_application(path.strip_prefix(&clsid.to_string())?).map(without_arguments),
        None if dcom.activation.is_some() => None,
        None => {
            let members = path.strip_prefix(UNSEEN)?;
            (members.is_empty() || members.starts_with('.')).then(|| without_arguments(members))
        }
    }
}

fn set_invoke_reply(call: &mut Read<'_>, reply: &InvokeReply<'_>) {
    for variant in std::iter::once(&reply.result).chain(&reply.references) {
        for interface in variant.interfaces() {
            call.hand_out(Some(interface), Descent::Member);
        }
    }
    if !matches!(reply.result, Variant::Empty) {
        call.dcom.result = Some(reply.result.to_text());
    }
    call.result(reply.hresult);
    // DISP_E_EXCEPTION says that something failed; the exception says what.
    if let Some(exception) = &reply.exception {
        call.dcom.result = Some(exception.description.to_text());
    }
}

/// What the name of a called member rests on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    /// The object said it, or the class or the specification gives it.
    Number,
    /// The server said it of another object of the class.
    Alike,
    /// The client asked for its number last.
    Question,
    Nobody,
}

/// By the name that the client was told, of this object or of one like it, that the class gives the number on this object,
/// that the specification gives it, or that the client asked for last.
fn method<'a>(call: &Read<'a>, member: Dispid) -> (Cow<'a, str>, NamedBy) {
    let dispid = i64::from(member.0);
    let object = call.object;
    let told = object
        .and_then(|object| object.member(dispid))
        .map(|(name, by)| match by {
            ToldBy::Question => (name, NamedBy::Question),
            _ => (name, NamedBy::Number),
        });
    let alike = || Some((call.exporters.member_of_alike(object?, dispid)?, NamedBy::Alike));
    let of_class = || {
        let (class, members) = class(call)?;
        class.member(&members, dispid)
    };
    let given = || Some((of_class().or_else(|| member.name())?, NamedBy::Number));
    let asked = || Some((object?.question()?, NamedBy::Question));
    match told.or_else(alike).or_else(given).or_else(asked) {
        Some((name, by)) => (name.into(), by),
        None => (
            format!("{UNNAMED}{:#x}]", member.0.cast_unsigned()).into(),
            NamedBy::Nobody,
        ),
    }
}

/// The class that the object was reached through last, where the catalogue knows it, and the members from there on.
fn class<'a>(call: &Read<'a>) -> Option<(&'a Class, String)> {
    let lineage = call.object?.lineage.as_deref()?;
    let Some(path) = call.catalog.through(&lineage.path) else {
        return Some((call.catalog.class(lineage.clsid?)?, lineage.members()?));
    };
    let class = call.catalog.beginning(&path)?;
    let members = path.get(class.name.len()..)?.trim_start_matches('.');
    Some((class, without_arguments(members)))
}

/// A number without a name, on an object of which the catalogue does not say what it is: what it would run elsewhere below
/// the class, if the arguments are such as that takes.
fn conclude_method(call: &mut Read<'_>, member: Dispid, arguments: &Arguments<'_, '_>) {
    let Some((class, _)) = class(call) else { return };
    let Some(path) = class.path_to(member.0.into()) else {
        return;
    };
    // Where each step was seen, the arguments have to say more.
    let lineage = call.object.and_then(|object| object.lineage.as_ref());
    let activation = lineage.and_then(|lineage| lineage.activation.as_ref());
    let seen = activation.is_some_and(|it| it.proof == Proof::Strong);
    let name = last(path);
    let given = if seen { Given::Both } else { Given::Program };
    if resembles(call, name, arguments, given) {
        let class = &class.name;
        let because =
            format!("number and arguments are those of {path} of {class}; that this object has it was not told");
        conclude(call, name, because);
    }
}

/// The call is taken for one of this method.
fn conclude(call: &mut Read<'_>, method: &str, because: String) {
    call.dcom.method = Some(method.to_owned().into());
    call.dcom.evidence = Evidence::Inferred;
    call.dcom.because.push(because.into());
}

/// What has to be there for a number to be taken for a method's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// The program, as a text.
    Program,
    /// Its parameters, too.
    Both,
    /// The program, and as many arguments as the method has parameters.
    All,
}

/// Are the arguments such as this method takes, which runs something?
fn resembles(call: &Read<'_>, name: &str, arguments: &Arguments<'_, '_>, given: Given) -> bool {
    let path = call.dcom.object_path.as_deref();
    let Some(method) = call.catalog.method(name, path, arguments.known(call.dcom)) else {
        return false;
    };
    let is_there = |index: usize| {
        let argument = arguments.placed.get(index).copied().flatten();
        argument.is_some_and(|argument| argument.bstr().is_some() || !method.programs.is_empty())
    };
    let fits = method.arguments.is_empty() || arguments.all().count() <= method.arguments.len();
    // Places that a caller who names its arguments leaves out are counted, too.
    let required = if given == Given::All {
        method.arguments.len()
    } else {
        method.required
    };
    let fits = fits && arguments.placed.len() + arguments.others.len() >= required;
    fits && method.program.is_some_and(is_there) && (given != Given::Both || method.parameters.is_none_or(is_there))
}

#[cfg(test)]
mod tests {
    use dcom_parsers::oaut::{Argument, Bstr};

    use super::*;

    fn texts(
        values: &[(Option<i32>, &'static [u8])],
        told: &[(i32, &str)],
        parameters: &[&str],
    ) -> (Vec<String>, usize) {
        let request = InvokeRequest {
            arguments: values
                .iter()
                .map(|&(name, text)| Argument {
                    name: name.map(Dispid),
                    value: Variant::Bstr(Bstr::new(text)),
                })
                .collect(),
            ..InvokeRequest::default()
        };
        let parameters: Vec<_> = parameters.iter().map(|&name| name.to_owned()).collect();
        let told = |id: Dispid| told.iter().find(|(number, _)| *number == id.0).map(|(_, name)| *name);
        let arguments = Arguments::of(&request, &parameters, told);
        let mut dcom = Dcom::default();
        arguments.tell(&mut dcom);
        let placed = arguments.known(&dcom).len();
        assert_eq!(dcom.because.is_empty(), placed == dcom.arguments.len());
        (dcom.arguments, placed)
    }

    const A: &[u8] = b"a\0";
    const B: &[u8] = b"b\0";
    const C: &[u8] = b"c\0";
    const PUT: i32 = Dispid::PROPERTY_PUT.0;

    #[test]
    fn named_arguments_stand_at_the_places_of_their_parameters() {
        let shell = ["Command", "Directory", "Parameters", "WindowState"];
        let all = |texts: &[&str]| {
            (
                texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(),
                texts.len(),
            )
        };
        // As a programmer writes them: those with a name come last, and the last on the wire first.
        let named = [(None, A), (Some(3), C), (Some(2), B)];
        assert_eq!(texts(&named, &[], &shell), all(&["a", "", "b", "c"]));
        assert_eq!(
            texts(&named, &[], &[]),
            all(&["a", "", "b", "c"]),
            "by their places alone"
        );
        let numbered = [(Some(700), B), (Some(9), A)];
        let told = [(700, "parameters"), (9, "COMMAND")];
        assert_eq!(texts(&numbered, &told, &shell), all(&["a", "", "b"]));
        assert_eq!(
            texts(&[(Some(PUT), B), (None, A)], &[], &[]),
            all(&["a", "b"]),
            "what is assigned"
        );
        assert_eq!(texts(&[(None, A), (None, B)], &[], &shell), all(&["a", "b"]));
    }

    #[test]
    fn only_what_is_assigned_and_nothing_else_is_no_part_of_a_path() {
        let text = Variant::Bstr(Bstr::new(A));
        let arguments = Arguments {
            placed: vec![Some(&text)],
            others: Vec::new(),
        };
        let (put, get) = (InvokeFlags::PROPERTY_PUT, InvokeFlags::PROPERTY_GET);
        for (flags, path) in [
            (InvokeFlags::METHOD, "Item(\"a\")"),
            (InvokeFlags::METHOD | put, "Item(\"a\")"),
            (get | InvokeFlags::PROPERTY_PUT_REF, "Item(\"a\")"),
            (put, "Item"),
        ] {
            assert_eq!(member("Item", flags, &arguments), path);
        }
    }

    #[test]
    fn a_text_in_a_path_ends_where_it_ends() {
        assert_eq!(quoted("C:\\"), r#""C:\""#);
        assert_eq!(
            quoted(r#"CreateObject("WScript.Shell"#),
            r#""CreateObject(""WScript.Shell""#
        );
        let long = quoted(&format!("WScript.Shell{}é", " ".repeat(500)));
        assert!(
            long.starts_with("\"WScript.Shell  ") && long.ends_with("  é\""),
            "{long}"
        );
        assert!(long.len() <= MAX_TEXT + "\"…\"".len(), "{long}");
    }

    #[test]
    fn an_argument_of_an_unknown_parameter_takes_no_place() {
        let split = |texts: &[&str], placed| (texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), placed);
        assert_eq!(texts(&[(Some(7), A)], &[], &["Filename"]), split(&["a"], 0));
        assert_eq!(texts(&[(Some(-5), A), (None, B)], &[], &[]), split(&["b", "a"], 1));
        assert_eq!(
            texts(&[(None, A), (Some(0), B)], &[], &[]),
            split(&["a", "b"], 1),
            "taken already"
        );
        assert_eq!(
            texts(&[(Some(i32::MAX), A), (Some(PUT), C)], &[], &[]),
            split(&["c", "a"], 1)
        );
    }
}
