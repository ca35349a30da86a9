//! Plots as SVG files.

use std::collections::BTreeMap;

use plotters::prelude::*;

use crate::{
    error::{Error, ErrorKind},
    paths::{Draft, explain},
    simulate::{Outcome, Setting},
};

/// The plot, in pixels.
const SIZE: (u32, u32) = (900, 540);

/// Draws the efficiency over the number of workers, a line for each other choice.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn efficiency(draft: Draft, ran: &[(Setting, Outcome)]) -> Result<(), Error> {
    let refused =
        |what: String| Error::new(ErrorKind::Storage, format!("{}: {what}", draft.partial.display()));
    let mut drawing = String::new();
    draw(&mut drawing, ran).map_err(|error| refused(error.to_string()))?;
    std::fs::write(&draft.partial, drawing).map_err(|error| refused(explain(&error)))?;
    draft.publish()
}

fn draw(drawing: &mut String, ran: &[(Setting, Outcome)]) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut order = Vec::new();
    for (setting, outcome) in ran {
        let levels = setting.per_leader.map_or(String::new(), |n| format!(", {n} workers a leader"));
        let name = format!("{}, chunk {}{levels}", setting.spread, setting.chunk);
        if !lines.contains_key(&name) {
            order.push(name.clone());
        }
        lines.entry(name).or_default().push((f64::from(setting.workers), 100.0 * outcome.efficiency()));
    }
    let workers = || ran.iter().map(|(setting, _)| f64::from(setting.workers));
    let (least, most) = (workers().fold(f64::MAX, f64::min), workers().fold(0.0, f64::max));
    let area = SVGBackend::with_string(drawing, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((least / 1.2..most * 1.2).log_scale(), 0.0..105.0)?;
    chart.configure_mesh().x_desc("workers").y_desc("efficiency, %").light_line_style(TRANSPARENT).draw()?;
    for (number, name) in order.iter().enumerate() {
        let Some(points) = lines.get(name) else { continue };
        let colour = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
