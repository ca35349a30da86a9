//! The filters that a dataset needs to be read, by the names that HDF5 does not tell when one is missing: it speaks of
//! the folder of its plugins instead.

use hdf5::{Dataset, filters::Filter};

/// Registered filters that scientific files are often written with.
const NAMES: [(i32, &str); 12] = [
    (1, "deflate"),
    (4, "szip"),
    (305, "lzo"),
    (307, "bzip2"),
    (32000, "lzf"),
    (32001, "blosc"),
    (32004, "lz4"),
    (32008, "bitshuffle"),
    (32013, "zfp"),
    (32015, "zstd"),
    (32017, "sz"),
    (32026, "blosc2"),
];

/// What to say of a dataset whose filter this program's HDF5 has not.
pub fn missing(dataset: &Dataset) -> Option<String> {
    let filters = dataset.filters();
    let missing = filters.iter().find(|filter| !filter.is_available()).map(Filter::id)?;
    let name = NAMES.iter().find(|(id, _)| *id == missing).map_or("of that number", |(_, name)| name);
    Some(format!(
        "is packed with the HDF5 filter {missing} ({name}), which is not installed here: install it as a plugin and \
         name its folder by HDF5_PLUGIN_PATH, or repack the file, as with `h5repack -f GZIP=4 FILE NEW`"
    ))
}
