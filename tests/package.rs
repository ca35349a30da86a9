//! What the package promises beyond its behaviour: what does not compile, and with which Rust.

use std::{path::Path, process::Command};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(ROOT).env_remove("RUSTFLAGS");
    command
}

/// Builds a program of a user's crate; what the compiler says, and whether it was content.
fn build(main: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "[package]\nname = \"users-program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nrankpool = {{ path = {ROOT:?}, default-features = false }}\n[workspace]\n"
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(Path::new(ROOT).join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    let program =
        format!("use rankpool::Executor;\nfn main() -> Result<(), rankpool::Error> {{\n{main}\nOk(())\n}}\n");
    std::fs::write(folder.path().join("src/main.rs"), program).unwrap();
    let built = cargo()
        .args(["build", "--offline", "--color", "never", "--manifest-path"])
        .arg(folder.path().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("users-program"))
        .output()
        .unwrap();
    (built.status.success(), String::from_utf8_lossy(&built.stderr).into_owned())
}

#[test]
fn closures_that_capture_do_not_compile_and_the_message_says_what_to_use() {
    let start = "let pool = Executor::start()?; let factor = 3;";
    let (built, said) = build(&format!("{start} let _ = factor; pool.map(|n: u64| 3 * n, 0..10)?;"));
    assert!(built, "a closure that captures nothing compiles: {said}");
    for capture in [
        "pool.map(move |n: u64| factor * n, 0..10)?;",
        "pool.map_with(&1u64, move |one: &u64, n: u64| factor * n + one, 0..10)?;",
        "pool.map_init(move || factor, |state, n: u64| *state + n, 0..10)?;",
        "pool.submit(move |n: u64| factor * n, 1)?;",
        "pool.map_reduce(|n: u64| n, move |a, b| a + b + factor, 0..10)?;",
        "let triple: fn(u64) -> u64 = |n| 3 * n; let _ = factor; pool.map(triple, 0..10)?;",
    ] {
        let (built, said) = build(&format!("{start} {capture}"));
        assert!(!built, "compiles: {capture}");
        assert!(said.contains("map_with") && said.contains("map_init"), "{capture}: {said}");
    }
    let (built, said) = build(&format!("{start} pool.map(|n: u64| &factor as *const _ as u64 * n, 0..10)?;"));
    assert!(!built, "a borrowed capture compiles: {said}");
}

#[test]
fn no_dependency_needs_a_newer_rust_than_we_state() {
    let described = Command::new("rustc").arg("-vV").output().unwrap();
    let described = String::from_utf8(described.stdout).unwrap();
    let host = described.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let listed = cargo()
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let version = |package: &Value| -> Vec<u32> {
        let text = package["rust_version"].as_str().unwrap_or("1.0");
        text.split('.').map(|part| part.parse().unwrap()).collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    let ours = version(packages.iter().find(|package| package["name"] == "rankpool").unwrap());
    for package in packages {
        assert!(version(package) <= ours, "{} needs Rust {}", package["name"], package["rust_version"]);
    }
}

#[test]
fn no_file_is_longer_than_one_can_read() {
    for folder in ["src", "jobs", "tests", "examples", "benches"] {
        visit(&Path::new(ROOT).join(folder));
    }
}

fn visit(path: &Path) {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| visit(&entry.unwrap().path()));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 650, "{}: {lines} lines", path.display());
    }
}
