//! What the sensor gives up once its interfaces are open: root, capabilities, every file but its logs, most system calls.
//!
//! Runs before any thread begins, since the kernel holds all of these by thread.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::{fmt, iter, process};

use anyhow::{Context, Result, anyhow, bail};
use caps::{CapSet, Capability};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use nix::libc;
use nix::unistd::{Uid, User, geteuid, setgid, setgroups, setuid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::handing::Place;
use crate::cli::{Live, complain};
use crate::config::Config;
use crate::outputs::Needs;

/// The user that there is on most systems.
const FALLBACK: &str = "nobody";

/// Gives up what is not needed any more, and says what that was. Nothing goes out by `takers`, sockets that are open.
/// `as_user` is done before files and calls are confined, as whoever it goes on as.
pub(super) fn enter(
    options: &Live,
    config: &Config,
    takers: &[RawFd],
    as_user: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut places = Place::all(config);
    let user = give_up_root(&options.user, options.allow_root, &mut places)?;
    as_user()?;
    if !geteuid().is_root() {
        let who = User::from_uid(geteuid()).ok().flatten();
        let who = who.map_or_else(|| format!("user {}", geteuid()), |who| who.name);
        places.iter().try_for_each(|place| place.must_be_writable(&who))?;
    }
    let file = options.settings.file();
    let files = file.as_deref().into_iter().chain(config.files());
    let logs = options.hosts.host_logs.iter().map(|path| &**path);
    // A name may lead to a file in another folder.
    let files: Vec<PathBuf> = files
        .chain(logs)
        .flat_map(|path| [Some(path.to_owned()), path.canonicalize().ok()])
        .flatten()
        .collect();
    // A file that grows is put away, and another takes its name.
    let read = files.iter().map(|path| if path.is_dir() { path } else { folder(path) });
    let needs = Needs::of(config);
    let names: &[&str] = if needs.names { FOR_NAMES } else { &[] };
    let read = read.chain(names.iter().map(Path::new));
    let written = places.iter().map(|place| &*place.folder);
    let mut written: Vec<&Path> = written.chain(needs.files.iter().map(|file| folder(file))).collect();
    let mut named = BTreeSet::new();
    written.retain(|folder| named.insert(*folder));
    let shown: Vec<_> = written.iter().map(|folder| folder.display().to_string()).collect();
    let alone = format!("writing to {} alone", shown.join(" and "));
    let jail = Jail::close(user, &alone, written.into_iter(), read, &needs, takers);
    complain(&jail.to_string(), None);
    Ok(())
}

/// Gives up what is not needed by whoever listens and writes nothing.
pub(crate) fn enter_to_look(user: &str, allow_root: bool, takers: &[RawFd]) -> Result<Jail> {
    let user = give_up_root(user, allow_root, &mut [])?;
    let nothing = iter::empty::<&Path>();
    // Where the kernel tells of interfaces.
    let read = iter::once(Path::new("/sys"));
    Ok(Jail::close(
        user,
        "writing to no file",
        nothing,
        read,
        &Needs::default(),
        takers,
    ))
}

/// What was given up.
pub(crate) struct Jail {
    user: String,
    files: String,
    calls: String,
    /// Does the kernel hold to all of it?
    pub(crate) is_whole: bool,
}

impl Jail {
    /// Writing and reading is for these alone, and system calls are for those that a sensor makes. `alone` says so.
    fn close<'a>(
        user: String,
        alone: &str,
        written: impl Iterator<Item = &'a Path>,
        read: impl Iterator<Item = &'a Path>,
        needs: &Needs,
        takers: &[RawFd],
    ) -> Self {
        let files = confine_files(written, read, needs);
        let calls = confine_calls(needs, takers);
        Self {
            user,
            is_whole: files.is_ok() && calls.is_ok(),
            files: files.map_or_else(|why| format!("files not confined: {why}"), |()| alone.to_owned()),
            calls: match calls {
                Ok(()) => "system calls confined".to_owned(),
                Err(why) => format!("system calls not confined: {why}"),
            },
        }
    }
}

impl fmt::Display for Jail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, files, calls, .. } = self;
        write!(f, "{user}; {files}; {calls}")
    }
}

/// The folder that a file is in.
pub(super) fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn next_user(user: &str) -> Option<User> {
    let find = |name: &str| User::from_name(name).ok().flatten();
    find(user).or_else(|| find(FALLBACK))
}

/// The user that it goes on as, unless that is root.
pub(super) fn goes_on_as(options: &Live) -> Option<u32> {
    let now = geteuid();
    let then = match (now.is_root(), options.allow_root) {
        (true, false) => next_user(&options.user)?.uid,
        _ => now,
    };
    (!then.is_root()).then(|| then.as_raw())
}

fn give_up_root(user: &str, allow_root: bool, written: &mut [Place]) -> Result<String> {
    if !geteuid().is_root() {
        // Capabilities did their work when the interfaces were opened.
        let held = caps::read(None, CapSet::Permitted).unwrap_or_default();
        caps::clear(None, CapSet::Effective)
            .and_then(|()| caps::clear(None, CapSet::Permitted))
            .map_err(|error| anyhow!("cannot give up capabilities: {error}"))?;
        let net = held.contains(&Capability::CAP_NET_RAW);
        return Ok(format!(
            "running as user {}{}",
            geteuid(),
            if net { ", capabilities given up" } else { "" }
        ));
    }
    if allow_root {
        return Ok("running as root, as --allow-root says".to_owned());
    }
    let Some(found) = next_user(user) else {
        bail!(
            "there is no user {user} and no {FALLBACK} to go on as; name another with --user, or stay root with --allow-root"
        );
    };
    if found.uid.is_root() {
        bail!("--user {} is root; --allow-root says that this is wanted", found.name);
    }
    let mut given = Vec::new();
    for place in written {
        let handed = place.hand_over(found.uid, found.gid);
        if handed.with_context(|| place.folder.display().to_string())? {
            given.push(place.folder.display().to_string());
        }
    }
    setgroups(&[found.gid])
        .and_then(|()| setgid(found.gid))
        .and_then(|()| setuid(found.uid))
        .with_context(|| format!("cannot go on as {}", found.name))?;
    if setuid(Uid::from_raw(0)).is_ok() {
        bail!("root could be had back: the system did not let go of it");
    }
    let given = match &*given {
        [] => String::new(),
        folders => format!(", who was given {}", folders.join(" and ")),
    };
    Ok(format!("running as {}{given}", found.name))
}

/// Reading is for these as well: of files that SIGHUP reads again, their folders, as whoever edits a file puts a new one in its
/// place. Newer kernels also hold to it that nothing connects by TCP, signals others or speaks to sockets without a path.
fn confine_files<'a>(
    written: impl Iterator<Item = &'a Path>,
    read: impl Iterator<Item = &'a Path>,
    needs: &Needs,
) -> std::result::Result<(), String> {
    let abi = ABI::V3;
    let confine = || {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .scope(Scope::Signal)?;
        if !needs.internet {
            rules = rules.handle_access(AccessNet::from_all(ABI::V4))?;
        }
        if !needs.has_sockets() {
            rules = rules.scope(Scope::AbstractUnixSocket)?;
        }
        rules
            .create()?
            .add_rules(path_beneath_rules(written, AccessFs::from_all(abi)))?
            .add_rules(path_beneath_rules(read, AccessFs::from_read(abi)))?
            .restrict_self()
    };
    match confine() {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => Err("this kernel has no landlock".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The kernel holds to all of these filters; the last lets no other follow.
fn confine_calls(needs: &Needs, takers: &[RawFd]) -> Result<()> {
    apply_filter(&no_clone3()?)?;
    for takers in takers.chunks(TAKERS) {
        apply_filter(&nothing_out_by(takers)?)?;
    }
    Ok(apply_filter(&calls(needs)?)?)
}

/// Sockets in one filter: the kernel takes 4096 instructions of each.
const TAKERS: usize = 32;

/// Compares an argument of 32 bits.
fn argument(number: u8, compared: SeccompCmpOp, value: impl TryInto<u64>) -> Result<SeccompCondition> {
    let value = value.try_into().map_err(|_| anyhow!("no argument of a system call"))?;
    Ok(SeccompCondition::new(number, SeccompCmpArgLen::Dword, compared, value)?)
}

fn is(number: u8, value: impl TryInto<u64>) -> Result<SeccompCondition> {
    argument(number, SeccompCmpOp::Eq, value)
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, others, these, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

fn refuse(error: i32) -> Result<SeccompAction> {
    Ok(SeccompAction::Errno(u32::try_from(error)?))
}

/// A filter does not see what `clone3` is asked for. The C library takes `clone` where there is none.
fn no_clone3() -> Result<BpfProgram> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    filter(rules, SeccompAction::Allow, refuse(libc::ENOSYS)?)
}

/// Sockets that take frames or senders: nothing is sent by them, none is connected or bound anew, takes more than it was opened
/// for, or gets another number. And none is closed before the process ends, since a filter knows them by their numbers, which a
/// log would get then.
fn nothing_out_by(takers: &[RawFd]) -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for &taker in takers {
        for call in [
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_sendto,
            libc::SYS_sendmsg,
            libc::SYS_sendmmsg,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_setsockopt,
            libc::SYS_close,
        ] {
            rules
                .entry(call)
                .or_default()
                .push(SeccompRule::new(vec![is(0, taker)?])?);
        }
        let again = vec![is(0, taker)?, is(1, libc::F_DUPFD_CLOEXEC)?];
        rules.entry(libc::SYS_fcntl).or_default().push(SeccompRule::new(again)?);
    }
    filter(rules, SeccompAction::Allow, refuse(libc::EPERM)?)
}

/// Where the C library looks when it is asked for the address of a name: its settings, what it loads for them, and where
/// systemd keeps what the first lead to. Folders, since whoever changes such a file puts a new one in its place.
const FOR_NAMES: &[&str] = &[
    "/etc",
    "/run/systemd/resolve",
    "/run/nscd",
    "/usr/lib",
    "/lib",
    "/lib64",
];

/// What it does beside [`ALLOWED`] to find an address.
const ALLOWED_FOR_NAMES: &[i64] = &[
    libc::SYS_bind,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_uname,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
];

/// What devices and sockets are asked: is it a terminal, how wide is it, do not wait, is the interface up (`SIOCGIFFLAGS`; libpcap
/// asks). A terminal would take commands by others.
const REQUESTS: &[u64] = &[TCGETS, TCGETS2, TIOCGWINSZ, FIONBIO, 0x8913];
const TCGETS: u64 = 0x5401;
const TCGETS2: u64 = 0x802c_542a;
const TIOCGWINSZ: u64 = 0x5413;
const FIONBIO: u64 = 0x5421;

/// What a descriptor is asked: for a second one, and whether it waits. Not to whom a signal goes when something comes.
const COMMANDS: &[i32] = &[libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC];

/// What a sensor does: read, write, wait, rename logs. It makes no connection but to its outputs, no process, and runs nothing.
fn calls(needs: &Needs) -> Result<BpfProgram> {
    let mut allowed = ALLOWED.to_vec();
    let mut families = Vec::new();
    if needs.local || needs.names {
        families.push(libc::AF_UNIX);
    }
    if needs.internet {
        families.extend([libc::AF_INET, libc::AF_INET6]);
        // UDP has no connection to ask for: it begins with an address of its own.
        allowed.push(libc::SYS_bind);
    }
    if needs.names {
        allowed.extend_from_slice(ALLOWED_FOR_NAMES);
        families.push(libc::AF_NETLINK);
    }
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = allowed.into_iter().map(|call| (call, Vec::new())).collect();
    let mut only = |call: i64, conditions: Vec<SeccompCondition>| -> Result<()> {
        // One without conditions holds already.
        if rules.get(&call).is_none_or(|rules| !rules.is_empty()) {
            rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
        }
        Ok(())
    };
    for &request in REQUESTS {
        only(libc::SYS_ioctl, vec![is(1, request)?])?;
    }
    for &command in COMMANDS {
        only(libc::SYS_fcntl, vec![is(1, command)?])?;
    }
    let silent = SeccompCmpOp::MaskedEq(u64::try_from(libc::O_ASYNC)?);
    only(libc::SYS_fcntl, vec![is(1, libc::F_SETFL)?, argument(2, silent, 0)?])?;
    only(libc::SYS_tgkill, vec![is(0, process::id())?])?;
    let threads = u64::try_from(libc::CLONE_THREAD)?;
    let kind = SeccompCmpOp::MaskedEq(threads | NAMESPACES);
    only(libc::SYS_clone, vec![argument(0, kind, threads)?])?;
    // To whom a socket is connected, and to nobody else.
    let nobody = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    only(libc::SYS_sendto, vec![nobody])?;
    for family in families {
        only(libc::SYS_socket, vec![is(0, family)?])?;
    }
    if needs.has_sockets() {
        rules.insert(libc::SYS_connect, Vec::new());
    }
    filter(rules, refuse(libc::EPERM)?, SeccompAction::Allow)
}

/// `CLONE_NEW*`: a namespace of its own would give rights in it.
const NAMESPACES: u64 = 0x7e02_0080;

const ALLOWED: &[i64] = &[
    // Files: logs, and what is read again.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_pipe2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Waiting for frames, for one another, and for those who ask for metrics.
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_eventfd2,
    libc::SYS_accept4,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Not `recvmsg`: that brings open files under numbers that no filter knows.
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // Memory and threads.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_prctl,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getrandom,
    // Signals and time.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
];

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, IsTerminal, Read, Write};
    use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::thread;

    use super::*;

    /// Confines a thread, which is all that it takes to see what is left of its rights.
    fn confined<T: Send + 'static>(needs: Needs, takers: &[RawFd], act: impl FnOnce() -> T + Send + 'static) -> T {
        let takers = takers.to_vec();
        let confined = move || {
            confine_calls(&needs, &takers).unwrap();
            act()
        };
        thread::spawn(confined).join().unwrap()
    }

    fn is_refused<T>(result: std::io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn without_outputs_there_is_no_way_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        confined(Needs::default(), &[], move || {
            assert!(is_refused(UdpSocket::bind("127.0.0.1:0")));
            assert!(is_refused(TcpStream::connect(address)));
            assert!(is_refused(UnixDatagram::unbound()));
            assert!(is_refused(process::Command::new("/bin/true").status()));
        });
    }

    #[test]
    fn a_sensor_has_what_it_needs() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut asking = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        confined(Needs::default(), &[listener.as_raw_fd()], move || {
            listener.set_nonblocking(true).unwrap();
            let (answer, _) = listener.accept().unwrap();
            answer.set_nonblocking(false).unwrap();
            answer.try_clone().unwrap().write_all(b"yes").unwrap();
            near.write_all(b"ready").unwrap();
            let _ = std::io::stdout().is_terminal();
            let named = thread::Builder::new().name("other".to_owned());
            assert_eq!(named.spawn(|| 7).unwrap().join().unwrap(), 7, "there are threads");
        });
        let (mut said, mut answered) = (String::new(), String::new());
        far.read_to_string(&mut said).unwrap();
        asking.read_to_string(&mut answered).unwrap();
        assert_eq!((&*said, &*answered), ("ready", "yes"));
    }

    #[test]
    fn a_socket_that_takes_gives_nothing() {
        let (near, far) = UnixStream::pair().unwrap();
        let number = near.as_raw_fd();
        // Also with more of them than any machine has.
        let takers: Vec<RawFd> = (1_000..1_300).chain([number]).collect();
        let needs = Needs {
            local: true,
            internet: true,
            ..Needs::default()
        };
        confined(needs, &takers, move || {
            for refused in [
                is_refused((&near).write(b"out")),
                is_refused((&near).write_vectored(&[std::io::IoSlice::new(b"out")])),
                is_refused(near.try_clone()),
                is_refused(rustix::net::send(&near, b"out", rustix::net::SendFlags::empty()).map_err(Into::into)),
                is_refused(
                    rustix::net::connect(&near, &rustix::net::SocketAddrUnix::new("/dev/log").unwrap())
                        .map_err(Into::into),
                ),
                is_refused(rustix::net::bind(&near, &rustix::net::SocketAddrUnix::new_unnamed()).map_err(Into::into)),
                is_refused(near.set_nonblocking(false).and(near.set_read_timeout(None))),
            ] {
                assert!(refused);
            }
            assert!((&far).write(b"in").is_ok(), "another one does");
            let mut came = [0; 2];
            (&near).read_exact(&mut came).unwrap();
            assert_eq!(&came, b"in");
        });
    }

    #[test]
    fn nobody_is_signalled_when_something_comes() {
        let (near, _far) = UnixStream::pair().unwrap();
        confined(Needs::default(), &[], move || {
            let flags = rustix::fs::fcntl_getfl(&near).unwrap();
            let set = |flags| rustix::fs::fcntl_setfl(&near, flags).map_err(Into::into);
            assert!(set(flags | rustix::fs::OFlags::NONBLOCK).is_ok());
            assert!(is_refused(set(flags | rustix::fs::OFlags::from_bits_retain(0x2000))));
            // As all commands that are not listed.
            assert!(is_refused(rustix::fs::fcntl_get_seals(&near).map_err(Into::into)));
        });
    }

    #[test]
    fn no_open_file_comes_by_a_socket() {
        let (near, far) = UnixDatagram::pair().unwrap();
        let needs = Needs {
            names: true,
            ..Needs::default()
        };
        far.send(b"in").unwrap();
        confined(needs, &[], move || {
            let mut came = [0; 2];
            let mut into = [std::io::IoSliceMut::new(&mut came)];
            let mut files = rustix::net::RecvAncillaryBuffer::default();
            let flags = rustix::net::RecvFlags::DONTWAIT;
            assert!(is_refused(
                rustix::net::recvmsg(&near, &mut into, &mut files, flags).map_err(Into::into)
            ));
            assert_eq!(near.recv(&mut came).unwrap(), 2, "but what is said does");
        });
    }

    #[test]
    fn outputs_have_what_they_need() {
        let needs = Needs {
            internet: true,
            names: true,
            ..Needs::default()
        };
        let (sent, found) = confined(needs, &[], || {
            let sent = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.connect("127.0.0.1:9"));
            (sent, ("localhost", 9).to_socket_addrs().map(Iterator::count))
        });
        assert!(sent.is_ok(), "{sent:?}");
        assert!(found.is_ok_and(|count| count > 0));
        let needs = Needs {
            local: true,
            ..Needs::default()
        };
        confined(needs, &[], || {
            let socket = UnixDatagram::unbound().unwrap();
            let refused = socket.connect("/nonexistent/socket").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotFound);
            assert!(is_refused(UdpSocket::bind("127.0.0.1:0")));
        });
    }
}
