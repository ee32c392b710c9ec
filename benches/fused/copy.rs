//! Copies tensors on two threads, of which the second spins for work as those of ONNX Runtime do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Fewer elements than this are copied by one thread: handing half of them over takes longer.
const WORTH_A_THREAD: usize = 1 << 17;

type Pair = (Vec<f32>, Vec<f32>);

/// Pairs of source and destination; the second half of each is the second thread's.
pub struct Copier {
    pairs: Vec<Pair>,
}

impl Copier {
    /// For tensors of these sizes.
    pub fn new(sizes: &[usize]) -> Self {
        Self { pairs: sizes.iter().map(|size| (vec![1.0; *size], vec![2.0; *size])).collect() }
    }

    /// Seconds of each of `count` copies, one after the other. The second thread lives as long as this call.
    pub fn block(&mut self, count: usize) -> Vec<f64> {
        let shared = self.pairs.iter().map(|(from, _)| from.len()).sum::<usize>() >= WORTH_A_THREAD;
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for (from, to) in &mut self.pairs {
            let middle = if shared { from.len() / 2 } else { from.len() };
            let (from, to) = (from.split_at(middle), to.split_at_mut(middle));
            own.push((from.0, to.0));
            other.push((from.1, to.1));
        }
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let timed = |own: &mut [(&[f32], &mut [f32])]| {
            let start = Instant::now();
            begun.fetch_add(1, Ordering::Release);
            copy(own);
            if shared {
                wait(&done, begun.load(Ordering::Relaxed));
            }
            start.elapsed().as_secs_f64()
        };
        thread::scope(|scope| {
            if shared {
                scope.spawn(|| {
                    for run in 1..=count {
                        wait(&begun, run);
                        copy(&mut other);
                        done.store(run, Ordering::Release);
                    }
                });
            }
            (0..count).map(|_| timed(&mut own)).collect()
        })
    }
}

fn copy(pairs: &mut [(&[f32], &mut [f32])]) {
    for (from, to) in pairs.iter_mut() {
        std::hint::black_box(&mut *to).copy_from_slice(std::hint::black_box(from));
    }
}

/// Returns once the counter has reached `value`.
fn wait(counter: &AtomicUsize, value: usize) {
    let mut looks = 0_u32;
    while counter.load(Ordering::Acquire) < value {
        looks += 1;
        if looks.is_multiple_of(2000) {
            thread::yield_now();
        }
        std::hint::spin_loop();
    }
}
