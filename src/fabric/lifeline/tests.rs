use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::Instant,
};

use super::{worker::introduce, *};
use crate::worker::Board;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn what_is_said_on_the_lifeline_is_understood_as_it_was_meant() {
    let introduction = Introduction { token: [7; 16], rank: 3, pid: 4711, pid_space: 0xeffffffc };
    assert_eq!(Introduction::from_bytes(&introduction.to_bytes()), introduction);
    let task = Limited { dispatch: 5, task: 1 << 40, limit: Duration::from_millis(1500) };
    for report in [Report::Alive, Report::Overdue(task), Report::Drain] {
        assert_eq!(Report::from_bytes(&report.to_bytes()), Some(report));
    }
    assert_eq!(Report::from_bytes(&[0xff; 32]), None);
    assert!(pid_space() != 0 || !cfg!(target_os = "linux"));
}

/// Rank 0 that expects workers 1 and 2, and where it listens.
fn rank_0(stall: Option<Duration>) -> (Lifelines, SocketAddr) {
    let lifelines = Lifelines::listen(2, stall).unwrap();
    [1, 2].into_iter().for_each(|rank| lifelines.expect(rank));
    let address = lifelines.addresses_for(true)[0];
    (lifelines, address)
}

fn worker(lifelines: &Lifelines, rank: u32) -> Introduction {
    Introduction { token: lifelines.token, rank, pid: std::process::id(), pid_space: pid_space() }
}

/// Connects without an introduction.
fn stranger(address: SocketAddr, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(words).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Rank 0 has closed the connection, and said nothing before.
fn is_sent_away(mut stream: TcpStream) -> bool {
    let mut word = [0];
    match stream.read(&mut word) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn eventually(what: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !what() && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    what()
}

#[test]
fn who_does_not_show_the_token_in_time_is_sent_away() {
    let (lifelines, address) = rank_0(None);
    let whole = worker(&lifelines, 1).to_bytes();
    let wrong = Introduction { token: [0; 16], ..worker(&lifelines, 1) }.to_bytes();
    let began = Instant::now();
    assert!(is_sent_away(stranger(address, &wrong)));
    assert!(began.elapsed() < Duration::from_secs(2), "a wrong token is refused at once");
    let late = [stranger(address, b""), stranger(address, &whole[..20]), stranger(address, &whole[..31])];
    assert!(late.into_iter().all(is_sent_away));
    assert!(!lifelines.stands(1));
}

#[test]
fn a_slow_introduction_is_understood() {
    let (lifelines, address) = rank_0(None);
    let mut stream = stranger(address, b"");
    for byte in worker(&lifelines, 1).to_bytes() {
        stream.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    assert!(eventually(|| lifelines.stands(1)));
}

#[test]
fn a_worker_comes_through_a_crowd() {
    let (lifelines, address) = rank_0(None);
    let crowd: Vec<TcpStream> = (0..300).map(|_| stranger(address, b"")).collect();
    let _line = introduce(&address, PATIENCE, worker(&lifelines, 1)).unwrap();
    assert!(lifelines.stands(1));
    let mut oldest = crowd.into_iter();
    assert!(is_sent_away(oldest.next().unwrap()), "there is room for few strangers");
}

#[test]
fn nobody_takes_the_place_of_a_worker_that_lives() {
    let (lifelines, address) = rank_0(None);
    let mut line = introduce(&address, PATIENCE, worker(&lifelines, 1)).unwrap();
    assert!(eventually(|| lifelines.all_have_answered()));
    assert!(introduce(&address, PATIENCE, worker(&lifelines, 1)).is_err(), "worker 1 is connected");
    assert!(introduce(&address, PATIENCE, worker(&lifelines, 9)).is_err(), "there is no worker 9");
    lifelines.order_exit(1, 7);
    line.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut word = [0];
    line.read_exact(&mut word).unwrap();
    assert_eq!(word, [7], "the first connection is the one that is used");
    assert!(lifelines.heard.try_recv().is_err(), "nobody is lost");
}

#[test]
fn a_worker_that_sleeps_is_woken_and_one_that_is_pinged_is_not() {
    let (lifelines, address) = rank_0(None);
    let sleep = Duration::from_secs(2);
    let sleeper = thread::spawn({
        let token = lifelines.token;
        move || {
            let line = connect(&[address], token, 1, Arc::new(Board::new(1))).unwrap();
            let began = Instant::now();
            thread::park_timeout(sleep);
            let pinged = began.elapsed();
            thread::park_timeout(PATIENCE);
            (pinged, began.elapsed() - pinged, line)
        }
    });
    assert!(eventually(|| lifelines.stands(1)));
    lifelines.ask_idle_workers();
    thread::sleep(sleep + Duration::from_millis(500));
    lifelines.wake(1);
    let (pinged, woken, line) = sleeper.join().unwrap();
    assert!(pinged >= sleep && woken < PATIENCE, "{pinged:?}, {woken:?}");
    line.leave();
}

#[test]
fn a_worker_that_has_not_confirmed_may_try_again() {
    let (lifelines, address) = rank_0(None);
    // It is taken in, but has given up waiting before it hears of it.
    let first = stranger(address, &worker(&lifelines, 1).to_bytes());
    assert!(eventually(|| lifelines.stands(1)));
    let line = introduce(&address, PATIENCE, worker(&lifelines, 1)).unwrap();
    drop(first);
    thread::sleep(Duration::from_millis(50));
    assert!(lifelines.stands(1) && lifelines.heard.try_recv().is_err(), "that is no loss");
    drop(line);
    assert!(matches!(lifelines.heard.recv_timeout(PATIENCE), Ok(Heard::Gone { rank: 1, .. })));
}

#[test]
fn who_answers_is_kept_and_who_is_silent_is_told_once() {
    let (lifelines, address) = rank_0(Some(Duration::from_secs(1)));
    let mut answering = introduce(&address, PATIENCE, worker(&lifelines, 1)).unwrap();
    let _silent = introduce(&address, PATIENCE, worker(&lifelines, 2)).unwrap();
    let thread = thread::spawn(move || {
        let mut word = [0];
        while answering.read_exact(&mut word).is_ok() && word == [PING] {
            answering.write_all(&Report::Alive.to_bytes()).unwrap();
        }
    });
    let heard = lifelines.heard.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(heard, Heard::Silent { rank: 2, time } if time >= Duration::from_secs(1)), "{heard:?}");
    assert!(lifelines.is_frozen(2) && !lifelines.is_frozen(1));
    thread::sleep(Duration::from_millis(1500));
    assert!(lifelines.heard.try_recv().is_err());
    lifelines.order_exit(1, 0);
    thread.join().unwrap();
}

#[test]
fn without_a_stall_the_limit_of_its_tasks_bounds_a_workers_silence() {
    let (lifelines, address) = rank_0(None);
    let _line = introduce(&address, PATIENCE, worker(&lifelines, 1)).unwrap();
    assert!(lifelines.heard.recv_timeout(Duration::from_millis(2500)).is_err(), "no limit, no stall");
    lifelines.limit(1, Some(Duration::from_millis(1)));
    let heard = lifelines.heard.recv_timeout(PATIENCE);
    assert!(matches!(heard, Ok(Heard::Silent { rank: 1, .. })), "{heard:?}");
}

#[test]
fn noise_on_a_workers_line_is_its_end() {
    let (lifelines, address) = rank_0(None);
    let mut line = introduce(&address, PATIENCE, worker(&lifelines, 1)).unwrap();
    line.write_all(&[0xff; 40]).unwrap();
    assert!(matches!(lifelines.heard.recv_timeout(PATIENCE), Ok(Heard::Gone { rank: 1, .. })));
}
