//! How a [`Timing`] is run: frames and bare messages, there and back.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Expecting, Idle,
    port::Port,
    timing::{AHEAD, Found, NUMBER_BYTES, Timing},
};
use crate::{
    error::{Error, ErrorKind},
    mpi::{self, Communicator, Side},
    sync::lock,
    wire::{Frame, ToWorker},
};

impl Timing {
    /// For [`World::before_use`](crate::mpi::World::before_use).
    pub(crate) fn before_use(self) -> mpi::BeforeUse {
        mpi::BeforeUse(Box::new(move |communicator, side| match side {
            Side::Rank0 { workers } => self.as_rank_0(communicator, workers),
            Side::Worker { is_first } => self.as_worker(communicator, is_first),
        }))
    }

    /// Bare messages with one worker, with all, and blocks; then frames with the one worker.
    fn as_rank_0(&self, communicator: Communicator, workers: Range<u32>) -> Result<(), Error> {
        let began = Instant::now();
        let first = workers.start;
        let mut found = Found {
            message_trips: communicator.trips(first, NUMBER_BYTES, self.time)?,
            messages_per_second: communicator.trips_per_second(workers, NUMBER_BYTES, AHEAD, self.time)?,
            ..Found::default()
        };
        for bytes in &self.sizes {
            found.message_blocks.push(mean(&communicator.trips(first, *bytes, self.time)?));
        }
        let mut port = Port::new(communicator, Some(first));
        found.frame_trips = frame_trips(&mut port, first, NUMBER_BYTES, self.time)?;
        for bytes in &self.sizes {
            found.frame_blocks.push(mean(&frame_trips(&mut port, first, *bytes, self.time)?));
        }
        send(&mut port, first, &ToWorker::Shutdown { finalise: false }.pack())?;
        found.took = began.elapsed();
        *lock(&self.found) = Some(found);
        Ok(())
    }

    fn as_worker(&self, communicator: Communicator, is_first: bool) -> Result<(), Error> {
        if is_first {
            communicator.send_back(NUMBER_BYTES, 1)?;
        }
        communicator.send_back(NUMBER_BYTES, AHEAD)?;
        if !is_first {
            return Ok(());
        }
        for bytes in &self.sizes {
            communicator.send_back(*bytes, 1)?;
        }
        let mut port = Port::new(communicator, Some(0));
        loop {
            let frame = receive(&mut port)?;
            // The last one is empty.
            if frame.body().is_empty() {
                return Ok(());
            }
            send(&mut port, 0, &frame)?;
        }
    }
}

fn mean(trips: &[Duration]) -> Duration {
    trips.iter().sum::<Duration>() / trips.len().max(1) as u32
}

fn frame_trips(port: &mut Port, worker: u32, bytes: usize, time: Duration) -> Result<Vec<Duration>, Error> {
    let body = Bytes::from(vec![1; bytes]);
    let mut trip = || {
        send(port, worker, &ToWorker::Share { number: 0, value: body.clone() }.pack())?;
        receive(port).map(drop)
    };
    trip()?;
    let began = Instant::now();
    let (mut trips, mut last) = (Vec::new(), began);
    while last - began < time || trips.is_empty() {
        trip()?;
        let now = Instant::now();
        trips.push(now - last);
        last = now;
    }
    Ok(trips)
}

fn send(port: &mut Port, rank: u32, frame: &Frame) -> Result<(), Error> {
    let mut idle = Idle::new(true);
    port.post(rank, frame);
    while !port.flush() {
        idle.pause(Expecting::Soon);
    }
    check(port)
}

fn receive(port: &mut Port) -> Result<Frame, Error> {
    let mut idle = Idle::new(true);
    let mut arrived = None;
    loop {
        port.poll(|_, frame| arrived = Some(frame))?;
        check(port)?;
        match arrived.take() {
            Some(frame) => return Ok(frame),
            None => idle.pause(Expecting::Soon),
        }
    }
}

fn check(port: &mut Port) -> Result<(), Error> {
    let gone =
        |(rank, reason)| Error::new(ErrorKind::Internal, format!("rank {rank} cannot be reached: {reason}"));
    port.gone().next().map_or(Ok(()), |lost| Err(gone(lost)))
}
