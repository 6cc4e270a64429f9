//! Functions of the host's, and how they are called: by threads of the host's that called the engine. No thread of the engine's attaches to the Java
//! virtual machine, not even to let go of such a function: it would become one of Java's, and wait for its collector.

use jni::objects::JObject;
use jni::refs::Weak;
use jni::sys::jint;
use jni::{Env, JavaVM};
use std::sync::{Mutex, PoisonError};

/// What Java's side comes to where it could not be called.
pub(crate) const NOT_CALLED: jint = 2;

type Call = Weak<JObject<'static>>;

/// What threads of the engine's had the last of, until one of Java's [lets go of it](let_go).
static LEFT: Mutex<Vec<Call>> = Mutex::new(Vec::new());

/// A function of the host's. Java's side keeps the object that is called: were it this one, no forgotten store would ever be found unreachable.
pub(crate) struct HostCall {
    vm: JavaVM,
    /// There until it is dropped.
    call: Option<Call>,
}

impl HostCall {
    /// Refers to the object that is called.
    pub(crate) fn new(env: &Env<'_>, object: &JObject<'_>) -> jni::errors::Result<Self> {
        Ok(Self { vm: env.get_java_vm()?, call: Some(env.new_weak_ref(object)?) })
    }

    /// Calls it: `gone` where Java's side has let go of it.
    pub(crate) fn run(
        &self,
        gone: jint,
        call: impl FnOnce(&mut Env<'_>, &JObject<'_>) -> jni::errors::Result<jint>,
    ) -> jint {
        let Some(kept) = self.call.as_ref().filter(|_| self.is_on_javas_thread()) else { return NOT_CALLED };
        // Nothing is thrown through here: Java's side catches what its function throws, and this what that throws. The thread is attached already.
        let called = self.vm.attach_current_thread(|env| -> jni::errors::Result<jint> {
            let Some(object) = kept.upgrade_local(env)? else { return Ok(gone) };
            call(env, &object)
        });
        called.unwrap_or(NOT_CALLED)
    }

    fn is_on_javas_thread(&self) -> bool {
        self.vm.is_thread_attached().unwrap_or(false)
    }
}

impl Drop for HostCall {
    fn drop(&mut self) {
        // The last that has a store is often a thread of the engine's, with something that is left to be done for it.
        if !self.is_on_javas_thread()
            && let Some(call) = self.call.take()
        {
            LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        }
    }
}

/// Lets go of what threads of the engine's left. By a thread of Java's.
pub(crate) fn let_go() {
    let left = std::mem::take(&mut *LEFT.lock().unwrap_or_else(PoisonError::into_inner));
    drop(left);
}
