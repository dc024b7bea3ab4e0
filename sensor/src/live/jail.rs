//! What the sensor gives up once its interfaces are open: root, capabilities, every file but its logs, most system calls.
//!
//! Runs before any thread begins, since the kernel holds all of these by thread.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use caps::{CapSet, Capability};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    path_beneath_rules,
};
use nix::libc;
use nix::unistd::{Gid, Uid, User, geteuid, setgid, setgroups, setuid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use crate::cli::{Live, complain};
use crate::config::Config;

/// The user that there is on most systems.
const FALLBACK: &str = "nobody";

/// Gives up what is not needed any more, and says what that was.
pub(super) fn enter(options: &Live, config: &Config) -> Result<()> {
    let log_dir = options.log_dir(config);
    let baseline = config.baseline_file();
    let baseline = baseline.as_deref().map(folder);
    let user = give_up_root(options, [Some(&*log_dir), baseline].into_iter().flatten())?;
    let file = options.settings.file();
    let settings = file.as_deref().into_iter().chain(config.files()).map(folder);
    let logs = options.hosts.host_logs.iter();
    // A file that grows is put away, and another takes its name.
    let logs = logs.map(|path| if path.is_dir() { path } else { folder(path) });
    let read = settings.chain(logs);
    let files = confine_files(&log_dir, baseline, read);
    let calls = confine_calls();
    complain(&format!("{user}; {files}; {calls}"), None);
    Ok(())
}

/// The folder that a file is in.
fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn give_up_root<'a>(options: &Live, written: impl Iterator<Item = &'a Path>) -> Result<String> {
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
    if options.allow_root {
        return Ok("running as root, as --allow-root says".to_owned());
    }
    let find = |name: &str| User::from_name(name).ok().flatten();
    let Some(user) = find(&options.user).or_else(|| find(FALLBACK)) else {
        bail!(
            "there is no user {} and no {FALLBACK} to go on as; name another with --user, or stay root with --allow-root",
            options.user
        );
    };
    if user.uid.is_root() {
        bail!("--user {} is root; --allow-root says that this is wanted", user.name);
    }
    for folder in written {
        hand_over(folder, user.uid, user.gid)?;
    }
    setgroups(&[user.gid])
        .and_then(|()| setgid(user.gid))
        .and_then(|()| setuid(user.uid))
        .with_context(|| format!("cannot go on as {}", user.name))?;
    if setuid(Uid::from_raw(0)).is_ok() {
        bail!("root could be had back: the system did not let go of it");
    }
    Ok(format!("running as {}", user.name))
}

/// A folder that is written to, and what is in it from an earlier run, belong to that user from now on.
fn hand_over(folder: &Path, user: Uid, group: Gid) -> Result<()> {
    let give = |path: &Path| {
        let owned = fs::symlink_metadata(path)?;
        // Others' files stay theirs, and no link leads out of here.
        if owned.uid() == 0 && !owned.is_symlink() {
            chown(path, Some(user.as_raw()), Some(group.as_raw()))?;
        }
        std::io::Result::Ok(())
    };
    let all = || {
        give(folder)?;
        fs::read_dir(folder)?.try_for_each(|entry| give(&entry?.path()))
    };
    all().with_context(|| folder.display().to_string())
}

/// Writing is for the folder for logs, reading for it and the folders of the files that SIGHUP reads again: whoever edits a
/// file puts a new one in its place.
fn confine_files<'a>(folder: &Path, baseline: Option<&Path>, read: impl Iterator<Item = &'a Path>) -> String {
    let abi = ABI::V3;
    let written = [Some(folder), baseline].into_iter().flatten();
    let confine = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(written, AccessFs::from_all(abi)))?
            .add_rules(path_beneath_rules(read, AccessFs::from_read(abi)))?
            .restrict_self()
    };
    match confine() {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            "files not confined: this kernel has no landlock".to_owned()
        }
        Ok(_) => format!("writing to {} alone", folder.display()),
        Err(error) => format!("files not confined: {error}"),
    }
}

fn confine_calls() -> String {
    match calls().and_then(|program| Ok(apply_filter(&program)?)) {
        Ok(()) => "system calls confined".to_owned(),
        Err(error) => format!("system calls not confined: {error}"),
    }
}

/// What a sensor does: read, write, wait, rename logs. It makes no connection but to systemd, and runs nothing.
fn calls() -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    let unix = u64::try_from(libc::AF_UNIX)?;
    let local = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, unix)?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![local])?]);
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM)?);
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

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
    libc::SYS_fcntl,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_pipe2,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
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
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_connect,
    libc::SYS_shutdown,
    // Memory and threads.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_prctl,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
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
