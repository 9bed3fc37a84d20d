//! Work that goes on when whoever waits for it goes away.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is carried to its end, whether or not somebody still waits.
///
/// It runs where it is awaited, which costs nothing. When it is dropped before its end, because
/// the client left and took its task along, it moves to a task of its own and ends there.
pub(crate) struct Undying<T: Send + 'static>(Option<Work<T>>);

/// Boxed, because it must be able to move while it runs.
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The work panicked: a mistake of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

// === impl Undying ===

impl<T: Send + 'static> Undying<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Undying<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = self.0.as_mut() else { return Poll::Ready(Err(Panicked)) };
        // Nothing of the work is looked at again after a panic.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(done)) => Ok(done),
            Err(_) => Err(Panicked),
        };
        self.0 = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for Undying<T> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            // Outside of a runtime the program is past its end, and no work can go on.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(work);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Panicked, Undying};
    use std::time::Duration;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    #[tokio::test]
    async fn whoever_waits_gets_what_the_work_made() {
        assert_eq!(Undying::new(async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_has_begun_ends_though_nobody_waits() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let work = Undying::new(async move {
            gone.await.unwrap();
            done.send(7).unwrap();
        });
        timeout(Duration::from_millis(1), work).await.unwrap_err();
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_has_not_begun_is_done_too() {
        let (done, finished) = oneshot::channel();
        drop(Undying::new(async move { done.send(7).unwrap() }));
        assert_eq!(finished.await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_stays_inside() {
        let work = Undying::<()>::new(async { panic!("a mistake") });
        assert_eq!(work.await, Err(Panicked));
    }
}
