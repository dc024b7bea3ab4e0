//! What this machine allows: rights, room for logs, a clock.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Access, access, statvfs};

use super::check::Check;
use crate::time::Timestamp;

/// Less room than this is soon full, and less than this is full.
const LITTLE: u64 = 2 << 30;
const NONE: u64 = 64 << 20;
/// Room for fewer days is not enough.
const ENOUGH_DAYS: u64 = 7;
/// 2025-01-01: a clock before that was never set.
const NEVER_SET: Timestamp = Timestamp(1_735_689_600_000_000_000);

/// May this user open interfaces?
#[cfg(target_os = "linux")]
pub(super) fn rights() -> Check {
    use caps::{CapSet, Capability};

    const NAME: &str = "rights";
    let root = nix::unistd::geteuid().is_root();
    let held = caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap_or(false);
    let library = libpcap();
    if held {
        let whose = if root {
            "root may"
        } else {
            "CAP_NET_RAW is held: this user may"
        };
        return Check::ok(NAME, format!("{whose} open interfaces ({library})"));
    }
    let whose = if root {
        "this is root without CAP_NET_RAW, as in a container, and".to_owned()
    } else {
        format!("user {} has not CAP_NET_RAW, and", nix::unistd::geteuid())
    };
    Check::bad(
        NAME,
        format!("{whose} cannot open interfaces ({library})"),
        "run it with sudo, as the service does (packaging/dcom-sensor.service), in a container with --cap-add NET_RAW --cap-add \
         NET_ADMIN, or once `sudo setcap cap_net_raw,cap_net_admin+ep` on the program",
    )
}

#[cfg(not(target_os = "linux"))]
pub(super) fn rights() -> Check {
    Check::cannot_tell(
        "rights",
        "this system does not tell whether interfaces may be opened",
        "name one with -i: opening it tells",
    )
}

/// The library that brings frames, by the name of its file: it says no version to whoever may not call it.
#[cfg(target_os = "linux")]
fn libpcap() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let version = maps
        .lines()
        .find_map(|line| line.rsplit_once("libpcap.so.").map(|(_, version)| version));
    version.map_or_else(|| "libpcap".to_owned(), |version| format!("libpcap {version}"))
}

/// Where logs go, as whoever asks may write there.
pub(super) struct Room {
    folder: String,
    state: State,
}

enum State {
    /// So much is free; is the folder still to be made?
    Free(u64, bool),
    /// It cannot be used.
    Unusable(String),
    /// How much is free is not told.
    Unknown(String),
}

impl Room {
    /// Looks at a folder, or at what there is already of its path.
    pub(super) fn of(folder: &Path) -> Self {
        let there = folder.ancestors().find(|part| part.exists());
        let there = there.unwrap_or(Path::new("."));
        let state = if !there.is_dir() {
            State::Unusable(format!("{} is no folder", there.display()))
        } else if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
            State::Unusable(format!("this user cannot write to {}: {error}", there.display()))
        } else {
            match statvfs(there) {
                Ok(system) => State::Free(system.f_bavail.saturating_mul(system.f_frsize), there != folder),
                Err(error) => State::Unknown(error.to_string()),
            }
        };
        Self {
            folder: folder.display().to_string(),
            state,
        }
    }

    /// Is it enough? `a_day`: bytes of eve.json, where a sample tells.
    pub(super) fn check(self, a_day: Option<u64>) -> Check {
        const NAME: &str = "log_folder";
        let folder = self.folder;
        let check = match self.state {
            State::Unusable(why) => {
                let what_to_do =
                    format!("let the sensor's user have it (`chown dcom-sensor {folder}`), or name another with -o");
                Check::bad(NAME, why, what_to_do)
            }
            State::Unknown(why) => Check::cannot_tell(
                NAME,
                format!("how much room there is: {why}"),
                format!("look at `df {folder}`"),
            ),
            State::Free(free, new) => enough(NAME, free, new, a_day.unwrap_or_default()),
        };
        check.of(&folder)
    }
}

fn enough(name: &'static str, free: u64, new: bool, a_day: u64) -> Check {
    let mut says = format!("{}{} free", if new { "it will be made; " } else { "" }, size(free));
    if a_day > 0 {
        let _ = write!(
            says,
            ", eve.json takes about {} a day at the rate of this sample",
            size(a_day)
        );
    }
    let what_to_do = "make room, or name a folder on another disk with -o; --rotate-size and --rotate-minutes of `live` compress old \
                      logs";
    let soon_full = free.checked_div(a_day).is_some_and(|days| days < ENOUGH_DAYS);
    let check = if free < NONE {
        Check::bad(name, says, what_to_do)
    } else if free < LITTLE || soon_full {
        Check::warn(name, says, what_to_do)
    } else {
        Check::ok(name, says)
    };
    check.measured([("free", free), ("a_day", a_day)])
}

fn size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    // Two digits at the least.
    while value >= 10 * 1_024 && unit + 1 < units.len() {
        value /= 1_024;
        unit += 1;
    }
    format!("{value} {}", units[unit])
}

/// Is the clock one that can be compared with those of others?
pub(super) fn clock(now: Timestamp) -> Check {
    const NAME: &str = "clock";
    if now < NEVER_SET {
        return Check::bad(NAME, "it was never set", "set it: timedatectl set-ntp true");
    }
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output();
    let said = asked.ok().filter(|output| output.status.success());
    match said
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .as_deref()
    {
        Some("yes") => Check::ok(NAME, "it is kept by time servers"),
        Some("no") => Check::warn(
            NAME,
            "no time server keeps it: logs of others cannot be laid beside these",
            "timedatectl set-ntp true, or chrony",
        ),
        _ => Check::cannot_tell(
            NAME,
            "this system does not say whether time servers keep it",
            "look at `chronyc tracking` or `timedatectl`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn sizes_have_two_digits_at_the_least() {
        for (bytes, text) in [
            (900, "900 bytes"),
            (10_240, "10 KiB"),
            (64 << 20, "64 MiB"),
            (9 << 30, "9216 MiB"),
            (59 << 30, "59 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_folder_for_logs_is_there_or_can_be_made() {
        let scratch = std::env::temp_dir();
        let check = Room::of(&scratch).check(Some(u64::MAX));
        assert_eq!(check.verdict, Verdict::Warn, "{}", check.says);
        let file = scratch.join(format!("dcom-sensor-doctor-{}", std::process::id()));
        fs::write(&file, "").unwrap();
        let check = Room::of(&file.join("logs")).check(None);
        fs::remove_file(&file).unwrap();
        assert_eq!(check.verdict, Verdict::Bad);
        assert!(check.says.ends_with("is no folder"), "{}", check.says);
        let check = Room::of(&scratch.join("one/two")).check(None);
        assert!(check.says.starts_with("it will be made; "), "{}", check.says);
    }

    #[test]
    fn room_is_measured_by_what_a_day_takes() {
        for (free, a_day, verdict) in [
            (1 << 20, 0, Verdict::Bad),
            (1 << 30, 0, Verdict::Warn),
            (1 << 40, 0, Verdict::Ok),
            (1 << 40, 1 << 30, Verdict::Ok),
            (1 << 40, 1 << 38, Verdict::Warn),
        ] {
            assert_eq!(
                enough("log_folder", free, false, a_day).verdict,
                verdict,
                "{free} {a_day}"
            );
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_bad() {
        assert_eq!(clock(Timestamp(0)).verdict, Verdict::Bad);
        assert_ne!(clock(Timestamp(1_800_000_000_000_000_000)).verdict, Verdict::Bad);
    }
}
