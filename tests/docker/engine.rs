//! A docker engine with the images of rankpool in it, and what the tests leave there taken away.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Ended, LIMIT, start};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// How long it may take to make the base images, or to build the image.
const BUILD: Duration = Duration::from_secs(900);

/// The engine once it is asked for, and why it cannot be used.
static DOCKER: Mutex<Option<(&'static Docker, Result<(), String>)>> = Mutex::new(None);

pub struct Docker {
    /// A copy of the sources, as after a fresh clone.
    pub sources: PathBuf,
    /// Makes the names of everything that is left in the engine this test's own.
    pub name: String,
    pub image: String,
    pub slurm_image: String,
    base: String,
    rust: String,
    folder: tempfile::TempDir,
}

/// The engine with the images, made at the first call. An error is why this machine cannot have one.
///
/// # Panics
/// When the images cannot be built.
pub fn docker() -> Result<&'static Docker, String> {
    let mut known = DOCKER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if known.is_none() {
        let mut docker = Docker::new();
        let ready = docker.find_engine().and_then(|()| docker.find_base_images());
        let usable = ready.is_ok();
        let docker: &'static Docker = Box::leak(Box::new(docker));
        // Before the build, so that what a failure leaves is taken away.
        *known = Some((docker, ready));
        if usable {
            docker.build();
        }
    }
    let (docker, ready) = known.clone().unwrap();
    ready.map(|()| docker)
}

/// Takes away what the tests have left in the engine, and the engine if it was started for them.
pub fn leave() {
    if let Some((docker, ready)) = &*DOCKER.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        if ready.is_ok() {
            docker.clear();
        }
        docker.stop_engine();
    }
}

impl Docker {
    fn new() -> Docker {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("rankpool-test-{}", std::process::id());
        let image = |kind: &str| format!("rankpool-test/{kind}:{}", std::process::id());
        Docker {
            sources: folder.path().join("rankpool"),
            image: image("image"),
            slurm_image: image("slurm"),
            name,
            base: String::new(),
            rust: String::new(),
            folder,
        }
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(Path::new(ROOT).join("tests/docker").join(name));
        // The engine outlives the script that starts it.
        command.env("TMPDIR", self.folder.path());
        let ended = start(command.args(arguments)).end_within(BUILD);
        match ended.code {
            3 => Err(ended.stdout.trim().to_string()),
            _ => Ok(ended.expect(0).stdout),
        }
    }

    fn find_engine(&self) -> Result<(), String> {
        self.script("engine.sh", &["start", self.folder.path().to_str().unwrap()]).map(drop)
    }

    fn find_base_images(&mut self) -> Result<(), String> {
        let names = self.script("images.sh", &[])?;
        let mut names = names.lines().map(str::to_string);
        (self.base, self.rust) = (names.next().unwrap(), names.next().unwrap());
        Ok(())
    }

    fn build(&self) {
        std::fs::create_dir(&self.sources).unwrap();
        let copy = "tar -C \"$1\" --exclude=target --exclude=./.git -c . | tar -C \"$2\" -x";
        let mut command = Command::new("sh");
        command.args(["-c", copy, "copy", ROOT]).arg(&self.sources);
        start(&mut command).end().expect(0);
        // The stage that compiles has a name so that it can be removed.
        self.build_stage("build", &format!("rankpool-test/build:{}", std::process::id()));
        self.build_stage("rankpool", &self.image);
        self.build_stage("slurm", &self.slurm_image);
    }

    fn build_stage(&self, stage: &str, image: &str) {
        let mut command =
            self.bash(&format!("docker build -f docker/Dockerfile --target {stage} -t {image} ."));
        start(&mut command).end_within(BUILD).expect(0);
    }

    /// A bash script in the sources, in which `docker` builds from the base images that are there, marks what it
    /// runs, and finds the Compose tool.
    pub fn bash(&self, script: &str) -> Command {
        let docker = r#"
            docker() {
                case $1 in
                build) shift; command docker build --build-arg RUST_IMAGE --build-arg BASE_IMAGE "$@" ;;
                run) shift; command docker run --label "$COMPOSE_PROJECT_NAME" "$@" ;;
                compose)
                    shift
                    if command docker compose version >/dev/null 2>&1; then
                        command docker compose "$@"
                    else
                        docker-compose "$@"
                    fi
                    ;;
                *) command docker "$@" ;;
                esac
            }
        "#;
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &format!("{docker}\n{script}")])
            .current_dir(&self.sources)
            .env("RUST_IMAGE", &self.rust)
            .env("BASE_IMAGE", &self.base)
            .env("CLUSTER_IMAGE", &self.image)
            .env("CLUSTER_SLURM_IMAGE", &self.slurm_image)
            .env("COMPOSE_PROJECT_NAME", &self.name);
        for variable in ["CLUSTER_USER", "CLUSTER_DATA", "CLUSTER_SLOTS", "COMPOSE_FILE", "COMPOSE_PROFILES"]
        {
            command.env_remove(variable);
        }
        command
    }

    /// What a script of commands of docker prints; its code must be 0.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        start(&mut self.bash(script)).end_within(2 * LIMIT).expect(0).stdout
    }

    /// `docker run --rm FLAGS IMAGE COMMAND`.
    pub fn run(&self, flags: &str, command: &str) -> Ended {
        let script = format!("docker run --rm {flags} {} {command}", self.image);
        start(&mut self.bash(&script)).end_within(LIMIT)
    }

    /// The report of a serial run, to compare with.
    #[track_caller]
    pub fn serial(&self, job: &str) -> Value {
        self.run("", &format!("rankpool run {job} --mode serial --json")).expect(0).json()
    }

    fn clear(&self) {
        let label = &self.name;
        let id = std::process::id();
        let script = format!(
            "docker ps -aq --filter label={label} | xargs -r docker rm -fv
             docker volume ls -q --filter name={label} | xargs -r docker volume rm -f
             docker rmi -f {} {} rankpool-test/build:{id}",
            self.image, self.slurm_image
        );
        let cleared = start(&mut self.bash(&script)).end_within(2 * LIMIT);
        if cleared.code != 0 {
            eprintln!("docker: not all could be taken away: {}{}", cleared.stdout, cleared.stderr);
        }
    }

    fn stop_engine(&self) {
        if let Err(reason) = self.script("engine.sh", &["stop", self.folder.path().to_str().unwrap()]) {
            eprintln!("docker: {reason}");
        }
        // It is never dropped, being shared by all tests.
        let _ = std::fs::remove_dir_all(self.folder.path());
    }
}
