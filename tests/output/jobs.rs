//! The jobs that the tests run.

use std::{error::Error as StdError, io::Write, path::PathBuf, thread, time::Duration};

use rankpool::{Error, Job, Rows};
use serde::{Deserialize, Serialize};

/// Tasks that print, sleep and fail
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Talk {
    #[arg(long, default_value_t = 6)]
    n: u64,
    /// Printed by each task, without a newline
    #[arg(long)]
    print: Option<String>,
    /// Printed by each task with C's printf, without a newline
    #[arg(long)]
    printf: Option<String>,
    /// The message of task 1, which fails
    #[arg(long)]
    fail: Option<String>,
    #[arg(long, default_value_t = 0)]
    sleep_ms: u64,
    /// Any text: a parameter
    #[arg(long, default_value = "")]
    note: String,
    /// There are no items, for a reason of so many bytes
    #[arg(long)]
    refuse: Option<usize>,
}

impl Job for Talk {
    const NAME: &'static str = "talk";
    type Item = u64;
    type Output = u64;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        match self.refuse {
            Some(bytes) => Err(Error::usage("x".repeat(bytes))),
            None => Ok(0..self.n),
        }
    }

    fn task(&self, k: u64) -> Result<u64, Box<dyn StdError>> {
        thread::sleep(Duration::from_millis(self.sleep_ms));
        if let Some(text) = &self.print {
            print!("{text}");
        }
        if let Some(text) = &self.printf {
            let text = std::ffi::CString::new(text.as_str())?;
            // SAFETY: a format and the one text that it asks for.
            unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
        }
        match &self.fail {
            Some(message) if k == 1 => Err(message.as_str().into()),
            _ => Ok(k),
        }
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u64)>) -> Result<u64, Error> {
        Ok(results.map(|(_, k)| k).sum())
    }
}

/// Tasks that go to another folder
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Wander {
    to: PathBuf,
}

impl Job for Wander {
    const NAME: &'static str = "wander";
    type Item = u64;
    type Output = u64;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..4)
    }

    fn task(&self, k: u64) -> Result<u64, Box<dyn StdError>> {
        std::env::set_current_dir(&self.to)?;
        if k == 2 { Err("far away".into()) } else { Ok(k) }
    }

    fn summary(&self, results: impl Iterator<Item = (u64, u64)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

#[derive(Serialize, Deserialize)]
pub struct SparseRow {
    k: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    maybe: Option<f64>,
}

/// Rows that leave a field out
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Sparse {
    /// Written to by each task
    #[arg(long)]
    traces: PathBuf,
}

impl Job for Sparse {
    const NAME: &'static str = "sparse";
    type Item = u64;
    type Output = SparseRow;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..4)
    }

    fn task(&self, k: u64) -> Result<SparseRow, Box<dyn StdError>> {
        std::fs::File::create(&self.traces)?.write_all(b"work was done")?;
        Ok(SparseRow { k, maybe: (k == 0).then_some(1.0) })
    }

    fn summary(&self, results: impl Iterator<Item = (u64, SparseRow)>) -> Result<u64, Error> {
        Ok(results.map(|(_, row)| row.k).sum())
    }
}

/// Numbers as parameters
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Aim {
    #[arg(long, default_value_t = 1.0)]
    radius: f64,
    #[arg(long, value_delimiter = ',')]
    points: Vec<f32>,
}

impl Job for Aim {
    const NAME: &'static str = "aim";
    type Item = u64;
    type Output = f64;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..4)
    }

    fn task(&self, k: u64) -> Result<f64, Box<dyn StdError>> {
        Ok(self.radius * k as f64)
    }

    fn summary(&self, results: impl Iterator<Item = (u64, f64)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// Rows of 10,000 numbers
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Bulky {
    #[arg(long, default_value_t = 50)]
    n: u64,
    /// A file that the job has to do with by itself
    #[arg(long)]
    itself: Option<PathBuf>,
}

impl Job for Bulky {
    const NAME: &'static str = "bulky";
    type Item = u64;
    type Output = Vec<u64>;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..self.n)
    }

    fn task(&self, k: u64) -> Result<Vec<u64>, Box<dyn StdError>> {
        Ok((0..10_000).map(|number| number * k).collect())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.itself.iter().cloned().collect()
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Vec<u64>)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

/// Rows of which one is longer than its axis
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Uneven {}

impl Job for Uneven {
    const NAME: &'static str = "uneven";
    type Item = u64;
    type Output = Vec<u64>;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..400)
    }

    fn task(&self, k: u64) -> Result<Vec<u64>, Box<dyn StdError>> {
        thread::sleep(Duration::from_millis(20));
        Ok(vec![k; if k == 3 { 3 } else { 2 }])
    }

    fn rows(&self) -> Rows {
        Rows::new().row_axis("x", "m", [0.0, 1.0])
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Vec<u64>)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum LooseRow {
    Number(u64),
    Text(String),
}

/// Rows whose type shows only as they are read
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Loose {
    /// Written to by each task
    #[arg(long)]
    traces: PathBuf,
}

impl Job for Loose {
    const NAME: &'static str = "loose";
    type Item = u64;
    type Output = LooseRow;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..4)
    }

    fn task(&self, k: u64) -> Result<LooseRow, Box<dyn StdError>> {
        std::fs::write(&self.traces, "work was done")?;
        Ok(if k == 0 { LooseRow::Number(k) } else { LooseRow::Text("text".into()) })
    }

    fn summary(&self, results: impl Iterator<Item = (u64, LooseRow)>) -> Result<u64, Error> {
        Ok(results.count() as u64)
    }
}

#[derive(Serialize, Deserialize)]
pub struct NamelessRow {
    #[serde(rename = "")]
    value: u64,
}

/// Rows with a field whose name HDF5 cannot have
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Nameless {
    /// Written to by each task
    #[arg(long)]
    traces: PathBuf,
}

impl Job for Nameless {
    const NAME: &'static str = "nameless";
    type Item = u64;
    type Output = NamelessRow;
    type Summary = u64;

    fn items(&self) -> Result<impl Iterator<Item = u64>, Error> {
        Ok(0..4)
    }

    fn task(&self, value: u64) -> Result<NamelessRow, Box<dyn StdError>> {
        std::fs::write(&self.traces, "work was done")?;
        Ok(NamelessRow { value })
    }

    fn summary(&self, results: impl Iterator<Item = (u64, NamelessRow)>) -> Result<u64, Error> {
        Ok(results.map(|(_, row)| row.value).sum())
    }
}
