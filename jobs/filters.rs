//! The filters that a dataset needs to be read, by name. When one is missing, HDF5 names only the folder of its
//! plugins.

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

/// What to say of a dataset that cannot be read, because this program's HDF5 has not the filter that packed it.
pub fn missing(dataset: &Dataset) -> Option<String> {
    let filters = dataset.filters();
    let missing = filters.iter().find(|filter| !filter.is_available()).map(Filter::id)?;
    if can_be_read(dataset) {
        return None;
    }
    let name = NAMES.iter().find(|(id, _)| *id == missing).map_or("of that number", |(_, name)| name);
    Some(format!(
        "is packed with the HDF5 filter {missing} ({name}), which is not installed here: install it as a plugin and \
         name its folder by HDF5_PLUGIN_PATH, or repack the file, as with `h5repack -f GZIP=4 FILE NEW`"
    ))
}

/// Whether its first number comes out. A filter that was missing already when the file was written has packed nothing.
fn can_be_read(dataset: &Dataset) -> bool {
    match dataset.ndim() {
        _ if dataset.size() == 0 => true,
        1 => dataset.read_slice_1d::<f64, _>(0..1).is_ok(),
        2 => dataset.read_slice_2d::<f64, _>((0..1, 0..1)).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two datasets that h5py made with lzf: `packed`, and `plain`, whose chunk was written as it is.
    const FILE: &[u8] = include_bytes!("../tests/data/lzf.h5");

    #[test]
    fn a_filter_that_is_missing_is_named_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lzf.h5");
        std::fs::write(&path, FILE).unwrap();
        let file = hdf5::File::open(&path).unwrap();
        let why = missing(&file.dataset("packed").unwrap()).unwrap();
        assert!(why.contains("the HDF5 filter 32000 (lzf)") && why.contains("HDF5_PLUGIN_PATH"), "{why}");
        assert_eq!(missing(&file.dataset("plain").unwrap()), None, "nothing is packed");
    }
}
