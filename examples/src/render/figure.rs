//! Figures as SVG, drawn on the client's side from decrypted checkpoints.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

fn failed(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> anyhow::Error {
    let path = path.display().to_string();
    move |error| anyhow!("drawing {path}: {error}")
}

/// Draws the test accuracy of `what` over the images seen.
///
/// The exact clear twin's final accuracy is a dashed line.
///
/// # Errors
/// If the file cannot be written.
pub fn learning_curve(path: &Path, curve: &[(u64, f64)], what: &str, twin: f64) -> Result<()> {
    let failed = failed(path);
    let last = curve.last().map_or(1, |point| point.0.max(1));
    let area = SVGBackend::new(path, (720, 420)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0..last, 0.0..1.0)
        .map_err(|e| failed(&e))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("training images seen")
        .y_desc("test accuracy")
        .y_label_formatter(&|y| format!("{y:.1}"))
        .draw()
        .map_err(|e| failed(&e))?;
    let points = curve.iter().copied();
    chart
        .draw_series(LineSeries::new(points.clone(), BLUE.stroke_width(2)))
        .map_err(|e| failed(&e))?
        .label(what)
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE.stroke_width(2)));
    chart
        .draw_series(points.map(|point| Circle::new(point, 3, BLUE.filled())))
        .map_err(|e| failed(&e))?;
    chart
        .draw_series(DashedLineSeries::new([(0, twin), (last, twin)], 6, 4, BLACK.stroke_width(1)))
        .map_err(|e| failed(&e))?
        .label(format!("clear twin at the end, {twin:.4}"))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLACK.stroke_width(1)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
        .map_err(|e| failed(&e))?;
    area.present().map_err(|e| failed(&e))
}

/// Draws how many images of each class (row) were taken for each class (column).
///
/// # Errors
/// If the file cannot be written.
pub fn confusion(path: &Path, counts: &[Vec<u32>], classes: &[String]) -> Result<()> {
    let failed = failed(path);
    let (cell, left, top) = (52, 130, 130);
    let size = counts.len() as i32;
    let (width, height) = (left + size * cell + 16, top + size * cell + 16);
    let area = SVGBackend::new(path, (width as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| failed(&e))?;
    let small = ("sans-serif", 14).into_font();
    let text = |text: String, at: (i32, i32), font: &FontDesc| {
        area.draw(&Text::new(text, at, font.clone())).map_err(|e| failed(&e))
    };
    text("taken for".into(), (left, 8), &small)?;
    text("is".into(), (8, top), &small)?;
    let turned = small.transform(FontTransform::Rotate270);
    for (k, row) in counts.iter().enumerate() {
        let name = classes.get(k).cloned().unwrap_or_else(|| k.to_string());
        let at = cell * k as i32;
        text(name.clone(), (32, top + at + 18), &small)?;
        text(name, (left + at + 18, top - 12), &turned)?;
        let all: u32 = row.iter().sum();
        for (j, &count) in row.iter().enumerate() {
            let share = f64::from(count) / f64::from(all.max(1));
            let shade = |full: f64| (255.0 - share * (255.0 - full)) as u8;
            let color = RGBColor(shade(8.0), shade(48.0), shade(107.0));
            let (x, y) = (left + cell * j as i32, top + at);
            let cell = Rectangle::new([(x, y), (x + cell - 2, y + cell - 2)], color.filled());
            area.draw(&cell).map_err(|e| failed(&e))?;
            let ink = if share > 0.5 { WHITE } else { BLACK };
            let font = small.clone().color(&ink);
            area.draw(&Text::new(count.to_string(), (x + 8, y + 18), font))
                .map_err(|e| failed(&e))?;
        }
    }
    area.present().map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_svg_with_the_numbers_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curve.svg");
        learning_curve(&path, &[(100, 0.5), (200, 0.75)], "this", 0.76).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("<svg")
                && text.contains("clear twin at the end, 0.7600")
                && text.contains("this")
        );

        let path = folder.path().join("confusion.svg");
        let classes = ["cat".to_owned(), "dog".to_owned()];
        confusion(&path, &[vec![31, 2], vec![7, 44]], &classes).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("<svg") && text.contains("31") && text.contains("dog"));
        assert!(learning_curve(Path::new("/nowhere/x.svg"), &[(1, 0.5)], "this", 0.5).is_err());
    }
}
