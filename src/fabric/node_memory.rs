//! A value that lies once in the memory of a node: child processes map it instead of receiving it.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    ptr::NonNull,
    sync::Arc,
};

use bytes::Bytes;
use rustix::{
    fs::{MemfdFlags, SealFlags},
    mm::{MapFlags, ProtFlags},
};

/// From here on a value is worth a file of its own.
const WORTH_MAPPING: usize = 1 << 16;

/// A value, for children.
#[derive(Clone)]
pub(super) enum NodeMemory {
    /// A small one goes over the socket.
    Small(Bytes),
    /// It lies in a file in memory, which goes when nobody has it open or mapped any more.
    Mapped { file: Arc<OwnedFd>, length: usize },
}

impl NodeMemory {
    /// Puts a value there; where the system has no such memory, it is kept as it is.
    pub(super) fn of(value: Bytes) -> NodeMemory {
        if value.len() < WORTH_MAPPING {
            return NodeMemory::Small(value);
        }
        match write(&value) {
            Ok(file) => NodeMemory::Mapped { file: Arc::new(file), length: value.len() },
            Err(error) => {
                tracing::debug!("a shared value is sent to each child: no memory file: {error}");
                NodeMemory::Small(value)
            }
        }
    }
}

fn write(value: &[u8]) -> io::Result<OwnedFd> {
    let file =
        rustix::fs::memfd_create("rankpool-shared-value", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(value)?;
    // Nobody can change it any more: the children share it.
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )?;
    Ok(file.into())
}

/// Memory that is mapped for reading.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is sealed against writing and is unmapped only by the one owner's drop, so any thread may read it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped at `start` as long as this lives, and sealed against writing.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and nobody has a reference to it any more. If it fails it stays mapped.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// The value in such a file, where it lies.
///
/// # Errors
/// When it cannot be mapped, or is none of ours.
pub(super) fn map(file: &OwnedFd, length: u64) -> io::Result<Bytes> {
    let odd = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let Ok(length) = usize::try_from(length) else { return odd("a shared value beyond all memory") };
    let sealed = rustix::fs::fcntl_get_seals(file)?.contains(SealFlags::SHRINK | SealFlags::WRITE);
    if !sealed || length == 0 || rustix::fs::fstat(file)?.st_size as usize != length {
        return odd("a shared value that is not what was announced");
    }
    // SAFETY: a new mapping at an address of the kernel's choice, for reading. The file has that length, cannot shrink,
    // and cannot be written to.
    let start = unsafe {
        rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0)?
    };
    let Some(start) = NonNull::new(start.cast()) else { return odd("a shared value at address 0") };
    Ok(Bytes::from_owner(Mapping { start, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_value_is_mapped_and_outlives_its_file() {
        let value: Vec<u8> = (0..WORTH_MAPPING + 7).map(|byte| byte as u8).collect();
        let NodeMemory::Mapped { file, length } = NodeMemory::of(value.clone().into()) else {
            panic!("it was not put into a file")
        };
        let mapped = map(&file, length as u64).unwrap();
        assert!(map(&file, length as u64 + 1).is_err(), "it is not longer than it is");
        assert!(rustix::io::write(&*file, b"x").is_err(), "it is sealed");
        drop(file);
        let part = mapped.slice(3..);
        drop(mapped);
        assert_eq!(part, value[3..]);
        assert!(matches!(NodeMemory::of(Bytes::from_static(b"few")), NodeMemory::Small(_)));
    }
}
