use std::{
    net::TcpStream,
    sync::{Arc, Mutex},
};

use super::{
    super::{
        lifeline::{Introduction, introduce},
        transport::Replacement,
        worker_side::hello,
    },
    *,
};
use crate::launch::Policy;

const PATIENCE: Duration = Duration::from_secs(10);

/// Workers that do what they must to be taken in, and have a lifeline until they are killed.
#[derive(Default)]
struct Workers {
    started: u32,
    coming: Vec<(u32, ToRank0)>,
    lifelines: Arc<Mutex<BTreeMap<u32, TcpStream>>>,
    /// Those whose end the transport sees before their lifelines.
    gone: Arc<Mutex<Vec<u32>>>,
}

impl Workers {
    fn start(&mut self) -> u32 {
        self.started += 1;
        self.coming.push((self.started, ToRank0::Hello(hello())));
        self.started
    }
}

impl Transport for Workers {
    fn poll(&mut self, inbox: &mut Vec<(u32, Incoming)>) -> Result<bool, Error> {
        let coming = self.coming.drain(..);
        inbox.extend(coming.map(|(rank, message)| (rank, Incoming::Frame(message.pack()))));
        let gone = std::mem::take(&mut *self.gone.lock().unwrap());
        inbox.extend(gone.into_iter().map(|rank| (rank, Incoming::Gone("it is gone".into()))));
        Ok(!inbox.is_empty())
    }

    fn post(&mut self, rank: u32, frame: Frame) {
        if let Some(ToWorker::Welcome(welcome)) = ToWorker::unpack(frame) {
            let pid = std::process::id();
            let introduction = Introduction { token: welcome.token, rank, pid, pid_space: 0 };
            let line = introduce(&welcome.lifeline[0], PATIENCE, introduction).unwrap();
            self.lifelines.lock().unwrap().insert(rank, line);
            self.coming.push((rank, ToRank0::Ready(Ready { lifeline_error: None, children: Ok(vec![]) })));
        }
    }

    fn flush(&mut self) {}

    fn abandon(&mut self, _: u32) {}

    fn policy(&self) -> Policy {
        Policy::CHILDREN
    }

    fn replace(&mut self) -> Result<Replacement, Error> {
        Ok(Replacement::Started(self.start()))
    }

    fn end(&mut self, _: Ending, _: bool) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn of_workers_that_are_gone_nothing_is_kept() {
    let mut workers = Workers::default();
    let (lifelines, gone) = (workers.lifelines.clone(), workers.gone.clone());
    let ranks = [workers.start(), workers.start()];
    let settings = Settings {
        team: None,
        children_of: None,
        threads: 1,
        surroundings: None,
        deadline: Instant::now() + PATIENCE,
        start_timeout: PATIENCE,
        stall: None,
    };
    let (mut remote, joined) = Remote::start(workers, ranks, settings).unwrap();
    assert_eq!(joined.len(), 2);
    let deadline = Instant::now() + PATIENCE;
    for lost in 1..=20 {
        let line = lifelines.lock().unwrap().remove(&lost).unwrap();
        let line = Some(line).filter(|_| lost % 2 == 0);
        if line.is_some() {
            gone.lock().unwrap().push(lost);
        }
        let mut news = Vec::new();
        while !news.iter().any(|item| matches!(item, News::Joined(_))) {
            assert!(Instant::now() < deadline, "worker {lost} is not replaced: {news:?}");
            remote.poll(&mut news).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(matches!(news[0], News::Lost { rank, .. } if rank == lost), "{news:?}");
    }
    while !remote.members.keys().eq(&[21, 22]) {
        assert!(Instant::now() < deadline, "{:?}", remote.members.keys());
        remote.poll(&mut Vec::new()).unwrap();
    }
    assert!(!remote.lifelines.knows(20) && remote.lifelines.knows(21));
    assert_eq!(remote.losses, 20);
}
