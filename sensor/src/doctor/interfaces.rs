//! Interfaces that are named: looked at from outside, then listened to with no more rights than `live` has.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::check::{Check, Checkup};
use super::interface::{self, Interface};
use super::machine::Room;
use super::sample::{self, Line, Sample};
use super::settings::Given;
use super::traffic::{Source, Traffic};
use crate::capture::live::{self, Ring};
use crate::cli::{Doctor, complain, settings};
use crate::dcom::Calls;
use crate::limits::Limits;
use crate::name_answers::NameAnswers;
use crate::workers::Crew;

/// Looks at them, listens on them, and says what their traffic is like.
pub(super) fn look(options: &Doctor, given: Given, interrupted: &AtomicBool, checkup: &mut Checkup) {
    let known = interface::all();
    let named = |name: &String| known.iter().find(|interface| interface.name == *name);
    let outside: Vec<Option<&Interface>> = options.interfaces.iter().map(named).collect();
    for interface in outside.iter().flatten() {
        let looked = [interface.link(), interface.addresses(), interface.offload()];
        checkup.checks.extend(looked);
    }
    let opened = open(options, &known, checkup);
    // While this user still is who asked.
    let room = Room::of(&options.log_dir(&given.config));
    if opened.is_empty() || !give_up(options, &opened, checkup) {
        checkup.checks.push(room.check(None));
        return;
    }
    let limits = Limits::live();
    let (calls, names) = (Calls::Interest, NameAnswers::PassedOver);
    let mut crew = Crew::new(
        options.capture.workers(),
        given.catalog,
        &limits,
        calls,
        given.keys.as_ref(),
        names,
    );
    crew.analysis().set_detection(&(&given.config.detect).into());
    crew.analysis().set_policy(settings::policy(&given.config, &limits));
    complain(
        &format!(
            "listening for {} s on {}",
            options.seconds,
            options.interfaces.join(", ")
        ),
        None,
    );
    let counts = || {
        outside
            .iter()
            .map(|one| one.and_then(Interface::counts))
            .collect::<Vec<_>>()
    };
    let before = counts();
    let mut promiscuous = Vec::new();
    let lasts = Duration::from_secs(options.seconds.into());
    let sample = sample::listen(opened, crew, lasts, interrupted, || {
        promiscuous = outside.iter().flatten().filter_map(|one| one.promiscuous()).collect();
    });
    checkup.checks.extend(promiscuous);
    let lost = before.into_iter().zip(counts()).map(|counts| match counts {
        (Some(before), Some(after)) => after.since(before).lost,
        _ => 0,
    });
    for ((name, interface), lost) in options.interfaces.iter().zip(&outside).zip(lost) {
        let Some(line) = sample.lines.iter().find(|line| *line.name == **name) else {
            continue;
        };
        checkup.checks.extend(line.went_down());
        checkup
            .checks
            .extend([line.ring(options.capture.ring_size), line.interface_drops(lost)]);
        checkup.checks.extend(line.times());
        checkup
            .checks
            .extend(interface.and_then(|interface| interface.joined(line.longest)));
    }
    let Sample {
        lines,
        tally,
        lasted,
        alerts,
        logged,
    } = &sample;
    let traffic = Traffic {
        source: Source::Interfaces,
        tally,
        lasted: *lasted,
        alerts: *alerts,
        dropped: lines.iter().map(Line::dropped).sum(),
    };
    checkup.checks.extend(traffic.checks());
    let a_day = logged.saturating_mul(86_400) / lasted.as_secs().max(1);
    checkup.checks.push(room.check(Some(a_day)));
}

/// Opens the rings of those that can be, and tells of the others.
fn open(options: &Doctor, known: &[Interface], checkup: &mut Checkup) -> Vec<Vec<Ring>> {
    let listening = options.capture.listening();
    let mut opened = Vec::new();
    for name in &options.interfaces {
        match live::open(name, &listening) {
            Ok(rings) => {
                opened.push(rings);
                if !known.iter().any(|interface| interface.name == *name) {
                    let says = "the system tells nothing of it: /sys may be that of another network namespace";
                    let what_to_do =
                        format!("look at `ip -details link show {name}`; `ip netns exec` brings the right /sys");
                    checkup
                        .checks
                        .push(Check::cannot_tell("link", says, what_to_do).of(name));
                }
            }
            Err(error) => {
                checkup.incomplete = true;
                let what_to_do = match known.iter().find(|interface| interface.name == *name) {
                    Some(interface) if interface.is_down() => format!("ip link set {name} up"),
                    None if !known.is_empty() => interface::meant(name, known),
                    _ => "it needs root, or CAP_NET_RAW and CAP_NET_ADMIN, and a filter that tcpdump knows (--bpf)"
                        .to_owned(),
                };
                let says = format!("it cannot be listened to: {error}");
                checkup.checks.push(Check::bad("open", says, what_to_do).of(name));
            }
        }
    }
    opened
}

/// Gives up what `live` gives up. False where that fails: then nothing from outside is looked at.
#[cfg(target_os = "linux")]
fn give_up(options: &Doctor, opened: &[Vec<Ring>], checkup: &mut Checkup) -> bool {
    const NAME: &str = "jail";
    let takers = live::sockets(opened);
    let (check, done) = match crate::live::jail::enter_to_look(&options.user, options.allow_root, &takers) {
        Ok(jail) if jail.is_whole => (Check::ok(NAME, jail.to_string()), true),
        Ok(jail) => {
            let what_to_do = "the sensor works; a kernel with landlock (5.13 or newer) and seccomp confines it";
            (Check::warn(NAME, jail.to_string(), what_to_do), true)
        }
        Err(error) => {
            checkup.incomplete = true;
            let what_to_do = "name a user that there is (--user), or make one: adduser --system --group --no-create-home dcom-sensor";
            (Check::bad(NAME, format!("{error:#}"), what_to_do), false)
        }
    };
    checkup.checks.push(check);
    done
}

#[cfg(not(target_os = "linux"))]
fn give_up(_: &Doctor, _: &[Vec<Ring>], _: &mut Checkup) -> bool {
    true
}
