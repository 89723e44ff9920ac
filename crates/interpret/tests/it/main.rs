//! Tests of the public interface: planted dictionaries, a random two-block model, files that are broken on purpose.

mod belonging;
mod crosscoders;
mod database;
mod documented;
mod evaluation;
mod fuzz;
mod labels;
mod logits;
mod neighbours;
mod planted;
mod queries;
mod reading;
mod reading_crosscoders;
mod row_scales;
mod splicing;
mod steering;
mod steps;
mod steps_apart;
mod stories;
mod transcoders;
mod windows;
