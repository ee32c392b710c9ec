//! Attributes of operators, in one form whatever the operator set.

/// A float32 attribute, compared by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct F32(u32);

impl F32 {
    /// The attribute of a value.
    pub fn new(value: f32) -> Self {
        Self(value.to_bits())
    }

    /// The value.
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }

    /// The value in float64.
    pub fn wide(self) -> f64 {
        f64::from(self.get())
    }
}

/// Functions of one value with parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// min(max(alpha · a + beta, 0), 1)
    HardSigmoid {
        /// Slope.
        alpha: F32,
        /// Value at 0.
        beta: F32,
    },
    /// a where a ≥ 0, else alpha · a
    LeakyRelu(F32),
    /// a where a ≥ 0, else alpha · (e^a - 1)
    Elu(F32),
    /// a · Φ(a), or its approximation by tanh
    Gelu {
        /// Whether it is the approximation.
        tanh: bool,
    },
}

impl Activation {
    /// Name of the ONNX operator.
    pub fn name(self) -> &'static str {
        match self {
            Activation::HardSigmoid { .. } => "HardSigmoid",
            Activation::LeakyRelu(_) => "LeakyRelu",
            Activation::Elu(_) => "Elu",
            Activation::Gelu { .. } => "Gelu",
        }
    }
}

/// alpha · a' · b' + beta · c
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: F32,
    /// Factor of c.
    pub beta: F32,
    /// Whether a is transposed.
    pub trans_a: bool,
    /// Whether b is transposed.
    pub trans_b: bool,
}

/// A window that slides over the axes from the third on; one number an axis, two for pads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    /// Extents of the window.
    pub kernel: Vec<usize>,
    /// Steps.
    pub strides: Vec<usize>,
    /// Distances of the window's elements.
    pub dilations: Vec<usize>,
    /// Elements added before every axis, then after every axis.
    pub pads: Vec<usize>,
}

impl Window {
    /// Number of axes that it slides over.
    pub fn axes(&self) -> usize {
        self.kernel.len()
    }

    /// Elements of an axis from the window's first to its last.
    pub fn span(&self, axis: usize) -> usize {
        self.dilations[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Elements added to an axis, before and after.
    pub fn padding(&self, axis: usize) -> usize {
        self.pads[axis] + self.pads[axis + self.axes()]
    }
}

/// A convolution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Groups of channels that do not mix.
    pub group: usize,
    /// The window, with the weight's extents as kernel.
    pub window: Window,
}

/// Pooling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pool {
    /// The window.
    pub window: Window,
    /// Whether a window that does not fit whole is taken too.
    pub ceil: bool,
    /// Whether an average divides by the whole window where it hangs over the border.
    pub count_include_pad: bool,
}

/// Batch normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: F32,
    /// Share of the old running statistics that stays.
    pub momentum: F32,
    /// Whether the batch's own statistics are used.
    pub training: bool,
}

/// Layer normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerNorm {
    /// First of the axes that are normalized over.
    pub axis: usize,
    /// Added to the variance.
    pub epsilon: F32,
}

/// Padding; only constants have a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pad {
    /// Elements added before and after every axis; negative removes.
    pub pads: Vec<(i64, i64)>,
    /// `constant`, `reflect`, `edge` or `wrap`.
    pub mode: String,
    /// The constant.
    pub value: F32,
}

/// A part along an axis, as numpy has it: `start:end:step`, clamped to the extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SliceAxis {
    /// The axis.
    pub axis: usize,
    /// First; negative counts from the end.
    pub start: i64,
    /// End, exclusive; negative counts from the end.
    pub end: i64,
    /// Step; negative goes backwards.
    pub step: i64,
}

/// Dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dropout {
    /// Seed, where the file has one.
    pub seed: Option<i64>,
    /// The node's number, so that no two dropouts are taken for one.
    pub number: usize,
}
