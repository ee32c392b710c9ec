//! `ibgraph graft` and `ibgraph inspect` at their edges: files, wrong use, external data, large models.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod graft_support;

use std::path::Path;

use graft_support::{Place, data};
use ibgraph::onnx;

#[test]
fn the_model_is_never_written_to() {
    let place = Place::new();
    let model = std::fs::read(data("graft_cases/linear.onnx")).unwrap();
    std::fs::write(place.path("m.onnx"), &model).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("m.onnx", place.path("link.onnx")).unwrap();
        assert!(place.fails("graft m.onnx -o link.onnx", 2).contains("is the model itself"));
    }
    assert!(place.fails("graft m.onnx -o m.onnx", 2).contains("m.onnx is the model itself"));
    assert!(place.fails("graft m.onnx -o ./m.onnx", 2).contains("is the model itself"));
    for file in ["dynamo_external.onnx", "dynamo_external.onnx.data"] {
        std::fs::copy(data("graft_cases").join(file), place.path(file)).unwrap();
    }
    let text = place.fails("graft dynamo_external.onnx -o dynamo_external.onnx.data", 2);
    assert!(text.contains("holds the model's tensor"), "{text}");
    assert_eq!(std::fs::read(place.path("m.onnx")).unwrap(), model);
}

#[test]
fn class_counts_that_nothing_uses_are_told() {
    let place = Place::new();
    let model = data("graft_cases/linear.onnx");
    let line = format!("graft {} cross-entropy --class-counts 500,20,3 -o g.onnx", model.display());
    let output = place.command(&line).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("note: --class-counts only gave the number"), "{text}");
    let output = place.command(&format!("{line} --class-weights effective")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn a_graft_goes_through_pipes() {
    let place = Place::new();
    let path = data("graft_cases/linear.onnx");
    place.ok(&format!("graft {} -o g.onnx", path.display()));
    let output = place.command("graft - -o -").write_stdin(std::fs::read(&path).unwrap()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, std::fs::read(place.path("g.onnx")).unwrap());
    assert!(String::from_utf8_lossy(&output.stderr).contains("wrote standard output"));
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    let place = Place::new();
    for name in ["a", "b"] {
        place.ok(&format!("graft {} -o {name}.onnx", data("graft_cases/half.onnx").display()));
    }
    assert_eq!(std::fs::read(place.path("a.onnx")).unwrap(), std::fs::read(place.path("b.onnx")).unwrap());
}

#[test]
fn external_data_goes_along_to_another_directory() {
    let place = Place::new();
    std::fs::create_dir(place.path("model")).unwrap();
    std::fs::create_dir(place.path("out")).unwrap();
    for file in ["dynamo_external.onnx", "dynamo_external.onnx.data"] {
        std::fs::copy(data("graft_cases").join(file), place.path("model").join(file)).unwrap();
    }
    let copied = place.path("out/dynamo_external.onnx.data");
    let line = "graft model/dynamo_external.onnx -o out/g.onnx";
    assert!(place.ok(line).contains("copied:   dynamo_external.onnx.data"));
    let original = std::fs::read(place.path("model/dynamo_external.onnx.data")).unwrap();
    assert_eq!(std::fs::read(&copied).unwrap(), original);
    assert!(!place.ok(line).contains("copied"), "what is there already is not copied again");
    std::fs::write(&copied, "something else").unwrap();
    assert!(place.fails(line, 2).contains("is there already and differs"));
    assert_eq!(std::fs::read(&copied).unwrap(), b"something else");
    std::fs::remove_file(place.path("model/dynamo_external.onnx.data")).unwrap();
    let text = place.fails(line, 2);
    assert!(
        text.contains("model/dynamo_external.onnx: tensor `fc") && text.contains("No such file"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn external_data_is_not_copied_through_a_link() {
    let place = Place::new();
    let bytes = std::fs::read(data("graft_cases/dynamo_external.onnx")).unwrap();
    // The same model with its data one directory down, under a name of the same length.
    let (old, new) = (b"dynamo_external.onnx.data", b"sub/mo_external.onnx.data");
    let mut moved = bytes;
    while let Some(at) = moved.windows(old.len()).position(|window| window == old) {
        moved[at..at + old.len()].copy_from_slice(new);
    }
    for directory in ["model/sub", "out", "elsewhere"] {
        std::fs::create_dir_all(place.path(directory)).unwrap();
    }
    std::fs::write(place.path("model/m.onnx"), moved).unwrap();
    let weights = data("graft_cases/dynamo_external.onnx.data");
    std::fs::copy(weights, place.path("model/sub/mo_external.onnx.data")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", place.path("out/sub")).unwrap();
    let text = place.fails("graft model/m.onnx -o out/g.onnx", 2);
    assert!(text.contains("out/sub is a link"), "{text}");
    assert_eq!(std::fs::read_dir(place.path("elsewhere")).unwrap().count(), 0);
    std::fs::remove_file(place.path("out/sub")).unwrap();
    place.ok("graft model/m.onnx -o out/g.onnx");
    assert!(place.path("out/sub/mo_external.onnx.data").exists());
}

#[test]
fn wrong_use_is_told_plainly() {
    let place = Place::new();
    let mlp = data("classifiers/mlp/model.onnx").display().to_string();
    let cases = [
        (format!("{mlp} --classes 5"), "has 10 classes, but --classes says 5"),
        (format!("{mlp} --class-counts 1,2,3 --class-weights inverse"), "has 10 classes, but"),
        (format!("{mlp} --logits logit"), "did you mean `logits`?"),
        (format!("{mlp} --features nowhere"), "--features nowhere: the model has no such value"),
        (format!("{mlp} --dtype f16"), "the logits `logits` are float32, but --dtype says float16"),
        (format!("{mlp} --outputs logits_grad"), "--outputs goes with --emit loss-grad"),
        (format!("{mlp} --emit loss-grad --explicit-backward"), "--explicit-backward goes with --emit loss"),
        (
            format!("{} --explicit-backward", data("graft_cases/opset9.onnx").display()),
            "needs opset 11, and this model has opset 9; convert it with onnx.version_converter",
        ),
        (format!("{mlp} --reduction none"), "training needs one number"),
        (format!("{mlp} --feature-input norm"), "have the shape [batch, 32], but the loss takes norms [N]"),
        ("absent.onnx".to_owned(), "cannot read absent.onnx"),
        (".".to_owned(), "cannot read .: it is a directory"),
    ];
    for (line, message) in cases {
        let text = place.fails(&format!("graft {line} -o out.onnx"), 2);
        assert!(text.contains(message), "{line}\n{text}");
        assert!(!place.path("out.onnx").exists());
    }
    let text = place.fails(&format!("graft {mlp} --logits nosuchvalue -o out.onnx"), 2);
    assert_eq!(text.matches(" logits,").count(), 1, "every value is listed once: {text}");
    assert!(
        place.fails(&format!("graft {mlp} -o nowhere/x.onnx"), 2).contains("cannot write nowhere/x.onnx")
    );
}

#[test]
fn labels_have_a_name() {
    let place = Place::new();
    let mlp = data("classifiers/mlp/model.onnx").display().to_string();
    for emit in ["loss", "loss-grad", "gradients", "train-step"] {
        let mut command = place.command(&format!("graft {mlp} cross-entropy --emit {emit} -o out.onnx"));
        let output = command.args(["--labels", ""]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{emit}: {text}");
        assert!(text.contains("--labels: the name is empty"), "{emit}: {text}");
        assert!(!place.path("out.onnx").exists());
    }
}

#[test]
fn check_refuses_a_graft_with_an_input_without_a_name() {
    use prost::Message;
    let place = Place::new();
    let mlp = data("classifiers/mlp/model.onnx").display().to_string();
    place.ok(&format!("graft {mlp} --emit loss-grad -o g.onnx"));
    let mut model = onnx::read(&std::fs::read(place.path("g.onnx")).unwrap()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for input in &mut graph.input {
        input.name = input.name.take().map(|name| if name == "labels" { String::new() } else { name });
    }
    for value in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if value == "labels" {
            value.clear();
        }
    }
    std::fs::write(place.path("g.onnx"), model.encode_to_vec()).unwrap();
    assert!(place.fails("check g.onnx", 2).contains("g.onnx: an input of the graph has no name"));
}

#[test]
fn inspect_says_what_was_found_and_why() {
    let place = Place::new();
    let file = data("graft_cases/sklearn_mlp.onnx").display().to_string();
    let text = place.ok(&format!("inspect {file}"));
    for part in [
        "add_result1 float32[?, 10]: made by node",
        "through Softmax, ArgMax",
        "next_activations",
        "MatMul 2",
    ] {
        assert!(text.contains(part), "{text}\n{part}");
    }
    let json: serde_json::Value = serde_json::from_str(&place.ok(&format!("inspect {file} --json"))).unwrap();
    assert_eq!(json["head"]["logits"]["name"], "add_result1");
    assert_eq!(json["head"]["classes"], 10);
    assert_eq!(json["opsets"]["ai.onnx"], 21);
    assert_eq!(json["operators"]["ai.onnx.ml::ZipMap"], 1);
    assert_eq!(json["problem"], serde_json::Value::Null);
}

#[test]
fn a_grafted_loss_can_be_checked() {
    let place = Place::new();
    let counts: Vec<String> = (1..=10).map(|n| (n * n).to_string()).collect();
    let weights = format!("--class-counts {} --class-weights inverse", counts.join(","));
    for file in ["graft_cases/name_clash.onnx", "graft_cases/half.onnx", "graft_cases/fixed_batch.onnx"] {
        let model = data(file).display().to_string();
        for emit in ["loss-grad", "loss", "loss --explicit-backward"] {
            place.ok(&format!("graft {model} --emit {emit} {weights} -o g.onnx"));
            let library = std::env::var("IBGRAPH_TEST_ORT").unwrap();
            let text = place.ok(&format!("check g.onnx --runtime {library}"));
            assert!(text.ends_with("PASS\n"), "{file} {emit}\n{text}");
        }
    }
    assert!(
        place.fails(&format!("check {}", data("graft_cases/linear.onnx").display()), 2).contains("no loss")
    );
}

/// A classifier with 2^30 features that a 4 GiB file of zeros makes, which takes no space on disk.
#[test]
fn a_model_with_4_gib_of_external_data_grafts_without_reading_it() {
    let place = Place::new();
    let big = large::external(&place);
    let started = std::time::Instant::now();
    let text = large::with_little_memory(&place, "graft big.onnx -o g.onnx");
    let took = started.elapsed();
    assert!(text.contains("features: h"), "{text}");
    // Not a measure of speed: reading the data would take longer.
    assert!(took.as_secs() < 10, "{took:?}");
    assert!(std::fs::metadata(place.path("g.onnx")).unwrap().len() < big + 20_000);
}

/// protobuf's own libraries stop at 2 GiB; the bytes do not.
#[test]
fn a_model_with_more_than_2_gib_inside_grafts_with_little_memory() {
    let place = Place::new();
    let before = large::inside(&place);
    large::with_little_memory(&place, "graft big.onnx -o g.onnx");
    let bytes = onnx::Source::open(&place.path("g.onnx")).unwrap();
    let host = onnx::Host::read(bytes.bytes()).unwrap();
    assert!(before > 1 << 31 && host.bytes().len() as u64 > before);
    let range = host.initializer_ranges()[0].clone();
    let marks = [&host.bytes()[range.end - 8..range.end], &host.bytes()[range.end - 16..range.end - 8]];
    assert_eq!(marks, [&[7; 8], &[0; 8]], "the data is where it was in the tensor");
}

mod large {
    use std::fs::File;
    use std::io::{Seek, SeekFrom, Write};

    use ibgraph::onnx::messages::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
        TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    };
    use ibgraph::onnx::wire::push_header;
    use prost::Message;

    use super::{Path, Place};

    /// Elements of the weights: 4 GiB of float32.
    const EXTERNAL: i64 = 1 << 30;
    /// 2.25 GiB of float32.
    const INSIDE: i64 = 9 << 26;

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: Some(op.into()),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn port(name: &str) -> ValueInfoProto {
        let shape = Some(TensorShapeProto { dim: vec![Default::default(), Default::default()] });
        let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape });
        ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type }) }
    }

    fn small(name: &str) -> TensorProto {
        TensorProto {
            name: Some(name.into()),
            dims: vec![16, 3],
            data_type: Some(1),
            float_data: vec![0.5; 48],
            ..TensorProto::default()
        }
    }

    fn graph(initializer: Vec<TensorProto>) -> GraphProto {
        GraphProto {
            node: vec![node("MatMul", &["x", "big"], "h"), node("Gemm", &["h", "w"], "z")],
            input: vec![port("x")],
            output: vec![port("z")],
            initializer,
            ..GraphProto::default()
        }
    }

    fn model(graph: Option<GraphProto>) -> ModelProto {
        let standard = OperatorSetIdProto { domain: Some(String::new()), version: Some(18) };
        ModelProto { ir_version: Some(8), graph, opset_import: vec![standard], ..ModelProto::default() }
    }

    /// Writes big.onnx and its data; returns the length of big.onnx.
    pub fn external(place: &Place) -> u64 {
        File::create(place.path("big.bin")).unwrap().set_len(4 * EXTERNAL as u64).unwrap();
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value.into()),
        };
        let big = TensorProto {
            name: Some("big".into()),
            dims: vec![EXTERNAL / 16, 16],
            data_type: Some(1),
            data_location: Some(1),
            external_data: vec![entry("location", "big.bin")],
            ..TensorProto::default()
        };
        let bytes = model(Some(graph(vec![big, small("w")]))).encode_to_vec();
        std::fs::write(place.path("big.onnx"), &bytes).unwrap();
        bytes.len() as u64
    }

    /// Writes big.onnx with its data inside, zeros but for the last two numbers; returns its length.
    pub fn inside(place: &Place) -> u64 {
        let data = 4 * INSIDE as usize;
        let head = TensorProto {
            name: Some("big".into()),
            dims: vec![INSIDE / 16, 16],
            data_type: Some(1),
            ..TensorProto::default()
        };
        let mut tensor = head.encode_to_vec();
        push_header(&mut tensor, 9, data);
        let mut initializer = Vec::new();
        push_header(&mut initializer, 5, tensor.len() + data);
        let rest = graph(vec![small("w")]).encode_to_vec();
        let mut start = model(None).encode_to_vec();
        push_header(&mut start, 7, initializer.len() + tensor.len() + data + rest.len());
        let mut file = File::create(place.path("big.onnx")).unwrap();
        file.write_all(&[start, initializer, tensor].concat()).unwrap();
        file.seek(SeekFrom::Current(data as i64 - 8)).unwrap();
        file.write_all(&[7; 8]).unwrap();
        file.write_all(&rest).unwrap();
        file.metadata().unwrap().len()
    }

    /// Runs a line that must succeed; on Linux with no more than 256 MiB of memory of its own.
    pub fn with_little_memory(place: &Place, line: &str) -> String {
        if !cfg!(target_os = "linux") {
            return place.ok(line);
        }
        let program = assert_cmd::cargo::cargo_bin("ibgraph");
        let script = format!("ulimit -d 262144; exec {} {line}", program.display());
        let shell = Path::new("/bin/sh");
        let output = std::process::Command::new(shell)
            .arg("-c")
            .arg(script)
            .current_dir(place.path(""))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{text}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
