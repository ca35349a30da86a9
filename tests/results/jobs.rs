//! The jobs that the tests run: rows of every type, tasks that fail in every way, results of any size.

use std::{collections::BTreeMap, error::Error as StdError, process, thread, time::Duration};

use rankpool::{Block, Error, FailedWith, Job, RawText, Record, Rows, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Colour {
    Red,
    Green,
    Blue,
}

/// Numbers only: a compound in the file.
#[derive(Serialize, Deserialize)]
pub struct Point {
    k: u32,
    at: [f64; 2],
    colour: Colour,
    even: bool,
}

/// Points on a line
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Compound {
    #[arg(long, default_value_t = 7)]
    n: u32,
}

impl Job for Compound {
    const NAME: &'static str = "compound";
    type Item = u32;
    type Output = Point;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u32>, Error> {
        Ok(0..self.n)
    }

    fn task(&self, k: u32) -> Result<Point, Box<dyn StdError>> {
        let colour = [Colour::Red, Colour::Green, Colour::Blue][k as usize % 3];
        Ok(Point { k, at: [f64::from(k) / 2.0, -f64::from(k)], colour, even: k.is_multiple_of(2) })
    }

    fn rows(&self) -> Rows {
        Rows::new().field_unit("at", "m").field_unit("k", "1")
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Point)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// Everything that varies in length: a column for each field.
#[derive(Serialize, Deserialize)]
pub struct Mixed {
    name: String,
    series: Vec<i16>,
    block: Block<f32>,
    maybe: Option<f64>,
    counts: BTreeMap<String, u64>,
    texts: Vec<String>,
    mark: char,
    number: i64,
}

/// Rows of every type
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Everything {
    #[arg(long, default_value_t = 6)]
    n: usize,
    /// Tasks that fail
    #[arg(long, value_delimiter = ',')]
    bad: Vec<usize>,
}

impl Job for Everything {
    const NAME: &'static str = "everything";
    type Item = usize;
    type Output = Mixed;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = usize>, Error> {
        Ok(0..self.n)
    }

    fn task(&self, k: usize) -> Result<Mixed, Box<dyn StdError>> {
        if self.bad.contains(&k) {
            return Err(format!("{k} is bad").into());
        }
        let number = k as i64 - 3;
        Ok(Mixed {
            name: format!("caf\u{e9} {k}"),
            series: (0..k as i16).collect(),
            block: (0..k % 3).map(|value| value as f32 + 0.5).collect(),
            maybe: (k % 2 == 1).then_some(k as f64),
            counts: (0..k % 4).map(|value| (format!("key{value}"), (value * k) as u64)).collect(),
            texts: (0..k % 3).map(|value| "x".repeat(value)).collect(),
            mark: if k.is_multiple_of(2) { '\u{20ac}' } else { 'a' },
            number,
        })
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Mixed)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// Tasks that fail in their own ways
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Trouble {
    #[arg(long, default_value_t = 20)]
    n: u64,
    /// Fail always
    #[arg(long, value_delimiter = ',')]
    bad: Vec<u64>,
    /// Fail at the first attempt
    #[arg(long, value_delimiter = ',')]
    flaky: Vec<u64>,
    /// Never end
    #[arg(long, value_delimiter = ',')]
    stuck: Vec<u64>,
    /// Kill their worker
    #[arg(long, value_delimiter = ',')]
    deadly: Vec<u64>,
    #[arg(long, default_value_t = 0)]
    milliseconds: u64,
    /// Fail unless this file is there
    #[arg(long)]
    unless: Option<std::path::PathBuf>,
}

impl Job for Trouble {
    const NAME: &'static str = "trouble";
    type Item = u64;
    type Output = f64;
    type Summary = f64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok((0..self.n as usize).map(|k| k as u64))
    }

    fn task(&self, k: u64) -> Result<f64, Box<dyn StdError>> {
        thread::sleep(Duration::from_millis(self.milliseconds));
        let mended = self.unless.as_ref().is_some_and(|path| path.exists());
        if self.bad.contains(&k) && !mended {
            return Err("bad on purpose".into());
        }
        if self.flaky.contains(&k) && Task::current().attempt() == 1 {
            return Err("flaky on purpose".into());
        }
        if self.stuck.contains(&k) {
            thread::sleep(Duration::from_secs(3600));
        }
        if self.deadly.contains(&k) {
            process::exit(9);
        }
        Ok(k as f64 / 4.0)
    }

    fn rows(&self) -> Rows {
        Rows::new().unit("mV")
    }

    fn summary(&self, results: impl Iterator<Item = (u64, f64)>) -> Result<f64, Error> {
        Ok(results.map(|(_, value)| value).sum())
    }
}

/// Tasks that take their time
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Steady {
    #[arg(long, default_value_t = 300)]
    n: usize,
    #[arg(long, default_value_t = 10)]
    milliseconds: u64,
}

impl Job for Steady {
    const NAME: &'static str = "steady";
    type Item = u64;
    type Output = (u64, Block<f64>);
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok((0..self.n).map(|k| k as u64))
    }

    fn task(&self, k: u64) -> Result<(u64, Block<f64>), Box<dyn StdError>> {
        use rankpool::rand_chacha::rand_core::Rng;
        thread::sleep(Duration::from_millis(self.milliseconds));
        let mut rng = Task::current().rng();
        Ok((rng.next_u64(), (0..k % 5).map(|_| rng.next_u32().into()).collect()))
    }

    fn summary(&self, results: impl Iterator<Item = (u64, (u64, Block<f64>))>) -> Result<u64, Error> {
        Ok(results.fold(0, |sum, (_, (number, _))| sum ^ number))
    }
}

/// Results of a size
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Large {
    #[arg(long, default_value_t = 50)]
    n: usize,
    /// Numbers in each
    #[arg(long, default_value_t = 1 << 20)]
    numbers: usize,
}

impl Job for Large {
    const NAME: &'static str = "large";
    type Item = usize;
    type Output = Block<f64>;
    type Summary = f64;

    fn items(&self) -> Result<impl Iterator<Item = usize>, Error> {
        Ok(0..self.n)
    }

    fn task(&self, k: usize) -> Result<Block<f64>, Box<dyn StdError>> {
        Ok(vec![k as f64; self.numbers].into())
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Block<f64>)>) -> Result<f64, Error> {
        Ok(results.map(|(_, block)| block[0]).sum())
    }
}

/// One number a task, and nothing to do for it
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Plain {
    #[arg(long, default_value_t = 1000)]
    n: usize,
}

impl Job for Plain {
    const NAME: &'static str = "plain";
    type Item = u64;
    type Output = f64;
    type Summary = f64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok((0..self.n).map(|k| k as u64))
    }

    fn task(&self, k: u64) -> Result<f64, Box<dyn StdError>> {
        Ok((k as f64).sqrt())
    }

    fn summary(&self, results: impl Iterator<Item = (u64, f64)>) -> Result<f64, Error> {
        Ok(results.map(|(_, value)| value).sum())
    }
}

/// Results that no file can hold
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Unfit {}

impl Job for Unfit {
    const NAME: &'static str = "unfit";
    type Item = u32;
    type Output = u128;
    type Summary = u128;

    fn items(&self) -> Result<impl Iterator<Item = u32>, Error> {
        Ok(0..3u32)
    }

    fn task(&self, k: u32) -> Result<u128, Box<dyn StdError>> {
        Ok(u128::from(k))
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u128)>) -> Result<u128, Error> {
        Ok(results.map(|(_, value)| value).sum())
    }
}

/// Numbers times a factor
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Scaled {
    #[arg(long)]
    factor: f64,
}

impl Job for Scaled {
    const NAME: &'static str = "scaled";
    type Item = u32;
    type Output = f64;
    type Summary = f64;

    fn items(&self) -> Result<impl Iterator<Item = u32>, Error> {
        Ok(0..100u32)
    }

    fn task(&self, k: u32) -> Result<f64, Box<dyn StdError>> {
        Ok(self.factor * f64::from(k))
    }

    fn summary(&self, results: impl Iterator<Item = (u64, f64)>) -> Result<f64, Error> {
        Ok(results.map(|(_, value)| value).sum())
    }
}

/// An item that is sent as nothing, and of which one cannot be sent at all.
pub struct Shy(bool);

impl Serialize for Shy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(serde::ser::Error::custom("too shy")) } else { serializer.serialize_unit() }
    }
}

impl<'de> Deserialize<'de> for Shy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Shy, D::Error> {
        <()>::deserialize(deserializer).map(|()| Shy(false))
    }
}

/// Items that cannot all be sent
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Unsendable {}

impl Job for Unsendable {
    const NAME: &'static str = "unsendable";
    type Item = Shy;
    type Output = u8;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = Shy>, Error> {
        Ok((0..5usize).map(|k| Shy(k == 2)))
    }

    fn task(&self, _: Shy) -> Result<u8, Box<dyn StdError>> {
        Ok(7)
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u8)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// What a task sees of its process: its slot, its CPUs, its GPUs
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Surroundings {
    #[arg(long, default_value_t = 40)]
    n: usize,
}

#[derive(Serialize, Deserialize)]
pub struct Seen {
    slot: u32,
    pid: u32,
    cpus: String,
    gpus: String,
}

impl Job for Surroundings {
    const NAME: &'static str = "surroundings";
    type Item = u64;
    type Output = Seen;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok((0..self.n).map(|k| k as u64))
    }

    fn task(&self, _: u64) -> Result<Seen, Box<dyn StdError>> {
        thread::sleep(Duration::from_millis(10));
        let status = std::fs::read_to_string("/proc/self/status")?;
        let cpus =
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        Ok(Seen {
            slot: Task::current().slot(),
            pid: process::id(),
            cpus: cpus.trim().into(),
            gpus: std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default(),
        })
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Seen)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// What a program is started with.
#[derive(Serialize, Deserialize)]
pub struct Setting {
    x: f64,
    method: String,
}

/// What a program has printed, and what was measured of it.
#[derive(Serialize, Deserialize)]
pub struct Printed {
    exit_code: i32,
    result: Record,
    said: RawText,
    seconds: f64,
    host: String,
}

/// Results whose columns are known only at run time
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Printing {
    #[arg(long, default_value_t = 8)]
    n: usize,
    /// Tasks that fail
    #[arg(long, value_delimiter = ',')]
    bad: Vec<usize>,
    /// Tasks that fail, and have printed something all the same
    #[arg(long, value_delimiter = ',')]
    half: Vec<usize>,
}

impl Job for Printing {
    const NAME: &'static str = "printing";
    type Item = Setting;
    type Output = Printed;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = Setting>, Error> {
        Ok((0..self.n).map(|k| Setting { x: k as f64 / 2.0, method: format!("caf\u{e9} {}", k % 2) }))
    }

    fn task(&self, setting: Setting) -> Result<Printed, Box<dyn StdError>> {
        let k = (2.0 * setting.x) as usize;
        if self.bad.contains(&k) {
            return Err(format!("{k} is bad").into());
        }
        let mut result = json!({
            "steps": k, "exit_code": "fine", "at": {"x": k, "y": -1.5}, "path": [k, 2 * k],
            "weights": [0.5, k], "converged": k.is_multiple_of(2), "any": if k == 1 { json!("one") } else { json!(k) },
        });
        if k > 2 {
            result["late"] = json!(k);
        }
        let printed = Printed {
            exit_code: k as i32,
            result: Record::from_json(&result.to_string())?,
            said: [b"line \xff".as_slice(), &[b'0' + k as u8 % 10]].concat().into(),
            seconds: std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs_f64(),
            host: process::id().to_string(),
        };
        if self.half.contains(&k) {
            return Err(FailedWith::new(printed, format!("{k} is half done")).into());
        }
        Ok(printed)
    }

    fn rows(&self) -> Rows {
        Rows::new().field_unit("seconds", "s").measured(["seconds", "host"])
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Printed)>) -> Result<u64, Error> {
        Ok(results.map(|(_, printed)| printed.said.as_bytes().len() as u64).sum())
    }
}

/// Rows that are nothing but records, of items that the job describes
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Described {
    #[arg(long, default_value_t = 4)]
    n: usize,
}

impl Job for Described {
    const NAME: &'static str = "described";
    type Item = Block<u64>;
    type Output = Record;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = Block<u64>>, Error> {
        Ok((0..self.n).map(|k| vec![k as u64; 3].into()))
    }

    fn task(&self, numbers: Block<u64>) -> Result<Record, Box<dyn StdError>> {
        Ok([("sum".to_string(), numbers.iter().sum::<u64>().into())].into_iter().collect())
    }

    fn input(&self, numbers: &Block<u64>) -> Option<Record> {
        Some(
            [("first".to_string(), numbers[0].into()), ("sum".into(), "unknown".into())]
                .into_iter()
                .collect(),
        )
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Record)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// An axis has a name that the file needs
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Taken {}

impl Job for Taken {
    const NAME: &'static str = "taken";
    type Item = u64;
    type Output = f64;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok((0..2usize).map(|k| k as u64))
    }

    fn task(&self, k: u64) -> Result<f64, Box<dyn StdError>> {
        Ok(k as f64)
    }

    fn rows(&self) -> Rows {
        Rows::new().task_axis("inputs", "", [0.0, 1.0])
    }

    fn summary(&self, results: impl Iterator<Item = (u64, f64)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// Numbers at the ends of their types, and names that the table of the tasks has itself.
#[derive(Serialize, Deserialize)]
pub struct Edge {
    status: u64,
    small: u32,
    signed: i8,
    real: f64,
    single: Option<f32>,
    flags: Option<Vec<Option<bool>>>,
}

/// What is at the edge of its type
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Edges {}

impl Job for Edges {
    const NAME: &'static str = "edges";
    type Item = u64;
    type Output = Edge;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok((0..2usize).map(|k| k as u64))
    }

    fn task(&self, k: u64) -> Result<Edge, Box<dyn StdError>> {
        let none = Edge { status: 0, small: 0, signed: 0, real: f64::NAN, single: None, flags: None };
        let full = Edge {
            status: u64::MAX,
            small: u32::MAX,
            signed: i8::MIN,
            real: f64::NEG_INFINITY,
            single: Some(0.1),
            flags: Some(vec![None, Some(true)]),
        };
        Ok(if k == 0 { none } else { full })
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Edge)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}
