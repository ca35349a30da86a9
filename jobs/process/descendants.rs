//! The processes that a minder answers for: all that descend from it. The minder is a subreaper, so a process that
//! loses its parent becomes the minder's child. None escapes by forking twice or by a session of its own.

use std::{fs, io::Read, time::Duration};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgrp, getpid, kill_process, kill_process_group, waitid,
};

/// A process as /proc shows it.
#[derive(Clone, Copy)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
}

/// All processes that descend from this one, parents first.
fn descendants() -> Vec<Process> {
    let mut all: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| read(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    all.sort_unstable_by_key(|process| process.parent);
    let mut found = children(&all, getpid().as_raw_nonzero().get()).to_vec();
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        found.extend_from_slice(children(&all, process.pid));
        next += 1;
    }
    found
}

/// The children of one process, in a list by parents.
fn children(by_parent: &[Process], parent: i32) -> &[Process] {
    let first = by_parent.partition_point(|process| process.parent < parent);
    let count = by_parent[first..].partition_point(|process| process.parent == parent);
    &by_parent[first..first + count]
}

/// `None` when it has ended meanwhile.
fn read(pid: i32) -> Option<Process> {
    let mut text = [0; 512];
    let length = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
    // The name stands in parentheses, and may have any byte in it.
    let name_ends = text[..length].iter().rposition(|&byte| byte == b')')?;
    let mut fields = str::from_utf8(&text[name_ends + 1..length]).ok()?.split_ascii_whitespace().skip(1);
    Some(Process { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

/// Asks all of them to end, each once. A stopped one is continued, so that it can.
pub(super) fn terminate(group: Pid) {
    // In one step, so that no fork goes by unseen between the look and the signal.
    let _ = kill_process_group(group, Signal::TERM);
    let _ = kill_process_group(group, Signal::CONT);
    for process in descendants() {
        if process.group != group.as_raw_nonzero().get()
            && let Some(pid) = Pid::from_raw(process.pid)
        {
            // What has ended by itself needs no signal.
            let _ = kill_process(pid, Signal::TERM);
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

/// Kills all of them that are there now, and tells how many that were: those that are forked meanwhile need another call.
pub(super) fn kill() -> usize {
    let own_group = getpgrp().as_raw_nonzero().get();
    let found = descendants();
    for process in &found {
        if process.group != own_group
            && let Some(group) = Pid::from_raw(process.group)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if let Some(pid) = Pid::from_raw(process.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    found.len()
}

/// Kills all of them until there is none, however long that takes.
pub(super) fn kill_all() {
    let mut pause = Duration::from_micros(200);
    while !reap_ended() {
        kill();
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Takes in the ends of children. Whether there is no child any more.
fn reap_ended() -> bool {
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(error) => return error == rustix::io::Errno::CHILD,
        }
    }
}
