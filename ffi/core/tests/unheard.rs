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

/// A thread went on with what it had used before, though another had taken it over and closed it.
#[test]
fn who_counts_as_ended_looks_again_for_what_others_may_have() {
    let mut key = 0;
    // SAFETY: a place for the key, and no function.
    while unsafe { libc::pthread_key_create(&raw mut key, None) } == 0 {}
    assert!(!threads::is_alive(threads::token()), "it counts as ended");
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
