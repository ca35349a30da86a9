//! Puts the folder of the MPI library that mpicc names into the program, where the loader looks for it. Open MPI 4
//! and 5 go by one name: the loader may find the other one first.

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
    let folders: Vec<String> = library.lib_paths.iter().map(|folder| folder.display().to_string()).collect();
    for folder in &folders {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder},--enable-new-dtags");
    }
    println!("cargo:rustc-env=MPI_FOLDERS_AT_BUILD={}", folders.join(":"));
}
