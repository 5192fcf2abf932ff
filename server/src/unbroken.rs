//! Work that goes on when whoever waits for it has left. A caller may hang up at
//! any moment, and its call is then dropped where it waits: between a write to
//! the database and the memory of it, too.

use std::panic::resume_unwind;

/// What `work` answers. Once it has begun it is done to its end.
pub async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(answer) => answer,
        // Nobody aborts it.
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// What `work` answers, which may take the processor for longer than the runtime's workers should be held.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => resume_unwind(error.into_panic()),
    }
}
