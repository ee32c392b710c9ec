//! One array in NumPy's `.npy` form: a magic string, a Python dictionary as text, and the elements.
//!
//! The form is NumPy's `numpy.lib.format` (NEP 1), versions 1.0 to 3.0.

use std::io::{self, Read, Write};

use crate::tensor::{DType, Tensor, TensorData};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The elements start at a multiple of this.
const ALIGNMENT: usize = 64;
/// Longest header that is read: far more than any shape takes.
const LONGEST_HEADER: usize = 1 << 16;

/// Reads an array. Integer types that a [`Tensor`] lacks are widened.
pub(super) fn read(from: &mut impl Read) -> Result<Tensor, String> {
    let header = header(from)?;
    let descr = quoted(&header, "descr").ok_or("it is a record array; save plain arrays")?;
    if entry(&header, "fortran_order").is_none_or(|order| !order.starts_with("False")) {
        return Err("it is in Fortran order; save numpy.ascontiguousarray(…) of it".to_owned());
    }
    let shape = shape(&header).ok_or("its shape does not read")?;
    let element = Element::of(descr)?;
    let count = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
    let size = count.and_then(|n| n.checked_mul(element.size)).ok_or("it is too large for this machine")?;
    let mut bytes = Vec::new();
    // One more than there should be, so that a member that is too long shows; memory grows only with what is there.
    from.take(size as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() != size {
        return Err(format!("its shape {shape:?} takes {size} bytes, but it has {}", bytes.len()));
    }
    element.tensor(shape, &bytes)
}

/// Writes an array.
pub(super) fn write(tensor: &Tensor, to: &mut impl Write) -> io::Result<()> {
    let descr = match tensor.dtype() {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        // NumPy has no bfloat16; it shows two raw bytes, which `.view(ml_dtypes.bfloat16)` reads.
        DType::BF16 => "|V2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::Bool => "|b1",
    };
    let extents: String = tensor.shape().iter().map(|n| format!("{n},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    let fixed = MAGIC.len() + 2 + 2;
    while !(fixed + header.len() + 1).is_multiple_of(ALIGNMENT) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;
    to.write_all(MAGIC)?;
    to.write_all(&[1, 0])?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    to.write_all(&tensor.to_le_bytes())
}

fn header(from: &mut impl Read) -> Result<String, String> {
    let cut = |_| "it is cut off".to_owned();
    let mut start = [0; 8];
    from.read_exact(&mut start).map_err(cut)?;
    if &start[..6] != MAGIC {
        return Err("it is no .npy array".to_owned());
    }
    let length = match start[6] {
        1 => {
            let mut length = [0; 2];
            from.read_exact(&mut length).map_err(cut)?;
            usize::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0; 4];
            from.read_exact(&mut length).map_err(cut)?;
            u32::from_le_bytes(length) as usize
        }
        version => return Err(format!("it is of version {version} of the .npy form, which is not known")),
    };
    if length > LONGEST_HEADER {
        return Err(format!("its header has {length} bytes"));
    }
    let mut header = vec![0; length];
    from.read_exact(&mut header).map_err(cut)?;
    String::from_utf8(header).map_err(|_| "its header is not text".to_owned())
}

/// The text after a key of the dictionary.
fn entry<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    let at = header.find(&format!("'{key}'"))?;
    header[at + key.len() + 2..].trim_start().strip_prefix(':').map(str::trim_start)
}

fn quoted<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    entry(header, key)?.strip_prefix('\'')?.split('\'').next()
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let inside = entry(header, "shape")?.strip_prefix('(')?.split(')').next()?;
    let extents = inside.split(',').map(str::trim).filter(|extent| !extent.is_empty());
    extents.map(|extent| extent.trim_end_matches('L').parse().ok()).collect()
}

/// How the elements of a file become those of a tensor.
struct Element {
    size: usize,
    read: Reading,
}

enum Reading {
    As(DType),
    Widened(fn(&[u8]) -> TensorData),
}

impl Element {
    fn of(descr: &str) -> Result<Self, String> {
        let of = |dtype: DType| Element { size: dtype.size_of(), read: Reading::As(dtype) };
        let widened = |size, read| Element { size, read: Reading::Widened(read) };
        Ok(match descr {
            "<f4" => of(DType::F32),
            "<f8" => of(DType::F64),
            "<f2" => of(DType::F16),
            "|V2" => of(DType::BF16),
            "<i4" => of(DType::I32),
            "<i8" => of(DType::I64),
            "|b1" => of(DType::Bool),
            "|u1" => widened(1, |b| TensorData::I32(b.iter().map(|v| i32::from(*v)).collect())),
            "|i1" => widened(1, |b| TensorData::I32(b.iter().map(|v| i32::from(*v as i8)).collect())),
            "<u2" => widened(2, |b| TensorData::I32(pairs(b).map(i32::from).collect())),
            "<i2" => widened(2, |b| TensorData::I32(pairs(b).map(|v| i32::from(v as i16)).collect())),
            "<u4" => widened(4, |b| {
                let (words, _) = b.as_chunks::<4>();
                TensorData::I64(words.iter().map(|w| i64::from(u32::from_le_bytes(*w))).collect())
            }),
            other => {
                return Err(format!(
                    "its element type {other} is not supported; save float, bool, or little-endian integers of 64 bits with a \
                     sign or 32 without"
                ));
            }
        })
    }

    fn tensor(&self, shape: Vec<usize>, bytes: &[u8]) -> Result<Tensor, String> {
        let tensor = match self.read {
            Reading::As(dtype) => Tensor::from_le_bytes(dtype, shape, bytes),
            Reading::Widened(read) => Tensor::new(shape, read(bytes)),
        };
        tensor.map_err(|error| error.to_string())
    }
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair))
}
