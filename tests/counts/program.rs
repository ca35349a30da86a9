//! What is counted: one kind of work, as often as it is told, with one worker and without MPI.

use rankpool::{Block, Error, Executor, Mode};

fn same(n: u64) -> u64 {
    n
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let times: u64 = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(0);
    let pool = Executor::builder().mode(Mode::Serial).start()?;
    match what.as_str() {
        "start" => {}
        "task" => {
            let results = pool.call(same).chunk(1).map(0..times)?;
            assert!(results.into_iter().eq(0..times));
        }
        "chunk" => {
            let results = pool.call(same).chunk(1000).map(0..1000 * times)?;
            assert_eq!(results.len() as u64, 1000 * times);
        }
        "submit" => {
            for n in 0..times {
                assert_eq!(pool.submit(same, n)?.wait()?, n);
            }
        }
        "block" => {
            let blocks = std::iter::repeat_n(Block::from(vec![7u8; 1 << 20]), times as usize);
            for back in pool.call(|block: Block<u8>| block).chunk(1).stream(blocks)? {
                assert_eq!(back?.len(), 1 << 20);
            }
        }
        other => panic!("{other} is not counted"),
    }
    pool.shutdown()
}
