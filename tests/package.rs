//! What the package promises beyond its behaviour: what does not compile, and with which Rust.

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(ROOT).env_remove("RUSTFLAGS");
    command
}

/// Builds a program of a user's crate; what the compiler says, and whether it was content.
fn build(main: &str) -> (bool, String) {
    let program =
        format!("use rankpool::Executor;\nfn main() -> Result<(), rankpool::Error> {{\n{main}\nOk(())\n}}\n");
    build_with(&program, "features = []", &mut |_| {})
}

/// Builds a user's program with these features and dependencies, and gives it to `then` if it compiles.
fn build_with(program: &str, features: &str, then: &mut dyn FnMut(&Path)) -> (bool, String) {
    // Cargo takes all these programs for one, and a file that was written while it built another for old.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "[package]\nname = \"users-program\"\nversion = \"7.6.5\"\nedition = \"2024\"\n\
         description = \"Counts sheep\"\n[dependencies]\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\
         rankpool = {{ path = {ROOT:?}, default-features = false, {features} }}\n[workspace]\n"
    );
    std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(Path::new(ROOT).join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/main.rs"), program).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("users-program");
    let built = cargo()
        .args(["build", "--offline", "--color", "never", "--manifest-path"])
        .arg(folder.path().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    if built.status.success() {
        then(&target.join("debug/users-program"));
    }
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
fn a_users_program_shows_its_own_description_version_and_jobs() {
    let program = "
        /// Count sheep
        #[derive(clap::Args, serde::Serialize, serde::Deserialize)]
        struct Sheep {
            /// How many
            #[arg(long)]
            flock: u64,
        }
        impl rankpool::Job for Sheep {
            const NAME: &'static str = \"sheep\";
            type Item = u64;
            type Output = u64;
            type Summary = u64;
            fn items(&self) -> Result<impl Iterator<Item = u64>, rankpool::Error> { Ok(0..self.flock) }
            fn task(&self, item: u64) -> Result<u64, Box<dyn std::error::Error>> { Ok(item) }
            fn summary(&self, results: impl Iterator<Item = (u64, u64)>) -> Result<u64, rankpool::Error> {
                Ok(results.count() as u64)
            }
        }
        fn main() -> std::process::ExitCode { rankpool::cli::main(rankpool::jobs![Sheep]) }";
    const CLI: &str = "features = [\"cli\"] }\nclap = { version = \"4.5\", features = [\"derive\"]";
    let mut said = Vec::new();
    let (built, words) = build_with(program, CLI, &mut |program| {
        for arguments in [
            &["--version"][..],
            &["--help"],
            &["run", "--help"],
            &["slurm", "--help"],
            &["doctor", "--help"],
            &["bench", "--help"],
        ] {
            let ended = Command::new(program).args(arguments).output().unwrap();
            said.push(String::from_utf8(ended.stdout).unwrap());
        }
    });
    assert!(built, "{words}");
    assert!(said[0].starts_with("users-program 7.6.5\nrankpool "), "{}", said[0]);
    assert!(
        said[1].starts_with("Counts sheep\n") && said[1].contains("users-program run sheep --flock <FLOCK>")
    );
    assert!(said[2].contains("mpiexec -n 4 users-program run sheep --flock <FLOCK> "), "{}", said[2]);
    for text in &said[1..] {
        assert!(!text.contains("rankpool ") && !text.contains(" pi "), "{text}");
    }
}

/// The compiler's errors, one by one, without the closing words.
fn errors(said: &str) -> Vec<&str> {
    let said = said.split("error: could not compile").next().unwrap();
    said.split("\nerror").skip(1).collect()
}

#[test]
fn a_result_in_a_plain_call_does_not_compile_and_the_message_names_try_call() {
    const FIRST_LINE: u32 = 6;
    const PLAIN: [(&str, &str); 8] = [
        ("pool.call(F).retries(1).map(0..10)?;", "try_call"),
        ("pool.call_with(&1u64, |_, n| F(n)).map(0..10)?;", "try_call_with"),
        ("pool.call_init(|| 1u64, |_, n| F(n)).map(0..10)?;", "try_call_init"),
        ("pool.map(F, 0..10)?;", "try_map"),
        ("pool.map_with(&1u64, |_, n| F(n), 0..10)?;", "try_call_with"),
        ("pool.map_init(|| 1u64, |_, n| F(n), 0..10)?;", "try_call_init"),
        ("pool.map_reduce(F, |a, _| a, 0..10)?;", "try_call"),
        ("pool.submit(F, 1)?;", "try_submit"),
    ];
    let own_error = "#[derive(Debug)] struct Bad; impl std::fmt::Display for Bad { \
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(\"bad\") } }";
    let start = |error: &str| {
        format!(
            "{own_error} let pool = Executor::start()?;\n\
             fn function(n: u64) -> Result<u64, {error}> {{ if n > 0 {{ Ok(n) }} else {{ Err(\"\".into()) }} }}\n\
             impl From<&str> for Bad {{ fn from(_: &str) -> Bad {{ Bad }} }}\n"
        )
    };
    for error in ["String", "Bad"] {
        let calls: Vec<String> = PLAIN.iter().map(|(call, _)| call.replace('F', "function")).collect();
        let (built, said) = build(&format!("{}{}", start(error), calls.join("\n")));
        assert!(!built, "{said}");
        let errors = errors(&said);
        for text in &errors {
            assert!(text.contains("try_call") && text.contains("try_map"), "{text}");
        }
        for (line, (call, instead)) in (FIRST_LINE..).zip(PLAIN) {
            let place = format!("src/main.rs:{line}:");
            let found: Vec<_> = errors.iter().filter(|text| text.contains(&place)).collect();
            if error == "String" {
                assert!(found.len() == 1 && found[0].contains(instead), "{call}:\n{said}");
            } else {
                // Here the methods of a chain repeat it.
                assert!(!found.is_empty(), "{call}:\n{said}");
            }
        }
    }
    for error in ["String", "Bad"] {
        let calls = "pool.try_call(function).retries(1).map(0..10)?; pool.try_map(function, 0..10)?; \
            pool.try_call_with(&1u64, |_, n| function(n)).map(0..10)?; \
            pool.try_call_init(|| 1u64, |_, n| function(n)).map(0..10)?; pool.try_submit(function, 1)?; \
            pool.map(|n: u64| vec![Ok::<u64, String>(n)], 0..10)?;";
        let (built, said) = build(&format!("{}{calls}", start(error)));
        assert!(built, "the forms that are named compile: {said}");
    }
}

#[test]
fn what_serde_does_not_know_is_one_error_that_says_so_and_generic_callers_compile() {
    let (built, said) = build(
        "struct Own(u64); let pool = Executor::start()?; let _ = Own(1).0; pool.map(|n: u64| Own(n), 0..10)?;",
    );
    assert!(!built && errors(&said).len() == 1, "{said}");
    assert!(
        said.contains("a task cannot return `Own`") && said.contains("derive `serde::Serialize`"),
        "{said}"
    );
    let (built, said) = build(
        "fn all<R: serde::Serialize + serde::de::DeserializeOwned + 'static>(
             pool: &Executor, f: impl Fn(u64) -> R + Copy + Send + 'static) -> Result<Vec<R>, rankpool::Error> {
             pool.submit(f, 1)?;
             pool.call(f).retries(1).map(0..10)
         }
         all(&Executor::start()?, |n| n.to_string())?;",
    );
    assert!(built, "{said}");
}

#[test]
fn the_package_has_what_users_build_and_read_and_nothing_else() {
    let listed = cargo().args(["package", "--list", "--allow-dirty", "--offline"]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<&str> = listed.lines().collect();
    for wanted in [
        "Cargo.toml",
        "src/lib.rs",
        "jobs/main.rs",
        "slurm/templates/base.sh.jinja",
        "examples/own_job.rs",
        "docs/results.md",
        "LICENSE-MIT",
    ] {
        assert!(files.contains(&wanted), "{wanted} is not in\n{listed}");
    }
    let made_by_cargo = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml", "Cargo.toml.orig"];
    let folders = ["src/", "jobs/", "examples/", "slurm/", "docs/pictures/"];
    let pages = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "build.rs", "setup.sh"];
    for file in &files {
        let page = file.strip_prefix("docs/").is_some_and(|name| !name.contains('/'));
        let known = page || folders.iter().any(|folder| file.starts_with(folder));
        assert!(
            known || made_by_cargo.contains(file) || pages.contains(file),
            "what does {file} do in the package?"
        );
    }
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
        let mut parts: Vec<u32> = text.split('.').map(|part| part.parse().unwrap()).collect();
        // 1.88 is 1.88.0.
        parts.resize(3, 0);
        parts
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
