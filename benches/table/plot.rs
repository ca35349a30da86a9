//! docs/performance.svg: tasks a second, one in a chunk.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use crate::{
    Lines,
    tables::{MODES, short},
};

const WIDTH: u32 = 800;
const BAR: u32 = 26;

pub fn write(lines: &Lines, path: &Path) -> Result<(), Box<dyn Error>> {
    let floor = [1, 4]
        .map(|ahead| (format!("C over MPI, {ahead} on the way"), lines.floor("ranks", 1, ahead), BLACK));
    let ours = MODES.iter().map(|(mode, workers, name)| {
        (format!("rankpool, {name}"), lines.figure(mode, *workers, "chunk_1"), RGBColor(31, 119, 180))
    });
    let peers = lines.peers().map(|peer| {
        (
            peer["name"].as_str().unwrap_or_default().to_string(),
            peer["chunk_1"].as_f64(),
            RGBColor(170, 170, 170),
        )
    });
    let bars: Vec<(String, f64, RGBColor)> = (floor.into_iter().chain(ours).chain(peers))
        .filter_map(|(name, rate, colour)| Some((name, rate?, colour)))
        .collect();
    let rows = bars.len() as u32;
    let area = SVGBackend::new(path, (WIDTH, BAR * (rows + 3))).into_drawing_area();
    area.fill(&WHITE)?;
    let most = bars.iter().map(|(_, rate, _)| *rate).fold(1e3, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption("tasks a second, one in a chunk", ("sans-serif", 16))
        .margin_right(70)
        .x_label_area_size(30)
        .y_label_area_size(240)
        .build_cartesian_2d((1e3..most).log_scale(), 0.0..f64::from(rows))?;
    chart.configure_mesh().disable_y_mesh().y_labels(0).x_label_formatter(&|rate| short(*rate)).draw()?;
    let plain = ("sans-serif", 13).into_font();
    for (at, (name, rate, colour)) in bars.iter().enumerate() {
        let low = f64::from(rows) - at as f64 - 0.85;
        chart.draw_series([Rectangle::new([(1e3, low), (*rate, low + 0.7)], colour.filled())])?;
        let (right, y) = chart.backend_coord(&(*rate, low + 0.6));
        let (left, _) = chart.backend_coord(&(1e3, low));
        area.draw(&Text::new(short(*rate), (right + 6, y), plain.clone()))?;
        area.draw(&Text::new(name.clone(), (left - 235, y), plain.clone()))?;
    }
    area.present()?;
    Ok(())
}
