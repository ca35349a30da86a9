//! A job whose columns are known only when it runs, and which tells of each task as it ends:
//! `mpiexec -n 3 own_columns run dice --of sum,highest`.

use std::str::FromStr;

use rankpool::{Error, Job, Record, Task, Telling, Told, rand_core::Rng, serde_json::Value};
use serde::{Deserialize, Serialize};

/// Throw dice, and say what was asked of them
#[derive(clap::Args, Serialize, Deserialize)]
struct Dice {
    /// How often they are thrown
    #[arg(long, default_value_t = 3)]
    throws: usize,
    /// How many they are, one more for each throw
    #[arg(long, default_value_t = 2)]
    dice: usize,
    /// The columns: sum, highest, faces
    #[arg(long, value_delimiter = ',', default_value = "sum,highest")]
    of: Vec<Column>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Column {
    Sum,
    Highest,
    Faces,
}

impl FromStr for Column {
    type Err = String;

    fn from_str(name: &str) -> Result<Column, String> {
        match name {
            "sum" => Ok(Column::Sum),
            "highest" => Ok(Column::Highest),
            "faces" => Ok(Column::Faces),
            _ => Err("expected sum, highest or faces".into()),
        }
    }
}

impl Column {
    fn of(self, faces: &[u64]) -> (String, Value) {
        match self {
            Column::Sum => ("sum".into(), faces.iter().sum::<u64>().into()),
            Column::Highest => ("highest".into(), faces.iter().copied().max().into()),
            Column::Faces => ("faces".into(), faces.into()),
        }
    }
}

impl Job for Dice {
    const NAME: &'static str = "dice";
    type Item = usize;
    /// Each key becomes a column of the result file, with the type that its values have.
    type Output = Record;
    type Summary = usize;

    fn items(&self) -> Result<impl Iterator<Item = usize>, Error> {
        Ok(self.dice..self.dice + self.throws)
    }

    /// A column of `/inputs` with a name that says more than the item's type.
    fn input(&self, dice: &usize) -> Option<Record> {
        Some([("dice".to_string(), (*dice).into())].into_iter().collect())
    }

    /// What `--dry-run` prints.
    fn describe(&self, _: u64, dice: &usize) -> Option<String> {
        Some(format!("throw {dice} dice"))
    }

    fn task(&self, dice: usize) -> Result<Record, Box<dyn std::error::Error>> {
        let mut rng = Task::current().rng();
        let faces: Vec<u64> = (0..dice).map(|_| rng.next_u64() % 6 + 1).collect();
        Ok(self.of.iter().map(|column| column.of(&faces)).collect())
    }

    /// Standard output is the job's own then; the report stands on standard error.
    fn telling(&self) -> Telling {
        Telling::InOrder
    }

    fn tell(&self, told: Told<'_, Record>) -> Result<(), Error> {
        match (told.output(), told.error()) {
            (Some(record), None) => println!("{}: {}", told.index(), record.json()),
            (_, error) => println!("{}: failed: {}", told.index(), error.map_or("", |error| error.message())),
        }
        Ok(())
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Record)>) -> Result<usize, Error> {
        Ok(results.count())
    }
}

fn main() -> std::process::ExitCode {
    rankpool::cli::main(rankpool::jobs![Dice])
}
