//! Random histories whose threads take turns by a seed, where the feature `simulation` is on: then a seed does exactly the same again.
//!
//! What is found ends the process there and then (`alluvium::simulated::world`), so run one suite at a time, with `--nocapture`:
//! `cargo test --release -p alluvium --features simulation --test model -- --nocapture`. `ALLUVIUM_SCHEDULE` has the threads take other
//! turns for the same history.

#[cfg(feature = "simulation")]
use alluvium::simulated::world::{self, Here, here};
#[cfg(feature = "simulation")]
use std::cell::RefCell;
use std::thread::ScopedJoinHandle;

/// Waits for so long, in the time that the calling thread has.
#[track_caller]
pub fn sleep(time: std::time::Duration) {
    alluvium::platform::threads::sleep(time);
}

/// Lets others go first.
#[track_caller]
pub fn yield_now() {
    alluvium::platform::threads::yield_now();
}

/// Goes through a history.
pub fn in_turns(seed: u64, history: impl FnOnce()) {
    #[cfg(feature = "simulation")]
    {
        let schedule = std::env::var("ALLUVIUM_SCHEDULE").map_or(seed, |schedule| schedule.parse().unwrap());
        println!("ALLUVIUM_SCHEDULE={schedule}");
        println!("{:?}", world::run(world::Schedule::new(schedule), history));
    }
    #[cfg(not(feature = "simulation"))]
    {
        let _ = seed;
        history();
    }
}

/// Threads of a history, all of which end before [`scope`] returns.
pub struct Scope<'scope, 'env: 'scope> {
    threads: &'scope std::thread::Scope<'scope, 'env>,
    #[cfg(feature = "simulation")]
    places: RefCell<Vec<Here>>,
}

/// Has threads of its own take part in a history.
pub fn scope<'env, T>(work: impl for<'a, 'scope> FnOnce(&'a Scope<'scope, 'env>) -> T) -> T {
    std::thread::scope(|threads| {
        let scope = Scope {
            threads,
            #[cfg(feature = "simulation")]
            places: RefCell::default(),
        };
        let done = work(&scope);
        #[cfg(feature = "simulation")]
        scope.places.take().iter().for_each(await_end);
        done
    })
}

#[cfg(feature = "simulation")]
#[track_caller]
fn await_end(place: &Here) {
    if let Some(here) = here() {
        here.await_end(place, std::panic::Location::caller());
    }
}

/// Such a thread.
pub struct Handle<'scope, T> {
    thread: ScopedJoinHandle<'scope, T>,
    #[cfg(feature = "simulation")]
    place: Option<Here>,
}

impl<'scope> Scope<'scope, '_> {
    /// Starts one.
    #[track_caller]
    pub fn spawn<T: Send + 'scope>(&self, work: impl FnOnce() -> T + Send + 'scope) -> Handle<'scope, T> {
        #[cfg(feature = "simulation")]
        if let Some(here) = here() {
            let place = here.join("scoped", std::panic::Location::caller());
            self.places.borrow_mut().push(place.clone());
            let takes_turns = place.clone();
            let work = move || {
                let mut done = None;
                takes_turns.work(|| done = Some(work()));
                done.unwrap()
            };
            return Handle { thread: self.threads.spawn(work), place: Some(place) };
        }
        Handle {
            thread: self.threads.spawn(work),
            #[cfg(feature = "simulation")]
            place: None,
        }
    }
}

impl<T> Handle<'_, T> {
    /// Waits until it ends.
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        #[cfg(feature = "simulation")]
        self.place.iter().for_each(await_end);
        self.thread.join()
    }
}
