//! The doctor's checks: each tries one part of a launch for real and says what mends it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::Serialize;

use super::{
    Launcher, allocation, child::end_within, cpu_limit, detect, here, is_foreign, on_path, policy,
    policy::flag_of_survival, variable,
};

/// How long one trial may take.
const TRIAL: Duration = Duration::from_secs(30);

/// What a check found.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) ok: bool,
    pub(crate) found: String,
    /// What mends it, where something is wrong.
    pub(crate) fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, ok: true, found: found.into(), fix: None }
    }

    fn wrong(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, ok: false, found: found.into(), fix: Some(fix.into()) }
    }
}

/// All checks, in the order in which one builds on the other.
pub(crate) fn examine() -> Vec<Check> {
    let mut checks = vec![launcher(&linked()), cpus(), allotted()];
    if cfg!(feature = "mpi") {
        checks.extend(mpi());
    } else {
        checks.push(Check::ok("MPI", "not built in (feature `mpi`); modes serial, threads and processes"));
    }
    checks.extend(losses(&linked()));
    checks.push(slurm());
    #[cfg(feature = "hdf5")]
    checks.push(Check::ok("HDF5", crate::store::hdf5_version()));
    checks
}

/// The MPI library of this program, or nothing.
fn linked() -> String {
    #[cfg(feature = "mpi")]
    return crate::mpi::library_version();
    #[cfg(not(feature = "mpi"))]
    String::new()
}

fn launcher(linked: &str) -> Check {
    match detect(variable) {
        Ok(Launcher::None) => Check::ok("launcher", "none: mode auto is serial"),
        Ok(Launcher::Spawned) => Check::ok("launcher", "MPI_Comm_spawn"),
        Ok(Launcher::Mpi { name, size, rank, .. }) => {
            let found = format!("{name}, rank {rank} of {size}");
            if is_foreign(variable, linked) {
                let fix = format!(
                    "it belongs to another MPI than the program ({linked}): start that one's mpiexec"
                );
                Check::wrong("launcher", found, fix)
            } else {
                Check::ok("launcher", found)
            }
        }
        Err(error) => Check::wrong("launcher", "srun without an MPI plugin", error.to_string()),
    }
}

fn cpus() -> Check {
    let (allowed, limit) = (here().cpus.len(), cpu_limit());
    let quota = if limit < allowed { format!(", by quota {limit}") } else { String::new() };
    Check::ok("CPUs", format!("{allowed} allowed{quota} on {}", here().host))
}

fn allotted() -> Check {
    const NAME: &str = "allocation";
    let Some(found) = allocation() else {
        return Check::ok(NAME, "none: this is no job of Slurm's");
    };
    let mut parts = vec![format!("job {} on {}", found.job, found.nodes.join(" "))];
    let number = |count: Option<u32>, what: &str| count.map(|count| format!("{count} {what}"));
    parts.extend(number(found.ranks, "ranks"));
    parts.extend(number(found.cpus_per_task, "CPUs each"));
    parts.extend(found.memory.map(|bytes| format!("{} MB on a node", bytes >> 20)));
    parts.extend(number(Some(found.restarts).filter(|restarts| *restarts > 0), "restarts"));
    match found.time_left() {
        Some(left) => parts.push(format!("{} s left", left.as_secs())),
        None if on_path("squeue").is_none() => {
            return Check::wrong(
                NAME,
                format!("{}, and how long it lasts is not known", parts.join(", ")),
                "give runs --walltime TIME: there is no squeue here to ask",
            );
        }
        None => parts.push("no time limit".into()),
    }
    Check::ok(NAME, parts.join(", "))
}

/// The MPI library of this program, the mpiexec on PATH, and what they do together.
fn mpi() -> Vec<Check> {
    let linked = linked();
    let file = library_file();
    let place = file.as_ref().map(|file| format!(" ({})", file.display())).unwrap_or_default();
    let mut checks = vec![Check::ok("MPI library", format!("{linked}{place}"))];
    let Some(mpiexec) = on_path("mpiexec") else {
        checks.push(Check::wrong(
            "mpiexec",
            "not on PATH",
            "install or load the MPI that the program was built with (Debian: openmpi-bin; a cluster: its module)",
        ));
        return checks;
    };
    checks.push(same_library(&mpiexec, &linked, displaced(file.as_deref(), BUILT_WITH)));
    checks.push(root(&linked));
    if !matches!(detect(variable), Ok(Launcher::None)) {
        checks.push(Check::ok(
            "MPI starts",
            "not tried: a launcher inside of another finds no room; run the doctor alone",
        ));
        return checks;
    }
    let start = probe(Command::new(&mpiexec).args(["-n", "1"]), &["mpi"]);
    match start {
        Ok(found) => checks.push(Check::ok("MPI starts", found)),
        Err(found) => {
            checks.push(Check::wrong(
                "MPI starts",
                found,
                format!("`{} -n 1 true` must work first; see the checks above", mpiexec.display()),
            ));
            return checks;
        }
    }
    let mut two = Command::new(&mpiexec);
    two.args(oversubscribe(&linked)).args(["-n", "2"]);
    checks.push(match probe(&mut two, &["comm"]) {
        Ok(found) => Check::ok("mode comm", found),
        Err(found) => {
            Check::wrong("mode comm", found, "both ranks must come up in one world: one MPI for all")
        }
    });
    checks.push(match probe(Command::new(&mpiexec).args(["-n", "1"]), &["pool"]) {
        Ok(found) => Check::ok("mode pool", found),
        Err(found) => Check::wrong(
            "mode pool",
            found,
            "this MPI cannot spawn here (Cray's never can): use mode comm, which needs no spawn; if it hangs, \
             Open MPI may have taken a network that leads nowhere: name the right one, as in \
             export OMPI_MCA_btl_tcp_if_include=eth0",
        ),
    });
    checks
}

/// The file of the MPI library, as the loader has found it.
fn library_file() -> Option<PathBuf> {
    #[cfg(feature = "mpi")]
    return crate::mpi::library_file();
    #[cfg(not(feature = "mpi"))]
    None
}

/// The folders of the MPI library that the program was built with.
const BUILT_WITH: Option<&str> = option_env!("MPI_FOLDERS_AT_BUILD");

/// The folder of the MPI library that the program was built with, where the loader has taken another one's.
fn displaced<'f>(loaded: Option<&Path>, folders: Option<&'f str>) -> Option<&'f str> {
    let name = loaded?.file_name()?;
    let loaded = loaded?.canonicalize().ok()?;
    let mut there = folders?
        .split(':')
        .filter_map(|folder| Some((folder, Path::new(folder).join(name).canonicalize().ok()?)));
    let first = there.next()?;
    (first.1 != loaded && there.all(|(_, file)| file != loaded)).then_some(first.0)
}

/// What tells Open MPI's mpiexec that more ranks than cores are wanted: 4's, and 5's.
fn oversubscribe(linked: &str) -> &'static [&'static str] {
    if linked.contains("Open MPI v4") {
        &["--oversubscribe"]
    } else if linked.contains("Open MPI") {
        &["--map-by", ":oversubscribe"]
    } else {
        &[]
    }
}

/// Whether the launcher's version line names the library's name and version; `displaced` is the folder of the library
/// that the program was built with, if it has another one now.
fn same_library(mpiexec: &Path, linked: &str, displaced: Option<&str>) -> Check {
    let version = run(Command::new(mpiexec).arg("--version")).unwrap_or_else(|error| error);
    let version =
        version.lines().find(|line| !line.trim().is_empty()).unwrap_or("no version").trim().to_string();
    let found = format!("{} ({version})", mpiexec.display());
    let number = |text: &str| {
        text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .find(|part| part.contains('.'))
            .map(str::to_string)
    };
    let is_open = |text: &str| text.contains("Open MPI") || text.contains("OpenRTE") || text.contains("PRTE");
    let matches = match (number(linked), number(&version)) {
        (Some(library), Some(launcher)) if is_open(linked) && is_open(&version) => {
            // Open MPI 5's launcher is PRTE, which may count its own versions.
            if version.contains("PRTE") { !library.starts_with("4.") } else { library == launcher }
        }
        _ => is_open(linked) == is_open(&version),
    };
    if matches {
        Check::ok("mpiexec", found)
    } else {
        Check::wrong(
            "mpiexec",
            found,
            match displaced {
                Some(folder) => format!(
                    "it belongs to another MPI than the program has now ({linked}). The program was built with the one in \
                     {folder}, and the loader takes another of the same name: put that folder first in \
                     LD_LIBRARY_PATH"
                ),
                None => format!(
                    "it belongs to another MPI than the program ({linked}): put that one's mpiexec first on PATH, or \
                     build again with the mpicc of this one, in a target folder of its own"
                ),
            },
        )
    }
}

fn root(linked: &str) -> Check {
    if !rustix::process::geteuid().is_root() {
        return Check::ok("user", "not root");
    }
    if !linked.contains("Open MPI") {
        return Check::ok("user", "root");
    }
    let set = |name: &str| std::env::var_os(name).is_some();
    if set("OMPI_ALLOW_RUN_AS_ROOT") && set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM") {
        Check::ok("user", "root, and Open MPI is allowed to")
    } else {
        Check::wrong(
            "user",
            "root, which Open MPI's mpiexec refuses",
            "run as a user, or set OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 (Open MPI 5: \
             PRTE_ALLOW_RUN_AS_ROOT too)",
        )
    }
}

/// Which deaths end a run here; `linked` is the MPI library, or nothing.
fn losses(linked: &str) -> Vec<Check> {
    let by_srun = matches!(detect(variable), Ok(Launcher::Mpi { name, .. }) if name.starts_with("srun"));
    let ranks = if linked.is_empty() {
        None
    } else {
        Some(what_a_rank_costs(linked, policy().survives_losses(), by_srun, on_path("srun").is_some()))
    };
    let child =
        "the run goes on, whatever started it: a child of a leader (--processes-per-worker) is replaced";
    let checks = [Some(Check::ok("child dies", child)), ranks.map(|found| Check::ok("rank dies", found))];
    checks.into_iter().flatten().collect()
}

/// What becomes of a run when one of its ranks dies; `slurm`: it may as well be started by srun.
fn what_a_rank_costs(linked: &str, survives: bool, by_srun: bool, slurm: bool) -> String {
    let unless = match flag_of_survival(linked) {
        _ if survives => return "the run goes on: its launcher was told so".into(),
        _ if by_srun => "under srun always".into(),
        Some(flag) => {
            format!("unless started with `mpiexec {flag}`{}", if slurm { ", under srun always" } else { "" })
        }
        None => "with this MPI always".into(),
    };
    format!("the run ends, {unless}: where a task may crash, give --processes-per-worker -1")
}

fn slurm() -> Check {
    let Some(srun) = on_path("srun") else {
        return Check::ok("srun", "no Slurm here");
    };
    let listed = run(Command::new(srun).arg("--mpi=list")).unwrap_or_else(|error| error);
    if on_path("scontrol")
        .is_some_and(|scontrol| run(Command::new(scontrol).args(["show", "config"])).is_err())
    {
        Check::ok("srun", "installed, and no Slurm answers here")
    } else if listed.contains("pmix") {
        Check::ok("srun", "has PMIx: `srun --mpi=pmix` works for mode comm")
    } else {
        Check::wrong(
            "srun",
            "has no PMIx plugin",
            "start ranks with `mpirun` inside the allocation; plain srun would start unconnected copies",
        )
    }
}

/// Runs this program's own probe behind `launcher`; its last line, or why there is none.
fn probe(launcher: &mut Command, probe: &[&str]) -> Result<String, String> {
    let program = super::words().map_err(|error| error.to_string())?;
    let printed = run(launcher.args(program).args(["doctor", "--probe"]).args(probe))?;
    Ok(printed.lines().last().unwrap_or_default().to_string())
}

/// What the command prints, if it ends well in time.
fn run(command: &mut Command) -> Result<String, String> {
    let out = tempfile().map_err(|error| error.to_string())?;
    let copy = |file: &std::fs::File| file.try_clone().map(Stdio::from).map_err(|error| error.to_string());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(copy(&out)?)
        .stderr(copy(&out)?)
        .spawn()
        .map_err(|error| error.to_string())?;
    let ended = end_within(&mut child, TRIAL).map_err(|error| error.to_string())?;
    let status = ended.ok_or_else(|| format!("no end within {TRIAL:?}"))?;
    let text = read_back(out).map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(text);
    }
    // Open MPI frames what it says with rules of dashes.
    let mut lines = text.lines().filter(|line| line.contains(char::is_alphanumeric));
    let first = lines.clone().next();
    let said = lines.find(|line| line.contains("error")).or(first).unwrap_or("no message");
    Err(format!("{status}: {}", said.trim()))
}

/// A file without a name: unlike a pipe, it takes any amount before somebody reads.
fn tempfile() -> std::io::Result<std::fs::File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("rankpool-doctor", flags)?.into())
}

fn read_back(mut file: std::fs::File) -> std::io::Result<String> {
    use std::io::{Read, Seek};
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_or_is_missing_says_so() {
        assert_eq!(run(Command::new("echo").arg("yes")).unwrap(), "yes\n");
        let error = run(Command::new("sh").args(["-c", "echo an error here >&2; exit 3"])).unwrap_err();
        assert!(error.contains('3') && error.contains("an error here"), "{error}");
        assert!(run(&mut Command::new("/no/such/program")).is_err());
    }

    #[test]
    fn what_the_death_of_a_rank_costs_depends_on_the_mpi_and_on_the_launch() {
        let (open, mpich) = ("Open MPI v4.1.4, package: Debian", "MPICH Version:      4.2.0");
        for (linked, survives, by_srun, slurm, told) in [
            (open, false, false, false, "the run ends, unless started with `mpiexec --enable-recovery`:"),
            (open, false, false, true, "`mpiexec --enable-recovery`, under srun always:"),
            (open, false, true, true, "the run ends, under srun always:"),
            ("Open MPI v5.0.11", false, false, false, "unless started with `mpiexec --with-ft ulfm`:"),
            (mpich, false, false, false, "the run ends, with this MPI always:"),
        ] {
            let found = what_a_rank_costs(linked, survives, by_srun, slurm);
            assert!(found.contains(told), "{found}");
            assert!(found.ends_with("give --processes-per-worker -1"), "leaders are recommended: {found}");
        }
        let found = what_a_rank_costs(open, true, false, true);
        assert!(found.contains("goes on") && !found.contains("per-worker"), "{found}");
    }

    #[test]
    fn a_launcher_of_another_library_is_noticed() {
        let folder = std::env::temp_dir().join(format!("rankpool-doctor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mpiexec = folder.join("mpiexec");
        std::fs::write(&mpiexec, "#!/bin/sh\necho 'mpiexec (OpenRTE) 4.1.4'\n").unwrap();
        std::fs::set_permissions(&mpiexec, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(same_library(&mpiexec, "Open MPI v4.1.4, package: Debian", None).ok);
        assert!(!same_library(&mpiexec, "Open MPI v4.0.3, package: x", None).ok);
        assert!(!same_library(&mpiexec, "MPICH Version:      4.2.0", None).ok);
        let fix = same_library(&mpiexec, "Open MPI v5.0.11", Some("/opt/mpi/lib")).fix.unwrap();
        assert!(fix.contains("put that folder first in LD_LIBRARY_PATH"), "{fix}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_library_that_has_taken_the_place_of_the_one_at_the_build_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new, link] = ["old", "new", "link"].map(|name| folder.path().join(name));
        for made in [&old, &new] {
            std::fs::create_dir(made).unwrap();
            std::fs::write(made.join("libmpi.so.40"), "").unwrap();
        }
        std::os::unix::fs::symlink(&old, &link).unwrap();
        let folders = format!("{}:{}", folder.path().display(), old.display());
        let displaced = |loaded: &Path| displaced(Some(&loaded.join("libmpi.so.40")), Some(&folders));
        assert_eq!(displaced(&new), Some(old.to_str().unwrap()));
        assert_eq!((displaced(&old), displaced(&link)), (None, None));
    }

    #[test]
    fn a_folder_at_the_build_that_has_but_a_link_to_the_library_tells_of_none() {
        let folder = tempfile::tempdir().unwrap();
        let [real, new, links] = ["real", "new", "links"].map(|name| folder.path().join(name));
        for made in [&real, &new, &links] {
            std::fs::create_dir(made).unwrap();
        }
        let library = |folder: &Path| folder.join("libmpi.so.40");
        std::fs::write(library(&real), "").unwrap();
        std::fs::write(library(&new), "").unwrap();
        std::os::unix::fs::symlink("../real/libmpi.so.40", links.join("libmpi.so")).unwrap();
        let folders = format!("{}:{}", links.display(), real.display());
        let displaced = |loaded: &Path| displaced(Some(&library(loaded)), Some(&folders));
        assert_eq!((displaced(&new), displaced(&real)), (Some(real.to_str().unwrap()), None));
    }

    /// What build.rs has written down is of use here: one of the folders has the library by the name that it is loaded by.
    #[cfg(feature = "mpi")]
    #[test]
    fn the_library_at_the_build_is_found_in_a_folder_that_the_program_knows() {
        let file = library_file().unwrap();
        let folders = BUILT_WITH.unwrap();
        let has_it = |folder: &str| Path::new(folder).join(file.file_name().unwrap()).exists();
        assert!(folders.split(':').any(has_it), "{} is in none of {folders}", file.display());
        assert_eq!(displaced(Some(&file), BUILT_WITH), None);
        assert_eq!(displaced(Some(&Path::new("/").join(file.file_name().unwrap())), BUILT_WITH), None);
    }
}
