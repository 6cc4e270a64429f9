//! Dropping everything that is open, which needs a process of its own: the table is the process's.
#![expect(unsafe_code, reason = "the function that is tested is unsafe")]
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium_ffi::handles::{self, Many, Own};
use alluvium_ffi::{Kind, Object};
use std::sync::Mutex;

static DROPPED: Mutex<Vec<&str>> = Mutex::new(Vec::new());

struct Parent;
struct Child(&'static str);

// SAFETY: each has a kind of its own here, and `Parent` is `Sync`.
unsafe impl Object for Parent {
    const KIND: Kind = Kind::Store;
    type Mode = Many;
}
// SAFETY: as above.
unsafe impl Object for Child {
    const KIND: Kind = Kind::Writer;
    type Mode = Own;
}

impl Drop for Parent {
    fn drop(&mut self) {
        DROPPED.lock().unwrap().push("parent");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        DROPPED.lock().unwrap().push(self.0);
    }
}

#[test]
fn children_go_first_whoever_has_them() {
    let parent = handles::insert(Parent, 0).unwrap();
    let own = handles::insert(Child("child"), parent).unwrap();
    let grandchild = handles::insert(Child("grandchild"), own).unwrap();
    let others = std::thread::spawn(move || handles::insert(Child("another's"), parent).unwrap()).join().unwrap();
    let closed = handles::insert(Child("closed"), parent).unwrap();
    drop(handles::remove::<Child>(closed).unwrap());
    // SAFETY: nobody uses them.
    assert_eq!(unsafe { handles::drop_all() }, 4);
    let dropped = DROPPED.lock().unwrap();
    let place = |name| dropped.iter().position(|&dropped| dropped == name).unwrap();
    assert!(place("grandchild") < place("child") && place("child") < place("parent"));
    assert!(place("another's") < place("parent"));
    assert_eq!(handles::open_objects(), 0);
    for handle in [own, grandchild, others] {
        assert!(handles::get::<Child>(handle).is_err());
    }
    assert!(handles::get::<Parent>(parent).is_err());
    // SAFETY: as above.
    assert_eq!(unsafe { handles::drop_all() }, 0);
}
