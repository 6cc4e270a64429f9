//! Threads whose end nobody hears of, as there are no more keys for thread-specific data, which needs a process of its own: the keys are
//! the process's.
#![expect(unsafe_code, reason = "the functions that take all keys are unsafe")]
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium_ffi::handles::{self, Handle, Own};
use alluvium_ffi::{Kind, Misuse, Object, threads};

struct Desk(u64);

// SAFETY: the only type of this kind here.
unsafe impl Object for Desk {
    const KIND: Kind = Kind::Writer;
    type Mode = Own;
}

/// A thread's own object that it has used.
fn used() -> Handle {
    let desk = handles::insert(Desk(1), 0).unwrap();
    for number in 2..5 {
        handles::get::<Desk>(desk).unwrap().0 = number;
    }
    desk
}

/// Takes all keys that are left.
fn take_keys() -> Vec<libc::pthread_key_t> {
    let mut key = 0;
    // SAFETY: a place for the key, and no function.
    std::iter::from_fn(|| (unsafe { libc::pthread_key_create(&raw mut key, None) } == 0).then_some(key)).collect()
}

/// One test, as keys are the process's, and one that the library got it has for good.
#[test]
fn threads_that_nobody_hears_the_end_of() {
    let keys = take_keys();
    assert!(!threads::is_alive(threads::token()), "nobody would hear of its end");
    others_may_have_what_was_used_before();
    nothing_is_taken_from_under_a_call();
    what_threads_take_from_each_other_is_used_by_one_at_a_time();
    for key in keys {
        // SAFETY: created above, and deleted once.
        assert_eq!(unsafe { libc::pthread_key_delete(key) }, 0);
    }
    let later = std::thread::spawn(|| (threads::token(), threads::is_alive(threads::token()))).join().unwrap();
    assert!(later.1, "there are keys again");
    assert!(!threads::is_alive(later.0), "and its end was heard of");
}

/// A thread went on with what it had used before, though another had taken it over and closed it.
fn others_may_have_what_was_used_before() {
    let closed = used();
    std::thread::spawn(move || {
        handles::adopt::<Desk>(closed).unwrap();
        assert_eq!(handles::remove::<Desk>(closed).unwrap().0, 4);
    })
    .join()
    .unwrap();
    assert_eq!(handles::get::<Desk>(closed).err(), Some(Misuse::Handle));

    let adopted = used();
    std::thread::spawn(move || {
        handles::adopt::<Desk>(adopted).unwrap();
        handles::get::<Desk>(adopted).unwrap().0 = 7;
    })
    .join()
    .unwrap();
    assert_eq!(handles::get::<Desk>(adopted).err(), Some(Misuse::WrongThread));
    handles::adopt::<Desk>(adopted).unwrap();
    assert_eq!(handles::get::<Desk>(adopted).unwrap().0, 7);
    assert_eq!(handles::remove::<Desk>(adopted).unwrap().0, 7);
}

/// Another thread took over what the first one was using, and closed it.
fn nothing_is_taken_from_under_a_call() {
    let desk = used();
    let elsewhere = |call: fn(Handle) -> Option<Misuse>| std::thread::spawn(move || call(desk)).join().unwrap();
    let mut inside = handles::get::<Desk>(desk).unwrap();
    assert_eq!(elsewhere(|desk| handles::adopt::<Desk>(desk).err()), Some(Misuse::InUse));
    assert_eq!(elsewhere(|desk| handles::get::<Desk>(desk).err()), Some(Misuse::WrongThread));
    assert_eq!(elsewhere(|desk| handles::remove::<Desk>(desk).err()), Some(Misuse::WrongThread));
    assert_eq!(handles::get::<Desk>(desk).err(), Some(Misuse::InUse), "nor twice by its owner");
    assert_eq!(handles::give_away::<Desk>(desk).err(), Some(Misuse::InUse));
    assert_eq!(handles::share::<Desk>(desk).err(), Some(Misuse::InUse));
    assert_eq!(handles::remove::<Desk>(desk).err(), Some(Misuse::InUse));
    inside.0 += 1;
    drop(inside);
    handles::give_away::<Desk>(desk).unwrap();
    assert_eq!(handles::get::<Desk>(desk).err(), Some(Misuse::WrongThread));
    handles::adopt::<Desk>(desk).unwrap();
    let child = handles::insert(Desk(6), desk).unwrap();
    assert!(matches!(handles::remove::<Desk>(desk).err(), Some(Misuse::HasChildren(_))));
    assert_eq!(handles::remove::<Desk>(child).unwrap().0, 6);
    assert_eq!(handles::get::<Desk>(desk).unwrap().0, 5, "closing it in vain leaves nothing behind");
    handles::share::<Desk>(desk).unwrap();
    assert_eq!(elsewhere(|desk| handles::adopt::<Desk>(desk).err()), Some(Misuse::WrongThread), "any thread's");
    assert_eq!(elsewhere(|desk| handles::remove::<Desk>(desk).err()), None);
}

fn what_threads_take_from_each_other_is_used_by_one_at_a_time() {
    let desk = handles::insert(Desk(0), 0).unwrap();
    let added: u64 = std::thread::scope(|scope| {
        let add = || {
            let mut added = 0;
            for _ in 0..20_000 {
                let Ok(()) = handles::adopt::<Desk>(desk) else { continue };
                let Ok(mut desk) = handles::get::<Desk>(desk) else { continue };
                let before = desk.0;
                std::hint::black_box(&mut *desk);
                desk.0 = before + 1;
                added += 1;
            }
            added
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(add)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(added > 0);
    handles::adopt::<Desk>(desk).unwrap();
    assert_eq!(handles::remove::<Desk>(desk).unwrap().0, added);
}
