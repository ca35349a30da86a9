use rankpool::*;
use std::time::Instant;
fn same(x: u64) -> u64 {
    x
}
fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let mode: Mode = args[1].parse().unwrap();
    let mut b = Executor::builder().mode(mode);
    if let Some(w) = args.get(2) {
        b = b.workers(w.parse().unwrap());
    }
    let t = Instant::now();
    let pool = b.start()?;
    println!(
        "start {:?} {:?}",
        t.elapsed(),
        pool.workers().iter().map(|w| (w.rank, w.pid, w.cpus.clone())).collect::<Vec<_>>()
    );
    for (n, c) in [
        (20_000u64, Chunk::Fixed(1)),
        (100_000u64, Chunk::Fixed(1)),
        (1_000_000, Chunk::Fixed(100)),
        (5_000_000, Chunk::Auto),
    ] {
        let t = Instant::now();
        let r = pool.call(same).chunk(c).map(0..n)?;
        let e = t.elapsed();
        assert!(r.iter().enumerate().all(|(i, v)| i as u64 == *v));
        println!("chunk {c}: {:.0} tasks/s", n as f64 / e.as_secs_f64());
    }
    let mut trips: Vec<f64> = (0..1000)
        .map(|i| {
            let t = Instant::now();
            pool.submit(same, i).unwrap().wait().unwrap();
            t.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    trips.sort_by(f64::total_cmp);
    println!("submit p50 {:.1} p99 {:.1}", trips[500], trips[990]);
    let block = Block::from(vec![0u8; 1 << 20]);
    let t = Instant::now();
    let r = pool.map(|b: Block<u8>| b, vec![block; 200])?;
    assert_eq!(r.len(), 200);
    println!("1MiB {:.0} MiB/s", 400.0 / t.elapsed().as_secs_f64());
    println!("{:?}", pool.map_reduce(|n: u64| 1.0 / (n + 1) as f64, |a, b| a + b, 0..1_000_000)?);
    println!("{:?}", pool.map(|n: u32| 12 / n, [1, 2, 0, 3]).unwrap_err().to_string());
    pool.shutdown()
}
