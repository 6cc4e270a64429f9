//! Checkpoints in remote directories: uploaded, kept, restored while they serve, through every kind of trouble.
//!
//! `ALLUVIUM_TEST_SEED` replays a history; `ALLUVIUM_TEST_S3_URL` names a bucket for the test that is ignored without one
//! (`docs/remote.md`).
#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod crash;
mod damage;
mod faulty;
mod histories;
#[path = "../model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;
mod stories;
mod world;
