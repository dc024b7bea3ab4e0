//! `dcom-sensor doctor`: would the sensor see DCOM here, and what is in its way?
//!
//! | file | what |
//! |---|---|
//! | `check.rs` | a question with its answer and what to do; how they are printed |
//! | `machine.rs` | rights, room for logs, clock |
//! | `settings.rs` | settings, catalogue, baseline, keys: can they be used? |
//! | `interface.rs` | interfaces from outside: link, addresses, offload; which looks like a mirror's end |
//! | `interfaces.rs`, `sample.rs` | those that are named, and a while of listening by the pipeline of `live` |
//! | `captures.rs` | captures in their place |
//! | `traffic.rs` | what the counters say of either |

mod captures;
mod check;
mod interface;
mod interfaces;
mod machine;
mod sample;
mod settings;
mod traffic;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;

use crate::cli::{Doctor, output_width};
use crate::replay::interruption;
use crate::time::Timestamp;
use check::Checkup;
use machine::Room;
use settings::Given;

/// How long interfaces are looked at from outside.
const GLANCE: Duration = Duration::from_secs(2);

pub(crate) fn run(options: &Doctor) -> Result<u8> {
    let interrupted = interruption()?;
    let mut checkup = Checkup::default();
    let of_interfaces = options.captures.is_empty();
    if of_interfaces {
        checkup.checks.push(machine::rights());
        checkup.checks.push(machine::clock(Timestamp::now()));
    }
    let given = Given::load(options, &mut checkup.checks);
    if !of_interfaces {
        captures::look(options, given, &interrupted, &mut checkup);
    } else if options.interfaces.is_empty() {
        let room = Room::of(&options.log_dir(&given.config));
        checkup.checks.push(room.check(None));
        checkup.checks.extend(interface::survey(GLANCE));
    } else {
        interfaces::look(options, given, &interrupted, &mut checkup);
    }
    let text = if options.json {
        checkup.json()?
    } else {
        checkup.text(output_width(), options.colour())
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(checkup.status())
}
