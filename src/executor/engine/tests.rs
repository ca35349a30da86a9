use super::*;
use crate::{
    error::ErrorKind,
    executor::{
        command::{Answer, Recipient, Work},
        items::Items,
    },
    fabric::News,
    scheduler::{CallSpec, Chunk, End},
    wire::{BatchBuilder, Piece, ToWorker},
    worker::Originals,
};

/// A fabric that breaks once it was given work, and notes how it is left.
struct Breaking {
    sent: bool,
    left: Arc<Mutex<Vec<Ending>>>,
}

impl Fabric for Breaking {
    fn poll(&mut self, _: &mut Vec<News>) -> Result<bool, Error> {
        let broken = || Error::new(ErrorKind::Internal, "MPI_Improbe: no longer");
        if self.sent { Err(broken()) } else { Ok(false) }
    }

    fn post(&mut self, _: u32, _: ToWorker) {
        self.sent = true;
    }

    fn flush(&mut self) {}

    fn give_up(&mut self, _: u32) {}

    fn expected(&self) -> usize {
        0
    }

    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        self.left.lock().unwrap().push(ending);
        Ok(())
    }
}

struct Waiting(mpsc::Sender<End>);

impl Recipient for Waiting {
    fn deliver(&self, _: &mut Vec<Piece>) {}

    fn finish(&self, end: End) {
        let _ = self.0.send(end);
    }
}

fn task(call: u64, end: &mpsc::Sender<End>) -> Command {
    let mut items = BatchBuilder::default();
    items.push(&7u64).unwrap();
    let work = Work { program: 0, shared: None, stateful: false, seed: 0, limit_nanos: 0, order: None };
    let answer = Answer(Arc::new(Waiting(end.clone())));
    let spec = CallSpec {
        first: 0,
        chunk: Chunk::Fixed(1),
        retries: 0,
        retry_delay_nanos: 0,
        window_tasks: 1,
        window_bytes: 1,
        ordered: false,
        announce: false,
        stop_at_error: true,
        expected: Some(1),
        costs: None,
    };
    let open = OpenCall::new(work, answer, Items::single(0, items.finish()), Originals::new());
    Command::Task { call: CallId(call), spec, open }
}

#[test]
fn when_the_fabric_breaks_the_user_hears_of_it_before_the_workers_are_left() {
    let (commands, orders) = mpsc::channel();
    let left: Arc<Mutex<Vec<Ending>>> = Arc::default();
    let reason = Reason::default();
    let worker =
        WorkerInfo { rank: 1, host: "host".into(), pid: 1, cpus: vec![0], threads: 1, children: vec![] };
    let (fabric, told) = (Breaking { sent: false, left: left.clone() }, reason.clone());
    let engine = thread::spawn(move || {
        Engine::new(orders, Box::new(fabric), &[worker], false, Arc::default(), told).run()
    });
    let (end, ended) = mpsc::channel();
    let patience = Duration::from_secs(10);
    commands.send(task(0, &end)).unwrap();
    assert_eq!(ended.recv_timeout(patience), Ok(End::Deserted));
    commands.send(task(1, &end)).unwrap();
    assert_eq!(ended.recv_timeout(patience), Ok(End::Deserted), "a later call ends as well");
    assert_eq!(reason.get().map(String::as_str), Some("MPI_Improbe: no longer"));
    assert!(left.lock().unwrap().is_empty(), "the workers are still there");
    let farewell = Farewell { cancel: false, patience: None, code: None };
    commands.send(Command::End(farewell)).unwrap();
    let error = engine.join().unwrap().unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().as_str()), (70, "MPI_Improbe: no longer"));
    assert_eq!(*left.lock().unwrap(), [Ending::Forced { code: None }]);
}
