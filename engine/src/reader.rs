//! A reader: sees what writers did without holding them up.

use crate::store::StoreInner;
use std::sync::Arc;

/// Reads a store beside its writers. Cheap to clone; every thread has its own.
#[derive(Clone, Debug)]
pub struct Reader {
    store: Arc<StoreInner>,
}

impl Reader {
    pub(crate) fn new(store: &Arc<StoreInner>) -> Self {
        Self { store: Arc::clone(store) }
    }
}
