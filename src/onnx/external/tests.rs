use std::fs;

use super::*;
use crate::onnx::messages::StringStringEntryProto;

fn tensor(dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some((*key).to_owned()),
        value: Some((*value).to_owned()),
    };
    TensorProto {
        name: Some("w".into()),
        dims: dims.to_vec(),
        data_type: Some(1),
        data_location: Some(EXTERNAL),
        external_data: entries.iter().map(entry).collect(),
        ..TensorProto::default()
    }
}

/// A model with the tensor where external data has hidden before: in a constant of a subgraph.
fn model(tensor: TensorProto) -> ModelProto {
    let constant = AttributeProto { t: Some(Box::new(tensor)), ..AttributeProto::default() };
    let node = NodeProto { attribute: vec![constant], ..NodeProto::default() };
    let branch = GraphProto { node: vec![node], ..GraphProto::default() };
    let attribute = AttributeProto { g: Some(Box::new(branch)), ..AttributeProto::default() };
    let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
    let graph = GraphProto { node: vec![node], ..GraphProto::default() };
    ModelProto { graph: Some(graph), ..ModelProto::default() }
}

fn outcome(directory: &Path, dims: &[i64], entries: &[(&str, &str)]) -> String {
    let found = references(&model(tensor(dims, entries)));
    let opened = found.and_then(|found| open(directory, &found).map(|files| files.len()));
    opened.map_or_else(|e| e.to_string(), |n| format!("{n} files"))
}

#[test]
fn data_in_the_models_directory_is_found_and_no_other() {
    let place = tempfile::tempdir().unwrap();
    let inside = place.path().join("model");
    fs::create_dir_all(inside.join("sub")).unwrap();
    fs::write(place.path().join("outside.bin"), [0; 16]).unwrap();
    fs::write(inside.join("w.bin"), [0; 16]).unwrap();
    fs::write(inside.join("sub/w.bin"), [0; 16]).unwrap();
    let at = |location: &str| outcome(&inside, &[4], &[("location", location)]);
    assert_eq!(at("w.bin"), "1 files");
    assert_eq!(at("./sub/w.bin"), "1 files");
    let absolute = place.path().join("outside.bin").display().to_string();
    for bad in [&absolute, "../outside.bin", "sub/../../outside.bin", "", ".", "a//b", "C:\\x", "sub\\w.bin"]
    {
        assert!(at(bad).contains("a path within the model's directory"), "{bad}: {}", at(bad));
    }
    assert!(at("absent.bin").contains("`absent.bin`: No such file"), "{}", at("absent.bin"));
    assert!(at("sub").contains("no regular file"), "{}", at("sub"));
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let inside = place.path().join("model");
    fs::create_dir(&inside).unwrap();
    fs::create_dir(place.path().join("other")).unwrap();
    fs::write(place.path().join("other/w.bin"), [0; 16]).unwrap();
    std::os::unix::fs::symlink("../other/w.bin", inside.join("link.bin")).unwrap();
    std::os::unix::fs::symlink("../other", inside.join("linked")).unwrap();
    fs::hard_link(place.path().join("other/w.bin"), inside.join("hard.bin")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        inside.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let at = |location: &str| outcome(&inside, &[4], &[("location", location)]);
    assert!(at("link.bin").contains("it is a link"), "{}", at("link.bin"));
    assert!(at("linked/w.bin").contains("it is a link"), "{}", at("linked/w.bin"));
    assert!(at("hard.bin").contains("hard link"), "{}", at("hard.bin"));
    assert!(at("pipe").contains("no regular file"), "{}", at("pipe"));
}

#[test]
fn sizes_are_checked_before_anything_is_read() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("w.bin"), [0; 16]).unwrap();
    let with = |dims: &[i64], more: &[(&str, &str)]| {
        outcome(place.path(), dims, &[&[("location", "w.bin")], more].concat())
    };
    assert_eq!(with(&[3], &[("offset", "4"), ("length", "12")]), "1 files");
    type Case<'a> = (&'a [i64], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 6] = [
        (&[4], &[("offset", "4")], "16 bytes at 4 are beyond the 16 bytes"),
        (&[4], &[("length", "12")], "its length is 12 bytes, but its shape and type take 16"),
        (&[4], &[("offset", "-1")], "its offset is not a number"),
        (&[4], &[("offset", "18446744073709551615")], "beyond the 16 bytes"),
        (&[i64::MAX, 8], &[], "its shape is too large"),
        (&[-1], &[], "negative"),
    ];
    for (dims, more, expected) in cases {
        assert!(with(dims, more).contains(expected), "{}\n{expected}", with(dims, more));
    }
}
