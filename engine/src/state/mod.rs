//! Typed handles over states.
