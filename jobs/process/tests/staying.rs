//! Programs that stay.

use super::*;

fn start(script: &str) -> (Watchdog, Program) {
    let (watchdog, minder) = minder();
    (watchdog, minder.keep(Spec { stderr: Out::Inherit, ..Spec::new(["sh", "-c", script]) }).unwrap())
}

#[test]
fn a_program_that_stays_answers_line_by_line() {
    let (_watchdog, mut program) = start("while read line; do echo got $line; done; printf last");
    for number in 0..100 {
        program.send(format!("{number}\n").as_bytes());
        assert_eq!(program.receive_line(Some(LONG)).unwrap(), format!("got {number}").as_bytes());
    }
    (0..1000).for_each(|number| program.send(format!("{number}\n").as_bytes()));
    for number in 0..1000 {
        assert_eq!(program.receive_line(Some(LONG)).unwrap(), format!("got {number}").as_bytes());
    }
    assert_eq!(program.end(LONG).unwrap().how, How::Exited(0));
}

#[test]
fn a_program_that_stays_may_say_much_before_it_reads() {
    let (_watchdog, mut program) = start("seq 1 200000; exec cat");
    let line = [b"x".repeat(1 << 20), b"\n".to_vec()].concat();
    (0..8).for_each(|_| program.send(&line));
    for number in 1..=200_000 {
        assert_eq!(program.receive_line(Some(LONG)).unwrap(), number.to_string().as_bytes());
    }
    (0..8).for_each(|_| assert!(program.receive_line(Some(LONG)).unwrap() == line[..1 << 20]));
    assert_eq!(program.end(LONG).unwrap().how, How::Exited(0));
}

#[test]
fn why_a_program_that_stays_says_nothing_is_told() {
    let how = |gone| match gone {
        Err(Gone::Ended(ended)) => ended.how,
        gone => panic!("{gone:?}"),
    };
    let (_watchdog, mut program) = start("echo one; printf two; exit 3");
    assert_eq!(program.receive_line(None).unwrap(), b"one");
    assert_eq!(program.receive_line(None).unwrap(), b"two");
    assert_eq!(how(program.receive_line(None)), How::Exited(3));
    assert_eq!(how(program.receive_line(None)), How::Exited(3));
    program.send(b"nobody reads it\n");
    assert_eq!(program.end(LONG).unwrap().how, How::Exited(3));

    let (_watchdog, mut program) = start("kill -9 $$");
    program.send(&b"more than a pipe holds\n".repeat(10_000));
    assert_eq!(how(program.receive_line(None)), How::Signalled(9));

    let (_watchdog, mut program) = start("read line; echo $line; exec sleep 600");
    assert!(matches!(program.receive_line(Some(Duration::from_millis(50))), Err(Gone::TimeOver)));
    program.send(b"late\n");
    assert_eq!(program.receive_line(Some(LONG)).unwrap(), b"late");
    // It does not end by itself when there is no more to read.
    assert_eq!(program.end(Duration::from_millis(200)).unwrap().how, How::Stopped(Status::Signalled(15)));

    let (_watchdog, mut program) = start("exec >&-; trap '' TERM; while :; do sleep 0.05; done");
    assert!(matches!(program.receive_line(None), Err(Gone::ClosedOutput)));
    assert_eq!(program.end(Duration::from_millis(200)).unwrap().how, How::Stopped(Status::Signalled(9)));

    let (_watchdog, mut program) = start("kill -9 $PPID; exec sleep 600");
    assert!(matches!(program.receive_line(None), Err(Gone::Lost(_))));

    let (_watchdog, minder) = minder();
    let mut program = minder.keep(Spec::new(["/no/such/program"])).unwrap();
    assert!(
        matches!(how(program.receive_line(None)), How::NotStarted(why) if why.contains("/no/such/program"))
    );
}

#[test]
fn a_program_that_stays_leaves_nothing_when_it_is_dropped() {
    let mark = mark();
    for nest in nests(&mark) {
        let words = ["sh".into(), "-c".into(), format!("{nest} echo ready; sleep {mark}")];
        let spec = Spec { kill_after: Duration::from_millis(100), ..Spec::new(words) };
        let (_watchdog, minder) = minder();
        let mut program = minder.keep(spec).unwrap();
        assert_eq!(program.receive_line(None).unwrap(), b"ready");
        drop(program);
        assert_eq!(sleepers(&mark), 0, "{nest}");
    }
}
