//! One source for every instruction set.
//!
//! Kernels are plain loops over arrays of fixed length, inlined into a function for each instruction set, where the
//! compiler makes vectors of them. So AVX-512, AVX2, NEON and the scalar build run the same lines, and Miri can read
//! them. The set is chosen at run time, once a call.

/// Work that is compiled for each instruction set. `run` must be `#[inline(always)]`, and so must all it calls in loops.
pub trait Job {
    /// Does the work; `FMA` says whether a fused multiply-add is one instruction.
    fn run<const FMA: bool>(self);
}

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// AVX-512 F, BW, DQ and VL
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2, FMA and F16C
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every machine of this architecture has: NEON with FMA on 64-bit ARM, SSE2 on x86-64
    Baseline,
}

impl Isa {
    /// The widest that this machine has.
    pub fn detect() -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                return Isa(Kind::Avx512);
            }
            if avx2 {
                return Isa(Kind::Avx2);
            }
        }
        Isa(Kind::Baseline)
    }

    /// All that this machine has, the widest first.
    pub fn supported() -> Vec<Self> {
        let best = Isa::detect();
        let mut found = vec![best];
        #[cfg(target_arch = "x86_64")]
        if best.0 == Kind::Avx512 {
            found.push(Isa(Kind::Avx2));
        }
        if best.0 != Kind::Baseline {
            found.push(Isa(Kind::Baseline));
        }
        found
    }

    /// Runs `job` with this instruction set.
    pub fn run(self, job: impl Job) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` found the set on this machine, and nothing else makes an `Isa`.
            Kind::Avx512 => unsafe { x86::avx512(job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` found the set on this machine, and nothing else makes an `Isa`.
            Kind::Avx2 => unsafe { x86::avx2(job) },
            Kind::Baseline => job.run::<{ cfg!(target_arch = "aarch64") }>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Job;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    pub fn avx512(job: impl Job) {
        job.run::<true>();
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn avx2(job: impl Job) {
        job.run::<true>();
    }
}
