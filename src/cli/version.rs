//! What `--version` prints: the program's version, and what it was built from and with.

/// Several lines.
pub(super) fn of(program_version: &str) -> String {
    let features = [
        ("mpi", cfg!(feature = "mpi")),
        ("hdf5", cfg!(feature = "hdf5")),
        ("cli", cfg!(feature = "cli")),
        ("parquet", cfg!(feature = "parquet")),
    ];
    let features: Vec<&str> = features.into_iter().filter_map(|(name, has)| has.then_some(name)).collect();
    #[cfg(feature = "mpi")]
    let mpi = format!("MPI       {}\n", first_line(&crate::mpi::library_version()));
    #[cfg(not(feature = "mpi"))]
    let mpi = "";
    #[cfg(feature = "hdf5")]
    let hdf5 = format!("HDF5      {}\n", crate::store::hdf5_version());
    #[cfg(not(feature = "hdf5"))]
    let hdf5 = "";
    format!(
        "{} {program_version}\nrankpool  {} ({})\nfeatures  {}\n{mpi}{hdf5}",
        crate::launch::program(),
        env!("CARGO_PKG_VERSION"),
        env!("BUILT_FROM"),
        features.join(" "),
    )
}

/// MPICH tells how it was configured, on lines of their own.
#[cfg(feature = "mpi")]
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
