//! Messages of bytes that block nobody: they are started, and asked later whether they are done.

use std::{ffi::c_int, mem::MaybeUninit};

use bytes::Bytes;
use mpi::ffi;

use super::{Communicator, SEGMENT_BYTES, check, ulfm};
use crate::{error::Error, wire::Parts};

/// What a look for a message found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Nothing,
    /// A message, from this rank.
    From(u32),
    /// These ranks have failed, where MPI tells of it.
    Failures(Vec<u32>),
}

impl Communicator {
    /// The next message with this tag, received whole; `source` is a rank, or `None` for any. MPI_Iprobe and MPI_Recv
    /// (sections 3.8.1 and 3.2.4): nobody else receives on this communicator, so what was found is what is received.
    /// Matched probes would be surer, and are broken on some networks.
    pub(crate) fn try_receive(
        &self,
        source: Option<u32>,
        tag: i32,
        buffer: &mut WorkBuffer,
    ) -> Result<Received, Error> {
        let mut found = 0;
        let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
        // SAFETY: places for the flag and the status, which is set when a message was found; then the buffer is made
        // large enough for all of it, and has its length when MPI has written it.
        unsafe {
            let source = source.map_or(ffi::RSMPI_ANY_SOURCE, |rank| rank as c_int);
            let code = ffi::MPI_Iprobe(source, tag, self.raw, &mut found, status.as_mut_ptr());
            if let Some(failures) = self.failures(code)? {
                return Ok(failures);
            }
            check("MPI_Iprobe", code)?;
            if found == 0 {
                return Ok(Received::Nothing);
            }
            let status = status.assume_init();
            let mut count = 0;
            check("MPI_Get_count", ffi::MPI_Get_count(&status, ffi::RSMPI_UINT8_T, &mut count))?;
            let length = count.max(0) as usize;
            buffer.0.clear();
            buffer.0.reserve(length);
            let code = ffi::MPI_Recv(
                buffer.0.as_mut_ptr().cast(),
                count,
                ffi::RSMPI_UINT8_T,
                status.MPI_SOURCE,
                tag,
                self.raw,
                ffi::RSMPI_STATUS_IGNORE,
            );
            if let Some(failures) = self.failures(code)? {
                return Ok(failures);
            }
            check("MPI_Recv", code)?;
            buffer.0.set_len(length);
            Ok(Received::From(status.MPI_SOURCE as u32))
        }
    }

    /// The ranks that have failed, if that is what a call has returned.
    fn failures(&self, code: c_int) -> Result<Option<Received>, Error> {
        if !ulfm::is_rank_failure(code) {
            return Ok(None);
        }
        Ok(self.failed_ranks()?.map(Received::Failures))
    }

    /// Starts to send `data` to `rank`, part by part, and in segments where one is long. MPI_Isend (section 3.7.2).
    pub(crate) fn send(&self, rank: u32, tag: i32, data: Parts) -> Result<Sending, Error> {
        let mut sending = Sending { _data: data.clone(), requests: Requests(Vec::new()) };
        for segment in data.iter().flat_map(|part| part.chunks(SEGMENT_BYTES)) {
            // SAFETY: the bytes are kept in `Sending`, unchanged, until MPI is done with them; a
            // Sending that is dropped before leaks them.
            unsafe {
                let mut request = ffi::RSMPI_REQUEST_NULL;
                let code = ffi::MPI_Isend(
                    segment.as_ptr().cast(),
                    segment.len() as c_int,
                    ffi::RSMPI_UINT8_T,
                    rank as c_int,
                    tag,
                    self.raw,
                    &mut request,
                );
                sending.requests.0.push(request);
                check("MPI_Isend", code)?;
            }
        }
        Ok(sending)
    }

    /// Starts to receive parts of these lengths from `rank` into one buffer, segmented as [`send`](Communicator::send)
    /// does it. MPI_Irecv (section 3.7.2).
    pub(crate) fn receive(&self, rank: u32, tag: i32, parts: &[usize]) -> Result<Receiving, Error> {
        let length = parts.iter().sum();
        let mut receiving =
            Receiving { data: Vec::with_capacity(length), length, requests: Requests(Vec::new()) };
        let mut rest = &mut receiving.data.spare_capacity_mut()[..length];
        let parts = parts.iter().map(|part| rest.split_off_mut(..*part).unwrap_or_default());
        for segment in parts.flat_map(|part| part.chunks_mut(SEGMENT_BYTES)) {
            // SAFETY: the buffer is not touched or moved by us until MPI is done with it: it is on
            // the heap, owned by `Receiving`, and leaked if that is dropped before.
            unsafe {
                let mut request = ffi::RSMPI_REQUEST_NULL;
                let code = ffi::MPI_Irecv(
                    segment.as_mut_ptr().cast(),
                    segment.len() as c_int,
                    ffi::RSMPI_UINT8_T,
                    rank as c_int,
                    tag,
                    self.raw,
                    &mut request,
                );
                receiving.requests.0.push(request);
                check("MPI_Irecv", code)?;
            }
        }
        Ok(receiving)
    }
}

/// A buffer that small messages are received into.
#[derive(Debug, Default)]
pub(crate) struct WorkBuffer(Vec<u8>);

impl WorkBuffer {
    /// The message, in memory of its own that is not much larger than it.
    pub(crate) fn take(&mut self) -> Bytes {
        if self.0.len() >= self.0.capacity() / 2 {
            return std::mem::take(&mut self.0).into();
        }
        Bytes::copy_from_slice(&self.0)
    }
}

/// Requests that MPI has not completed yet.
#[derive(Debug)]
struct Requests(Vec<ffi::MPI_Request>);

impl Requests {
    /// MPI_Test (section 3.7.3) of each; true when none is left.
    fn done(&mut self) -> Result<bool, Error> {
        while let Some(request) = self.0.last_mut() {
            let mut done = 0;
            // SAFETY: a request that was started and is not complete, and a place for the flag.
            check("MPI_Test", unsafe { ffi::MPI_Test(request, &mut done, ffi::RSMPI_STATUS_IGNORE) })?;
            if done == 0 {
                return Ok(false);
            }
            self.0.pop();
        }
        Ok(true)
    }
}

/// Bytes on their way out.
#[derive(Debug)]
pub(crate) struct Sending {
    _data: Parts,
    requests: Requests,
}

impl Sending {
    /// True when MPI is done with the bytes.
    pub(crate) fn done(&mut self) -> Result<bool, Error> {
        self.requests.done()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.requests.0.is_empty() {
            // MPI may still read them: the bytes of a message to a lost worker stay where they are.
            std::mem::forget(self._data.clone());
        }
    }
}

/// Bytes on their way in.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// Has room for `length` bytes, and is empty until they are there.
    data: Vec<u8>,
    length: usize,
    requests: Requests,
}

impl Receiving {
    /// The bytes, once they are all there.
    pub(crate) fn done(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if !self.requests.done()? {
            return Ok(None);
        }
        let mut data = std::mem::take(&mut self.data);
        // SAFETY: every segment has been received, and together they are this long.
        unsafe { data.set_len(self.length) };
        Ok(Some(data))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if !self.requests.0.is_empty() {
            // MPI may still write to it.
            std::mem::forget(std::mem::take(&mut self.data));
        }
    }
}
