//! Tells the program which commit it is built from, and puts the folder of the MPI library that mpicc names into the
//! program, where the loader looks for it. Open MPI 4 and 5 go by one name: the loader may find the other one first.

use std::process::Command;

#[cfg(feature = "mpi")]
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MPICC");
    println!("cargo:rerun-if-env-changed=RANKPOOL_COMMIT");
    name_commit();
    #[cfg(feature = "mpi")]
    point_to_mpi();
}

/// The commit that RANKPOOL_COMMIT names, for a build without a checkout; that of the checkout, or the one that cargo has
/// packaged. A debug build does not name it: it would be built anew with every commit.
fn name_commit() {
    const PACKAGED: &str = ".cargo_vcs_info.json";
    let packaged = std::fs::read_to_string(PACKAGED).ok();
    let packaged = packaged.as_deref().and_then(|text| text.split("\"sha1\": \"").nth(1)?.get(..12));
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if packaged.is_some() {
        // Where there is none, cargo would take a missing file for a changed one each time.
        println!("cargo:rerun-if-changed={PACKAGED}");
    }
    let named = std::env::var("RANKPOOL_COMMIT").ok().filter(|commit| !commit.is_empty());
    let built_from = match named.as_deref().or(packaged) {
        Some(commit) => format!("commit {commit}"),
        None if is_release => {
            // Both change with the commit: the branch that is checked out, and what has become of it.
            for place in ["HEAD", "logs/HEAD"] {
                if let Some(place) = git(&["rev-parse", "--git-path", place]) {
                    println!("cargo:rerun-if-changed={place}");
                }
            }
            git(&["rev-parse", "--short=12", "HEAD"])
                .map_or_else(|| "of an unknown commit".to_string(), |commit| format!("commit {commit}"))
        }
        None => "debug build".to_string(),
    };
    println!("cargo:rustc-env=BUILT_FROM={built_from}");
}

/// What git answers in a checkout of this package, and not in one that this package merely lies in.
fn git(arguments: &[&str]) -> Option<String> {
    let ask = |arguments: &[&str]| {
        let answer =
            Command::new("git").args(arguments).output().ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8(answer.stdout).ok()?.trim().to_string())
    };
    if !ask(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    ask(arguments)
}

#[cfg(feature = "mpi")]
fn point_to_mpi() {
    // The same question that the bindings ask; where there is no answer they say so.
    let Ok(library) = build_probe_mpi::probe() else { return };
    // Where the folder has but a link to the library, as Debian's, the loader needs the folder that it leads to.
    let real = |folder: &PathBuf| Some(folder.join("libmpi.so").canonicalize().ok()?.parent()?.to_path_buf());
    let mut folders: Vec<PathBuf> = library.lib_paths.clone();
    folders
        .extend(library.lib_paths.iter().filter_map(real).filter(|real| !library.lib_paths.contains(real)));
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    for folder in &folders {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder},--enable-new-dtags");
    }
    println!("cargo:rustc-env=MPI_FOLDERS_AT_BUILD={}", folders.join(":"));
}
