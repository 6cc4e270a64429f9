//! A kernel that denies io_uring, as containers do, and threads that are interrupted all the time.
#![expect(unsafe_code, reason = "installs a system call filter and a signal handler")]

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// Makes `call` fail with `EPERM` for this thread and those that it starts, for ever.
fn deny(call: libc::c_long) {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The system call's number is the first word of what the filter is given.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the kernel copies the program, which outlives the call.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }, 0);
}

/// Whether the machine has io_uring at all; without it there is nothing to deny.
fn has_uring() -> bool {
    let root = tempdir().unwrap();
    open(root.path(), StorageChoice::Uring, PageCache::Everything, false).is_ok()
}

fn read_many(storage: &dyn Storage, content: &[u8]) {
    let file = storage.open("a").unwrap();
    let mut batch: Vec<_> =
        (0..300).map(|index| ReadRequest::new(Arc::clone(&file), index * 331, 4096 + index as usize)).collect();
    storage.read_batch(&mut batch);
    for (index, request) in batch.into_iter().enumerate() {
        assert_eq!(&*request.outcome.unwrap().unwrap(), &content[index * 331..][..4096 + index]);
    }
}

#[test]
fn where_io_uring_is_denied_plain_calls_serve() {
    if !has_uring() {
        return;
    }
    let thread = thread::spawn(|| {
        deny(libc::SYS_io_uring_setup);
        let root = tempdir().unwrap();
        assert_eq!(fault(open(root.path(), StorageChoice::Uring, PageCache::Nothing, false)), Fault::Io);
        let storage = open(root.path(), StorageChoice::Auto, PageCache::Nothing, false).unwrap();
        assert_eq!(storage.backend(), Backend::Posix);
        assert_eq!(storage.counters().snapshot().uring_fallbacks, 1);
        let content = bytes(1, 200_000);
        write(&*storage, "a", &content);
        read_many(&*storage, &content);
    });
    thread.join().unwrap();
}

#[test]
fn where_the_first_operation_is_denied_its_reads_are_done_all_the_same() {
    if !has_uring() {
        return;
    }
    let thread = thread::spawn(|| {
        deny(libc::SYS_io_uring_enter);
        let root = tempdir().unwrap();
        let storage = open(root.path(), StorageChoice::Auto, PageCache::Nothing, false).unwrap();
        assert_eq!(storage.backend(), Backend::Uring);
        let content = bytes(2, 200_000);
        write(&*storage, "a", &content);
        for _ in 0..3 {
            read_many(&*storage, &content);
            assert_eq!(storage.backend(), Backend::Posix);
            assert_eq!(storage.counters().snapshot().uring_fallbacks, 1);
        }
    });
    thread.join().unwrap();
}

/// Does nothing; that it runs at all is what interrupts a system call.
extern "C" fn ignore(_signal: libc::c_int) {}

#[test]
fn signals_disturb_neither_reads_nor_writes() {
    // SAFETY: zero is a valid `sigaction`; without SA_RESTART, a caught signal makes a waiting call fail with EINTR.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler does nothing, so it may run anywhere; SIGURG is ignored unless somebody asks for it.
    assert_eq!(unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) }, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let disturbed = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            each(|storage| {
                let content = bytes(3, 2 * MIB + 5);
                write(storage, "a", &content);
                for _ in 0..20 {
                    read_many(storage, &content);
                }
                assert_eq!(storage.counters().snapshot().uring_fallbacks, 0);
            });
            // Held until no more signals are sent, so that they always have a thread to go to.
            while !stop.load(Ordering::Acquire) {
                thread::yield_now();
            }
        }
    });
    let target = disturbed.as_pthread_t();
    let start = std::time::Instant::now();
    while !disturbed.is_finished() && start.elapsed().as_secs() < 1 {
        // SAFETY: the thread is neither joined nor detached, so its handle is good.
        unsafe { libc::pthread_kill(target, libc::SIGURG) };
        thread::sleep(std::time::Duration::from_micros(50));
    }
    stop.store(true, Ordering::Release);
    disturbed.join().unwrap();
}
