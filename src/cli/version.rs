//! What `--version` prints: the program's version, and what it was built from and with.

/// Several lines.
pub(super) fn of(program_version: &str) -> String {
    let features: Vec<&str> =
        [("mpi", cfg!(feature = "mpi")), ("hdf5", cfg!(feature = "hdf5")), ("cli", cfg!(feature = "cli"))]
            .into_iter()
            .filter_map(|(name, has)| has.then_some(name))
            .collect();
    let mut lines = vec![
        format!("{} {program_version}", crate::launch::program()),
        format!("rankpool  {} ({})", env!("CARGO_PKG_VERSION"), env!("BUILT_FROM")),
        format!("features  {}", features.join(" ")),
    ];
    #[cfg(feature = "mpi")]
    lines.push(format!("MPI       {}", first_line(&crate::mpi::library_version())));
    #[cfg(feature = "hdf5")]
    lines.push(format!("HDF5      {}", crate::store::hdf5_version()));
    lines.join("\n") + "\n"
}

/// MPICH tells how it was configured, on lines of their own.
#[cfg(feature = "mpi")]
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
