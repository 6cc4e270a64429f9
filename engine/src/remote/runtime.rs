//! The thread that the requests of a remote run on.

use super::error::{RemoteError, RemoteResult};
use std::future::Future;
use std::sync::mpsc;
use tokio::sync::oneshot;

/// A thread with a current-thread runtime; it ends when this is dropped. What is under way then is given up.
#[derive(Debug)]
pub(super) struct Runtime {
    handle: tokio::runtime::Handle,
    /// Its end is the thread's.
    _stop: oneshot::Sender<()>,
}

impl Runtime {
    pub fn start() -> RemoteResult<Self> {
        let failed = |error: std::io::Error| RemoteError::Thread(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .thread_name("alluvium-remote")
            .enable_all()
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // An error: the sender is gone, which is the word to stop.
            let _stopped: Result<(), _> = runtime.block_on(stopped);
            // Files that are being read or written don't hold the thread up.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("alluvium-remote".into()).spawn(run).map_err(failed)?;
        Ok(Self { handle, _stop: stop })
    }

    /// Runs something beside what else there is.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // Whoever wants to know how it ends sees to that within it.
        drop(self.handle.spawn(future));
    }

    /// Begins something; its outcome is to be received.
    pub fn begin<T: Send + 'static>(
        &self,
        future: impl Future<Output = RemoteResult<T>> + Send + 'static,
    ) -> Running<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.spawn(async move {
            // Whoever wanted it may be gone.
            let _unwanted = sender.send(future.await);
        });
        Running(receiver)
    }
}

/// Something that was begun.
pub(super) struct Running<T>(mpsc::Receiver<RemoteResult<T>>);

impl<T> Running<T> {
    pub fn wait(self) -> RemoteResult<T> {
        self.0.recv().unwrap_or_else(|_| Err(RemoteError::Thread("it panicked, or was stopped".into())))
    }
}

/// Does what may wait for a disk on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> RemoteResult<T> + Send + 'static,
) -> RemoteResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(RemoteError::Thread(error.to_string())),
    }
}
