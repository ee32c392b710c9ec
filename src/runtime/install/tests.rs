use std::os::unix::fs::PermissionsExt;

use super::*;

/// An interpreter that writes `stderr` and exits with `code`.
fn fake_python(dir: &Path, stderr: &str, code: u8) -> PathBuf {
    let path = dir.join("python");
    let text = format!("#!/bin/sh\ncat >&2 <<'END'\n{stderr}\nEND\nexit {code}\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn options(dir: &Path, python: PathBuf) -> InstallOptions {
    InstallOptions { cache_dir: dir.join("cache"), cuda: false, python, force: false }
}

fn error_of(options: &InstallOptions) -> String {
    install(options, &mut |_| {}).unwrap_err().to_string()
}

#[test]
fn a_missing_interpreter_and_a_missing_pip_come_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let missing = error_of(&options(dir.path(), dir.path().join("none")));
    assert!(missing.contains("install Python 3 with pip"), "{missing}");
    let python = fake_python(dir.path(), "/usr/bin/python3: No module named pip", 1);
    let message = error_of(&options(dir.path(), python));
    assert!(message.contains("ensurepip"), "{message}");
}

#[test]
fn a_failure_of_pip_shows_its_last_lines() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..20).map(|n| format!("line {n}")).collect();
    let python = fake_python(dir.path(), &lines.join("\n"), 1);
    let message = error_of(&options(dir.path(), python));
    assert!(message.contains("line 14") && message.contains("line 19"));
    assert!(!message.contains("line 13"), "{message}");
}

#[test]
fn a_failed_installation_leaves_nothing_and_removes_what_earlier_ones_left() {
    let dir = tempfile::tempdir().unwrap();
    let leftover = dir.path().join("cache").join(".tmp-killed");
    fs::create_dir_all(&leftover).unwrap();
    let python = fake_python(dir.path(), "offline", 1);
    error_of(&options(dir.path(), python));
    let left = fs::read_dir(dir.path().join("cache")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [LOCK]);
}

#[test]
fn two_installations_at_once_do_not_destroy_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), dir.path().join("none"));
    fs::create_dir(&options.cache_dir).unwrap();
    let held = lock(&options.cache_dir).unwrap();
    assert!(error_of(&options).contains("another installation"));
    drop(held);
    assert!(!error_of(&options).contains("another installation"));
}

#[test]
fn a_package_other_than_the_pinned_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let python = dir.path().join("python");
    let script = "#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\nmkdir -p \"$2\"; echo forged > \"$2/a.whl\"\n";
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let message = error_of(&options(dir.path(), python));
    assert!(message.contains("than the pinned one"), "{message}");
}

#[test]
fn a_finished_directory_replaces_an_older_one_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let [finished, place, temporary] = ["finished", "place", "tmp"].map(|n| dir.path().join(n));
    for (dir, file) in [(&finished, "new"), (&place, "old")] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join(file), b"").unwrap();
    }
    fs::create_dir(&temporary).unwrap();
    put_in_place(&finished, &place, &temporary).unwrap();
    assert!(place.join("new").is_file() && !place.join("old").exists());
}
