//! Two tables: `features.parquet` with a row for each feature, `labels.parquet` with a row for each label.
//!
//! Of every scorer a label has the columns `NAME`, `NAME_low` and `NAME_high` (the 95 % interval), `NAME_floor`, `NAME_control` and `NAME_n`.
//! The metadata key `untangle` says, as JSON, of what the tables are.

use super::files::write as write_file;
use crate::database::{Database, Run};
use crate::error::InterpretError;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{PrimitiveTypeBuilder, Type};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::{FeatureCard, Label, LabelKind, LogitEffect};

/// The values of a column, of all rows.
enum Values {
    Integers(Vec<i64>),
    Numbers(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    Lists(Vec<Vec<String>>),
}

/// A column.
struct Column {
    name: String,
    values: Values,
}

pub(super) fn write(
    database: &Database,
    run: &Run,
    root: &Path,
    advance: &mut dyn FnMut(usize) -> Result<(), InterpretError>,
) -> Result<usize, InterpretError> {
    let (mut cards, scorers) = (Vec::new(), database.scorers()?);
    for feature in 0..database.n_features()? {
        // Examples are not in the tables, and take most of a card's memory.
        cards.push(FeatureCard {
            examples: Vec::new(),
            sampled: Vec::new(),
            banded: Vec::new(),
            ..database.card(feature)?
        });
        advance(1)?;
    }
    let about = json!({
        "tool_version": run.tool_version, "sae": run.sae, "sae_sha256": run.sae_sha256, "store": run.store,
        "model": run.model.as_ref().map(|model| &model.name),
    });
    for (name, columns) in [("features.parquet", features(&cards)), ("labels.parquet", labels(&cards, &scorers))] {
        let failed = |source| InterpretError::Table { path: root.join(name), source };
        write_file(root, name, &table(columns, &about.to_string()).map_err(failed)?)?;
    }
    Ok(2)
}

fn features(cards: &[FeatureCard]) -> Vec<Column> {
    let numbers = |name: &str, of: fn(&FeatureCard) -> f64| {
        column(name, Values::Numbers(cards.iter().map(|card| Some(of(card))).collect()))
    };
    let integers = |name: &str, of: fn(&FeatureCard) -> u64| {
        column(name, Values::Integers(cards.iter().map(|card| of(card) as i64).collect()))
    };
    let lists = |name: &str, of: fn(&FeatureCard) -> &[LogitEffect]| {
        let tokens = |card| of(card).iter().map(|effect| effect.token.clone()).collect();
        column(name, Values::Lists(cards.iter().map(tokens).collect()))
    };
    let mut columns = vec![
        integers("feature", |card| card.feature as u64),
        numbers("density", |card| card.density),
        numbers("max_activation", |card| card.max_activation.into()),
        numbers("mean_activation", |card| card.mean_activation.into()),
        integers("held_out_firings", |card| card.held_out_firings),
        lists("raises", |card| &card.top_logits),
        lists("lowers", |card| &card.bottom_logits),
    ];
    for kind in [LabelKind::Input, LabelKind::Output] {
        // The first of a kind is the one to show.
        let first = |card: &FeatureCard| card.labels.iter().find(|label| label.kind == kind).cloned();
        let texts = |name: &str, of: fn(Label) -> String| {
            let values = cards.iter().map(|card| first(card).map(of)).collect();
            column(&format!("{}_{name}", kind.name()), Values::Texts(values))
        };
        columns.extend([texts("label", |label| label.text), texts("source", |label| label.source)]);
    }
    columns
}

fn labels(cards: &[FeatureCard], scorers: &[String]) -> Vec<Column> {
    let all: Vec<(usize, &Label)> =
        cards.iter().flat_map(|card| card.labels.iter().map(|label| (card.feature, label))).collect();
    let texts = |name: &str, of: fn(&Label) -> String| {
        column(name, Values::Texts(all.iter().map(|(_, label)| Some(of(label))).collect()))
    };
    let mut columns = vec![
        column("feature", Values::Integers(all.iter().map(|(feature, _)| *feature as i64).collect())),
        texts("kind", |label| label.kind.name().to_owned()),
        texts("source", |label| label.source.clone()),
        texts("text", |label| label.text.clone()),
    ];
    for scorer in scorers {
        let numbers = |end: &str, of: fn(&untangle_schema::Score) -> Option<f64>| {
            let values = all.iter().map(|(_, label)| label.score(scorer).and_then(of)).collect();
            column(&format!("{scorer}{end}"), Values::Numbers(values))
        };
        columns.extend([
            numbers("", |score| Some(score.value)),
            numbers("_low", |score| Some(score.interval?.0)),
            numbers("_high", |score| Some(score.interval?.1)),
            numbers("_floor", |score| score.floor),
            numbers("_control", |score| score.control),
            numbers("_n", |score| Some(score.n as f64)),
        ]);
    }
    columns
}

fn column(name: &str, values: Values) -> Column {
    Column { name: name.to_owned(), values }
}

impl Column {
    fn schema(&self) -> Result<Type, ParquetError> {
        let text = |name: &str, repetition| {
            primitive(name, Physical::BYTE_ARRAY, repetition).with_logical_type(Some(LogicalType::String)).build()
        };
        match &self.values {
            Values::Integers(_) => primitive(&self.name, Physical::INT64, Repetition::REQUIRED).build(),
            Values::Numbers(_) => primitive(&self.name, Physical::DOUBLE, Repetition::OPTIONAL).build(),
            Values::Texts(_) => text(&self.name, Repetition::OPTIONAL),
            Values::Lists(_) => {
                // The three levels that the format's description of lists asks for.
                let element = Arc::new(text("element", Repetition::REQUIRED)?);
                let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
                let list = Arc::new(list.with_fields(vec![element]).build()?);
                let whole = Type::group_type_builder(&self.name).with_repetition(Repetition::REQUIRED);
                whole.with_logical_type(Some(LogicalType::List)).with_fields(vec![list]).build()
            }
        }
    }

    fn write<W: std::io::Write + Send>(&self, rows: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), ParquetError> {
        let Some(mut column) = rows.next_column()? else { return Err(ParquetError::EOF("columns".to_owned())) };
        match &self.values {
            Values::Integers(values) => column.typed::<Int64Type>().write_batch(values, None, None)?,
            Values::Numbers(values) => {
                let there: Vec<f64> = values.iter().flatten().copied().collect();
                column.typed::<DoubleType>().write_batch(&there, Some(&present(values)), None)?
            }
            Values::Texts(values) => {
                let there: Vec<ByteArray> = values.iter().flatten().map(|text| text.as_str().into()).collect();
                column.typed::<ByteArrayType>().write_batch(&there, Some(&present(values)), None)?
            }
            Values::Lists(values) => {
                let there: Vec<ByteArray> = values.iter().flatten().map(|text| text.as_str().into()).collect();
                // An empty list has a place of its own, without a value.
                let of = |list: &Vec<String>| (0..list.len().max(1)).map(|at| i16::from(at > 0)).collect::<Vec<_>>();
                let begins: Vec<i16> = values.iter().flat_map(of).collect();
                let of = |list: &Vec<String>| vec![i16::from(!list.is_empty()); list.len().max(1)];
                let present: Vec<i16> = values.iter().flat_map(of).collect();
                column.typed::<ByteArrayType>().write_batch(&there, Some(&present), Some(&begins))?
            }
        };
        column.close()
    }
}

fn primitive(name: &str, physical: Physical, repetition: Repetition) -> PrimitiveTypeBuilder<'_> {
    Type::primitive_type_builder(name, physical).with_repetition(repetition)
}

/// 1 where there is a value, 0 where there is none.
fn present<T>(values: &[Option<T>]) -> Vec<i16> {
    values.iter().map(|value| i16::from(value.is_some())).collect()
}

/// A file with these columns.
fn table(columns: Vec<Column>, about: &str) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(|column| column.schema().map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(vec![KeyValue::new("untangle".to_owned(), about.to_owned())]));
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties.build()))?;
    let mut rows = writer.next_row_group()?;
    columns.iter().try_for_each(|column| column.write(&mut rows))?;
    rows.close()?;
    writer.close()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use std::io::Write;

    #[test]
    fn what_is_written_is_read_again_with_what_is_missing() {
        let columns = vec![
            column("feature", Values::Integers(vec![3, 5, 9])),
            column("f1", Values::Numbers(vec![Some(0.5), None, Some(0.75)])),
            column("text", Values::Texts(vec![None, Some("a, \"b\"\n".to_owned()), Some(String::new())])),
            column(
                "raises",
                Values::Lists(vec![vec![" a".to_owned(), "b".to_owned()], Vec::new(), vec!["c".to_owned()]]),
            ),
        ];
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&table(columns, "{\"sae\":\"toy\"}").expect("a table")).expect("written");
        let reader = SerializedFileReader::new(file).expect("a table");
        let about = reader.metadata().file_metadata().key_value_metadata().expect("some");
        assert!(about.iter().any(|pair| pair.key == "untangle" && pair.value.as_deref() == Some("{\"sae\":\"toy\"}")));
        let rows: Vec<String> =
            reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect();
        let expected = [
            "{feature: 3, f1: 0.5, text: null, raises: [\" a\", \"b\"]}",
            "{feature: 5, f1: null, text: \"a, \"b\"\n\", raises: []}",
            "{feature: 9, f1: 0.75, text: \"\", raises: [\"c\"]}",
        ];
        assert_eq!(rows, expected);
    }
}
