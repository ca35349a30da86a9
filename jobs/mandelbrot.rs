//! The Mandelbrot set, a row a task. A point c stays if the orbit of 0 under z -> z^2 + c does
//! not reach |z| >= 4 within the iterations; the result is the iteration at which it did, or -1.

use std::{
    error::Error as StdError,
    io::{self, Write},
    path::PathBuf,
    sync::OnceLock,
};

use rankpool::{Block, Error, Job, Rows};
use serde::{Deserialize, Serialize};

use crate::{
    file::FilePath,
    input::{finite, positive},
    new_file::NewFile,
};

/// Draw the Mandelbrot set
#[derive(clap::Args, Serialize, Deserialize)]
pub struct Mandelbrot {
    /// Rows and columns
    #[arg(long, default_value_t = 1000, value_parser = side)]
    size: u32,
    /// Centre of the picture, as RE,IM
    #[arg(long, default_value = "-0.235,0.827", value_parser = point, allow_hyphen_values = true)]
    center: (f64, f64),
    /// Half the width of the picture
    #[arg(long, default_value_t = 0.4, value_parser = positive, allow_negative_numbers = true)]
    radius: f64,
    /// Iterations after which a point counts as staying
    #[arg(long, default_value_t = 20, value_parser = rankpool::cli::count_from_1::<i32>)]
    iterations: i32,
    /// Where to write the picture (PNG) when all rows are known; what is there already is refused
    #[arg(long, value_name = "FILE", value_parser = FilePath::parser())]
    picture: Option<FilePath>,
    /// The picture's place, once it is known to be free
    #[arg(skip)]
    #[serde(skip)]
    place: OnceLock<NewFile>,
}

/// How many rows and columns a picture has: 65,535 at most.
fn side(text: &str) -> Result<u32, String> {
    rankpool::cli::count_from_1::<u16>(text).map(u32::from)
}

fn point(text: &str) -> Result<(f64, f64), String> {
    let (re, im) = text.split_once(',').ok_or("expected RE,IM, as in -0.235,0.827")?;
    let number = |text: &str| finite(text).map_err(|error| format!("{text:?}: {error}"));
    Ok((number(re)?, number(im)?))
}

#[derive(Serialize)]
pub struct Summary {
    points: u64,
    /// Points that stay
    inside: u64,
    /// None of a run that is not complete
    picture: Option<FilePath>,
}

impl Mandelbrot {
    fn escape(&self, re: f64, im: f64) -> i32 {
        let (mut x, mut y) = (0.0, 0.0);
        for iteration in 0..self.iterations {
            (x, y) = (x * x - y * y + re, 2.0 * x * y + im);
            if x * x + y * y >= 16.0 {
                return iteration;
            }
        }
        -1
    }

    /// Coordinate of pixel `k` of an axis around `center`.
    fn coordinate(&self, center: f64, k: u32) -> f64 {
        let steps = f64::from(self.size.max(2) - 1);
        center - self.radius + 2.0 * self.radius * f64::from(k) / steps
    }

    /// A colour that runs smoothly with the iteration; points that stay are nearly black.
    fn colour(&self, escape: i32) -> [u8; 3] {
        if escape < 0 {
            return [12, 8, 20];
        }
        let t = f64::from(escape) / f64::from(self.iterations);
        // A cosine palette (Quilez, 1999): offset + amplitude cos(2 pi (t + phase)).
        [0.58, 0.68, 0.80].map(|phase| {
            let wave = (std::f64::consts::TAU * (1.2 * t.sqrt() + phase)).cos();
            (255.0 * (0.52 + 0.46 * wave)) as u8
        })
    }

    fn draw(&self, file: impl Write, rows: &[Block<i32>]) -> io::Result<()> {
        let mut encoder = png::Encoder::new(file, self.size, self.size);
        encoder.set_color(png::ColorType::Rgb);
        let mut pixels = Vec::with_capacity(3 * rows.len() * self.size as usize);
        // The imaginary axis points up.
        for row in rows.iter().rev() {
            pixels.extend(row.iter().flat_map(|escape| self.colour(*escape)));
        }
        let drawn = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&pixels)?;
            writer.finish()
        });
        drawn.map_err(|error| match error {
            png::EncodingError::IoError(error) => error,
            other => io::Error::other(other),
        })
    }
}

impl Job for Mandelbrot {
    const NAME: &'static str = "mandelbrot";
    type Item = u32;
    type Output = Block<i32>;
    type Summary = Summary;

    fn items(&self) -> Result<impl Iterator<Item = u32>, Error> {
        let corner = |center: f64| center.abs() + 2.0 * self.radius;
        if !corner(self.center.0).max(corner(self.center.1)).is_finite() {
            return Err(Error::usage(
                "--center and --radius lead to coordinates that are too large; choose smaller ones",
            ));
        }
        if let Some(path) = &self.picture {
            let _ = self.place.set(NewFile::plan(path)?);
        }
        Ok(0..self.size)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.picture.iter().map(|path| path.to_path_buf()).collect()
    }

    fn task(&self, row: u32) -> Result<Block<i32>, Box<dyn StdError>> {
        let im = self.coordinate(self.center.1, row);
        Ok((0..self.size).map(|column| self.escape(self.coordinate(self.center.0, column), im)).collect())
    }

    fn rows(&self) -> Rows {
        let axis = |center: f64| (0..self.size).map(|k| self.coordinate(center, k)).collect::<Vec<f64>>();
        Rows::new().unit("iterations").task_axis("imaginary", "1", axis(self.center.1)).row_axis(
            "real",
            "1",
            axis(self.center.0),
        )
    }

    fn summary(&self, results: impl Iterator<Item = (u64, Block<i32>)>) -> Result<Summary, Error> {
        let (mut points, mut inside) = (0, 0);
        let mut rows = Vec::new();
        for (_, row) in results {
            points += row.len() as u64;
            inside += row.iter().filter(|escape| **escape < 0).count() as u64;
            if self.place.get().is_some() {
                rows.push(row);
            }
        }
        // Without a row that failed or was not run there is no picture, so that its name is free for a run
        // that goes on.
        let place = self.place.get().filter(|_| rows.len() == self.size as usize);
        if let Some(place) = place {
            place.write(|file| self.draw(file, &rows))?;
        }
        Ok(Summary { points, inside, picture: place.and(self.picture.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_stay_or_escape() {
        let place = OnceLock::new();
        let job =
            Mandelbrot { size: 3, center: (0.0, 0.0), radius: 2.0, iterations: 20, picture: None, place };
        assert_eq!(job.escape(0.0, 0.0), -1);
        assert_eq!(job.escape(-1.0, 0.0), -1);
        assert_eq!(job.escape(-2.0, 0.0), -1, "the tip of the set");
        assert_eq!(job.escape(4.0, 0.0), 0);
        // 2, 6: the second iteration is over 4.
        assert_eq!(job.escape(2.0, 0.0), 1);
        assert_eq!(job.task(1).unwrap().into_vec(), [-1, -1, 1]);
    }
}
