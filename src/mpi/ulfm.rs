//! Ranks that failed, as MPI tells of them where it has User Level Failure Mitigation (Bland, Bouteiller, Herault,
//! Bosilca and Dongarra, 2013; Open MPI 5 with `--with-ft ulfm`).
//!
//! Such an MPI returns an error of the class MPI_ERR_PROC_FAILED from calls that listen to any rank, until the failure
//! was acknowledged. Its functions are looked up when the program runs, since not every library has them, and the
//! standard has no header for them.

use std::ffi::{CStr, c_int};

use mpi::ffi;

use super::{Communicator, check, error_text};
use crate::error::Error;

type Acknowledge = unsafe extern "C" fn(ffi::MPI_Comm) -> c_int;
type Acknowledged = unsafe extern "C" fn(ffi::MPI_Comm, *mut ffi::MPI_Group) -> c_int;

/// Whether this return code says that a rank has failed. The class's number differs from library to library.
pub(super) fn is_rank_failure(code: c_int) -> bool {
    code != 0 && error_text(code).contains("PROC_FAILED")
}

fn function(name: &CStr) -> Option<*mut libc::c_void> {
    // SAFETY: the name is terminated; the address is looked up among the libraries of this process.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

impl Communicator {
    /// Acknowledges all failures so far, so that any rank can be listened to again. Returns the ranks that have failed;
    /// of an intercommunicator, those of the other side. `None` where the library cannot say.
    pub(super) fn failed_ranks(&self) -> Result<Option<Vec<u32>>, Error> {
        let (Some(acknowledge), Some(acknowledged)) =
            (function(c"MPIX_Comm_failure_ack"), function(c"MPIX_Comm_failure_get_acked"))
        else {
            return Ok(None);
        };
        // SAFETY: these are the functions of the ULFM specification, of these types. The groups are ours, are freed
        // here, and the lists of ranks are as long as the failed group is large.
        unsafe {
            let acknowledge = std::mem::transmute::<*mut libc::c_void, Acknowledge>(acknowledge);
            let acknowledged = std::mem::transmute::<*mut libc::c_void, Acknowledged>(acknowledged);
            check("MPIX_Comm_failure_ack", acknowledge(self.raw))?;
            let (mut failed, mut all) = (ffi::RSMPI_GROUP_NULL, ffi::RSMPI_GROUP_NULL);
            check("MPIX_Comm_failure_get_acked", acknowledged(self.raw, &mut failed))?;
            let (mut inter, mut size) = (0, 0);
            check("MPI_Comm_test_inter", ffi::MPI_Comm_test_inter(self.raw, &mut inter))?;
            if inter != 0 {
                check("MPI_Comm_remote_group", ffi::MPI_Comm_remote_group(self.raw, &mut all))?;
            } else {
                check("MPI_Comm_group", ffi::MPI_Comm_group(self.raw, &mut all))?;
            }
            check("MPI_Group_size", ffi::MPI_Group_size(failed, &mut size))?;
            let theirs: Vec<c_int> = (0..size).collect();
            let mut ours = vec![0; theirs.len()];
            let code = ffi::MPI_Group_translate_ranks(failed, size, theirs.as_ptr(), all, ours.as_mut_ptr());
            check("MPI_Group_translate_ranks", code)?;
            check("MPI_Group_free", ffi::MPI_Group_free(&mut failed))?;
            check("MPI_Group_free", ffi::MPI_Group_free(&mut all))?;
            Ok(Some(ours.into_iter().filter_map(|rank| u32::try_from(rank).ok()).collect()))
        }
    }
}
