//! A table as a Parquet file.
//!
//! In: columns, each of one type. Out: the bytes of the file. Must never write zero for what is unknown: that is null.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::super::exit::{Exit, Failure};
use crate::base::{Money, Timestamp, Value};

/// Digits of a `DECIMAL` that stands in 64 bits, six of them behind the point.
const DIGITS: i32 = 18;

/// A column; what is absent is null.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// `STRING`, as it is: nothing is escaped.
    Text(Vec<Option<String>>),
    /// `INT64`.
    Whole(Vec<Option<i64>>),
    /// `DOUBLE`.
    Number(Vec<Option<f64>>),
    /// `BOOLEAN`.
    Flag(Vec<Option<bool>>),
    /// `DECIMAL(18, 6)`, in dollars.
    Dollars(Vec<Option<i64>>),
    /// `TIMESTAMP`, in microseconds, UTC.
    Time(Vec<Option<i64>>),
}

impl Column {
    /// Texts.
    pub fn texts<'t>(cells: impl Iterator<Item = Option<&'t str>>) -> Self {
        Self::Text(cells.map(|c| c.map(str::to_owned)).collect())
    }

    /// Amounts; one that has more digits than the column is null.
    pub fn amounts(cells: impl Iterator<Item = Option<Money>>) -> Self {
        let fits = |m: Option<Money>| m.map(Money::micros).filter(|m| m.unsigned_abs() < 1_000_000_000_000_000_000);
        Self::Dollars(cells.map(fits).collect())
    }

    /// Points in time.
    pub fn times(cells: impl Iterator<Item = Option<Timestamp>>) -> Self {
        Self::Time(cells.map(|t| t.map(|t| t.0.saturating_mul(1000))).collect())
    }

    /// Values of a param: the one type that all have, else JSON as text.
    pub fn values<'v>(cells: impl Iterator<Item = Option<&'v Value>>) -> Self {
        let cells: Vec<Option<&Value>> = cells.map(|c| c.filter(|v| !v.is_null())).collect();
        let all = |is: fn(&Value) -> bool| cells.iter().flatten().all(|v| is(v));
        if all(Value::is_boolean) && cells.iter().any(Option::is_some) {
            Self::Flag(cells.iter().map(|c| c.and_then(Value::as_bool)).collect())
        } else if all(Value::is_i64) && cells.iter().any(Option::is_some) {
            Self::Whole(cells.iter().map(|c| c.and_then(Value::as_i64)).collect())
        } else if all(Value::is_number) && cells.iter().any(Option::is_some) {
            Self::Number(cells.iter().map(|c| c.and_then(Value::as_f64)).collect())
        } else if all(Value::is_string) {
            Self::texts(cells.iter().map(|c| c.and_then(Value::as_str)))
        } else {
            Self::Text(cells.iter().map(|c| c.map(Value::to_string)).collect())
        }
    }

    fn declared(&self, name: &str) -> Result<TypePtr> {
        let (physical, logical) = match self {
            Self::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Self::Whole(_) => (Physical::INT64, None),
            Self::Number(_) => (Physical::DOUBLE, None),
            Self::Flag(_) => (Physical::BOOLEAN, None),
            Self::Dollars(_) => (Physical::INT64, Some(LogicalType::decimal(6, DIGITS))),
            Self::Time(_) => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        };
        let mut field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL).with_logical_type(logical);
        if matches!(self, Self::Dollars(_)) {
            field = field.with_precision(DIGITS).with_scale(6);
        }
        field.build().map(Arc::new)
    }

    fn write(&self, writer: &mut SerializedColumnWriter<'_>) -> Result<()> {
        match self {
            Self::Text(cells) => {
                let bytes: Vec<Option<ByteArray>> = cells.iter().map(|c| c.as_deref().map(ByteArray::from)).collect();
                cells_of::<ByteArrayType>(writer, &bytes)
            }
            Self::Whole(cells) | Self::Dollars(cells) | Self::Time(cells) => cells_of::<Int64Type>(writer, cells),
            Self::Number(cells) => cells_of::<DoubleType>(writer, cells),
            Self::Flag(cells) => cells_of::<BoolType>(writer, cells),
        }
    }
}

fn cells_of<T: DataType>(writer: &mut SerializedColumnWriter<'_>, cells: &[Option<T::T>]) -> Result<()> {
    let known: Vec<T::T> = cells.iter().flatten().cloned().collect();
    let levels: Vec<i16> = cells.iter().map(|c| i16::from(c.is_some())).collect();
    writer.typed::<T>().write_batch(&known, Some(&levels), None).map(|_| ())
}

/// The file: these columns, all of the same length, and notes about the whole of it.
///
/// # Errors
/// When the columns are no table.
pub fn file(columns: &[(String, Column)], notes: &[(&str, String)]) -> std::result::Result<Vec<u8>, Failure> {
    written(columns, notes).map_err(|e| Failure::new(Exit::Error, format!("no Parquet could be written: {e}")))
}

fn written(columns: &[(String, Column)], notes: &[(&str, String)]) -> Result<Vec<u8>> {
    let fields = columns.iter().map(|(name, column)| column.declared(name)).collect::<Result<Vec<_>>>()?;
    let schema = Type::group_type_builder("trials").with_fields(fields).build()?;
    let notes = notes.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
    let properties = WriterProperties::builder()
        .set_created_by(format!("oppen version {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(notes))
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let mut rows = file.next_row_group()?;
    for (_, column) in columns {
        let mut writer = rows.next_column()?.ok_or_else(|| ParquetError::General("a column is missing".to_owned()))?;
        column.write(&mut writer)?;
        writer.close()?;
    }
    rows.close()?;
    file.into_inner()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_column_has_the_one_type_of_its_values() {
        let of = |values: &[Value]| Column::values(values.iter().map(Some));
        assert_eq!(of(&[json!(1), json!(null), json!(-2)]), Column::Whole(vec![Some(1), None, Some(-2)]));
        assert_eq!(of(&[json!(1), json!(0.5)]), Column::Number(vec![Some(1.0), Some(0.5)]));
        assert_eq!(of(&[json!(true), json!(false)]), Column::Flag(vec![Some(true), Some(false)]));
        assert_eq!(of(&[json!("a"), json!("=1")]), Column::Text(vec![Some("a".into()), Some("=1".into())]));
        assert_eq!(of(&[json!("1"), json!(1), json!([2])]), Column::Text(vec![Some("\"1\"".into()), Some("1".into()), Some("[2]".into())]));
        assert_eq!(of(&[json!(null)]), Column::Text(vec![None]));
    }

    #[test]
    fn what_is_written_is_read_by_type_and_null_stays_null() {
        let columns = [
            ("value".to_owned(), Column::Number(vec![Some(0.5), None])),
            ("spent".to_owned(), Column::amounts([Some(Money::from_micros(20_500)), None].into_iter())),
            ("ended".to_owned(), Column::times([None, Some(Timestamp(1_700_000_000_123))].into_iter())),
            ("params.on".to_owned(), Column::Flag(vec![Some(true), None])),
            ("why".to_owned(), Column::texts([Some("a\n\u{1b}b"), None].into_iter())),
        ];
        let bytes = file(&columns, &[("oppen.sweep", "w/t".to_owned())]).unwrap();
        let mut stored = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut stored, &bytes).unwrap();
        let reader = SerializedFileReader::new(stored).unwrap();
        let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|r| r.unwrap().to_string()).collect();
        assert_eq!(
            rows,
            [
                "{value: 0.5, spent: 0.020500, ended: null, params.on: true, why: \"a\n\u{1b}b\"}",
                "{value: null, spent: null, ended: 2023-11-14 22:13:20.123000 +00:00, params.on: null, why: null}"
            ]
        );
        let note = reader.metadata().file_metadata().key_value_metadata().unwrap()[0].clone();
        assert_eq!((note.key.as_str(), note.value.as_deref()), ("oppen.sweep", Some("w/t")));
    }
}
