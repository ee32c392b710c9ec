use std::path::{Path, PathBuf};

use super::*;

/// The smallest file that [`check_library`] takes for a library: PE needs its magic only.
const LIBRARY: &[u8] = b"MZ\0\0";

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_named_path_that_does_not_exist_is_an_entry_that_says_so() {
    let search = Search {
        explicit: Some(PathBuf::from("/nonexistent/libonnxruntime.so")),
        env: Some(PathBuf::from("/nonexistent/too.so")),
        ..Search::default()
    };
    let found = find(&search);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].origin, Origin::Flag);
    assert_eq!(found[1].origin, Origin::Env);
    assert!(found.iter().all(|entry| entry.usable.is_err()));
}

#[test]
fn a_directory_stands_for_the_newest_library_in_it() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.32.0"] {
        put(&dir.path().join("lib").join(name), LIBRARY);
    }
    let found = named(dir.path(), Origin::Flag);
    assert_eq!(found.library, dir.path().join("lib/libonnxruntime.so.1.32.0"));
    assert_eq!(found.version.as_deref(), Some("1.32.0"));
    assert_eq!(found.usable, Ok(()));
}

#[test]
fn a_directory_without_a_library_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let found = named(dir.path(), Origin::Flag);
    assert_eq!(found.usable.unwrap_err(), "the directory holds no ONNX Runtime library");
}

#[test]
fn an_old_version_and_a_truncated_file_are_not_usable() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("libonnxruntime.so.1.22.0");
    put(&old, LIBRARY);
    let found = named(&old, Origin::Flag);
    assert_eq!(found.usable.unwrap_err(), "version 1.22.0 is too old: 1.24 or newer is needed");
    let cut = dir.path().join("libonnxruntime.so.1.32.0");
    put(&cut, b"\x7fELF\x02\x01\x01");
    assert!(named(&cut, Origin::Flag).usable.unwrap_err().contains("truncated"));
}

#[test]
fn installations_come_newest_first_and_unfinished_ones_not_at_all() {
    let cache = tempfile::tempdir().unwrap();
    for (dir, version) in [("a", "1.9.0"), ("b", "1.32.0"), (".tmp-x", "1.40.0")] {
        let dir = cache.path().join(dir);
        put(&dir.join("libonnxruntime.so"), LIBRARY);
        let manifest = Manifest::of_dir(&dir, "onnxruntime", version, "libonnxruntime.so").unwrap();
        manifest.write(&dir).unwrap();
    }
    put(&cache.path().join("b").join(provider_library_name("cuda")), LIBRARY);
    let found = installed(cache.path());
    let versions: Vec<_> = found.iter().map(|entry| (entry.version.as_deref(), entry.cuda)).collect();
    assert_eq!(versions, [(Some("1.32.0"), true), (Some("1.9.0"), false)]);
}

#[cfg(unix)]
mod interpreters {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, Instant};

    use super::*;

    fn script(path: &Path, text: &str) {
        put(path, text.as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_package_is_found_by_asking_and_listed_once() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("site/onnxruntime");
        put(&package.join("capi/libonnxruntime.so.1.31.1"), LIBRARY);
        let python = dir.path().join("python");
        let answer = format!("#!/bin/sh\necho '{}'\necho 1.31.1\n", package.display());
        script(&python, &answer);
        let search = Search {
            explicit: Some(package.clone()),
            pythons: vec![python.clone(), python.clone()],
            ..Search::default()
        };
        let found = find(&search);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].origin, Origin::Flag);
        let search = Search { explicit: None, ..search };
        let origin = Origin::Python { interpreter: python };
        assert_eq!(find(&search)[0].origin, origin);
        assert_eq!(find(&search)[0].version.as_deref(), Some("1.31.1"));
    }

    #[test]
    fn an_interpreter_that_hangs_fails_or_is_missing_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let hangs = dir.path().join("hangs");
        script(&hangs, "#!/bin/sh\nexec sleep 60\n");
        let fails = dir.path().join("fails");
        script(&fails, "#!/bin/sh\nexit 3\n");
        let search = Search { pythons: vec![hangs, fails, dir.path().join("missing")], ..Search::default() };
        let start = Instant::now();
        assert_eq!(find(&search), []);
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
