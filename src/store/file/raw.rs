//! Rows of bytes into datasets and out of them. The crate `hdf5` moves values of types that are known
//! when the program is compiled; the type of a row is known when it runs.

use std::ffi::CString;

use hdf5::{Dataset, Dataspace, Datatype, Hyperslab, SliceOrIndex, sync, types::TypeDescriptor};
use hdf5_sys::{
    h5a::{H5Aclose, H5Acreate2, H5Awrite},
    h5d::{H5Dread, H5Dwrite},
    h5p::H5P_DEFAULT,
    h5t::{H5Tclose, H5Tcopy, H5Tset_size},
};

/// The rows `from .. from + count` of a dataset, in the file and in memory.
struct Slab {
    file: Dataspace,
    memory: Dataspace,
    datatype: Datatype,
    /// Bytes of all of them in memory.
    size: usize,
}

impl Slab {
    fn of(dataset: &Dataset, from: usize, count: usize, element: &TypeDescriptor) -> hdf5::Result<Slab> {
        let space = dataset.space()?;
        let mut shape = space.shape();
        let mut slices: Vec<SliceOrIndex> = vec![(from..from + count).into()];
        slices.extend(shape.iter().skip(1).map(|dimension| SliceOrIndex::from(0..*dimension)));
        let file = space.select(Hyperslab::from(slices))?;
        shape[0] = count;
        let datatype = Datatype::from_descriptor(element)?;
        let size = shape.iter().product::<usize>() * datatype.size();
        Ok(Slab { file, memory: Dataspace::try_new(&shape)?, datatype, size })
    }

    fn check(&self, bytes: usize) -> hdf5::Result<()> {
        if bytes == self.size {
            return Ok(());
        }
        Err(hdf5::Error::Internal(format!("{bytes} bytes for rows of {}", self.size)))
    }
}

/// Writes whole rows over those at `from`; the elements lie in `bytes` packed, as `element` says, which
/// holds no pointers.
pub(super) fn write(
    dataset: &Dataset,
    from: usize,
    count: usize,
    element: &TypeDescriptor,
    bytes: &[u8],
) -> hdf5::Result<()> {
    let slab = Slab::of(dataset, from, count, element)?;
    slab.check(bytes.len())?;
    let data = bytes.as_ptr().cast();
    // SAFETY: the identifiers belong to objects that live until the call returns, and `bytes` holds as
    // many bytes as the memory space has elements of the memory type, which was checked above. The
    // library's lock is held.
    let status = sync::sync(|| unsafe {
        H5Dwrite(dataset.id(), slab.datatype.id(), slab.memory.id(), slab.file.id(), H5P_DEFAULT, data)
    });
    outcome(status)
}

/// Reads whole rows, packed as `element` says, which holds no pointers.
pub(super) fn read(
    dataset: &Dataset,
    from: usize,
    count: usize,
    element: &TypeDescriptor,
) -> hdf5::Result<Vec<u8>> {
    let slab = Slab::of(dataset, from, count, element)?;
    let mut bytes = vec![0; slab.size];
    let data = bytes.as_mut_ptr().cast();
    // SAFETY: as in `write`; the buffer has room for what is read, and any bytes are bytes.
    let status = sync::sync(|| unsafe {
        H5Dread(dataset.id(), slab.datatype.id(), slab.memory.id(), slab.file.id(), H5P_DEFAULT, data)
    });
    outcome(status).map(|()| bytes)
}

/// Writes a text attribute of fixed length that ends with a NUL, as dimension scales must have and the
/// crate's texts do not.
pub(super) fn write_terminated(dataset: &Dataset, name: &str, text: &str) -> hdf5::Result<()> {
    let terminated =
        |text: &str| CString::new(text).map_err(|error| hdf5::Error::Internal(error.to_string()));
    let (name, text) = (terminated(name)?, terminated(text)?);
    let bytes = text.as_bytes_with_nul();
    let space = Dataspace::try_new(())?;
    // SAFETY: the names end with a NUL, the identifiers are those that the library has just given, or
    // belong to objects that live until the end, and `bytes` is as long as the type. A call that
    // fails gives a negative number, which the next ones refuse. The library's lock is held.
    let status = sync::sync(|| unsafe {
        let datatype = H5Tcopy(*hdf5::globals::H5T_C_S1);
        H5Tset_size(datatype, bytes.len());
        let attribute =
            H5Acreate2(dataset.id(), name.as_ptr(), datatype, space.id(), H5P_DEFAULT, H5P_DEFAULT);
        let status = H5Awrite(attribute, datatype, bytes.as_ptr().cast());
        H5Aclose(attribute);
        H5Tclose(datatype);
        status
    });
    outcome(status)
}

fn outcome(status: i32) -> hdf5::Result<()> {
    if status >= 0 { Ok(()) } else { Err(hdf5::Error::query().unwrap_or_else(|error| error)) }
}
