//! Class weights from class counts.

/// How class weights are made.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassWeights {
    /// Every class weighs 1.
    None,
    /// 1/n_k, normalised to sum to C.
    Inverse,
    /// Class-balanced (Cui et al., CVPR 2019): (1-β)/(1-β^n_k), normalised to sum to C. 0 ≤ β < 1.
    Effective {
        /// β, near 1.
        beta: f64,
    },
    /// Given, one a class, used as they are.
    Given(Vec<f64>),
}

/// Why class weights cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Weights from counts were asked for without counts.
    #[error("class weights from counts need the counts: give --class-counts")]
    NoCounts,
    /// Not one value a class.
    #[error("{found} {what} for {classes} classes; give one a class")]
    WrongLength {
        /// "class counts" or "class weights"
        what: &'static str,
        /// Number of values given.
        found: usize,
        /// C
        classes: usize,
    },
    /// A count that no class can have.
    #[error("the count of class {class} is {count}; a class count must be a finite number above 0")]
    BadCount {
        /// Index of the class.
        class: usize,
        /// Its count.
        count: f64,
    },
    /// A weight that no class can have.
    #[error("the weight of class {class} is {weight}; a class weight must be a finite number, 0 or more")]
    BadWeight {
        /// Index of the class.
        class: usize,
        /// Its weight.
        weight: f64,
    },
    /// Every class weighs nothing.
    #[error("every class weight is 0, so the loss is 0; give at least one class a weight")]
    AllZero,
    /// β out of range.
    #[error("beta is {0}; effective-number weights need 0 <= beta < 1 (0.9999 is usual)")]
    BadBeta(f64),
}

impl ClassWeights {
    /// The weights `[C]`, or `None` where every class weighs 1.
    ///
    /// # Errors
    /// Missing, mismatched or unusable counts or weights.
    pub fn resolve(&self, counts: Option<&[f64]>, classes: usize) -> Result<Option<Vec<f64>>, WeightsError> {
        if let Some(counts) = counts {
            check_counts(counts, classes)?;
        }
        let counts = || counts.ok_or(WeightsError::NoCounts);
        match self {
            ClassWeights::None => Ok(None),
            ClassWeights::Inverse => normalised(counts()?.iter().map(|n| 1.0 / n).collect()).map(Some),
            ClassWeights::Effective { beta } => {
                if !(0.0..1.0).contains(beta) {
                    return Err(WeightsError::BadBeta(*beta));
                }
                let weights = counts()?.iter().map(|n| (1.0 - beta) / one_minus_power(*beta, *n));
                normalised(weights.collect()).map(Some)
            }
            ClassWeights::Given(weights) => given(weights, classes).map(Some),
        }
    }
}

/// 1 - β^n without cancellation for β near 1.
fn one_minus_power(beta: f64, n: f64) -> f64 {
    if beta == 0.0 { 1.0 } else { -(n * beta.ln()).exp_m1() }
}

fn check_counts(counts: &[f64], classes: usize) -> Result<(), WeightsError> {
    check_length("class counts", counts.len(), classes)?;
    match counts.iter().position(|n| !n.is_finite() || *n <= 0.0) {
        Some(class) => Err(WeightsError::BadCount { class, count: counts[class] }),
        None => Ok(()),
    }
}

fn given(weights: &[f64], classes: usize) -> Result<Vec<f64>, WeightsError> {
    check_length("class weights", weights.len(), classes)?;
    if let Some(class) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
        return Err(WeightsError::BadWeight { class, weight: weights[class] });
    }
    if weights.iter().all(|w| *w == 0.0) {
        return Err(WeightsError::AllZero);
    }
    Ok(weights.to_vec())
}

fn check_length(what: &'static str, found: usize, classes: usize) -> Result<(), WeightsError> {
    if found == classes {
        return Ok(());
    }
    Err(WeightsError::WrongLength { what, found, classes })
}

/// Scaled to sum to C.
fn normalised(mut weights: Vec<f64>) -> Result<Vec<f64>, WeightsError> {
    let scale = weights.len() as f64 / weights.iter().sum::<f64>();
    for (class, weight) in weights.iter_mut().enumerate() {
        *weight *= scale;
        if !weight.is_finite() {
            return Err(WeightsError::BadWeight { class, weight: *weight });
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_weights_sum_to_the_number_of_classes() {
        let w = ClassWeights::Inverse.resolve(Some(&[100.0, 10.0, 1.0]), 3).unwrap().unwrap();
        // By hand: 1/100 : 1/10 : 1 = 1 : 10 : 100, over 111, times 3.
        for (got, share) in w.iter().zip([1.0, 10.0, 100.0]) {
            assert!((got - 3.0 * share / 111.0).abs() < 1e-15);
        }
    }

    #[test]
    fn effective_weights_follow_the_effective_number() {
        let w = ClassWeights::Effective { beta: 0.5 }.resolve(Some(&[1.0, 2.0]), 2).unwrap().unwrap();
        // By hand: effective numbers 1 and 1.5, so weights 1 and 2/3, over 5/3, times 2.
        assert!((w[0] - 1.2).abs() < 1e-15 && (w[1] - 0.8).abs() < 1e-15);
    }

    #[test]
    fn unusable_counts_and_weights_are_refused() {
        let inverse = |counts: &[f64]| ClassWeights::Inverse.resolve(Some(counts), 2);
        assert!(matches!(inverse(&[1.0, 0.0]), Err(WeightsError::BadCount { class: 1, .. })));
        assert!(matches!(inverse(&[f64::NAN, 1.0]), Err(WeightsError::BadCount { class: 0, .. })));
        assert!(matches!(inverse(&[1.0]), Err(WeightsError::WrongLength { found: 1, .. })));
        assert_eq!(ClassWeights::Inverse.resolve(None, 2), Err(WeightsError::NoCounts));
        let given = |w: &[f64]| ClassWeights::Given(w.to_vec()).resolve(None, 2);
        assert!(matches!(given(&[f64::NAN, 1.0]), Err(WeightsError::BadWeight { class: 0, .. })));
        assert_eq!(given(&[0.0, 0.0]), Err(WeightsError::AllZero));
    }
}
