//! Code pointers that mean the same in every process of one program, and values without memory.
//!
//! A call names the code that a worker is to run by its distance from the load bias of the image that
//! holds it, which is the same in every process that runs the same build however the loader placed it.
//! That image is the one that holds this crate: the executable, or a shared library, such as a module
//! that an interpreter has loaded. The distance is a code pointer and never an identity: two functions
//! may share one. It is only accepted inside an executable segment of the image, and only after both
//! sides agreed on the build at the handshake.

#[cfg(feature = "mpi")]
use std::io::Read;
use std::{
    ffi::{CStr, OsStr},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::OnceLock,
};

use crate::error::{Error, ErrorKind};

/// The image that holds this crate, as it lies in this process.
struct Image {
    /// The path of a shared library; `None` for the executable.
    library: Option<PathBuf>,
    bias: usize,
    /// Executable segments, as offsets from the bias.
    code: Vec<std::ops::Range<usize>>,
    build: String,
}

fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(read_image)
}

fn read_image() -> Image {
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _: usize,
        out: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader passes a valid record, whose headers stay mapped while the image is
        // loaded, and `out` is the Image that `read_image` lends for the length of the walk.
        let (info, image) = unsafe { (&*info, &mut *out.cast::<Image>()) };
        let bias = info.dlpi_addr as usize;
        // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let own = (read_image as fn() -> Image as usize).wrapping_sub(bias);
        let mut loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        if !loaded.any(|header| own.wrapping_sub(header.p_vaddr as usize) < header.p_memsz as usize) {
            return 0;
        }
        image.bias = bias;
        if !info.dlpi_name.is_null() {
            // SAFETY: the name is terminated, and lives as long as the image is loaded.
            let name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
            image.library = (!name.is_empty()).then(|| OsStr::from_bytes(name).into());
        }
        for header in headers {
            let start = header.p_vaddr as usize;
            let segment = start..start + header.p_memsz as usize;
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
                image.code.push(segment);
            } else if header.p_type == libc::PT_NOTE && image.build.is_empty() {
                // SAFETY: a note segment of a loaded image is mapped and readable.
                let notes = unsafe {
                    std::slice::from_raw_parts((image.bias + segment.start) as *const u8, segment.len())
                };
                image.build = build_id(notes).unwrap_or_default();
            }
        }
        1 // There is one; stop there.
    }

    let mut image = Image { library: None, bias: 0, code: Vec::new(), build: String::new() };
    // SAFETY: the callback has the type that is asked for, and `image` outlives the walk.
    unsafe { libc::dl_iterate_phdr(Some(visit), std::ptr::from_mut(&mut image).cast()) };
    if image.build.is_empty() {
        image.build = file_hash(image.library.as_deref()).unwrap_or_else(|| "unknown".into());
    }
    image
}

/// The GNU build id among ELF notes: name size, description size, type, name, description.
fn build_id(mut notes: &[u8]) -> Option<String> {
    const GNU_BUILD_ID: u32 = 3;
    let word = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    loop {
        let (name, size, kind) = (word(notes, 0)? as usize, word(notes, 4)? as usize, word(notes, 8)?);
        let at = 12 + name.next_multiple_of(4);
        let description = notes.get(at..at.checked_add(size)?)?;
        if kind == GNU_BUILD_ID && notes.get(12..12 + name) == Some(b"GNU\0") {
            return Some(description.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(at + size.next_multiple_of(4)..)?;
    }
}

fn file_hash(library: Option<&Path>) -> Option<String> {
    let bytes = match library {
        Some(file) => std::fs::read(file),
        None => std::fs::read("/proc/self/exe").or_else(|_| std::fs::read(std::env::current_exe()?)),
    };
    Some(hash(&bytes.ok()?))
}

fn hash(bytes: &[u8]) -> String {
    format!("xxh3-{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// The notes of an image are among its first bytes.
#[cfg(feature = "mpi")]
const NOTES_BYTES: u64 = 1 << 20;

/// Whether a program that can be executed is of this build: its file, or that of the shared library that holds this crate.
///
/// # Errors
/// When they cannot be read or executed.
#[cfg(feature = "mpi")]
pub(crate) fn is_this_build(program: &Path) -> std::io::Result<bool> {
    rustix::fs::access(program, rustix::fs::Access::EXEC_OK)?;
    has_this_build(image().library.as_deref().unwrap_or(program))
}

#[cfg(feature = "mpi")]
fn has_this_build(file: &Path) -> std::io::Result<bool> {
    let digits = build().as_bytes().chunks(2);
    let id: Option<Vec<u8>> =
        digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect();
    let Some(id) = id else { return Ok(hash(&std::fs::read(file)?) == build()) };
    let mut beginning = Vec::new();
    std::fs::File::open(file)?.take(NOTES_BYTES).read_to_end(&mut beginning)?;
    Ok(beginning.windows(id.len()).any(|window| window == id))
}

/// Names this build of the image: the linker's build id, else a hash of the file.
pub(crate) fn build() -> &'static str {
    &image().build
}

/// The offset that stands for the code at this address in every process of this build.
///
/// # Errors
/// When the code is not in the image that holds this crate, but in another one.
pub(crate) fn to_offset(address: usize) -> Result<u64, Error> {
    let offset = address.wrapping_sub(image().bias);
    if image().code.iter().any(|segment| segment.contains(&offset)) {
        Ok(offset as u64)
    } else {
        Err(Error::new(
            ErrorKind::Usage,
            "the function and rankpool lie in different files, one of them in a shared library; link them \
             statically into one, so that every rank finds it",
        ))
    }
}

/// The address in this process that `offset` stands for; `None` outside of the image's code.
pub(crate) fn from_offset(offset: u64) -> Option<usize> {
    let offset = usize::try_from(offset).ok()?;
    let inside = image().code.iter().any(|segment| segment.contains(&offset));
    inside.then(|| image().bias + offset)
}

/// Makes a value of a type that has no memory, such as a function item or a closure that
/// captures nothing. A type with memory does not compile, and the message says what to use.
///
/// A closure that captures values without memory has none either, and neither do the copies of what it captures that
/// come out of this: they are made in another process than the one where the user had them.
pub(crate) fn conjure<F: Copy>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "rankpool: a closure that captures variables, or a function pointer, cannot travel to \
             another process. Give map_with the captured value to share (it is sent once to each \
             worker), build it on each worker with map_init, or make it part of the item"
        );
    }
    // SAFETY: F has size 0 and is Copy, and every caller was handed a value of it by the user, so
    // it is inhabited and reading one from an aligned dangling pointer is a copy of that value.
    unsafe { NonNull::<F>::dangling().as_ptr().read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() {}

    #[test]
    fn an_address_survives_the_way_through_its_offset() {
        let address = code as fn() as usize;
        assert_eq!(from_offset(to_offset(address).unwrap()), Some(address));
    }

    #[test]
    fn offsets_outside_the_code_are_refused() {
        assert!(from_offset(0).is_none() || image().code[0].start == 0);
        assert!(from_offset(u64::MAX).is_none());
        assert!(from_offset(1 << 40).is_none());
    }

    #[test]
    fn the_build_has_a_name() {
        assert!(build().len() >= 16, "{:?}", build());
    }

    #[cfg(feature = "mpi")]
    #[test]
    fn a_file_is_known_to_be_of_this_build_or_of_another() {
        assert!(is_this_build(&std::env::current_exe().unwrap()).unwrap());
        assert!(!is_this_build("/bin/sh".as_ref()).unwrap());
        assert!(is_this_build("/no/such/file".as_ref()).is_err());
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let mut notes = Vec::new();
        for (kind, name, description) in
            [(1u32, b"GNU\0", &b"abcdefgh"[..]), (3, b"GNU\0", &[0xca, 0xfe][..])]
        {
            notes.extend_from_slice(&4u32.to_le_bytes());
            notes.extend_from_slice(&(description.len() as u32).to_le_bytes());
            notes.extend_from_slice(&kind.to_le_bytes());
            notes.extend_from_slice(name);
            notes.extend_from_slice(description);
        }
        assert_eq!(build_id(&notes).as_deref(), Some("cafe"));
        assert_eq!(build_id(&notes[..30]), None);
    }
}
