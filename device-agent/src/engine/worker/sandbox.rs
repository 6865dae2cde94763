//! What a worker gives up before it sees a model: memory beyond its limit, the network, files, and other processes.

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

/// How much sooner than others a worker is ended when the machine runs out of memory (-1000 to 1000): a model that takes
/// it all costs its own worker, and neither the agent nor other programs.
const OOM_SCORE: &str = "600";
/// Address space beyond twice the memory limit: libraries, stacks, and what allocators reserve and do not use.
const ADDRESSES_SPARE_BYTES: u64 = 1 << 30;

/// Binds the worker's life to the agent's, and keeps no image of its memory on the disk. The first thing that a worker does.
///
/// # Errors
/// When the system refuses.
pub(super) fn bind_to_agent() -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| format!("follow the agent: {e}"))?;
    // The agent may have ended before: then the worker finds its connection closed.
    limit(Resource::Core, 0)?;
    // A system that does not let a process do this ends another one in need; that is no reason not to run.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    Ok(())
}

/// Limits what the worker allocates. 0: no limit.
///
/// # Errors
/// When the system refuses.
pub(super) fn limit_memory(bytes: u64) -> Result<(), String> {
    if bytes == 0 {
        return Ok(());
    }
    // Data is what programs mean by memory. Address space is there for what is mapped in other ways, and would be far too
    // small if it were the same: allocators reserve it in large pieces.
    limit(Resource::Data, bytes)?;
    limit(Resource::As, bytes.saturating_mul(2).saturating_add(ADDRESSES_SPARE_BYTES))
}

fn limit(resource: Resource, most: u64) -> Result<(), String> {
    let most = Some(most);
    setrlimit(resource, Rlimit { current: most, maximum: most })
        .map_err(|e| format!("limit {resource:?}: {e}"))
}

/// Lets the system refuse everything but computing: no file, no connection and no process is opened any more, and none is
/// signalled. The engine must have opened its libraries before.
///
/// # Errors
/// When this system has no such filter.
#[cfg(all(
    target_endian = "little",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
pub(super) fn confine() -> Result<(), String> {
    let filter = calls::filter().map_err(|e| format!("make the filter of system calls: {e}"))?;
    seccompiler::apply_filter_all_threads(&filter).map_err(|e| format!("set the filter of system calls: {e}"))
}

/// As above, on a machine for which there is no filter.
///
/// # Errors
/// Always.
#[cfg(not(all(
    target_endian = "little",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
pub(super) fn confine() -> Result<(), String> {
    Err(format!("there is no filter of system calls for {}", std::env::consts::ARCH))
}

#[cfg(all(
    target_endian = "little",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod calls {
    use std::collections::BTreeMap;

    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule,
    };

    /// What computing, allocating, waiting and answering on open descriptors takes.
    const ALLOWED: &[i64] = &[
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_fcntl,
        libc::SYS_fstat,
        libc::SYS_futex,
        libc::SYS_getcpu,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getrandom,
        libc::SYS_getrusage,
        libc::SYS_gettid,
        libc::SYS_gettimeofday,
        libc::SYS_lseek,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_ppoll,
        libc::SYS_pread64,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sendto,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_setsockopt,
        libc::SYS_sigaltstack,
        libc::SYS_sysinfo,
        libc::SYS_uname,
        libc::SYS_write,
        libc::SYS_writev,
    ];

    /// A call that may be made only with this argument.
    fn only_with(index: u8, op: SeccompCmpOp, value: u64) -> Result<Vec<SeccompRule>, BackendError> {
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Qword, op, value)?;
        Ok(vec![SeccompRule::new(vec![condition])?])
    }

    pub(super) fn filter() -> Result<BpfProgram, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
        let own = u64::from(std::process::id());
        let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
        // Threads, and no processes.
        rules.insert(libc::SYS_clone, only_with(0, SeccompCmpOp::MaskedEq(thread), thread)?);
        // To end itself, and no one else.
        rules.insert(libc::SYS_tgkill, only_with(0, SeccompCmpOp::Eq, own)?);
        // To ask for its limits, and not to set them.
        rules.insert(libc::SYS_prlimit64, only_with(2, SeccompCmpOp::Eq, 0)?);
        // To name threads and memory, and nothing else.
        let mut named = only_with(0, SeccompCmpOp::Eq, u64::from(libc::PR_SET_NAME.cast_unsigned()))?;
        named.extend(only_with(0, SeccompCmpOp::Eq, u64::from(libc::PR_SET_VMA.cast_unsigned()))?);
        rules.insert(libc::SYS_prctl, named);
        // What is not there is what programs are prepared for: they do without, or use an older call.
        let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, absent, SeccompAction::Allow, arch)?.try_into()
    }
}
