//! A future that is polled again at once where it woke itself.
//!
//! A connection of hyper's does so with every body: its task asks for it, and by that wakes
//! itself. By way of the scheduler that would be another turn, for which another worker is woken
//! from its sleep, and what the first has made ready to be sent waits meanwhile.

use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls in a row, so that a future which never rests leaves the others their turn.
const IN_A_ROW: usize = 8;

const RESTING: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// What the future takes for its task.
#[derive(Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // While it is polled, whoever polls looks whether this was rung.
        if self.state.swap(WOKEN, Ordering::AcqRel) == RESTING {
            self.task.wake();
        }
    }
}

/// What `future` answers.
pub async fn at_once<F: Future>(future: F) -> F::Output {
    let (mut future, bell) = (pin!(future), Arc::new(Bell::default()));
    let waker = Waker::from(bell.clone());
    poll_fn(|context| {
        bell.task.register(context.waker());
        for _ in 0..IN_A_ROW {
            bell.state.swap(POLLED, Ordering::AcqRel);
            if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(answer);
            }
            let rests = bell.state.compare_exchange(POLLED, RESTING, Ordering::AcqRel, Ordering::Acquire);
            if rests.is_ok() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Wakes itself so many times, then ends; how often its task is woken for that.
    fn wakes(times: usize) -> usize {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut left = times;
        let mut future = pin!(at_once(poll_fn(move |context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })));
        let mut polls = 0;
        while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            polls += 1;
            assert_eq!(count.0.load(Ordering::SeqCst), polls);
        }
        polls
    }

    #[test]
    fn what_wakes_itself_goes_on_and_what_never_rests_leaves_others_their_turn() {
        assert_eq!(wakes(IN_A_ROW - 1), 0);
        assert_eq!(wakes(IN_A_ROW * 3), 3);
    }

    #[test]
    fn what_is_woken_while_it_rests_wakes_its_task_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut kept = None;
        {
            let mut future = pin!(at_once(poll_fn(|context| {
                kept = Some(context.waker().clone());
                Poll::<()>::Pending
            })));
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        let kept = kept.expect("it was polled");
        kept.wake_by_ref();
        kept.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
