use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::tensor::{DType, TensorData};

/// Written by NumPy 2.4 (`numpy.savez_compressed`).
const NUMPYS: &[u8] = include_bytes!("../../tests/data/npz/numpy.npz");

fn tensor(shape: &[usize], data: TensorData) -> Tensor {
    Tensor::new(shape.to_vec(), data).unwrap()
}

#[test]
fn numpys_archives_are_read() {
    let npz = Npz::read(Cursor::new(NUMPYS)).unwrap();
    let want = [
        ("f4", tensor(&[2, 2], TensorData::F32(vec![1.5, -2.0, 3.0, 4.0]))),
        ("f8", tensor(&[], TensorData::F64(vec![0.1]))),
        ("i4", tensor(&[1], TensorData::I32(vec![-5]))),
        ("i8", tensor(&[1], TensorData::I64(vec![1 << 40]))),
        ("b1", tensor(&[2], TensorData::Bool(vec![true, false]))),
        ("u1", tensor(&[2], TensorData::I32(vec![255, 0]))),
        ("i1", tensor(&[1], TensorData::I32(vec![-1]))),
        ("u2", tensor(&[1], TensorData::I32(vec![65535]))),
        ("i2", tensor(&[1], TensorData::I32(vec![-2]))),
        ("u4", tensor(&[1], TensorData::I64(vec![4_294_967_295]))),
        ("empty", tensor(&[0, 3], TensorData::F32(vec![]))),
        ("layer/a.b", tensor(&[3], TensorData::F32(vec![0.0, 1.0, 2.0]))),
    ];
    for (name, want) in want {
        assert_eq!(npz.arrays[name], want, "{name}");
    }
    assert_eq!(npz.arrays["f2"].dtype(), DType::F16);
    assert_eq!(npz.arrays["f2"].to_f64_vec(), [1.0, 2.0]);
}

#[test]
fn every_type_comes_back() {
    let mut npz = Npz::default();
    let values = tensor(&[2, 1, 3], TensorData::F64(vec![0.0, 1.0, 1.0, 0.0, 1.0, 0.0]));
    for dtype in DType::ALL {
        npz.arrays.insert(format!("a/{dtype}"), values.cast(dtype));
    }
    npz.texts.insert("note.json".into(), "{}".into());
    let bytes = npz.to_bytes().unwrap();
    assert_eq!(Npz::read(Cursor::new(&bytes)).unwrap(), npz);
    assert_eq!(npz.to_bytes().unwrap(), bytes);
}

#[test]
fn what_cannot_be_read_says_why() {
    let read = |header: &str, data: &[u8]| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        npy::read(&mut bytes.as_slice()).unwrap_err()
    };
    let dictionary = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}")
    };
    assert!(read(&dictionary("<f4", "True", "(1,)"), &[0; 4]).contains("ascontiguousarray"));
    assert!(read(&dictionary(">f4", "False", "(1,)"), &[0; 4]).contains(">f4"));
    assert!(read(&dictionary("<f4", "False", "(2,)"), &[0; 4]).contains("takes 8 bytes"));
    assert!(read(&dictionary("<f4", "False", "(1,)"), &[0; 5]).contains("takes 4 bytes"));
    let huge = format!("({0}, {0}, {0})", u32::MAX);
    assert!(read(&dictionary("<f4", "False", &huge), &[]).contains("too large"));
    assert!(read("{'descr': [('a', '<f4')], }", &[]).contains("record"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..400usize) {
        let _ = Npz::read(Cursor::new(&bytes));
        let mut damaged = NUMPYS.to_vec();
        for (k, byte) in bytes.iter().take(8).enumerate() {
            let place = (at * 7 + k * 31) % damaged.len();
            damaged[place] = *byte;
        }
        let _ = Npz::read(Cursor::new(&damaged));
    }
}
