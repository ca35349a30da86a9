//! The code of a call, as it is named to a worker.

use super::ChunkRun;
use crate::{error::Error, function};

/// The entry that every call's code has: runs one chunk. See [`run_chunk`](super::run_chunk).
pub(crate) type EntryPoint = fn(&mut ChunkRun<'_>);

/// The number that stands for `entry` in every process of this build.
///
/// # Errors
/// When the code is not in the executable itself but in a shared library.
pub(crate) fn to_program(entry: EntryPoint) -> Result<u64, Error> {
    function::to_offset(entry as usize)
}

/// The entry that rank 0 named; `None` outside the executable's code.
pub(super) fn from_program(program: u64) -> Option<EntryPoint> {
    let address = function::from_offset(program)?;
    // SAFETY: rank 0 made the number with `to_program` from an `EntryPoint` of the same build, which the handshake
    // compared, and the address lies in this executable's code.
    Some(unsafe { std::mem::transmute::<usize, EntryPoint>(address) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(_: &mut ChunkRun<'_>) {}

    #[test]
    fn an_entry_is_found_by_its_number_and_nothing_outside_the_code_is() {
        let program = to_program(entry).unwrap();
        assert_eq!(from_program(program).unwrap() as usize, entry as EntryPoint as usize);
        assert!(from_program(u64::MAX).is_none());
    }
}
