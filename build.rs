//! Puts the folder of the MPI library that mpicc names into the program, where the loader looks for it. Open MPI 4
//! and 5 go by one name: the loader may find the other one first.

#[cfg(feature = "mpi")]
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MPICC");
    #[cfg(feature = "mpi")]
    point_to_mpi();
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
