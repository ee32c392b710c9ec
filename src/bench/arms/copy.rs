//! The roofline on the host: copying the wide inputs to as many bytes of output, on as many threads as the others have.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::{Arm, ArmError, Inputs, Timed, WIDE};

/// Fewer bytes than this are copied by one thread: waking another takes longer.
const WORTH_A_THREAD: usize = 1 << 19;
/// Looks at a counter before a waiting thread lets others run.
const SPINS: u32 = 2_000;

/// The copy as an arm.
pub struct CopyArm {
    /// Most threads that copy.
    pub threads: usize,
}

impl Arm for CopyArm {
    fn bind<'a>(&'a mut self, sets: &'a [Inputs]) -> Result<Box<dyn Timed + 'a>, ArmError> {
        Ok(Box::new(HostCopy::new(sets, self.threads)))
    }
}

/// Sets of bytes with places to copy them to.
struct HostCopy {
    sets: Vec<(Vec<u8>, Vec<u8>)>,
    threads: usize,
}

/// The same part of every set: what one thread copies.
type Parts<'a> = Vec<(&'a [u8], &'a mut [u8])>;

impl HostCopy {
    /// Copies of the wide inputs of `sets`.
    fn new(sets: &[Inputs], threads: usize) -> Self {
        let set = |inputs: &Inputs| {
            let wide = inputs.iter().filter(|(name, _)| WIDE.contains(&name.as_str()));
            let bytes: Vec<u8> = wide.flat_map(|(_, tensor)| tensor.to_le_bytes()).collect();
            let place = vec![1; bytes.len()];
            (bytes, place)
        };
        Self { sets: sets.iter().map(set).collect(), threads: threads.max(1) }
    }

    /// What each thread copies of every set.
    fn parts(&mut self) -> Vec<Parts<'_>> {
        let largest = self.sets.iter().map(|(from, _)| from.len()).max().unwrap_or(0);
        let threads = self.threads.min(largest / WORTH_A_THREAD + 1);
        let mut parts: Vec<Parts> = (0..threads).map(|_| Vec::with_capacity(self.sets.len())).collect();
        for (from, to) in &mut self.sets {
            let size = from.len().div_ceil(threads).max(1);
            let chunks = from.chunks(size).zip(to.chunks_mut(size));
            parts.iter_mut().zip(chunks).for_each(|(part, chunk)| part.push(chunk));
        }
        parts
    }
}

impl Timed for HostCopy {
    fn block(&mut self, sets: &[usize]) -> Result<Vec<f64>, ArmError> {
        let mut parts = self.parts();
        let Some(mut own) = parts.pop() else {
            return Ok(Vec::new());
        };
        let others = parts.len();
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut seconds = Vec::with_capacity(sets.len());
        thread::scope(|scope| {
            for mut part in parts {
                let (begun, done) = (&begun, &done);
                scope.spawn(move || {
                    for (run, set) in sets.iter().enumerate() {
                        wait(begun, run + 1);
                        copy(&mut part, *set);
                        done.fetch_add(1, Ordering::Release);
                    }
                });
            }
            for (run, set) in sets.iter().enumerate() {
                let start = Instant::now();
                begun.store(run + 1, Ordering::Release);
                copy(&mut own, *set);
                wait(&done, others * (run + 1));
                seconds.push(start.elapsed().as_secs_f64());
            }
        });
        Ok(seconds)
    }
}

fn copy(part: &mut Parts, set: usize) {
    if let Some((from, to)) = part.get_mut(set) {
        to.copy_from_slice(from);
    }
    std::hint::black_box(part);
}

/// Returns once the counter has reached `value`.
fn wait(counter: &AtomicUsize, value: usize) {
    let mut spins = 0;
    while counter.load(Ordering::Acquire) < value {
        spins += 1;
        if spins % SPINS == 0 {
            thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Tensor, TensorData};

    #[test]
    fn every_byte_of_every_set_is_copied_by_any_number_of_threads() {
        for threads in [1, 2, 3] {
            let set = |k: usize| {
                let values = (0..400_000).map(|i| (i * 7 + k) as f32).collect();
                vec![("logits".to_owned(), Tensor::new(vec![400_000], TensorData::F32(values)).unwrap())]
            };
            let mut copy = HostCopy::new(&[set(0), set(1)], threads);
            assert!(copy.sets.iter().all(|(from, to)| from != to));
            let seconds = copy.block(&[0, 1, 0]).unwrap();
            assert_eq!(seconds.len(), 3);
            assert!(copy.sets.iter().all(|(from, to)| from == to), "{threads} threads");
        }
    }
}
