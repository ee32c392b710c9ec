//! Two threads, of which the second spins for work as those of ONNX Runtime do.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use ibgraph_ops::batch::{BatchError, Pool};

/// What both threads take work from.
#[derive(Default)]
struct Shared {
    /// Rounds that were asked for; `usize::MAX` to stop.
    asked: AtomicUsize,
    done: AtomicUsize,
    /// The next index, and one more than the last.
    next: AtomicUsize,
    count: AtomicUsize,
    /// A `&dyn Fn(usize)` of the round.
    work: AtomicPtr<()>,
}

/// The calling thread and one more.
pub struct Two {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

impl Shared {
    fn take(&self) {
        // SAFETY: `for_each` put the reference there, and waits until both threads have no more work.
        let work = unsafe { *self.work.load(Ordering::Acquire).cast::<&(dyn Fn(usize) + Sync)>() };
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count.load(Ordering::Relaxed) {
                return;
            }
            work(index);
        }
    }

    fn serve(&self) {
        let mut round = 0;
        loop {
            wait(|| self.asked.load(Ordering::Acquire) != round);
            round = self.asked.load(Ordering::Acquire);
            if round == usize::MAX {
                return;
            }
            self.take();
            self.done.store(round, Ordering::Release);
        }
    }
}

fn wait(ready: impl Fn() -> bool) {
    let mut looks = 0_u32;
    while !ready() {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(2000) {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

impl Two {
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        Self { shared, worker: Some(std::thread::spawn(move || served.serve())) }
    }
}

impl Pool for Two {
    fn for_each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) -> Result<(), BatchError> {
        let shared = &self.shared;
        shared.work.store((&raw const work).cast_mut().cast(), Ordering::Release);
        shared.next.store(0, Ordering::Relaxed);
        shared.count.store(count, Ordering::Relaxed);
        let round = shared.asked.load(Ordering::Relaxed) + 1;
        shared.asked.store(round, Ordering::Release);
        shared.take();
        wait(|| shared.done.load(Ordering::Acquire) == round);
        Ok(())
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        self.shared.asked.store(usize::MAX, Ordering::Release);
        if let Some(worker) = self.worker.take() {
            worker.join().unwrap();
        }
    }
}
