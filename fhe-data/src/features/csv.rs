//! Tables of text.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use ndarray::Array2;

use super::labels::Labels;
use super::number::EXACT;
use super::{Column, Features, extension};
use crate::{Error, Result};

/// Reads the samples of a CSV file, a line each: numbers, and one column of labels on request.
///
/// Cells are separated by commas, in a file whose name ends in `.tsv` by tabs. Spaces around a cell
/// and empty lines are left out. `header` says whether the first line names the columns; `None`
/// says that it does if none of its cells, the label's apart, is a number.
///
/// # Shapes
/// `[n, columns]`, less the label's.
///
/// # Errors
/// [`Error::Io`] or [`Error::Csv`] for a file that cannot be read or is no UTF-8; [`Error::Cells`],
/// with the line, for a line of another length; [`Error::Cell`], with line and column, for a cell
/// that is no finite number, or an integer beyond 2^53, which would be rounded;
/// [`Error::NoColumn`] for a label column that is not there.
pub fn read_csv(path: &Path, label: Option<&Column>, header: Option<bool>) -> Result<Features> {
    let table = Table::read(path, label, header)?;
    let skipped = table.label;
    let mut values = Vec::new();
    let mut width = 0;
    for record in &table.records {
        let cells = record.iter().enumerate().filter(|(at, _)| Some(*at) != skipped);
        width = 0;
        for (at, cell) in cells {
            values.push(number(cell).map_err(|wanted| table.wrong(record, at, wanted))?);
            width += 1;
        }
    }
    let labels = skipped.map(|at| table.labels(at)).transpose()?;
    let names = table.header.iter().flatten().enumerate();
    let names: Vec<String> =
        names.filter(|(at, _)| Some(*at) != skipped).map(|(_, name)| name.to_owned()).collect();
    let malformed = |_| Error::Malformed { file: path.to_path_buf(), field: "lines" };
    let values = Array2::from_shape_vec((table.records.len(), width), values).map_err(malformed)?;
    Ok(Features { values, sample_shape: vec![width], names, labels })
}

/// Reads the labels of one column: the one that is named, or the only one.
pub(super) fn read_label_column(
    path: &Path,
    label: Option<&Column>,
    header: Option<bool>,
) -> Result<Labels> {
    let only = Column::Number(1);
    let table = Table::read(path, Some(label.unwrap_or(&only)), header)?;
    match (label, table.width()) {
        (None, 2..) => {
            let known = table.known();
            Err(Error::NoColumn { file: path.to_path_buf(), column: None, known })
        }
        _ => table.labels(table.label.unwrap_or_default()),
    }
}

/// A file's lines, of one length.
struct Table<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    header: Option<StringRecord>,
    records: Vec<StringRecord>,
    /// Where the label is, from 0.
    label: Option<usize>,
}

impl<'a> Table<'a> {
    fn read(path: &'a Path, label: Option<&Column>, header: Option<bool>) -> Result<Self> {
        let delimiter = if extension(path) == "tsv" { b'\t' } else { b',' };
        let bytes = std::fs::read(path).map_err(Error::io("reading", path))?;
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(delimiter)
            .from_reader(&bytes[..]);
        let records: Result<Vec<StringRecord>, _> = reader.records().collect();
        let records = records.map_err(|source| Error::Csv { file: path.to_path_buf(), source })?;
        let mut table = Self { path, bytes, header: None, records, label: None };
        table.check_lengths()?;
        let Some(first) = table.records.first() else { return Ok(table) };
        let numbered = match label {
            Some(Column::Number(number)) => Some(number.wrapping_sub(1)),
            _ => None,
        };
        let mut features = first.iter().enumerate().filter(|(at, _)| Some(*at) != numbered);
        let named = matches!(label, Some(Column::Name(_)));
        // A file of nothing but labels says nothing about a header: it has none.
        let mut detected = || {
            first.len() > usize::from(numbered.is_some())
                && features.all(|(_, cell)| cell.parse::<f64>().is_err())
        };
        if header.unwrap_or_else(|| named || detected()) {
            table.header = Some(table.records.remove(0));
        }
        table.label = label.map(|column| table.find(column)).transpose()?;
        Ok(table)
    }

    fn check_lengths(&self) -> Result<()> {
        let wanted = self.width();
        match self.records.iter().find(|record| record.len() != wanted) {
            Some(record) => Err(Error::Cells {
                file: self.path.to_path_buf(),
                line: self.line(record),
                got: record.len(),
                wanted,
            }),
            None => Ok(()),
        }
    }

    fn width(&self) -> usize {
        self.header.iter().chain(&self.records).next().map_or(0, StringRecord::len)
    }

    /// Returns where a column is.
    fn find(&self, column: &Column) -> Result<usize> {
        let found = match column {
            Column::Number(number) => number.checked_sub(1).filter(|&at| at < self.width()),
            Column::Name(name) => self.header.iter().flatten().position(|cell| cell == name),
        };
        found.ok_or_else(|| Error::NoColumn {
            file: self.path.to_path_buf(),
            column: Some(match column {
                Column::Number(number) => number.to_string(),
                Column::Name(name) => name.clone(),
            }),
            known: self.known(),
        })
    }

    /// Names the columns, for messages.
    fn known(&self) -> String {
        match &self.header {
            Some(header) => header.iter().collect::<Vec<_>>().join(", "),
            None => format!("1 to {}, without names", self.width()),
        }
    }

    fn labels(&self, at: usize) -> Result<Labels> {
        let mut names = Vec::with_capacity(self.records.len());
        for record in &self.records {
            match record.get(at) {
                None | Some("") => return Err(self.wrong(record, at, "a label")),
                Some(cell) => names.push(cell),
            }
        }
        Ok(Labels::from_names(&names))
    }

    /// Returns the line of a record, from 1. Its position is that before empty lines.
    fn line(&self, record: &StringRecord) -> u64 {
        let Some(position) = record.position() else { return 0 };
        let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
        position.line() + ends.filter(|byte| **byte == b'\n').count() as u64
    }

    fn wrong(&self, record: &StringRecord, at: usize, wanted: &'static str) -> Error {
        let got = record.get(at).unwrap_or_default().to_owned();
        let (line, column) = (self.line(record), at + 1);
        Error::Cell { file: self.path.to_path_buf(), line, column, got, wanted }
    }
}

/// Returns the number of a cell, or what would be one.
fn number(cell: &str) -> Result<f64, &'static str> {
    let number = cell.parse().ok().filter(|x: &f64| x.is_finite()).ok_or("a finite number")?;
    let digits = cell.trim_start_matches(['+', '-']);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(number);
    }
    // What is no integer of 64 bits is beyond them.
    let exact = digits.parse::<u64>().is_ok_and(|integer| integer <= EXACT);
    if exact { Ok(number) } else { Err("an integer of at most 2^53, which doubles hold") }
}
