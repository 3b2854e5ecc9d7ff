//! Calling what the application supplies: its errors are kept, its panics
//! contained.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

/// An error of the application's own code. `Display` and
/// [`source`](Error::source) are the error's own.
#[derive(Clone)]
pub struct UserError(Arc<dyn Error + Send + Sync>);

impl UserError {
    /// Keeps an error of any type, or a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into().into())
    }

    /// The error itself, to be downcast.
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl Error for UserError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The application's code panicked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {what} panicked: {message}")]
#[non_exhaustive]
pub struct Panicked {
    /// Which part of it, such as `server chooser`.
    pub what: &'static str,
    /// What it said.
    pub message: String,
}

impl Panicked {
    fn new(what: &'static str, payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message =
            text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned());
        tracing::error!(what, message, "the application's code panicked");
        Self { what, message }
    }
}

/// Calls the application's code. Hold no lock.
///
/// # Errors
/// It panicked.
pub fn contain<R>(what: &'static str, call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| Panicked::new(what, &*payload))
}

/// Runs a future of the application's to its end.
///
/// # Cancel safety
/// As that of the future.
pub async fn contain_future<F: Future>(what: &'static str, call: impl FnOnce() -> F) -> Result<F::Output, Panicked> {
    let mut future = pin!(contain(what, call)?);
    std::future::poll_fn(|context| match contain(what, || future.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => std::task::Poll::Ready(Err(panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_contained_and_its_text_kept() {
        assert_eq!(contain("code", || 1), Ok(1));
        let panicked = contain("code", || panic!("at {}", 7)).unwrap_err();
        assert_eq!(panicked.to_string(), "the code panicked: at 7");
    }

    #[tokio::test]
    async fn a_future_may_panic_at_once_or_later() {
        assert_eq!(contain_future("code", || async { 1 }).await, Ok(1));
        let later = contain_future("code", || async {
            tokio::task::yield_now().await;
            panic!("later")
        });
        assert_eq!(later.await.unwrap_err().message, "later");
        let at_once = contain_future("code", || -> std::future::Ready<()> { panic!("at once") });
        assert_eq!(at_once.await.unwrap_err().message, "at once");
    }
}
