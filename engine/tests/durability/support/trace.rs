//! Runs a process and kills it at its n-th change of the file system, counted over all of its threads.
//!
//! The kill comes when the call is entered, so calls 1 to n-1 took place and the n-th did not: stepping n from 1 to the
//! count of an undisturbed run stops the process between any two changes. By ptrace, as counting has to be exact and
//! the process has to run the code that ships.
#![expect(unsafe_code, reason = "ptrace and waitpid")]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// How a traced process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How many changes it made or began.
    pub changes: u64,
    /// Whether it was killed at the change asked for.
    pub killed: bool,
    /// Its exit code, where it ended by itself.
    pub code: Option<i32>,
}

/// A process that takes longer than this hangs.
const HANG: Duration = Duration::from_secs(120);

fn ptrace(request: libc::c_uint, pid: libc::pid_t, address: usize, data: usize) -> libc::c_long {
    // SAFETY: the requests used here read and write nothing of this process but `data`, which the caller keeps valid.
    unsafe { libc::ptrace(request, pid, address, data) }
}

/// Whether a system call changes the file system. Opening does where it may create, a ring where anything is submitted.
fn is_change(number: u64, arguments: [u64; 6]) -> bool {
    let number = number as libc::c_long;
    if number == libc::SYS_openat {
        return arguments[2] & libc::O_CREAT as u64 != 0;
    }
    if number == libc::SYS_io_uring_enter {
        // Reads, too, go this way; a kill before one does no harm.
        return arguments[1] > 0;
    }
    let everywhere = [
        libc::SYS_write,
        libc::SYS_pwrite64,
        libc::SYS_writev,
        libc::SYS_pwritev,
        libc::SYS_fdatasync,
        libc::SYS_fsync,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_unlinkat,
        libc::SYS_linkat,
        libc::SYS_mkdirat,
        libc::SYS_ftruncate,
    ];
    #[cfg(target_arch = "x86_64")]
    if [libc::SYS_rename, libc::SYS_unlink, libc::SYS_link, libc::SYS_mkdir].contains(&number) {
        return true;
    }
    everywhere.contains(&number)
}

/// The system call that a stopped thread is about to enter; `None` where it is leaving one.
fn entered(thread: libc::pid_t) -> Option<(u64, [u64; 6])> {
    // SAFETY: a struct of plain numbers, for which zero is a value.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let bytes = size_of_val(&info);
    let got = ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, bytes, &raw mut info as usize);
    if got <= 0 || info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that this part of the union was filled.
    let entry = unsafe { info.u.entry };
    Some((entry.nr, entry.args))
}

/// Runs a command and kills it when it enters its `kill_at`-th change, counted from its first `getppid`.
pub fn run(command: &mut Command, kill_at: Option<u64>) -> Outcome {
    // SAFETY: ptrace is async-signal-safe, and PTRACE_TRACEME takes no arguments.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    #[expect(clippy::zombie_processes, reason = "`follow` waits for it, as its tracer")]
    let child = command.spawn().expect("the process starts");
    let process = child.id() as libc::pid_t;
    let (ended, watched) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hung = watched.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout);
        if hung {
            kill(process);
        }
        hung
    });
    let outcome = follow(process, kill_at);
    drop(ended);
    assert!(!watchdog.join().unwrap(), "the process hung: {command:?}");
    outcome
}

fn kill(process: libc::pid_t) {
    // SAFETY: sends a signal to a child that was not waited for yet.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

/// Waits for any thread of the processes that this thread traces.
fn wait() -> (libc::pid_t, i32) {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    assert!(thread > 0, "waiting: {}", std::io::Error::last_os_error());
    (thread, status)
}

fn follow(process: libc::pid_t, kill_at: Option<u64>) -> Outcome {
    let (first, status) = wait();
    assert!(first == process && libc::WIFSTOPPED(status), "stopped by its exec");
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    assert_eq!(ptrace(libc::PTRACE_SETOPTIONS, process, 0, options as usize), 0);
    ptrace(libc::PTRACE_SYSCALL, process, 0, 0);
    let mut outcome = Outcome { changes: 0, killed: false, code: None };
    let mut armed = false;
    loop {
        let (thread, status) = wait();
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            if thread == process {
                outcome.code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
                return outcome;
            }
            continue;
        }
        let signal = libc::WSTOPSIG(status);
        let mut deliver = 0;
        if signal == libc::SIGTRAP | 0x80 {
            if let Some((number, arguments)) = entered(thread) {
                armed |= number as libc::c_long == libc::SYS_getppid;
                outcome.changes += u64::from(armed && is_change(number, arguments));
                if kill_at == Some(outcome.changes) && !outcome.killed {
                    outcome.killed = true;
                    kill(process);
                    continue;
                }
            }
        } else if status >> 16 == 0 && signal != libc::SIGSTOP && signal != libc::SIGTRAP {
            deliver = signal as usize;
        }
        ptrace(libc::PTRACE_SYSCALL, thread, 0, deliver);
    }
}
