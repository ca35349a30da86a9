//! Bare messages, there and back: what MPI itself can do between rank 0 and its workers.

use std::{
    ffi::c_int,
    ops::Range,
    time::{Duration, Instant},
};

use mpi::ffi;

use super::{Communicator, check};
use crate::error::Error;

/// The tag of the first line; each further line has the next one.
const TAG: i32 = 100;
/// The first byte of a message that is to come back, and of the last one of a line.
const GO: u8 = 1;
const LAST: u8 = 0;
/// A message is tested this often before the thread yields in between, and then before it sleeps in between.
const SPIN: u32 = 2_000;
const YIELD: u32 = 4_000;
const SLEEP: Duration = Duration::from_micros(50);

/// One message at a time on its way to another rank, and back: receives are posted before they are needed, and nothing
/// blocks inside MPI.
struct RoundTrip<'c> {
    communicator: &'c Communicator,
    peer: u32,
    tag: i32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    sending: ffi::MPI_Request,
    receiving: ffi::MPI_Request,
}

impl<'c> RoundTrip<'c> {
    fn new(communicator: &'c Communicator, peer: u32, number: usize, bytes: usize) -> RoundTrip<'c> {
        // SAFETY: reading a constant of the library.
        let none = unsafe { ffi::RSMPI_REQUEST_NULL };
        RoundTrip {
            communicator,
            peer,
            tag: TAG + number as i32,
            outgoing: vec![GO; bytes],
            incoming: vec![GO; bytes],
            sending: none,
            receiving: none,
        }
    }

    /// Lines to `peer`, as many as are to be on the way at a time.
    fn several(communicator: &'c Communicator, peer: u32, ahead: usize, bytes: usize) -> Vec<RoundTrip<'c>> {
        (0..ahead).map(|number| RoundTrip::new(communicator, peer, number, bytes)).collect()
    }

    /// MPI_Irecv (section 3.7.2).
    fn expect(&mut self) -> Result<(), Error> {
        // SAFETY: the buffer is not touched until MPI is done with it; a line that is dropped before leaks it.
        let code = unsafe {
            ffi::MPI_Irecv(
                self.incoming.as_mut_ptr().cast(),
                self.incoming.len() as c_int,
                ffi::RSMPI_UINT8_T,
                self.peer as c_int,
                self.tag,
                self.communicator.raw,
                &mut self.receiving,
            )
        };
        check("MPI_Irecv", code)
    }

    /// MPI_Isend (section 3.7.2). What was sent before has left.
    fn send(&mut self, first: u8) -> Result<(), Error> {
        self.outgoing[0] = first;
        let bytes = if first == LAST { 1 } else { self.outgoing.len() };
        // SAFETY: as above; the buffer has at least one byte.
        let code = unsafe {
            ffi::MPI_Isend(
                self.outgoing.as_ptr().cast(),
                bytes as c_int,
                ffi::RSMPI_UINT8_T,
                self.peer as c_int,
                self.tag,
                self.communicator.raw,
                &mut self.sending,
            )
        };
        check("MPI_Isend", code)
    }

    fn arrived(&mut self) -> Result<bool, Error> {
        done(&mut self.receiving)
    }

    fn left(&mut self) -> Result<bool, Error> {
        done(&mut self.sending)
    }

    /// There and back once.
    fn trip(&mut self) -> Result<(), Error> {
        self.expect()?;
        self.send(GO)?;
        until(|| self.arrived())?;
        until(|| self.left())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.send(LAST)?;
        until(|| self.left())
    }
}

impl Drop for RoundTrip<'_> {
    fn drop(&mut self) {
        // SAFETY: reading a constant of the library.
        let none = unsafe { ffi::RSMPI_REQUEST_NULL };
        if self.sending != none || self.receiving != none {
            // MPI may still use them.
            std::mem::forget((std::mem::take(&mut self.outgoing), std::mem::take(&mut self.incoming)));
        }
    }
}

/// MPI_Test (section 3.7.3); one that is done is no request any more.
fn done(request: &mut ffi::MPI_Request) -> Result<bool, Error> {
    let mut done = 0;
    // SAFETY: a request that was started, or none, and a place for the flag.
    check("MPI_Test", unsafe { ffi::MPI_Test(request, &mut done, ffi::RSMPI_STATUS_IGNORE) })?;
    Ok(done != 0)
}

fn until(mut done: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    let mut asked = 0;
    while !done()? {
        pause(&mut asked);
    }
    Ok(())
}

/// Nothing has come: `asked` times so far.
fn pause(asked: &mut u32) {
    *asked += 1;
    match *asked {
        ..SPIN => std::hint::spin_loop(),
        SPIN..YIELD => std::thread::yield_now(),
        _ => std::thread::sleep(SLEEP),
    }
}

impl Communicator {
    /// Sends messages of `bytes` bytes to `worker` and receives them back, one at a time, for `time`. Returns the time
    /// of each trip.
    ///
    /// Meanwhile the worker [sends them back](Communicator::send_back).
    pub(crate) fn trips(&self, worker: u32, bytes: usize, time: Duration) -> Result<Vec<Duration>, Error> {
        let mut line = RoundTrip::new(self, worker, 0, bytes);
        line.trip()?;
        let began = Instant::now();
        let mut trips = Vec::new();
        let mut last = began;
        while last - began < time || trips.is_empty() {
            line.trip()?;
            let now = Instant::now();
            trips.push(now - last);
            last = now;
        }
        line.close()?;
        Ok(trips)
    }

    /// Messages a second, there and back, with `ahead` of them on the way to each worker.
    pub(crate) fn trips_per_second(
        &self,
        workers: Range<u32>,
        bytes: usize,
        ahead: usize,
        time: Duration,
    ) -> Result<f64, Error> {
        let mut lines: Vec<_> =
            workers.map(|worker| (RoundTrip::several(self, worker, ahead, bytes), 0)).collect();
        for line in lines.iter_mut().flat_map(|(lines, _)| lines) {
            line.expect()?;
            line.send(GO)?;
        }
        let (mut trips, mut asked) = (0u64, 0);
        let began = Instant::now();
        let mut ended = began;
        // Messages from one rank come in the order in which they were sent, so only the line whose turn it is is
        // tested.
        while ended - began < time || trips == 0 {
            let mut any = false;
            for (lines, next) in &mut lines {
                let line = &mut lines[*next];
                if line.arrived()? {
                    until(|| line.left())?;
                    line.expect()?;
                    line.send(GO)?;
                    *next = (*next + 1) % ahead;
                    (trips, asked, any) = (trips + 1, 0, true);
                }
            }
            if !any {
                pause(&mut asked);
            }
            if !any || trips % 64 == 0 {
                ended = Instant::now();
            }
        }
        for line in lines.iter_mut().flat_map(|(lines, _)| lines) {
            until(|| line.arrived())?;
            until(|| line.left())?;
            line.close()?;
        }
        Ok(trips as f64 / (ended - began).as_secs_f64())
    }

    /// The worker's part in [`trips`](Communicator::trips), with 1 `ahead`, and in
    /// [`trips_per_second`](Communicator::trips_per_second).
    pub(crate) fn send_back(&self, bytes: usize, ahead: usize) -> Result<(), Error> {
        let mut lines = RoundTrip::several(self, 0, ahead, bytes);
        lines.iter_mut().try_for_each(RoundTrip::expect)?;
        for next in (0..ahead).cycle() {
            let line = &mut lines[next];
            until(|| line.arrived())?;
            if line.incoming[0] == LAST {
                // The others have their last message, too.
                return lines.iter_mut().enumerate().try_for_each(|(number, line)| {
                    if number == next { Ok(()) } else { until(|| line.arrived()) }?;
                    until(|| line.left())
                });
            }
            until(|| line.left())?;
            line.expect()?;
            line.send(GO)?;
        }
        Ok(())
    }
}
