//! Files of results.

/// The version of the HDF5 library that this program is linked with.
#[cfg(feature = "cli")]
pub(crate) fn hdf5_version() -> String {
    let (major, minor, release) = hdf5::library_version();
    format!("{major}.{minor}.{release}")
}
